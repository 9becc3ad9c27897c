package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dnadesign-maintainers/usr/remote"
)

// switchTrees is step 3 of an exchange. The lock of the events is held exactly around the switch, so that no append
// straddles.
func (s *Side) switchTrees(ctx context.Context, p remote.Promotion, j journal) (held time.Duration, err error) {
	run := s.runPath(p.Key, p.Run)
	tree, parent := filepath.Join(run, "tree"), filepath.Dir(p.Live)
	if !j.replaces {
		if err := os.MkdirAll(parent, 0o777); err != nil {
			return 0, err
		}
		if err := renameNew(tree, p.Live); err != nil {
			return 0, err
		}
		return 0, syncDirs(parent, run)
	}
	held, err = underEvents(ctx, p.Live, p.LockTimeout, func() error { return exchangeLog(p, tree) })
	if err != nil {
		return held, err
	}
	return held, syncDirs(parent, run)
}

// exchangeLog exchanges live and a tree, and has the lines follow that the log of live has got meanwhile.
func exchangeLog(p remote.Promotion, tree string) error {
	if p.LogSize < 0 {
		return exchangeWithLock(tree, p.Live)
	}
	log, staged := filepath.Join(p.Live, eventsLog), filepath.Join(tree, eventsLog)
	taken, err := followLog(log, p.LogSize, staged)
	if err == nil {
		err = exchangeWithLock(tree, p.Live)
	}
	if err != nil {
		return err
	}
	_, err = followLog(staged, taken, log) // of who took no lock
	return err
}

// underEvents does something while it holds the lock of the events, and tells for how long that was.
func underEvents(ctx context.Context, live string, timeout time.Duration, do func() error) (held time.Duration, err error) {
	lock, err := holdEvents(ctx, live, timeout)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	err = do()
	return time.Since(begin), errors.Join(err, lock.unlock())
}

// exchangeWithLock exchanges two directories and, in the very next call, brings the lock that writers ask for back
// under its name in live.
func exchangeWithLock(tree, live string) error {
	from, to := filepath.Join(tree, eventsLock), filepath.Join(live, eventsLock)
	if err := exchange(tree, live); err != nil {
		return err
	}
	return bringLock(from, to)
}

// bringLock: where there is no lock file nobody can have held it.
func bringLock(from, to string) error {
	if err := unix.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

const (
	primary   = "records.parquet"
	eventsLog = ".events.log"
)

const (
	eventsLock   = ".events.lock"
	transferLock = ".usr.transfer.lock" // of the earlier tool
	// eventsPatience is the longest that a promotion waits for it: it holds the dataset meanwhile, and nobody holds the
	// other for longer than a line takes.
	eventsPatience = 30 * time.Second
)

// holdEvents takes the lock under which lines are appended to the log. Writers refuse it unless it is one file with
// one name, and so do we. Where there is none and none can be made there is no writer either: then held is nil.
func holdEvents(ctx context.Context, live string, timeout time.Duration) (held *fileLock, err error) {
	path := filepath.Join(live, eventsLock)
	if st, err := lstat(path); err == nil && uint32(st.Mode)&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	held, err = waitLock(ctx, path, min(timeout, eventsPatience))
	if errors.Is(err, errUnlockable) {
		if _, serr := os.Lstat(path); errors.Is(serr, fs.ErrNotExist) {
			return nil, nil
		}
	}
	if err != nil {
		return nil, lockError("lock the events of "+live, err)
	}
	if st, err := lstat(path); err != nil || st.Nlink != 1 || uint32(st.Mode)&unix.S_IFMT != unix.S_IFREG {
		return nil, errors.Join(fmt.Errorf("%s is not one regular file with one name", path), err, held.unlock())
	}
	return held, nil
}

// followLog appends what a log holds beyond an offset to another one, and says up to where it went.
func followLog(log string, offset int64, other string) (end int64, err error) {
	st, err := lstat(log)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (st.Size <= offset || uint32(st.Mode)&unix.S_IFMT != unix.S_IFREG) {
		return offset, nil
	}
	if err != nil {
		return offset, err
	}
	if there, err := inodeOf(other); err != nil || there == st.Ino {
		return offset, err
	}
	from, _, err := openRegular(log)
	if err != nil {
		return offset, err
	}
	defer from.Close()
	to, err := os.OpenFile(other, os.O_RDWR|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW, 0o666)
	if err != nil {
		return offset, err
	}
	defer to.Close()
	if err := endLine(to); err != nil {
		return offset, err
	}
	n, err := io.Copy(to, io.NewSectionReader(from, offset, st.Size-offset))
	if err == nil {
		err = to.Sync()
	}
	return offset + n, err
}

// endLine: a log that ends within a line must not swallow the next one.
func endLine(log *os.File) error {
	fi, err := log.Stat()
	if err != nil || fi.Size() == 0 {
		return err
	}
	last := make([]byte, 1)
	if _, err := log.ReadAt(last, fi.Size()-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = log.Write([]byte{'\n'})
	return err
}

// shedLocks takes the lock files out of the old tree. One that live lacks goes there: a death between exchange and rename
// leaves the lock of the events behind. A link stands in for the dataset's lock: whoever entered the directory before it was
// switched, and asks for the lock now, is to find the one in live and not to make another.
func shedLocks(tree, live string) error {
	for _, name := range []string{eventsLock, transferLock} {
		from, to := filepath.Join(tree, name), filepath.Join(live, name)
		if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := renameNew(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := drop(tree, eventsLock, transferLock); err != nil {
		return err
	}
	link := filepath.Join(filepath.Dir(tree), "lock")
	if err := errors.Join(drop(filepath.Dir(tree), "lock"), os.Symlink(filepath.Join(live, remote.LockFile), link)); err != nil {
		return err
	}
	return os.Rename(link, filepath.Join(tree, remote.LockFile))
}

// dropLockFiles lets the link be that stands in for the dataset's lock.
func dropLockFiles(dir string) error {
	if st, err := lstat(filepath.Join(dir, remote.LockFile)); err == nil && uint32(st.Mode)&unix.S_IFMT == unix.S_IFLNK {
		return drop(dir, eventsLock, transferLock)
	}
	return drop(dir, remote.LockFile, eventsLock, transferLock)
}

func drop(dir string, names ...string) error {
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// heal takes the lock files out of what is kept and what dead runs left: earlier versions left second names there.
func (s *Side) heal(key string) error {
	for _, where := range []string{"generations", "stage"} {
		if err := s.inState(ownDir.heal, where, key); err != nil {
			return err
		}
	}
	return nil
}

// heal does that in the runs of a directory. What a link leads to is let be.
func (d ownDir) heal() error {
	runs, err := d.subdirs(IsRun)
	for _, run := range runs {
		for _, name := range []string{"tree", "old"} {
			if err == nil {
				err = d.healTree(run, name)
			}
		}
	}
	return err
}

func (d ownDir) healTree(run, name string) error {
	dir, err := d.enter(run)
	if err != nil {
		return ignoreUnsound(err)
	}
	defer dir.Close()
	tree, err := dir.enter(name)
	if err != nil {
		return ignoreUnsound(err)
	}
	defer tree.Close()
	locks := []string{eventsLock, transferLock}
	if fi, err := tree.Lstat(remote.LockFile); err == nil && fi.Mode().IsRegular() { // a link stands in for the dataset's lock
		locks = append(locks, remote.LockFile)
	}
	for _, lock := range locks {
		if err := IgnoreMissing(tree.Remove(lock)); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return nil
}

// ignoreUnsound passes over what is not there, not ours, or another user's alone.
func ignoreUnsound(err error) error {
	var planted *remote.PlantedError
	if errors.As(err, &planted) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return IgnoreMissing(err)
}
