package profiles

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// A File is a remotes file in memory. Nothing is written before Save.
type File struct {
	path    string
	text    []byte // with the edits so far
	onDisk  []byte // when it was loaded or saved; nil: there was no file
	entries []entry
}

// An entry is a remote and where the file has it.
type entry struct {
	remote Remote
	line   int
	null   []Problem // required keys that are null: the remote loads, but cannot be used
}

// maxSize is far beyond any remotes file.
const maxSize = 1 << 20

// Load reads the remotes file at path. Anything wrong with it is an *Error
// that lists every mistake; for a missing file it wraps fs.ErrNotExist.
func Load(path string) (*File, error) {
	text, err := read(path)
	if err != nil {
		return nil, &Error{Path: path, doing: reading(path), err: err, Problems: []Problem{{What: reason(err)}}}
	}
	entries, problems := parse(text)
	if len(problems) > 0 {
		return nil, &Error{Path: path, doing: reading(path), Problems: problems}
	}
	return &File{path: path, text: text, onDisk: text, entries: entries}, nil
}

// Edit is Load for a caller that adds to the file: a missing file counts as an
// empty one, which Save will create.
func Edit(path string) (*File, error) {
	f, err := Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &File{path: path}, nil
	}
	return f, err
}

// Path returns the path that the file was loaded from.
func (f *File) Path() string { return f.path }

// Names returns the names of the remotes in the order of the file.
func (f *File) Names() []string {
	names := make([]string, len(f.entries))
	for i, e := range f.entries {
		names[i] = e.remote.Name
	}
	return names
}

// Remote returns the remote of this name. An unknown name is an
// *UnknownError. A remote whose host or base directory is null, as files of
// the earlier tool may have it, is returned together with an *Error.
func (f *File) Remote(name string) (Remote, error) {
	i := f.index(name)
	if i < 0 {
		return Remote{}, f.unknown(name)
	}
	e := f.entries[i]
	if len(e.null) > 0 {
		doing := "use remote " + shown(name) + " of " + shown(f.path)
		return e.remote, &Error{Path: f.path, doing: doing, Problems: e.null}
	}
	return e.remote, nil
}

func (f *File) index(name string) int {
	return slices.IndexFunc(f.entries, func(e entry) bool { return e.remote.Name == name })
}

func (f *File) unknown(name string) error {
	known := f.Names()
	return &UnknownError{What: "remote", Name: name, Path: f.path, Known: known, Nearest: Nearest(name, known)}
}

func reading(path string) string { return "read remotes file " + shown(path) }

// read insists on a regular file: a fifo or a device may never end, or never begin.
func read(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return nil, errors.New("is a directory")
	} else if err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("is not a regular file")
	}
	text, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if len(text) > maxSize {
		return nil, fmt.Errorf("is larger than %d bytes", maxSize)
	}
	return text, err
}

// reason leaves the path out, which the message has already.
func reason(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return err.Error()
}
