package sync_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dnadesign-maintainers/usr/sync"
)

// TestNamesRoundTrip: any name that a file system allows comes through ssh and rsync and back, as a file's and as a
// directory's, added, changed and deleted.
func TestNamesRoundTrip(t *testing.T) {
	l := newLab(t)
	l.overSSH()
	put := func(side, text string) {
		t.Helper()
		for _, name := range oddNames {
			for _, path := range []string{name, "_derived/" + name, "_artifacts/" + name + "/" + name} {
				path = filepath.Join(side, id, path)
				l.must(os.MkdirAll(filepath.Dir(path), 0o755))
				l.must(os.WriteFile(path, []byte(text+name), 0o644))
			}
		}
	}
	put(l.remote, "there ")
	r, err := l.transfer(sync.Pull, modes())
	l.want(r, err, sync.Transferred)
	l.equal()
	put(l.local, "here ")
	for _, name := range oddNames[:len(oddNames)/2] {
		l.must(os.Remove(filepath.Join(l.local, id, name)))
		l.must(os.RemoveAll(filepath.Join(l.local, id, "_artifacts", name)))
	}
	r, err = l.transfer(sync.Push, modes())
	l.want(r, err, sync.Transferred)
	l.equal()
	r, err = l.undo(sync.Push, modes())
	l.want(r, err, sync.Transferred)
	r, err = l.transfer(sync.Push, modes())
	l.want(r, err, sync.Transferred)
	l.equal()
	if len(l.warnings) > 0 {
		t.Errorf("warnings: %q", l.warnings)
	}
}
