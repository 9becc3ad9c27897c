package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dnadesign-maintainers/usr/remote"
)

func (s *Side) Promote(ctx context.Context, p remote.Promotion) (held time.Duration, err error) {
	replaces, err := s.mayPromote(ctx, p)
	switch {
	case err != nil:
	case replaces && p.InPlace:
		held, err = s.promoteInPlace(ctx, p)
	default:
		held, err = s.promote(ctx, p, replaces)
	}
	if err != nil {
		return held, lockError("promote "+p.Live, err)
	}
	return held, nil
}

// mayPromote refuses what would break a promise of Promote; replaces says whether there is a live tree.
func (s *Side) mayPromote(ctx context.Context, p remote.Promotion) (replaces bool, err error) {
	if err := errors.Join(ctx.Err(), s.needClaim(p.Key), checkName(p.Run)); err != nil {
		return false, err
	}
	if err := s.sound(filepath.Join(s.runPath(p.Key, p.Run), "tree"), filepath.Dir(s.journalPath(p.Key))); err != nil {
		return false, err
	}
	if _, err := os.Lstat(s.journalPath(p.Key)); !errors.Is(err, fs.ErrNotExist) {
		return false, errors.Join(errors.New("an earlier promotion is not settled"), err)
	}
	st, err := lstat(p.Live)
	switch {
	case errors.Is(err, fs.ErrNotExist) && s.lock == nil:
		return false, nil
	case err != nil:
		return false, err
	case s.lock == nil:
		return false, fmt.Errorf("it is not locked: %w", fs.ErrExist)
	case s.live != p.Live:
		return false, fmt.Errorf("the lock is that of %s", s.live)
	case !isDir(st):
		return false, unix.ENOTDIR
	}
	return true, s.Locked(ctx)
}

// promote is not to be cancelled but while it waits for the lock of the events: it takes milliseconds, and half of it is
// work for Recover.
func (s *Side) promote(ctx context.Context, p remote.Promotion, replaces bool) (held time.Duration, err error) {
	run := s.runPath(p.Key, p.Run)
	tree := filepath.Join(run, "tree")
	if replaces {
		moved, err := exchanged(run)
		if err = errors.Join(err, movable(p.Live, moved)); err != nil {
			return 0, err
		}
		carry := slices.DeleteFunc(slices.Clone(p.Carry), func(path string) bool { return path == eventsLock })
		if err := carryInto(p.Live, tree, append(carry, remote.LockFile)); err != nil {
			return 0, err
		}
	}
	j, err := s.begin(p, journal{replaces: replaces})
	if err != nil {
		return 0, err
	}
	if held, err = s.switchTrees(ctx, p, j); err != nil {
		if ferr := s.forget(p.Key, j); ferr != nil {
			err = errors.Join(err, ferr)
		}
		return held, err
	}
	return held, s.finish(p.Key, j)
}

// begin writes down what is to be done, and at last the journal.
func (s *Side) begin(p remote.Promotion, j journal) (journal, error) {
	run := s.runPath(p.Key, p.Run)
	st, err := lstat(filepath.Join(run, "tree"))
	if err == nil {
		err = writeDurably(filepath.Join(run, "info"), p.Info+"\n")
	}
	if err == nil {
		err = errors.Join(writeDurably(filepath.Join(run, "changes"), records(p.Changes)), writeUnique(run, p))
	}
	j.run, j.live, j.inode, j.keep = p.Run, p.Live, st.Ino, p.Keep
	if err == nil {
		err = s.writeJournal(p.Key, j)
	}
	return j, err
}

// carryInto links runtime and ignored files into the new tree. They come and go without a lock, so one that is
// gone is none; of those that are linked already nothing is to be done.
func carryInto(live, tree string, paths []string) error {
	p := newPlacer(live, tree, func(src, dst string) error {
		return inWritable(filepath.Dir(dst), func() error { return link(src, dst) })
	})
	for _, path := range paths {
		src, err := lstat(filepath.Join(live, path))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if dst, derr := lstat(filepath.Join(tree, path)); derr == nil && dst.Ino == src.Ino {
			continue
		}
		if err = errors.Join(err, p.place(path)); err != nil {
			return fmt.Errorf("carrying %q: %w", path, err)
		}
	}
	for _, dir := range p.made {
		st, err := lstat(filepath.Join(live, dir))
		if err == nil {
			err = giveDir(filepath.Join(tree, dir), uint32(st.Mode), st.Gid)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func notSupported(err error) bool {
	for _, no := range []error{unix.EINVAL, unix.ENOSYS, unix.ENOTSUP, unix.EOPNOTSUPP} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// forget drops the journal of a switch that failed, if it failed without effect; else it is left to Recover.
func (s *Side) forget(key string, j journal) error {
	now, err := inodeOf(j.live)
	if err != nil || now == j.inode {
		return err
	}
	if _, err := os.Lstat(filepath.Join(s.runPath(key, j.run), "old")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.dropJournal(key)
}

// finish is steps 4 and 5, whether for the first time or again after a crash in the middle.
func (s *Side) finish(key string, j journal) error {
	run := s.runPath(key, j.run)
	tree, old, copies := filepath.Join(run, "tree"), filepath.Join(run, "old"), filepath.Join(run, "copies")
	if _, err := os.Lstat(run); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Lstat(old); err == nil {
		if err := renameNew(old, tree); err != nil {
			return err
		}
	}
	if _, err := os.Lstat(tree); err == nil {
		if err := shedLocks(tree, j.live); err != nil {
			return err
		}
	}
	// Without an old tree (it was deleted, or never was) the copies alone are no generation.
	if _, err := os.Lstat(tree); errors.Is(err, fs.ErrNotExist) || !j.replaces || !j.keep {
		return s.remove(run)
	}
	if err := moveFiles(copies, tree, j.live); err != nil {
		return err
	}
	if err := s.remove(copies); err != nil {
		return err
	}
	if err := s.makeState("generations", key); err != nil {
		return err
	}
	if err := renameNew(run, filepath.Join(s.generationsPath(key), j.run)); err != nil {
		return err
	}
	return syncDirs(s.stagePath(key), s.generationsPath(key))
}

// moveFiles moves every file below from over its namesake below to, which live has as well. A namesake that live does
// not have is what a writer without the lock put there since: it stays.
func moveFiles(from, to, live string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == from {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		dst := filepath.Join(to, rel)
		there, err := inodeOf(dst)
		if err != nil {
			return err
		}
		if shared, err := inodeOf(filepath.Join(live, rel)); there != 0 && shared != there {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(dst), 0o777); err != nil {
			return err
		}
		return inWritable(filepath.Dir(dst), func() error { return os.Rename(path, dst) })
	})
}

func writeDurably(file, text string) error {
	dir := filepath.Dir(file)
	err := rewrite(file, colleagues, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
	if err != nil {
		return err
	}
	return syncDirs(dir)
}

func (s *Side) MoveIn(_ context.Context, old, live, file string) error {
	if err := s.sound(old); err != nil {
		return err
	}
	p := newPlacer(old, live, renameNew)
	return p.place(file)
}

func (s *Side) SwapIn(_ context.Context, old, live, file string) error {
	if err := s.sound(old); err != nil {
		return err
	}
	aside := filepath.Dir(old) + "/aside"
	if err := link(live+"/"+file, aside); err != nil {
		return err
	}
	if err := os.Rename(old+"/"+file, live+"/"+file); err != nil {
		return err
	}
	return os.Rename(aside, old+"/"+file)
}
