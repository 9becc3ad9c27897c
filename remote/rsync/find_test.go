package rsync

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestFind: a package manager's rsync is found though it is not on the PATH, before the system's own, and after any other.
func TestFind(t *testing.T) {
	program := func(dir string) string {
		t.Helper()
		file := filepath.Join(dir, "rsync")
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return file
	}
	empty, brew, own := t.TempDir(), t.TempDir(), t.TempDir()
	homebrew, mine := program(brew), program(own)
	for _, c := range []struct {
		path    string
		further []string
		want    string
	}{
		{empty, nil, ""},
		{empty, []string{empty, brew}, homebrew},
		{own, []string{brew}, mine},
		{"/usr/bin", []string{brew}, homebrew},
		{"/usr/bin", []string{empty}, "/usr/bin/rsync"},
	} {
		t.Setenv("PATH", c.path)
		if got, err := find(c.further); got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("PATH=%s, and %q: %q, %v", c.path, c.further, got, err)
		}
	}
	if _, err := exec.LookPath("rsync"); err != nil {
		t.Fatal(err)
	}
}
