package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dnadesign-maintainers/usr/remote"
)

// Others may write to a root, and so put a symlink where something of ours was. Hence no directory of S is trusted for
// its path: each is opened in the one above it, and held against what its name meant before.

// ownDir is an open directory of S.
type ownDir struct {
	*os.Root
	path string
}

// planted says what lies in the place of something of ours.
func planted(path string, mode fs.FileMode) error {
	is := "not what usr makes"
	switch {
	case mode&fs.ModeSymlink != 0:
		is = "a symbolic link"
	case mode.IsDir():
		is = "a directory"
	case mode.IsRegular():
		is = "a file"
	case mode&fs.ModeNamedPipe != 0:
		is = "a fifo"
	}
	return &remote.PlantedError{Path: path, Is: is}
}

// openState opens the directory of these names below the S of a root. One that is not there is fs.ErrNotExist.
func openState(root string, elem ...string) (ownDir, error) {
	top, err := os.OpenRoot(root)
	if err != nil {
		return ownDir{}, err
	}
	dir := ownDir{top, root}
	for _, name := range append([]string{remote.StateDir}, elem...) {
		sub, err := dir.enter(name)
		dir.Close()
		if err != nil {
			return ownDir{}, err
		}
		dir = sub
	}
	return dir, nil
}

// enter opens a directory of d, and nothing else that has its name.
func (d ownDir) enter(name string) (ownDir, error) {
	path := filepath.Join(d.path, name)
	was, err := d.Lstat(name)
	if err != nil {
		return ownDir{}, &fs.PathError{Op: "open", Path: path, Err: reason(err)}
	}
	if !was.IsDir() {
		return ownDir{}, planted(path, was.Mode())
	}
	sub, err := d.OpenRoot(name)
	if err != nil {
		return ownDir{}, &fs.PathError{Op: "open", Path: path, Err: reason(err)}
	}
	is, err := sub.Stat(".")
	if err == nil && !os.SameFile(was, is) {
		err = planted(path, fs.ModeSymlink)
	}
	if err != nil {
		sub.Close()
		return ownDir{}, err
	}
	return ownDir{sub, path}, nil
}

// reason is what went wrong, without the name that it went wrong with.
func reason(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// inState calls f with a directory of S, if it is there.
func (s *Side) inState(f func(ownDir) error, elem ...string) error {
	dir, err := openState(s.root, elem...)
	if err != nil {
		return IgnoreMissing(err)
	}
	defer dir.Close()
	return f(dir)
}

// sound refuses directories of S that a link leads to. What is not below S is let be.
func (s *Side) sound(dirs ...string) error {
	for _, dir := range dirs {
		rel, ours := strings.CutPrefix(filepath.Clean(dir), s.state+"/")
		if !ours {
			continue
		}
		d, err := openState(s.root, strings.Split(rel, "/")...)
		if err != nil {
			return err
		}
		d.Close()
	}
	return nil
}

// Open opens a file below S for reading, if it is one: a fifo in its place must not hang us, nor a link lead on.
func Open(path string) (*os.File, error) {
	above, below := "/"+remote.StateDir+"/", strings.LastIndex(path, "/"+remote.StateDir+"/")
	if below < 0 {
		return nil, fmt.Errorf("%s is in no state directory", path)
	}
	dir, err := openState(path[:below+1], strings.Split(filepath.Dir(path[below+len(above):]), "/")...)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	was, err := dir.Lstat(filepath.Base(path))
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: reason(err)}
	}
	if !was.Mode().IsRegular() {
		return nil, planted(path, was.Mode())
	}
	f, err := dir.OpenFile(filepath.Base(path), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: reason(err)}
	}
	if is, err := f.Stat(); err != nil || !os.SameFile(was, is) {
		f.Close()
		return nil, errors.Join(err, planted(path, fs.ModeSymlink))
	}
	return f, nil
}

// Read reads such a file.
func Read(path string) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// openPlain opens a file that is ours to write to, or makes it, and refuses what else has its name.
func openPlain(path string, flags int, mode os.FileMode) (*os.File, error) {
	if fi, err := os.Lstat(path); err == nil && !fi.Mode().IsRegular() {
		return nil, planted(path, fi.Mode())
	}
	f, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, mode)
	if errors.Is(err, unix.ELOOP) {
		return nil, planted(path, fs.ModeSymlink)
	}
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = planted(path, fi.Mode())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// makeState makes S, if need be, and the directory of the given elements below it. In a root that a group
// writes to, S is the group's as well: whoever runs next must be able to recover what this run leaves.
func (s *Side) makeState(elem ...string) error {
	dir, err := s.madeState(elem...)
	if err != nil {
		return err
	}
	return dir.Close()
}

// madeState is the directory that makeState makes.
func (s *Side) madeState(elem ...string) (ownDir, error) {
	dir, err := s.madeRootState()
	if err != nil {
		return dir, err
	}
	like, err := dir.stat()
	for _, name := range elem {
		if err != nil {
			break
		}
		var sub ownDir
		sub, err = dir.make(name, func(d ownDir) error { return d.give(uint32(like.Mode)&0o7777, like.Gid) })
		if err == nil {
			dir.Close()
			dir = sub
		}
	}
	if err != nil {
		dir.Close()
	}
	return dir, err
}

func (s *Side) madeRootState() (ownDir, error) {
	top, err := os.OpenRoot(s.root)
	if err != nil {
		return ownDir{}, err
	}
	defer top.Close()
	root := ownDir{top, s.root}
	like, err := root.stat()
	if err != nil {
		return ownDir{}, err
	}
	dir, err := root.make(remote.StateDir, func(d ownDir) error {
		_, err := inheritACL(root.path, accessACL, d.path)
		if err != nil || like.Mode&0o020 == 0 {
			return err
		}
		return d.give(0o2700|uint32(like.Mode)&0o070, like.Gid)
	})
	if err != nil {
		return dir, err
	}
	if _, err = dir.Lstat(".gitignore"); !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	f, err := dir.OpenFile(".gitignore", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err == nil {
		_, err = f.WriteString("*\n")
		err = errors.Join(err, f.Close())
	}
	return dir, ignoreExisting(err)
}

func ignoreExisting(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// make opens a directory of d. If it is not there it is made beside, given what it is to have, and renamed: a death on the way
// leaves none that others cannot use. Whoever makes it at the same time is as good.
func (d ownDir) make(name string, give func(ownDir) error) (sub ownDir, err error) {
	beside := fmt.Sprintf("%s%s-%d", name, NewSuffix, os.Geteuid()) // one's own can always be removed
	for range 20 {
		if sub, err = d.enter(name); !errors.Is(err, fs.ErrNotExist) {
			return sub, err
		}
		err = d.makeBeside(beside, name, give)
		if err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err == nil {
		return d.enter(name)
	}
	return ownDir{}, &fs.PathError{Op: "mkdir", Path: filepath.Join(d.path, name), Err: reason(err)}
}

func (d ownDir) makeBeside(beside, name string, give func(ownDir) error) error {
	d.Remove(beside)
	if err := d.Mkdir(beside, 0o700); err != nil {
		return err
	}
	sub, err := d.enter(beside)
	if err == nil {
		err = errors.Join(give(sub), sub.Close())
	}
	if err == nil {
		err = d.with(func(fd int) error { return renameNewAt(fd, beside, name) })
	}
	if err != nil {
		d.Remove(beside)
	}
	return err
}

// stat and give are what stat and giveDir are for a path.
func (d ownDir) stat() (st unix.Stat_t, err error) {
	err = d.with(func(fd int) error { return unix.Fstat(fd, &st) })
	return st, err
}

func (d ownDir) give(mode, gid uint32) error {
	return d.with(func(fd int) error {
		if err := unix.Fchown(fd, -1, int(gid)); err != nil && !errors.Is(err, unix.EPERM) {
			return err
		}
		return modeless(unix.Fchmod(fd, mode&0o7777))
	})
}

func (d ownDir) with(f func(fd int) error) error {
	h, err := d.Open(".")
	if err != nil {
		return err
	}
	defer h.Close()
	if err := f(int(h.Fd())); err != nil {
		return &fs.PathError{Op: "use", Path: d.path, Err: err}
	}
	return nil
}

// list is all that is in d, in order.
func (d ownDir) list() ([]fs.DirEntry, error) {
	h, err := d.Open(".")
	if err != nil {
		return nil, err
	}
	defer h.Close()
	entries, err := h.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// subdirs are the names of the directories in d that a predicate takes, in order.
func (d ownDir) subdirs(take func(string) bool) (names []string, err error) {
	entries, err := d.list()
	for _, e := range entries {
		if e.IsDir() && take(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

var (
	runName     = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}\.[0-9]{6}Z-[0-9a-f]{6}$`)
	lateName    = regexp.MustCompile(`^(late|stub|aside)\.[0-9]+$`)      // the last two by earlier versions
	halfName    = regexp.MustCompile(`^[a-z]+` + NewSuffix + `-[0-9]+$`) // a directory that was being made
	partialName = regexp.MustCompile(`^partial(\.[0-9]+)?$`)
)

// IsRun reports whether newRun made a name. What else lies among runs is somebody's own.
func IsRun(name string) bool { return runName.MatchString(name) }

// runParts are all the names that are made in the directory of a run. What else is there stays.
var runParts = []string{"tree", "gone", "old", "copies", "basis", "info", "info" + NewSuffix, "aside", "lock",
	"changes", "changes" + NewSuffix, "dirs", "dirs" + NewSuffix, "try",
	"unique", "unique" + NewSuffix, "sums", "sums" + NewSuffix, "lately", "lately" + NewSuffix, "only", "names"}

// erase removes a name of d and what is below, also through directories without write permission. Links go, and are
// not followed.
func (d ownDir) erase(name string) error {
	err := d.RemoveAll(name)
	if errors.Is(err, fs.ErrPermission) {
		d.open(name)
		err = d.RemoveAll(name)
	}
	return err
}

// open gives this user every permission on a directory of d and those below.
func (d ownDir) open(name string) {
	if fi, err := d.Lstat(name); err != nil || !fi.IsDir() || d.Chmod(name, 0o700) != nil {
		return
	}
	sub, err := d.enter(name)
	if err != nil {
		return
	}
	defer sub.Close()
	below, _ := sub.subdirs(func(string) bool { return true })
	for _, name := range below {
		sub.open(name)
	}
}

// dropRun removes the directory of a run, but for what is not ours. A tree is renamed before it goes, so that no
// generation is ever a part of itself.
func (d ownDir) dropRun(run string) error {
	dir, err := d.enter(run)
	if errors.Is(err, fs.ErrPermission) && d.Remove(run) == nil { // died before it gave it away
		return nil
	}
	if err != nil {
		return IgnoreMissing(err)
	}
	defer dir.Close()
	if err := dir.Rename("tree", "gone"); IgnoreMissing(err) != nil {
		return err
	}
	left, err := dir.subdirs(func(name string) bool { return lateName.MatchString(name) || halfName.MatchString(name) })
	if err != nil {
		return err
	}
	for _, part := range append(left, runParts...) {
		err = errors.Join(err, dir.erase(part))
	}
	return errors.Join(err, d.dropEmpty(run))
}

// dropEmpty removes a directory of d unless somebody has something in it.
func (d ownDir) dropEmpty(name string) error {
	err := d.Remove(name)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return IgnoreMissing(err)
}

// dropStage removes the runs and partial files of a dataset.
func (d ownDir) dropStage(key string) error {
	dir, err := d.enter(key)
	if err != nil {
		return IgnoreMissing(err)
	}
	defer dir.Close()
	names, err := dir.subdirs(func(name string) bool {
		return IsRun(name) || partialName.MatchString(name) || strings.Contains(name, NewSuffix)
	})
	for _, name := range names {
		if IsRun(name) {
			err = errors.Join(err, dir.dropRun(name))
		} else {
			err = errors.Join(err, dir.erase(name))
		}
	}
	if err != nil {
		return err
	}
	return d.dropEmpty(key)
}

func (s *Side) Remove(ctx context.Context, dir string) error {
	err := ctx.Err()
	if err == nil {
		err = s.remove(dir)
	}
	if err != nil {
		return fmt.Errorf("cannot remove %s: %w", dir, err)
	}
	return nil
}

// remove takes a dataset's stage, a run, or what is in one; nothing else is ever removed as a whole.
func (s *Side) remove(dir string) error {
	rel, below := strings.CutPrefix(dir, s.state+"/")
	if !below || dir != filepath.Clean(dir) {
		return fmt.Errorf("it is not below %s", s.state)
	}
	elem := strings.Split(rel, "/")
	n := len(elem)
	if n < 2 || elem[0] != "stage" && (elem[0] != "generations" || n == 2) && (elem[0] != "spare" || n > 2) || n > 2 && !IsRun(elem[2]) || n > 3 && !slices.Contains(runParts, elem[3]) {
		return errors.New("it is nothing that usr removes")
	}
	return s.inState(func(parent ownDir) error {
		switch {
		case elem[0] == "spare":
			return parent.erase(elem[1])
		case n == 2:
			return parent.dropStage(elem[1])
		case n == 3:
			return parent.dropRun(elem[2])
		}
		return parent.erase(elem[n-1])
	}, elem[:n-1]...)
}
