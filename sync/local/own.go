package local

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Replace replaces a file of the state directory in one step, one at a time among all runs on this root, and makes the
// directories above it as needed.
func (s *Side) Replace(path string, fill func(io.Writer) error) error {
	if err := s.makeParent(path); err != nil {
		return err
	}
	l, err := waitLock(context.Background(), filepath.Join(s.state, "store.lock"), ownTimeout)
	if err != nil {
		return err
	}
	defer l.unlock()
	return rewrite(path, 0o600, fill)
}

// ownTimeout is far more than such a write takes.
const ownTimeout = 30 * time.Second

// NewSuffix is that of a file that is being written: the name is always the same, so that a dead writer's is replaced
// by the next. It cannot end a state key.
const NewSuffix = "%new"

// colleagues is the mode of what a run writes down of itself: whoever may enter the state directory can read it, whatever the
// umask. He must be able to finish what a dead run began.
const colleagues = 0o640

// rewrite replaces a file in one step, for one writer at a time.
func rewrite(path string, mode os.FileMode, fill func(io.Writer) error) error {
	if err := IgnoreMissing(os.Remove(path + NewSuffix)); err != nil { // nor written to: it may be a link to something else
		return err
	}
	f, err := os.OpenFile(path+NewSuffix, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if mode == colleagues {
		_ = f.Chmod(mode) // where a file system knows no modes there is nothing to give
	}
	w := bufio.NewWriter(f)
	err = fill(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		return os.Rename(path+NewSuffix, path)
	}
	os.Remove(path + NewSuffix)
	return err
}

// makeParent makes the directory of such a file.
func (s *Side) makeParent(path string) error {
	rel, err := filepath.Rel(s.state, filepath.Dir(path))
	if err != nil {
		return err
	}
	return s.makeState(strings.Split(rel, "/")...)
}

// IgnoreMissing passes over the error that a file is not there.
func IgnoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Append adds bytes to a file of the state directory in one write, and makes it as needed.
func (s *Side) Append(path string, b []byte) error {
	if err := s.makeParent(path); err != nil {
		return err
	}
	f, err := openPlain(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}
