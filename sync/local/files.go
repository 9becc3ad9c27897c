package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func stat(path string) (unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return st, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return st, nil
}

func lstat(path string) (unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return st, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return st, nil
}

func isDir(st unix.Stat_t) bool { return uint32(st.Mode)&unix.S_IFMT == unix.S_IFDIR }

// inodeOf is 0 for what does not exist.
func inodeOf(path string) (uint64, error) {
	st, err := lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return st.Ino, err
}

// openRegular opens nothing but a regular file: a fifo in its place must not hang us. It follows symlinks.
func openRegular(file string) (*os.File, int64, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", file)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, fi.Size(), nil
}

// giveDir sets group and mode, in this order: chown clears setgid. A group that this user may not give is let be.
func giveDir(dir string, mode, gid uint32) error {
	if err := unix.Lchown(dir, -1, int(gid)); err != nil && !errors.Is(err, unix.EPERM) {
		return &fs.PathError{Op: "chgrp", Path: dir, Err: err}
	}
	if err := unix.Chmod(dir, mode&0o7777); err != nil {
		return &fs.PathError{Op: "chmod", Path: dir, Err: err}
	}
	return nil
}

// inWritable calls f, which makes or replaces a name in dir, a second time with dir made writable if it was not.
func inWritable(dir string, f func() error) error {
	err := f()
	if !errors.Is(err, unix.EACCES) {
		return err
	}
	st, serr := lstat(dir)
	if serr != nil || !isDir(st) || unix.Chmod(dir, uint32(st.Mode)&0o7777|0o700) != nil {
		return err
	}
	err = f()
	return errors.Join(err, unix.Chmod(dir, uint32(st.Mode)&0o7777))
}

// syncDirs makes renames in directories durable, or files. Some file systems cannot be asked for it, and say so.
func syncDirs(dirs ...string) error {
	for _, dir := range dirs {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		err = f.Sync()
		f.Close()
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
			return err
		}
	}
	return nil
}

// removeTree is os.RemoveAll that gets by directories without write permission.
func removeTree(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() { // called before the directory is read
			os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// resolve follows symlinks in what exists of path: the rest is appended, as mkdir -p would make it.
func resolve(path string) (real string, exists bool, err error) {
	real, err = filepath.EvalSymlinks(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return real, err == nil, err
	}
	if _, lerr := os.Lstat(path); lerr == nil {
		return "", false, fmt.Errorf("%s is a symbolic link that leads nowhere", path)
	}
	parent, _, err := resolve(filepath.Dir(path))
	return filepath.Join(parent, filepath.Base(path)), false, err
}

// existing is path or its nearest ancestor that is there.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || filepath.Dir(path) == path {
			return path
		}
		path = filepath.Dir(path)
	}
}
