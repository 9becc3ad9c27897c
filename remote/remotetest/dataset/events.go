package dataset

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// The ways in which a writer that keeps the rules fails.
var (
	ErrNames    = errors.New("the lock of the event log is not one regular file with one name")
	ErrReplaced = errors.New("the lock of the event log was replaced")
	ErrElse     = errors.New("indeterminate: the event log was replaced")
)

// AppendEvent adds a line to the event log of a dataset as the strictest of its writers does: it makes the directory if it
// is not there, takes .events.lock only if that is one regular file with one name, to which the path still leads once
// it is locked, writes the line in one piece, and makes sure that the log is still the one that it wrote to.
func AppendEvent(dir, line string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(dir, ".events.lock")
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o664)
	if err != nil {
		return err
	}
	defer lock.Close()
	fi, err := lock.Stat()
	if err != nil {
		return err
	}
	switch n := fi.Sys().(*syscall.Stat_t).Nlink; {
	case fi.Mode().IsRegular() && n == 0: // since it was opened
		return ErrReplaced
	case !fi.Mode().IsRegular() || n != 1:
		return fmt.Errorf("%w: %d", ErrNames, n)
	}
	if err := flock(lock); err != nil {
		return err
	}
	if !leadsTo(path, fi) {
		return ErrReplaced
	}
	return write(filepath.Join(dir, ".events.log"), line)
}

func flock(f *os.File) error {
	for {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != syscall.EINTR {
			return err
		}
	}
}

func leadsTo(path string, fi os.FileInfo) bool {
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(there, fi)
}

func write(path, line string) error {
	log, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o664)
	if err != nil {
		return err
	}
	defer log.Close()
	if _, err := log.WriteString(line); err != nil {
		return err
	}
	if err := log.Sync(); err != nil {
		return err
	}
	if fi, err := log.Stat(); err != nil || !leadsTo(path, fi) {
		return ErrElse
	}
	return nil
}
