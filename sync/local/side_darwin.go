package local

import (
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// exchange swaps two directories in one step.
func exchange(a, b string) error { return renamex(a, b, unix.RENAME_SWAP) }

// renameNew renames onto a name that must be free. exFAT, SMB and NFS cannot do that in one step.
func renameNew(from, to string) error {
	err := renamex(from, to, unix.RENAME_EXCL)
	if notSupported(err) {
		return renameFree(from, to)
	}
	return err
}

// renameNewAt is renameNew within an open directory.
func renameNewAt(dir int, from, to string) error {
	err := unix.RenameatxNp(dir, from, dir, to, unix.RENAME_EXCL)
	if notSupported(err) {
		return unix.Renameat(dir, from, dir, to)
	}
	return err
}

func renamex(from, to string, flags uint32) error {
	if err := unix.RenamexNp(from, to, flags); err != nil {
		return &os.LinkError{Op: "renamex_np", Old: from, New: to, Err: err}
	}
	return nil
}

// flushFS: sync(2) only schedules. Where a volume cannot be asked to wait each file is written, and the drive is asked once.
func flushFS(dir string) error {
	err := syncVolume(dir)
	if notSupported(err) || err == unix.ENOTTY {
		return flushTree(dir, func(f *os.File) error { return unix.Fsync(int(f.Fd())) })
	}
	return err
}

// syncVolume is fsctl(2) with FSIOC_SYNC_VOLUME, to wait for the data and for the drive (sys/fsctl.h).
func syncVolume(dir string) error {
	const request, full, wait = 0x80044101, 1, 2
	path, err := unix.BytePtrFromString(dir)
	if err != nil {
		return err
	}
	flags := uint32(full | wait)
	_, _, no := unix.Syscall6(unix.SYS_FSCTL, uintptr(unsafe.Pointer(path)), request, uintptr(unsafe.Pointer(&flags)), 0, 0, 0)
	if no != 0 {
		return no
	}
	return nil
}

// fixed: a flag of chflags(1) keeps it from being renamed. No link is followed.
func fixed(path string) bool {
	const held = unix.UF_IMMUTABLE | unix.SF_IMMUTABLE | unix.UF_APPEND | unix.SF_APPEND
	st, err := lstat(path)
	return err == nil && st.Flags&held != 0
}

// project: there are none.
func project(string) (uint32, bool) { return 0, false }

// unlockFile clears the flags that Finder sets, which keep even an owner from removing a file.
func unlockFile(path string) { _ = unix.Chflags(path, 0) }

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
