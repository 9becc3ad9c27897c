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
// What vanishes meanwhile is left out; a directory that cannot be read is an error that names it. An absent dir
// is an error that is fs.ErrNotExist, one that is not a directory an error that is unix.ENOTDIR.
func List(dir string) (Manifest, error) {
	fd, err := openDir(unix.AT_FDCWD, dir, 0)
	if err != nil {
		return nil, listError(dir, err)
	}
	root := os.NewFile(uintptr(fd), dir)
	defer root.Close()
	l := lister{root: root}
	if err := l.read(root, ""); err != nil {
		return nil, err
	}
	for len(l.todo) > 0 {
		next := l.todo[len(l.todo)-1]
		l.todo = l.todo[:len(l.todo)-1]
		if err := l.descend(l.found[next].Path); vanished(err) {
			l.found[next].Kind = 0
		} else if err != nil {
			return nil, err
		}
	}
	return l.manifest(), nil
}

// lister walks without recursion and holds two descriptors at a time, however deep the tree is. Everything is
// opened relative to the first, so that a listing is of one tree even if dir is exchanged for another meanwhile.
type lister struct {
	root  *os.File
	found Manifest // in no order; Kind is zero for directories that were gone before they were read
	todo  []int    // indices in found of directories still to be read
}

func (l *lister) descend(dir string) error {
	fd, err := openDir(int(l.root.Fd()), dir, unix.O_NOFOLLOW)
	if err != nil {
		return listError(l.root.Name()+"/"+dir, err)
	}
	f := os.NewFile(uintptr(fd), l.root.Name()+"/"+dir)
	defer f.Close()
	return l.read(f, dir)
}

func (l *lister) read(f *os.File, dir string) error {
	names, err := f.Readdirnames(-1)
	if err != nil {
		return listError(f.Name(), err)
	}
	l.found = slices.Grow(l.found, len(names))
	for _, name := range names {
		if err := l.add(int(f.Fd()), dir, name); err != nil {
			return listError(f.Name()+"/"+name, err)
		}
	}
	return nil
}

func (l *lister) add(fd int, dir, name string) error {
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
	path := name
	if dir != "" {
		path = dir + "/" + name
	}
	l.found = append(l.found, entryOf(path, &st))
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		l.todo = append(l.todo, len(l.found)-1)
	}
	return nil
}

// manifest sorts what was found. A directory that changes while it is read may give a name twice.
func (l *lister) manifest() Manifest {
	m := slices.DeleteFunc(l.found, func(e Entry) bool { return e.Kind == 0 })
	slices.SortFunc(m, ComparePaths)
	return slices.CompactFunc(m, func(a, b Entry) bool { return a.Path == b.Path })
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
