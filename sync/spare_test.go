package sync_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
	"github.com/dnadesign-maintainers/usr/verify"
)

// spareRig has transferred versions until the generation that went is the spare.
func spareRig(t *testing.T, d sync.Direction, ssh bool) *rig {
	t.Helper()
	r := emptyRig(t, d)
	r.spareFrom = 1
	if ssh {
		r.overSSH(remotetest.Options{})
	}
	for v := 1; v <= 3; v++ {
		r.write(r.src(), v)
		r.transferred()
		r.is(r.dst(), v)
	}
	if _, err := os.Stat(r.spare()); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) spare(elem ...string) string {
	return r.state(append([]string{"spare", faultKey}, elem...)...)
}

// names is how many names a file has.
func (r *rig) names(path string) int {
	r.Helper()
	fi, err := os.Lstat(path)
	r.must(err)
	return int(fi.Sys().(*syscall.Stat_t).Nlink)
}

// TestSpareTouchesNothingThatStays: with a spare an increment gives no inode that stays another name and takes none from
// it. What only the spare would hold goes at once, and what it was made of is what an undo does not need.
func TestSpareTouchesNothingThatStays(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
		r := spareRig(t, d, ssh)
		stays := filepath.Join(r.dst(), "_derived/same/part-0.parquet")
		for v := 4; v <= 5; v++ {
			before, err := verify.StatEntry(stays)
			r.must(err)
			r.write(r.src(), v)
			r.transferred()
			r.is(r.dst(), v)
			if after, err := verify.StatEntry(stays); err != nil || after != before || r.names(stays) != 3 {
				t.Errorf("version %d: %+v, was %+v; %d names", v, after, before, r.names(stays))
			}
			r.must(filepath.WalkDir(r.spare(), func(path string, e fs.DirEntry, err error) error {
				if err == nil && !e.IsDir() && r.names(path) == 1 {
					t.Errorf("version %d: only the spare has %s", v, path)
				}
				return err
			}))
		}
		var arrived int64 // too lately to be known, maybe, as what the generation has a copy of
		for path, content := range tree(5) {
			if tree(4)[path] != content || path == "_artifacts/constant" {
				arrived += int64(len(content))
			}
		}
		r.observe = func(e sync.Event) {
			if p, ok := e.(sync.Progressed); ok && p.Total > arrived {
				t.Errorf("%s: %d bytes are read again, of %d that arrived", p.Phase, p.Total, arrived)
			}
		}
		if rep := r.diff(); len(rep.Changes) > 0 {
			t.Errorf("afterwards %d changes", len(rep.Changes))
		}
		r.observe = nil
		cmd, out := r.child(job{Undo: true})
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		r.is(r.dst(), 4)
		r.next(5)
	})
}

// TestFaultSpareDamaged: whatever somebody made of the spare, nothing of it comes into live, and nothing beyond it goes.
func TestFaultSpareDamaged(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
		r := spareRig(t, d, ssh)
		outside := t.TempDir()
		r.must(os.WriteFile(filepath.Join(outside, "part-0.parquet"), []byte("of somebody"), 0o644))
		r.must(os.WriteFile(r.spare("stray"), []byte("x"), 0o644))
		r.must(os.MkdirAll(r.spare("_derived/stray/empty"), 0o755))
		r.must(os.RemoveAll(r.spare("_derived/same")))
		r.must(os.Symlink(outside, r.spare("_derived/same")))
		r.must(replaceFile(r.spare("_artifacts/constant"), "constanT\n"))
		r.must(os.MkdirAll(r.state("stage", faultKey, "20260101T000000.000000Z-abcdef", "gone"), 0o755)) // died on putting it in its place
		r.next(3)
		if _, err := os.Stat(filepath.Join(outside, "part-0.parquet")); err != nil {
			t.Error(err)
		}
		r.transferred()
		if _, err := os.Stat(filepath.Join(r.dst(), "_derived/stray")); err == nil {
			t.Error("a stray directory came into live")
		}
		// It cannot be used at all.
		r.must(os.RemoveAll(r.spare()))
		r.must(os.Symlink(outside, r.spare()))
		r.write(r.src(), 5)
		if _, err := r.run(d, modes()); err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("a link in its place: %v", err)
		}
	})
}
