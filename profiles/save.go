package profiles

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// Save writes the file in one step, with mode 0600. It writes through a symlink.
// If somebody else changed the file since it was loaded, it leaves the file
// alone and returns an *Error. Other errors come from the file system.
func (f *File) Save() error {
	place, err := realPlace(f.path)
	if err != nil {
		return f.cannotWrite(err)
	}
	if err := f.unchanged(place); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(place), 0o700); err != nil {
		return f.cannotWrite(err)
	}
	if err := replace(place, f.text); err != nil {
		return f.cannotWrite(err)
	}
	f.onDisk = append([]byte{}, f.text...)
	return nil
}

// replace also tightens the mode of an existing file, which renameio.WriteFile
// would keep.
func replace(place string, text []byte) error {
	pending, err := renameio.NewPendingFile(place,
		renameio.WithTempDir(filepath.Dir(place)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer pending.Cleanup()
	if _, err := pending.Write(text); err != nil {
		return err
	}
	return pending.CloseAtomicallyReplace()
}

func (f *File) cannotWrite(err error) error {
	return fmt.Errorf("cannot write remotes file %s: %w", shown(f.path), err)
}

// unchanged also fails if place is not a regular file, such as a pipe.
func (f *File) unchanged(place string) error {
	now, err := current(place)
	switch {
	case errors.Is(err, errIrregular):
		return f.mustNotWrite("it is not a regular file")
	case err != nil:
		return f.cannotWrite(err)
	case (now == nil) != (f.onDisk == nil) || !bytes.Equal(now, f.onDisk):
		return f.mustNotWrite("it was changed meanwhile")
	}
	return nil
}

var errIrregular = errors.New("not a regular file")

// current returns what place holds now, nil if nothing is there.
func current(place string) ([]byte, error) {
	info, err := os.Lstat(place)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errIrregular
	}
	return read(place)
}

func (f *File) mustNotWrite(what string) error {
	return &Error{Path: f.path, doing: "write remotes file " + shown(f.path), Problems: []Problem{{What: what}}}
}

// maxLinks is what systems allow in a row.
const maxLinks = 40

// realPlace follows symlinks from path, to a file that need not exist.
func realPlace(path string) (string, error) {
	for range maxLinks {
		to, err := os.Readlink(path)
		if err != nil {
			// Not a link, or not there: writing will tell.
			return path, nil
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return "", errors.New("too many symbolic links")
}
