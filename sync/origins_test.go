package sync

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/dnadesign-maintainers/usr/profiles"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/verify"
)

// originsRig has a dataset on both sides. The source has two files that the destination lacks; the plan gets each from
// elsewhere than the source.
func originsRig(t *testing.T, d Direction, ssh bool) (c *command, src, dst string) {
	t.Helper()
	local, far := t.TempDir(), t.TempDir()
	profile := profiles.Default("lab")
	profile.Type, profile.BaseDir = profiles.Local, far
	if ssh {
		s, err := remotetest.Start(t.TempDir(), remotetest.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Stop)
		profile.Type, profile.Host, profile.SSHConfig = profiles.SSH, remotetest.Alias, s.ConfigFile()
	}
	src, dst = filepath.Join(far, "a"), filepath.Join(local, "a")
	if d == Push {
		src, dst = filepath.Join(local, "a"), filepath.Join(far, "a")
	}
	put := func(dir, path, text string) {
		t.Helper()
		file := filepath.Join(dir, path)
		err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644))
		if err != nil {
			t.Fatal(err)
		}
	}
	put(src, primaryPath, "primary")
	put(dst, primaryPath, "primary")
	put(src, "_views/new it's name", "the same content")
	put(dst, "_views/old name", "the same content")
	put(src, "_views/old name", "the same content")
	put(src, "notes/both.txt", "theirs\nours\n")
	p, err := Open(t.Context(), Options{Root: local}, &profile, Reach{Getenv: os.Getenv, Stderr: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	c, err = p.begin("a", Modes{Primary: ByHash, Sidecars: true, ContentHashes: true})
	if err != nil {
		t.Fatal(err)
	}
	return c, src, dst
}

// with carries a pull or push out whose plan was changed.
func with(c *command, d Direction, change func(p *plan)) error {
	deed := c.copying(d)
	decide := deed.decide
	deed.decide = func(ctx context.Context, v view) (*plan, error) {
		p, err := decide(ctx, v)
		if err == nil {
			change(p)
		}
		return p, err
	}
	_, err := c.attempt(context.Background(), deed, &legacy{})
	return err
}

// TestOriginReuse: a file whose content lies at the destination under another name is copied from there, never linked,
// and proved like all else. Where it was damaged meanwhile the source brings it.
func TestOriginReuse(t *testing.T) {
	for _, ssh := range []bool{false, true} {
		for _, d := range []Direction{Pull, Push} {
			for _, damaged := range []bool{false, true} {
				c, src, dst := originsRig(t, d, ssh)
				from := filepath.Join(dst, "_views/old name")
				err := with(c, d, func(p *plan) {
					it := p.incoming("_views/new it's name")
					it.origin, it.from = reuse, from
					if err := c.hash(context.Background(), p.src, []*verify.Entry{it.Entry}, p.how.algorithm); err != nil {
						t.Fatal(err)
					}
					if damaged { // since its digest was taken
						os.WriteFile(from, []byte("the same CONTENT"), 0o644)
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				if text, err := os.ReadFile(filepath.Join(dst, "_views/new it's name")); string(text) != "the same content" {
					t.Errorf("%s: damaged meanwhile: %v: %q, %v", d, damaged, text, err)
				}
				now, want := stampOf(t, filepath.Join(dst, "_views/new it's name")), stampOf(t, filepath.Join(src, "_views/new it's name"))
				old := stampOf(t, from)
				if now.Ino == old.Ino || now.Size != want.Size || now.Mtime != want.Mtime {
					t.Errorf("%s: %+v, beside %+v, want %+v", d, now, old, want)
				}
			}
		}
	}
}

func stampOf(t *testing.T, file string) verify.Entry {
	t.Helper()
	e, err := verify.StatEntry(file)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestOriginMerge: a file that is put together here is held against the digest that the plan expects.
func TestOriginMerge(t *testing.T) {
	for _, ssh := range []bool{false, true} {
		for _, ours := range []string{"ours\n", "OURS\n"} {
			c, src, dst := originsRig(t, Pull, ssh)
			err := with(c, Pull, func(p *plan) {
				it := p.incoming("notes/both.txt")
				it.origin = merge
				it.parts = []part{{side: c.remote, file: filepath.Join(src, "notes/both.txt"), end: int64(len("theirs\n"))}, {text: []byte(ours)}}
				if err := c.hash(context.Background(), p.src, []*verify.Entry{it.Entry}, p.how.algorithm); err != nil {
					t.Fatal(err)
				}
			})
			var mismatch *MismatchError
			if ours == "OURS\n" {
				if !errors.As(err, &mismatch) {
					t.Errorf("another text: %v", err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if b, err := os.ReadFile(filepath.Join(dst, "notes/both.txt")); string(b) != "theirs\nours\n" || err != nil {
				t.Errorf("%q %v", b, err)
			}
		}
	}
	c, _, _ := originsRig(t, Push, false)
	st := &stage{command: c, dst: otherHost{c.remote}}
	if err := st.merge(context.Background(), []*item{{Entry: &verify.Entry{Path: "x"}, origin: merge}}); err == nil {
		t.Error("merged on another host")
	}
}

// otherHost hides that a side can write.
type otherHost struct{ side }
