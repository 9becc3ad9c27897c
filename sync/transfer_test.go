package sync_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnadesign-maintainers/usr/profiles"
	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
	"github.com/dnadesign-maintainers/usr/sync"
	"github.com/dnadesign-maintainers/usr/verify"
)

const id = "densegen/demo"

// lab is a local root and a remote of type local, with a real dataset on the remote.
type lab struct {
	*testing.T
	local, remote string
	profile       profiles.Remote
	warnings      []string
	observe       func(sync.Event)
}

func newLab(t *testing.T) *lab {
	dir := t.TempDir()
	l := &lab{T: t, local: filepath.Join(dir, "local"), remote: filepath.Join(dir, "remote")}
	for _, d := range []string{l.local, filepath.Join(l.remote, "densegen")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	l.must(dataset.Write(filepath.Join(l.remote, id), dataset.Options{Rows: 50, Seed: 1}))
	l.profile = profiles.Default("lab")
	l.profile.Type, l.profile.BaseDir = profiles.Local, l.remote
	return l
}

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func modes() sync.Modes {
	return sync.Modes{Primary: sync.ByHash, Sidecars: true, ContentHashes: true, LockTimeout: 2 * time.Second}
}

func (l *lab) with(f func(p *sync.Pair) (*sync.Report, error)) (*sync.Report, error) {
	l.Helper()
	o := sync.Options{Root: l.local, Observe: func(e sync.Event) {
		if w, ok := e.(sync.Warned); ok {
			l.warnings = append(l.warnings, w.Text)
		}
		if l.observe != nil {
			l.observe(e)
		}
	}}
	p, err := sync.Open(context.Background(), o, &l.profile, sync.Reach{Getenv: os.Getenv, Stderr: os.Stderr})
	l.must(err)
	defer p.Close()
	return f(p)
}

func (l *lab) transfer(d sync.Direction, m sync.Modes) (*sync.Report, error) {
	l.Helper()
	return l.with(func(p *sync.Pair) (*sync.Report, error) { return p.Transfer(context.Background(), id, d, m) })
}

func (l *lab) diff() *sync.Report {
	l.Helper()
	r, err := l.with(func(p *sync.Pair) (*sync.Report, error) { return p.Diff(context.Background(), id, modes()) })
	l.must(err)
	return r
}

func (l *lab) want(r *sync.Report, err error, state sync.State) {
	l.Helper()
	l.must(err)
	if r.State != state {
		l.Fatalf("state %s, want %s (relation %s, changes %v)", r.State, state, r.Relation, r.Changes)
	}
}

// content reads all synchronized files of a tree.
func (l *lab) content(dir string) map[string]string {
	l.Helper()
	classes, err := verify.NewClassifier(nil)
	l.must(err)
	out := map[string]string{}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if !classes.Class(rel).Synced() {
			return nil
		}
		data, err := os.ReadFile(path)
		out[rel] = string(data)
		return err
	})
	if !errors.Is(err, fs.ErrNotExist) {
		l.must(err)
	}
	return out
}

func (l *lab) equal() {
	l.Helper()
	if d := cmp.Diff(l.content(filepath.Join(l.remote, id)), l.content(filepath.Join(l.local, id))); d != "" {
		l.Fatalf("trees differ (-remote +local):\n%s", d)
	}
	if r := l.diff(); r.Relation != sync.InSync || len(r.Changes) > 0 {
		l.Fatalf("relation %s with %d changes after a transfer", r.Relation, len(r.Changes))
	}
}

func TestLoop(t *testing.T) {
	l := newLab(t)
	if r := l.diff(); r.Relation != sync.RemoteOnly {
		t.Fatalf("relation %s, want %s", r.Relation, sync.RemoteOnly)
	}
	r, err := l.transfer(sync.Pull, modes())
	l.want(r, err, sync.Transferred)
	l.equal()
	r, err = l.transfer(sync.Pull, modes())
	l.want(r, err, sync.NoOp)
	for range 3 {
		l.must(dataset.Increment(filepath.Join(l.remote, id), 20))
		if r := l.diff(); r.Relation != sync.LocalBehind {
			t.Fatalf("relation %s, want %s", r.Relation, sync.LocalBehind)
		}
		r, err = l.transfer(sync.Pull, modes())
		l.want(r, err, sync.Transferred)
		l.equal()
	}
	l.must(dataset.Annotate(filepath.Join(l.local, id)))
	if r := l.diff(); r.Relation != sync.LocalAhead {
		t.Fatalf("relation %s, want %s", r.Relation, sync.LocalAhead)
	}
	mine := l.content(filepath.Join(l.local, id))
	r, err = l.transfer(sync.Pull, modes())
	l.want(r, err, sync.Skipped)
	if d := cmp.Diff(mine, l.content(filepath.Join(l.local, id))); d != "" || len(r.Changes) > 0 {
		t.Fatalf("a pull of what is ahead changed it: %v\n%s", r.Changes, d)
	}
	r, err = l.transfer(sync.Push, modes())
	l.want(r, err, sync.Transferred)
	l.equal()
	l.must(dataset.Increment(filepath.Join(l.remote, id), 20))
	r, err = l.transfer(sync.Push, modes())
	l.want(r, err, sync.Skipped)
	r, err = l.transfer(sync.Pull, modes())
	l.want(r, err, sync.Transferred)
	l.equal()
	if len(l.warnings) > 0 {
		t.Errorf("warnings: %q", l.warnings)
	}
}

func TestUndo(t *testing.T) {
	for _, d := range []sync.Direction{sync.Pull, sync.Push} {
		t.Run(string(d), func(t *testing.T) {
			l := newLab(t)
			r, err := l.transfer(sync.Pull, modes())
			l.want(r, err, sync.Transferred)
			src, dst := l.remote, l.local
			if d == sync.Push {
				src, dst = l.local, l.remote
			}
			before := l.content(filepath.Join(dst, id))
			l.must(dataset.Increment(filepath.Join(src, id), 10))
			l.must(os.Remove(filepath.Join(src, id, "meta.md")))
			r, err = l.transfer(d, modes())
			l.want(r, err, sync.Transferred)
			after := l.content(filepath.Join(dst, id))
			for i, want := range []map[string]string{before, after, before} {
				r, err = l.undo(d, modes())
				l.want(r, err, sync.Transferred)
				if diff := cmp.Diff(want, l.content(filepath.Join(dst, id))); diff != "" {
					t.Fatalf("undo %d (-want +got):\n%s", i+1, diff)
				}
			}
			r, err = l.transfer(d, modes())
			l.want(r, err, sync.Transferred)
			l.equal()
		})
	}
}

// undo works on the destination of d.
func (l *lab) undo(d sync.Direction, m sync.Modes) (*sync.Report, error) {
	l.Helper()
	if d == sync.Push {
		return l.with(func(p *sync.Pair) (*sync.Report, error) { return p.Undo(context.Background(), id, m) })
	}
	p, err := sync.Open(context.Background(), sync.Options{Root: l.local, KeepGenerations: 1}, nil, sync.Reach{})
	l.must(err)
	defer p.Close()
	return p.Undo(context.Background(), id, m)
}
