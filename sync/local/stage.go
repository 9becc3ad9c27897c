package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

func (s *Side) Stage(ctx context.Context, key, run, live string, exchange bool) (way remote.Staged, err error) {
	err = errors.Join(ctx.Err(), s.needClaim(key), checkName(run))
	if err == nil {
		way.Exchange, err = replaceable(live)
	}
	if err == nil {
		err = s.stage(key, run, live)
		way.Names = naming(s.root)
	}
	if err == nil {
		err = sameProject(live, filepath.Join(s.runPath(key, run), "tree"))
	}
	if err == nil {
		err = try(filepath.Join(s.runPath(key, run), "try"), &way, exchange)
	}
	if err != nil {
		return way, fmt.Errorf("cannot make a stage for %s: %w", live, err)
	}
	return way, nil
}

// replaceable reports whether live can be replaced as a whole by this user, or only entry by entry. Where neither is allowed
// it says so.
func replaceable(live string) (whole bool, err error) {
	near := existing(live)
	st, err := stat(near)
	if err != nil || os.Geteuid() == 0 {
		return true, err
	}
	if unix.Access(near, unix.W_OK|unix.X_OK) != nil && !mine(st) {
		return false, forbidden(near, st, "this user may not write to it")
	}
	if near != live {
		return true, nil
	}
	if st.Mode&unix.S_ISVTX != 0 && !mine(st) {
		return false, forbidden(near, st, "it is sticky, so that nobody else can replace files in it")
	}
	parent := filepath.Dir(live)
	up, err := stat(parent)
	if err != nil {
		return false, err
	}
	return unix.Access(parent, unix.W_OK|unix.X_OK) == nil && (up.Mode&unix.S_ISVTX == 0 || mine(up) || mine(st)), nil
}

// sameProject refuses a dataset into which nothing of a stage could be moved.
func sameProject(live, tree string) error {
	id, alone := project(live)
	if own, _ := project(tree); alone && own != id {
		return &fs.PathError{Op: "rename into", Path: live, Err: unix.EXDEV}
	}
	return nil
}

func forbidden(dir string, st unix.Stat_t, why string) error {
	owner := strconv.Itoa(int(st.Uid))
	if u, err := user.LookupId(owner); err == nil {
		owner = u.Username
	}
	return fmt.Errorf("%s belongs to %s (mode %04o), and %s: %w", dir, owner, st.Mode&0o7777, why, fs.ErrPermission)
}

// try finds out in a new directory, which goes again, what a stage can count on: there are file systems that report the success
// of an exchange and destroy, and such that show a file by another inode under each of its names.
func try(dir string, way *remote.Staged, exchanging bool) error {
	in := func(name string) string { return filepath.Join(dir, name) }
	err := errors.Join(os.MkdirAll(in("a/in-a"), 0o700), os.MkdirAll(in("b/in-b"), 0o700), os.WriteFile(in("one"), nil, 0o600))
	if err != nil {
		return err
	}
	linked := link(in("one"), in("other")) == nil
	one, oneErr := inodeOf(in("one"))
	other, otherErr := inodeOf(in("other"))
	way.Renumbers = linked && one != other
	way.Exchange = way.Exchange && exchanging && linked && one == other && exchange(in("a"), in("b")) == nil
	for _, name := range []string{"a/in-b", "b/in-a"} {
		_, err := os.Lstat(in(name))
		way.Exchange = way.Exchange && err == nil
	}
	return errors.Join(oneErr, otherErr, os.RemoveAll(dir))
}

func (s *Side) stage(key, run, live string) error {
	dir := s.runPath(key, run)
	if _, err := os.Lstat(dir); err == nil {
		return fmt.Errorf("%s: %w", dir, fs.ErrExist)
	}
	own, err := s.madeState("stage", key, run)
	if err != nil {
		return err
	}
	defer own.Close()
	if err := s.makeState("stage", key, run, "copies"); err != nil {
		return err
	}
	if err := own.Mkdir("tree", 0o777); err != nil {
		return err
	}
	tree, err := own.enter("tree")
	if err != nil {
		return err
	}
	defer tree.Close()
	mode, gid, err := treeMode(tree.path, live)
	if err != nil {
		return err
	}
	return tree.give(mode, gid)
}

// treeMode is what live has or, where there is none, what mkdir would give, which is given the tree as far as it is a list.
func treeMode(tree, live string) (mode, gid uint32, err error) {
	switch st, err := stat(live); {
	case err == nil:
		return uint32(st.Mode) & 0o7777, st.Gid, dress(live, tree)
	case !errors.Is(err, fs.ErrNotExist):
		return 0, 0, err
	}
	near := existing(filepath.Dir(live))
	parent, err := stat(near)
	if err != nil {
		return 0, 0, err
	}
	gid, setgid := newDirGroup(parent)
	mode = 0o777 &^ umask
	if listed, err := inheritACL(near, defaultACL, tree); err != nil {
		return 0, 0, err
	} else if listed { // which takes the umask's place
		st, err := stat(tree)
		if err != nil {
			return 0, 0, err
		}
		mode = uint32(st.Mode) & 0o777
	}
	return mode | setgid, gid, nil
}

func (s *Side) Link(ctx context.Context, from, to string, paths []string, orCopy bool) error {
	var made []string
	p := newPlacer(from, to, func(src, dst string) error {
		err := link(src, dst)
		if st, serr := lstat(src); unlinkable(err) && serr == nil && !isDir(st) {
			if orCopy {
				return copyFile(src, dst)
			}
			return fmt.Errorf("%w: %w", remote.ErrNoLink, err)
		}
		if err == nil {
			made = append(made, dst)
		}
		return err
	})
	err := s.sound(from, filepath.Dir(to))
	if err == nil {
		err = ignoreExisting(os.Mkdir(to, 0o777))
	}
	if err == nil {
		err = s.sound(to)
	}
	if err == nil {
		err = p.placeAll(ctx, paths)
	}
	if errors.Is(err, remote.ErrNoLink) {
		for _, file := range made {
			err = errors.Join(err, os.Remove(file))
		}
	}
	if err != nil {
		return fmt.Errorf("cannot link from %s to %s: %w", from, to, err)
	}
	return nil
}

// unlinkable: no second name is to be had, of this file or by this user or at all.
func unlinkable(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EMLINK) || errors.Is(err, unix.EXDEV) || notSupported(err)
}

func (s *Side) Writable(ctx context.Context, dir string) (bool, error) {
	if os.Geteuid() == 0 {
		return true, nil
	}
	can := true
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil || !d.IsDir() {
			return err
		}
		st, err := stat(path)
		if err == nil && int(st.Uid) != os.Geteuid() && (st.Mode&unix.S_ISVTX != 0 || unix.Access(path, unix.W_OK|unix.X_OK) != nil) {
			can = false
			return fs.SkipAll
		}
		return err
	})
	return can, err
}

func (s *Side) Copy(ctx context.Context, from, to string, paths []string) error {
	p := newPlacer(from, to, copyFile)
	err := s.sound(from, to)
	if err == nil {
		err = p.placeAll(ctx, paths)
	}
	if err != nil {
		return fmt.Errorf("cannot copy from %s to %s: %w", from, to, err)
	}
	return nil
}

func (s *Side) CopyAs(ctx context.Context, to string, files []remote.Placement) error {
	if err := s.sound(to); err != nil {
		return fmt.Errorf("cannot copy into %s: %w", to, err)
	}
	p := newPlacer("", to, nil)
	for _, f := range files {
		if err := errors.Join(ctx.Err(), p.copyAs(f)); err != nil {
			return fmt.Errorf("cannot copy %s to %q in %s: %w", f.From, f.Path, to, err)
		}
	}
	return nil
}

func (p *placer) copyAs(f remote.Placement) error {
	if st, err := lstat(f.From); err != nil || uint32(st.Mode)&unix.S_IFMT != unix.S_IFREG || unix.Access(f.From, unix.R_OK) != nil {
		return nil
	}
	p.put = func(_, dst string) error {
		if err := os.Remove(dst); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return copyFile(f.From, dst)
	}
	if err := p.place(f.Path); err != nil {
		return err
	}
	mtime := time.Unix(0, f.Mtime)
	return os.Chtimes(filepath.Join(p.to, f.Path), mtime, mtime)
}

func (s *Side) Write(tree, path string, mtime int64, fill func(io.Writer) error) error {
	p := newPlacer("", tree, func(_, dst string) error {
		if err := rewrite(dst, 0o666, fill); err != nil {
			return err
		}
		return os.Chtimes(dst, time.Unix(0, mtime), time.Unix(0, mtime))
	})
	return p.place(path)
}

// placer puts files of one tree at the same paths of another.
type placer struct {
	from, to string
	put      func(src, dst string) error
	ready    map[string]bool // directories of to that are there
	made     []string        // those among them that were not before
}

func newPlacer(from, to string, put func(src, dst string) error) *placer {
	return &placer{from: from, to: to, put: put, ready: map[string]bool{".": true}}
}

func (p *placer) placeAll(ctx context.Context, paths []string) error {
	for _, path := range paths {
		if err := errors.Join(ctx.Err(), p.place(path)); err != nil {
			return err
		}
	}
	return nil
}

func (p *placer) place(path string) error {
	if !filepath.IsLocal(path) {
		return fmt.Errorf("%q is not a path below the dataset", path)
	}
	if err := p.mkdir(filepath.Dir(path)); err != nil {
		return err
	}
	src, dst := filepath.Join(p.from, path), filepath.Join(p.to, path)
	err := p.put(src, dst)
	// Asking first what src is would double the time of 20 000 links: a directory shows by its refusal.
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EEXIST) {
		if st, serr := lstat(src); serr == nil && isDir(st) {
			return p.mkdir(filepath.Clean(path))
		}
	}
	return err
}

// mkdir makes a directory of to and those above it.
func (p *placer) mkdir(path string) error {
	if p.ready[path] {
		return nil
	}
	if err := p.mkdir(filepath.Dir(path)); err != nil {
		return err
	}
	dir := filepath.Join(p.to, path)
	switch err := os.Mkdir(dir, 0o777); {
	case err == nil:
		p.made = append(p.made, path)
	case errors.Is(err, fs.ErrExist):
		if st, serr := lstat(dir); serr != nil || !isDir(st) { // a symlink would lead out of the tree
			return err
		}
	default:
		return err
	}
	p.ready[path] = true
	return nil
}

// link is link(2) that does not follow a symlink, which os.Link does on some systems.
func link(src, dst string) error {
	if err := unix.Linkat(unix.AT_FDCWD, src, unix.AT_FDCWD, dst, 0); err != nil {
		return &os.LinkError{Op: "link", Old: src, New: dst, Err: err}
	}
	return nil
}

func copyFile(src, dst string) error {
	st, err := lstat(src)
	if err != nil {
		return err
	}
	switch uint32(st.Mode) & unix.S_IFMT {
	case unix.S_IFDIR:
		return unix.EISDIR
	case unix.S_IFREG:
	default:
		return fmt.Errorf("%s is not a regular file", src)
	}
	if err := cloneFile(src, dst); errors.Is(err, fs.ErrExist) {
		return err
	} else if err != nil {
		if err := copyBytes(src, dst); err != nil {
			return err
		}
	}
	return likeFile(dst, st)
}

func copyBytes(src, dst string) error {
	from, _, err := openRegular(src)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// likeFile gives a copy group (where this user may), mode and mtime of its original.
func likeFile(path string, st unix.Stat_t) error {
	if err := giveDir(path, uint32(st.Mode), st.Gid); err != nil {
		return err
	}
	mtime := time.Unix(st.Mtim.Unix())
	return os.Chtimes(path, mtime, mtime)
}

func (s *Side) SetDirs(ctx context.Context, dir string, dirs []verify.Entry) error {
	if err := s.sound(dir); err != nil {
		return fmt.Errorf("cannot set the mode of directories in %s: %w", dir, err)
	}
	// In order of path a directory comes after those above it.
	for _, e := range slices.SortedFunc(slices.Values(dirs), verify.ComparePaths) {
		if err := errors.Join(ctx.Err(), setDir(dir, e)); err != nil {
			return fmt.Errorf("cannot set the mode of %q in %s: %w", e.Path, dir, err)
		}
	}
	return nil
}

func setDir(dir string, e verify.Entry) error {
	if e.Path != "" && !filepath.IsLocal(e.Path) {
		return errors.New("not a path below the dataset")
	}
	path := filepath.Join(dir, e.Path)
	st, err := lstat(path)
	if err != nil {
		return err
	}
	if !isDir(st) {
		return unix.ENOTDIR
	}
	return giveDir(path, uint32(e.Mode), e.Gid)
}

func (s *Side) Flush(ctx context.Context, dir string, paths []string) error {
	err := ctx.Err()
	if len(paths) == 0 && err == nil {
		err = flushFS(dir)
	}
	for _, path := range paths {
		err = errors.Join(err, ctx.Err())
		if err != nil {
			break
		}
		err = syncDirs(filepath.Join(dir, path))
	}
	if err != nil {
		return fmt.Errorf("cannot flush %s: %w", dir, err)
	}
	return nil
}
