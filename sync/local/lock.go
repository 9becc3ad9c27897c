package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dnadesign-maintainers/usr/remote"
)

// fileLock is an flock(2) that is held. The file is never truncated and never removed: other programs hold
// on to its inode.
type fileLock struct {
	path string
	f    *os.File
}

// errUnlockable: a side that is only read from offers nothing to lock.
var errUnlockable = errors.New("the lock file can be neither made nor opened")

func (s *Side) Claim(ctx context.Context, key string, timeout time.Duration) error {
	if err := checkName(key); err != nil {
		return fmt.Errorf("cannot claim a dataset on %s: %w", s.name, err)
	}
	if s.claim != nil {
		return fmt.Errorf("cannot claim %s on %s: %s is claimed", key, s.name, s.claimKey)
	}
	if err := s.makeState("journal"); err != nil {
		return fmt.Errorf("cannot make the state directory of %s: %w", s.name, err)
	}
	l, err := waitTelling(ctx, s.journalPath(key)+".lock", timeout, s.waiting)
	if err != nil {
		return lockError("claim "+key+" on "+s.name, err)
	}
	s.claim, s.claimKey = l, key
	return nil
}

func (s *Side) Release(context.Context) error {
	err := s.claim.unlock()
	s.claim, s.claimKey = nil, ""
	return err
}

func (s *Side) Lock(ctx context.Context, live string, timeout time.Duration, readOnly bool) (bool, error) {
	if s.lock != nil {
		return false, fmt.Errorf("cannot lock %s: %s is locked", live, s.live)
	}
	l, err := waitTelling(ctx, filepath.Join(live, remote.LockFile), timeout, s.waiting)
	if readOnly && errors.Is(err, errUnlockable) {
		return false, nil
	}
	if err != nil {
		return false, lockError("lock "+live, err)
	}
	fence, err := takeFence(ctx, live, timeout)
	if err != nil {
		l.unlock()
		return false, lockError("lock "+live, err)
	}
	s.lock, s.fence, s.live = l, fence, live
	return true, nil
}

func (s *Side) Locked(context.Context) error {
	if s.lock == nil {
		return errors.New("the lock is not held")
	}
	if !s.lock.current() {
		return fmt.Errorf("cannot go on with %s: its lock file was replaced", s.live)
	}
	return nil
}

func (s *Side) Unlock(context.Context) error {
	err := errors.Join(s.fence.unlock(), s.lock.unlock())
	s.lock, s.fence, s.live = nil, nil, ""
	return err
}

// lockError leaves alone what says all by itself.
func lockError(do string, err error) error {
	if _, ok := err.(*remote.LockError); ok {
		return err
	}
	return fmt.Errorf("cannot %s: %w", do, err)
}

// waitLock polls, since flock(2) has no time limit; each attempt opens the file anew, for it may be replaced
// while we wait.
func waitLock(ctx context.Context, path string, timeout time.Duration) (*fileLock, error) {
	return waitTelling(ctx, path, timeout, nil)
}

// waitTelling is waitLock that tells of its wait: after a second, and now and then.
func waitTelling(ctx context.Context, path string, timeout time.Duration, tell func(remote.Waiting)) (*fileLock, error) {
	begin := time.Now()
	told := begin.Add(time.Second - remote.WaitingEvery)
	pause := 10 * time.Millisecond
	for {
		l, holder, err := tryLock(path)
		if l != nil || err != nil {
			return l, err
		}
		waited := time.Since(begin)
		if waited >= timeout {
			return nil, &remote.LockError{Path: path, Waited: waited, Holder: holder()}
		}
		if tell != nil && time.Since(told) >= remote.WaitingEvery {
			told = time.Now()
			tell(remote.Waiting{Path: path, Holder: holder(), Left: timeout - waited})
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(min(pause, timeout-waited)):
		}
		pause = min(2*pause, 250*time.Millisecond)
	}
}

// tryLock returns neither lock nor error if another process has the lock; holder then says who.
func tryLock(path string) (l *fileLock, holder func() string, err error) {
	f, err := openLock(path)
	if err != nil {
		return nil, nil, err
	}
	l = &fileLock{path: path, f: f}
	switch err := flock(f, unix.LOCK_EX|unix.LOCK_NB); {
	case err == nil && l.current():
		return l, nil, nil
	case err == nil: // locked what is no longer there
		f.Close()
		return nil, func() string { return "" }, nil
	case errors.Is(err, unix.EWOULDBLOCK):
		st, _ := stat(path)
		f.Close()
		return nil, func() string { return lockHolder(st) }, nil
	case errors.Is(err, unix.EBADF): // NFS locks only what is open for writing
		err = errUnlockable
		fallthrough
	default:
		f.Close()
		return nil, nil, fmt.Errorf("flock %s: %w", path, err)
	}
}

// openLock falls back to reading: flock(2) on a local file system does not mind, and the lock file of a
// shared dataset may be another user's.
func openLock(path string) (*os.File, error) {
	if err := makeLock(path); err != nil {
		return nil, err
	}
	f, err := openPlain(path, os.O_RDWR|os.O_CREATE, 0o666)
	if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, unix.EROFS) {
		return f, err
	}
	f, rerr := openPlain(path, os.O_RDONLY, 0)
	if rerr != nil {
		return nil, fmt.Errorf("%w: %w", errUnlockable, err)
	}
	return f, nil
}

// makeLock makes a lock file that is not there. Where its group writes to the directory it is to write to the file, too.
// What cannot be made shows when it is opened.
func makeLock(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil
	}
	defer f.Close()
	dir, err := stat(filepath.Dir(path))
	if err != nil || dir.Mode&0o020 == 0 {
		return err
	}
	st, err := stat(path)
	if err != nil {
		return err
	}
	return giveDir(path, uint32(st.Mode)|0o060, dir.Gid)
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// current: the path still leads to the inode that is locked.
func (l *fileLock) current() bool {
	mine, err := l.f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(l.path)
	return err == nil && os.SameFile(mine, there)
}

// unlock says LOCK_UN before it closes: a child between fork and exec still has the descriptor.
func (l *fileLock) unlock() error {
	if l == nil {
		return nil
	}
	return errors.Join(flock(l.f, unix.LOCK_UN), l.f.Close())
}
