package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/dnadesign-maintainers/usr/verify"
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
	if err := modeless(unix.Chmod(dir, mode&0o7777)); err != nil {
		return &fs.PathError{Op: "chmod", Path: dir, Err: err}
	}
	return nil
}

// modeless passes over that a file system has no modes, or not all of them: what it is about was made by this user.
func modeless(err error) error {
	if errors.Is(err, unix.EPERM) || notSupported(err) {
		return nil
	}
	return err
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

// flushTree makes durable what lies below a directory, where no file system can be asked to: write has the data of each file
// reach the drive, and a directory that is flushed has the drive write it.
func flushTree(dir string, write func(*os.File) error) error {
	var failed error
	err := verify.Walk(dir, func(e verify.Entry) {
		if e.Kind != verify.File || failed != nil {
			return
		}
		f, err := os.OpenFile(filepath.Join(dir, e.Path), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err == nil {
			err = write(f)
			f.Close()
		}
		failed = IgnoreMissing(err)
	})
	return errors.Join(err, failed, syncDirs(dir))
}

// renameFree renames onto a name that must be free, where no call does both: a file by a second name, which fails where
// something is there. os.Rename refuses to replace a directory.
func renameFree(from, to string) error {
	if fi, err := os.Lstat(from); err != nil || fi.IsDir() {
		return errors.Join(err, os.Rename(from, to))
	}
	err := os.Link(from, to)
	if err == nil {
		return os.Remove(from)
	}
	if _, is := os.Lstat(to); !errors.Is(is, fs.ErrNotExist) {
		return err
	}
	return os.Rename(from, to) // nor are there second names
}

// removeTree is os.RemoveAll that gets by directories without write permission, and by files that Finder has locked.
func removeTree(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type()&fs.ModeSymlink == 0 {
			unlockFile(path)
		}
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
