package shell_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/shell"
)

func surveyOf(s *shell.Session, root, id, key string) (*remote.Survey, error) {
	return surveyAgain(s, root, id, key, "")
}

func surveyAgain(s *shell.Session, root, id, key, known string) (*remote.Survey, error) {
	return s.At(root).Survey(background, id, key, known)
}

// TestSurveySame: a listing that is known is not told again, and one that differs in no more than a change time is.
func TestSurveySame(t *testing.T) {
	_, s := connect(t)
	root, live := dataset(t)
	first, err := surveyOf(s, root, "ns/ds", "ns%2Fds")
	check(t, err)
	again, err := surveyAgain(s, root, "ns/ds", "ns%2Fds", first.Listing)
	check(t, err)
	if first.Listing == "" || first.Same || !again.Same || again.Listing != first.Listing || len(again.Entries) > 0 || again.EventLines != 2 {
		t.Errorf("first %+v, again %+v", first, again)
	}
	name := filepath.Join(live, "meta.md")
	fi, err := os.Stat(name)
	check(t, err)
	time.Sleep(50 * time.Millisecond) // more than a tick of the clock
	text, err := os.ReadFile(name)
	check(t, err)
	check(t, os.WriteFile(name, append(text[:len(text)-1], '!'), 0o644))
	check(t, os.Chtimes(name, fi.ModTime(), fi.ModTime()))
	other, err := surveyAgain(s, root, "ns/ds", "ns%2Fds", first.Listing)
	check(t, err)
	if other.Same || other.Listing == first.Listing || len(other.Entries) != len(first.Entries) {
		t.Errorf("after a change that keeps size and time: %+v", other)
	}
}
