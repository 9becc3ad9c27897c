package local

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRenameFree: what a file system without an exclusive rename does: nothing is replaced, and no directory gets a second
// name, though HFS+ would give it one.
func TestRenameFree(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(at("a"), []byte("a"), 0o600))
	must(os.WriteFile(at("b"), []byte("b"), 0o600))
	must(os.Mkdir(at("d"), 0o700))
	must(os.Mkdir(at("e"), 0o700))
	for _, c := range [][2]string{{"a", "b"}, {"a", "d"}, {"d", "e"}, {"d", "b"}} {
		if err := renameFree(at(c[0]), at(c[1])); !errors.Is(err, fs.ErrExist) && !errors.Is(err, unix.ENOTDIR) {
			t.Errorf("%v: %v", c, err)
		}
	}
	must(renameFree(at("a"), at("new")))
	must(renameFree(at("d"), at("new d")))
	if err := renameFree(at("none"), at("other")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	entries, err := os.ReadDir(dir)
	must(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{"b", "e", "new", "new d"}) {
		t.Errorf("%q", names)
	}
	if text, _ := os.ReadFile(at("b")); string(text) != "b" {
		t.Errorf("b was replaced: %q", text)
	}
}

// TestFlushTree: each file's data is asked for; an error is told, what vanishes meanwhile is none.
func TestFlushTree(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "d/b", "d/e/c"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700), os.WriteFile(filepath.Join(dir, name), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	var asked []string
	err := flushTree(dir, func(f *os.File) error {
		rel, _ := filepath.Rel(dir, f.Name())
		asked = append(asked, rel)
		os.Remove(filepath.Join(dir, "d/e/c"))
		return nil
	})
	if slices.Sort(asked); err != nil || !slices.Equal(asked[:2], []string{"a", "d/b"}) {
		t.Errorf("%q, %v", asked, err)
	}
	if err := flushTree(dir, func(*os.File) error { return unix.EIO }); !errors.Is(err, unix.EIO) {
		t.Errorf("a failing disk: %v", err)
	}
}
