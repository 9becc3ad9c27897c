package local

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote"
)

const run1 = "20260101T000000.000000Z-000001"

// TestFailedSwitch: a journal is dropped if the switch had no effect, and left to Recover if it had one.
func TestFailedSwitch(t *testing.T) {
	const key = "ds"
	root := t.TempDir()
	s := New("local", root, nil)
	live := filepath.Join(root, "ds")
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(live, primary)
	must(os.MkdirAll(live, 0o755), os.WriteFile(file, []byte("old"), 0o644), s.Claim(t.Context(), key, 0))
	defer s.Close()
	_, err := s.Lock(t.Context(), live, 0, false)
	must(err)
	_, err = s.Stage(t.Context(), key, run1, live, false)
	must(err)
	tree := filepath.Join(s.runPath(key, run1), "tree")
	must(os.WriteFile(filepath.Join(tree, primary), []byte("new"), 0o644))
	inode, err := inodeOf(tree)
	must(err)
	j := journal{run: run1, live: live, inode: inode, replaces: true, keep: true}
	journalStands := func(want bool) {
		t.Helper()
		must(s.writeJournal(key, j), s.forget(key, j))
		v, err := s.Survey(t.Context(), "ds", key, "")
		must(err)
		if v.Journal != want {
			t.Errorf("journal: %v, want %v", v.Journal, want)
		}
	}
	journalStands(false)
	must(os.Rename(live, filepath.Join(s.runPath(key, run1), "old")))
	journalStands(true)
	for range 2 {
		if r, err := s.Recover(t.Context(), key); r != (remote.Recovered{Run: run1, Forward: true}) || err != nil {
			t.Errorf("%+v %v", r, err)
		}
	}
	if b, err := os.ReadFile(file); string(b) != "new" || err != nil {
		t.Errorf("%q %v", b, err)
	}
}

// TestJournal: both implementations of a side must read what the other wrote, so its form is fixed.
func TestJournal(t *testing.T) {
	j := journal{run: run1, live: "/a b/c=d", inode: 7, replaces: true, keep: false}
	if j.String() != "run="+run1+"\nlive=/a b/c=d\ninode=7\nreplaces=1\nkeep=0\n" {
		t.Error(j)
	}
	if got, err := parseJournal(j.String()); got != j || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	in := journal{run: run1, live: "/x", inode: 7, replaces: true, keep: true, place: &placement{listed: -1, staged: 12}}
	if in.String() != "way=place\nrun="+run1+"\nlive=/x\ntree=7\nlisted=-1\nstaged=12\nkeep=1\n" {
		t.Error(in)
	}
	got, err := parseJournal(in.String())
	if err != nil || got.place == nil || *got.place != *in.place || got.inode != 7 || !got.replaces || !got.keep {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "run=" + run1 + "\n", strings.Replace(j.String(), run1, "../x", 1), strings.Replace(j.String(), "7", "x", 1)} {
		if _, err := parseJournal(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}
