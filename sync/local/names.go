package local

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// naming tells how names are taken in a root, as far as looking for some tells. Nothing is written.
func naming(root string) verify.Names {
	exists := func(path string) bool { _, err := os.Lstat(path); return err == nil }
	n := verify.Names{Form: runtime.GOOS == "darwin"}
	if exists(filepath.Join(root, remote.StateDir)) {
		n.Case = exists(filepath.Join(root, strings.ToUpper(remote.StateDir)))
	} else if other := filepath.Join(filepath.Dir(root), strings.Map(swapCase, filepath.Base(root))); other != root {
		was, werr := os.Stat(root)
		is, err := os.Stat(other)
		n.Case = werr == nil && err == nil && os.SameFile(was, is)
	}
	n.Form = n.Form || n.Case
	_, err := os.Lstat(filepath.Join(root, "\xff"))
	n.UTF8 = errors.Is(err, unix.EILSEQ) || errors.Is(err, unix.EINVAL)
	return n
}

func swapCase(r rune) rune {
	switch {
	case 'a' <= r && r <= 'z':
		return r - 'a' + 'A'
	case 'A' <= r && r <= 'Z':
		return r - 'A' + 'a'
	}
	return r
}

// misspelt reports whether the directories of an id are called by other names, which are one with those that it has.
func misspelt(root, id string, n verify.Names) bool {
	if !n.Case && !n.Form {
		return false
	}
	dir := root
	for _, name := range strings.Split(id, "/") {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return false
		}
		if !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == name }) {
			return true
		}
		dir = filepath.Join(dir, name)
	}
	return false
}
