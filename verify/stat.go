package verify

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// entryOf turns a stat buffer into an entry without class and digest.
func entryOf(path string, st *unix.Stat_t) Entry {
	return Entry{
		Path:  path,
		Kind:  kindOf(uint32(st.Mode)),
		Mode:  uint16(st.Mode & 0o7777),
		Gid:   st.Gid,
		Size:  st.Size,
		Mtime: st.Mtim.Nano(),
		Ctime: st.Ctim.Nano(),
		Dev:   uint64(st.Dev),
		Ino:   st.Ino,
	}
}

func kindOf(mode uint32) Kind {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return File
	case unix.S_IFDIR:
		return Directory
	case unix.S_IFLNK:
		return Symlink
	case unix.S_IFIFO:
		return Fifo
	case unix.S_IFSOCK:
		return Socket
	case unix.S_IFBLK:
		return Block
	case unix.S_IFCHR:
		return Char
	}
	return Unknown
}

// uninterrupted repeats a system call that a signal interrupted, as happens on network file systems.
func uninterrupted(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// StatEntry returns the entry of one name, as List would, without following a symlink. Its path is the name given.
func StatEntry(name string) (Entry, error) {
	var st unix.Stat_t
	if err := uninterrupted(func() error { return unix.Lstat(name, &st) }); err != nil {
		return Entry{}, &fs.PathError{Op: "lstat", Path: name, Err: err}
	}
	return entryOf(name, &st), nil
}
