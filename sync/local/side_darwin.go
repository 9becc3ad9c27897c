package local

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// exchange swaps two directories in one step.
func exchange(a, b string) error { return renamex(a, b, unix.RENAME_SWAP) }

// renameNew renames onto a name that must be free; os.Rename has the check, though not in one step.
func renameNew(from, to string) error {
	err := renamex(from, to, unix.RENAME_EXCL)
	if notSupported(err) {
		return os.Rename(from, to)
	}
	return err
}

func renamex(from, to string, flags uint32) error {
	if err := unix.RenamexNp(from, to, flags); err != nil {
		return &os.LinkError{Op: "renamex_np", Old: from, New: to, Err: err}
	}
	return nil
}

// flushFS: sync(2) only schedules; the F_FULLFSYNC behind File.Sync waits for the drive.
func flushFS(dir string) error {
	if err := unix.Sync(); err != nil {
		return err
	}
	return syncDirs(dir)
}

func fsClock() int64 { return time.Now().UnixNano() }

// cloneFile shares blocks on APFS, and takes mode and times along.
func cloneFile(src, dst string) error { return unix.Clonefile(src, dst, unix.CLONE_NOFOLLOW) }

// steadyInodes: FUSE programs, such as sshfs, may number inodes as they come.
func steadyInodes(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && !strings.Contains(unix.ByteSliceToString(st.Fstypename[:]), "fuse")
}

// newDirGroup is the group that mkdir gives below a directory: always the parent's.
func newDirGroup(parent unix.Stat_t) (gid, setgid uint32) { return parent.Gid, 0 }

// lockHolder: there is no table of locks to read.
func lockHolder(unix.Stat_t) string { return "" }
