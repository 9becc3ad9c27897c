package local

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/dnadesign-maintainers/usr/remote"
)

// movable refuses, before anything moves, what would fail half-way whatever the modes: what chattr(1) holds, and another user's
// file in a sticky directory of another.
func movable(live string, files []string) error {
	seen := map[string]bool{}
	for _, file := range files {
		path := filepath.Join(live, file)
		dir := existing(filepath.Dir(path))
		for _, p := range []string{dir, path} {
			if seen[p] {
				continue
			}
			seen[p] = true
			if fixed(p) {
				return fmt.Errorf("%s is immutable or append-only (chattr): %w", p, unix.EPERM)
			}
		}
		if err := stuck(dir, path); err != nil {
			return err
		}
	}
	return nil
}

func stuck(dir, path string) error {
	above, err := stat(dir)
	if err != nil || above.Mode&unix.S_ISVTX == 0 || mine(above) || os.Geteuid() == 0 {
		return err
	}
	st, err := lstat(path)
	if err != nil || mine(st) {
		return IgnoreMissing(err)
	}
	return forbidden(dir, above, "it is sticky, so that nobody else can replace "+filepath.Base(path))
}

func mine(st unix.Stat_t) bool { return int(st.Uid) == os.Geteuid() }

// exchanged is what a switch by exchange moves beside the directory itself: lock files, and what gets a copy in the old tree.
func exchanged(run string) (files []string, err error) {
	files = []string{"", eventsLock, remote.LockFile, transferLock}
	copies := filepath.Join(run, "copies")
	err = filepath.WalkDir(copies, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		file, err := filepath.Rel(copies, path)
		files = append(files, file)
		return err
	})
	return files, IgnoreMissing(err)
}

// touched is what a switch in place moves.
func (m *mover) touched() []string {
	files := slices.Concat(m.order, m.gone)
	if m.log {
		files = append(files, eventsLog)
	}
	return files
}
