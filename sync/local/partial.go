package local

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// SavePartial puts an unfinished file where rsync looks for partial ones. A longer one that
// is there already stays.
func (s *Side) SavePartial(file, partial, name string) error {
	if err := os.Mkdir(partial, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := s.sound(partial); err != nil {
		return err
	}
	to := filepath.Join(partial, name)
	unfinished, err := os.Lstat(file)
	if err != nil {
		return IgnoreMissing(err)
	}
	if there, err := os.Lstat(to); err == nil && there.Size() >= unfinished.Size() {
		return nil
	}
	return os.Rename(file, to)
}
