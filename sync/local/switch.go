package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dnadesign-maintainers/usr/remote"
)

// switchTrees is step 3. The lock of the events is held exactly around the switch, so that no append straddles.
func (s *Side) switchTrees(ctx context.Context, p remote.Promotion, j journal) error {
	run := s.runPath(p.Key, p.Run)
	tree, parent := filepath.Join(run, "tree"), filepath.Dir(p.Live)
	if !j.replaces {
		if err := os.MkdirAll(parent, 0o777); err != nil {
			return err
		}
		if err := renameNew(tree, p.Live); err != nil {
			return err
		}
		return syncDirs(parent, run)
	}
	if err := s.switchHeld(ctx, p, j); err != nil {
		return err
	}
	return syncDirs(parent, run)
}

func (s *Side) switchHeld(ctx context.Context, p remote.Promotion, j journal) (err error) {
	held, err := holdEvents(ctx, p.Live, p.LockTimeout)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, held.unlock()) }()
	if p.LogSize < 0 {
		_, err = s.switchLive(p, j)
		return err
	}
	log := filepath.Join(p.Live, eventsLog)
	taken, err := followLog(log, p.LogSize, filepath.Join(s.runPath(p.Key, p.Run), "tree", eventsLog))
	if err != nil {
		return err
	}
	old, err := s.switchLive(p, j)
	if err != nil {
		return err
	}
	_, err = followLog(filepath.Join(old, eventsLog), taken, log) // of who took no lock
	return err
}

// switchLive makes the staged tree live, and says where the old one is.
func (s *Side) switchLive(p remote.Promotion, j journal) (old string, err error) {
	run := s.runPath(p.Key, p.Run)
	tree, old := filepath.Join(run, "tree"), filepath.Join(run, "old")
	if !p.NoExchange {
		err := exchangeWithLock(tree, p.Live)
		if !notSupported(err) {
			return tree, err
		}
	}
	if err := renameNew(p.Live, old); err != nil {
		return old, err
	}
	return old, s.fillGap(p.Key, j)
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

// mostStubs is how often a gap may be filled by others before we give up.
const mostStubs = 100

// errTheirs: another program made a dataset while there was none.
var errTheirs = errors.New("another program made a dataset there while the trees were switched")

// fillGap is the second of two renames. What another program puts there in that moment is not overwritten: it is
// moved aside, unless it is a dataset, which stands.
func (s *Side) fillGap(key string, j journal) error {
	run := s.runPath(key, j.run)
	tree, old := filepath.Join(run, "tree"), filepath.Join(run, "old")
	from, to := filepath.Join(old, eventsLock), filepath.Join(j.live, eventsLock)
	for n := 1; n <= mostStubs; n++ {
		err := unix.Rename(tree, j.live) // over an empty directory, over nothing else
		if err == nil {
			return bringLock(from, to)
		}
		err = &os.LinkError{Op: "rename", Old: tree, New: j.live, Err: err}
		there, serr := inodeOf(j.live)
		switch {
		case serr != nil:
			return errors.Join(err, serr)
		case there == 0:
			return errors.Join(err, renameNew(old, j.live))
		case hasPrimary(j.live):
			if err := s.keepOld(key, j.run); err != nil {
				return errors.Join(errTheirs, err)
			}
			return fmt.Errorf("%w: that stands, and the old content is the generation %s", errTheirs, j.run)
		}
		if err := s.moveAside(key, j); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return fmt.Errorf("%s: another program makes it again and again", j.live)
}

// moveAside gives what fills the gap the first free name in the run directory.
func (s *Side) moveAside(key string, j journal) error {
	for n := 1; ; n++ {
		err := renameNew(j.live, filepath.Join(s.runPath(key, j.run), stubPrefix+strconv.Itoa(n)))
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
}

// What was moved aside is a stub until its event lines are in live.
const (
	stubPrefix  = "stub."
	AsidePrefix = "aside."
)

// takeStubs has the event lines of what was moved aside follow in live, once whoever is about to append there is done.
func (s *Side) takeStubs(key string, j journal) (err error) {
	run := s.runPath(key, j.run)
	stubs, err := filepath.Glob(globEscape(run) + "/" + stubPrefix + "*")
	if err != nil || len(stubs) == 0 {
		return err
	}
	ctx := context.Background() // it is past the switch
	held, err := holdEvents(ctx, j.live, eventsPatience)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, held.unlock()) }()
	for _, stub := range stubs {
		if err := takeStub(ctx, stub, j.live); err != nil {
			return err
		}
		aside := filepath.Join(run, AsidePrefix+strings.TrimPrefix(filepath.Base(stub), stubPrefix))
		if err := renameNew(stub, aside); err != nil {
			return err
		}
	}
	return nil
}

func takeStub(ctx context.Context, stub, live string) error {
	if st, err := lstat(stub); err != nil || !isDir(st) {
		return err
	}
	if _, err := os.Lstat(filepath.Join(stub, eventsLock)); err == nil {
		if writers, err := waitLock(ctx, filepath.Join(stub, eventsLock), 2*time.Second); err == nil {
			defer writers.unlock()
		}
	}
	if _, err := followLog(filepath.Join(stub, eventsLog), 0, filepath.Join(live, eventsLog)); err != nil {
		return err
	}
	return dropLockFiles(stub)
}

func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

func hasPrimary(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, primary))
	return err == nil
}

const (
	primary      = "records.parquet"
	eventsLog    = ".events.log"
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
	runs, err := d.subdirs(isRun)
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
		if err := IgnoreMissing(tree.Remove(lock)); err != nil {
			return err
		}
	}
	return nil
}

// ignoreUnsound passes over what is not there, or not ours.
func ignoreUnsound(err error) error {
	var planted *remote.PlantedError
	if errors.As(err, &planted) {
		return nil
	}
	return IgnoreMissing(err)
}
