package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// List lists everything below dir, following no symbolic link but dir itself. Class and Digest are left zero.
// What vanishes meanwhile is left out. A directory that cannot be read is an error that names it. If dir is absent the
// error is fs.ErrNotExist, if it is not a directory unix.ENOTDIR.
func List(dir string) (Manifest, error) {
	var m Manifest
	if err := Walk(dir, func(e Entry) { m = append(m, e) }); err != nil {
		return nil, err
	}
	return InOrder(m), nil
}

// InOrder makes a manifest of what a Walk reported, which may hold a name twice.
func InOrder(m Manifest) Manifest {
	slices.SortFunc(m, ComparePaths)
	return slices.CompactFunc(m, func(a, b Entry) bool { return a.Path == b.Path })
}

// Walk is an unordered, streaming List. It may report a name twice if a directory changes while it is read.
func Walk(dir string, visit func(Entry)) error { return walk(dir, visit, (*walker).read) }

// WalkNames is Walk for who needs no more of an entry than Path, Kind and Ino, which a directory tells without a look at
// each file in it. (An overlay may tell another inode number than that of the file.)
func WalkNames(dir string, visit func(Entry)) error { return walk(dir, visit, (*walker).readNames) }

func walk(dir string, visit func(Entry), read func(w *walker, f *os.File, dir string) error) error {
	fd, err := openDir(unix.AT_FDCWD, dir, 0)
	if err != nil {
		return listError(dir, err)
	}
	root := os.NewFile(uintptr(fd), dir)
	defer root.Close()
	w := &walker{root: root, visit: visit, list: read}
	if err := read(w, root, ""); err != nil {
		return err
	}
	for len(w.todo) > 0 {
		next := w.todo[len(w.todo)-1]
		w.todo = w.todo[:len(w.todo)-1]
		if err := w.descend(next.Path); vanished(err) {
			continue
		} else if err != nil {
			return err
		}
		visit(next)
	}
	return nil
}

// walker walks without recursion and holds two descriptors at a time, however deep the tree is. Everything is
// opened relative to the first, so that a walk is through one tree even if dir is exchanged for another meanwhile.
type walker struct {
	root  *os.File
	visit func(Entry)
	list  func(w *walker, f *os.File, dir string) error // a directory
	todo  []Entry                                       // directories still to be read; each is reported after that
}

func (w *walker) descend(dir string) error {
	fd, err := openDir(int(w.root.Fd()), dir, unix.O_NOFOLLOW)
	if err != nil {
		return listError(w.root.Name()+"/"+dir, err)
	}
	f := os.NewFile(uintptr(fd), w.root.Name()+"/"+dir)
	defer f.Close()
	return w.list(w, f, dir)
}

func (w *walker) read(f *os.File, dir string) error {
	names, err := f.Readdirnames(-1)
	if err != nil {
		return listError(f.Name(), err)
	}
	for _, name := range names {
		if err := w.tell(int(f.Fd()), dir, name); err != nil {
			return listError(f.Name()+"/"+name, err)
		}
	}
	return nil
}

func (w *walker) tell(fd int, dir, name string) error {
	var st unix.Stat_t
	err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	for err == unix.EINTR {
		err = unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	}
	if vanished(err) {
		return nil
	}
	if err != nil {
		return err
	}
	w.found(entryOf(join(dir, name), &st))
	return nil
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// found tells an entry, or puts it aside to be read.
func (w *walker) found(e Entry) {
	if e.Kind == Directory {
		w.todo = append(w.todo, e)
	} else {
		w.visit(e)
	}
}

func openDir(at int, path string, flag int) (fd int, err error) {
	err = uninterrupted(func() error {
		fd, err = unix.Openat(at, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|flag, 0)
		return err
	})
	return fd, err
}

func listError(path string, err error) error {
	var inner *fs.PathError
	if errors.As(err, &inner) { // its message repeats the path, and raw
		err = inner.Err
	}
	return fmt.Errorf("cannot list %q: %w", path, err)
}

// vanished reports that a name is gone, or has become something else than the directory that it was.
func vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) ||
		errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ESTALE)
}
