package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// promoteInPlace leaves live and its lock files what they are.
func (s *Side) promoteInPlace(ctx context.Context, p remote.Promotion) (held time.Duration, err error) {
	run := s.runPath(p.Key, p.Run)
	m := newMover(run, p.Live, p.Changes, p.Dirs)
	if err := m.permitted(); err != nil {
		return 0, err
	}
	if m.log { // while there is a way back
		if _, err := underEvents(ctx, p.Live, p.LockTimeout, func() error { return nil }); err != nil {
			return 0, err
		}
	}
	if err := s.makeState("stage", p.Key, p.Run, "old"); err != nil {
		return 0, err
	}
	if err := writeDurably(filepath.Join(run, "dirs"), records(p.Dirs)); err != nil {
		return 0, err
	}
	j, err := s.begin(p, journal{replaces: true, place: &placement{listed: p.LogSize, staged: sizeOf(filepath.Join(run, "tree", eventsLog))}})
	if err != nil {
		return 0, err
	}
	held, err = s.move(context.WithoutCancel(ctx), p.Key, j, m)
	if err != nil && !m.moved {
		if derr := s.dropJournal(p.Key); derr != nil {
			err = errors.Join(err, derr)
		}
	}
	return held, err
}

// rollForward finishes what a dead run began, under the dataset's lock: its writers are to find no mixture, and to make none.
func (s *Side) rollForward(ctx context.Context, key string, j journal) (err error) {
	run := s.runPath(key, j.run)
	if _, err := os.Lstat(run); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.MkdirAll(j.live, 0o777); err != nil {
		return err
	}
	if s.lock == nil {
		if _, err := s.Lock(ctx, j.live, eventsPatience, false); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Unlock(ctx)) }()
	}
	if tree, err := inodeOf(filepath.Join(run, "tree")); err != nil || tree != j.inode {
		return errors.Join(err, s.finishPlace(key, j))
	}
	changes, err := readRecords(filepath.Join(run, "changes"))
	if err != nil {
		return err
	}
	dirs, err := readRecords(filepath.Join(run, "dirs"))
	if err != nil {
		return err
	}
	_, err = s.move(ctx, key, j, newMover(run, j.live, changes, dirs))
	return err
}

// move is steps 2 and 3, whether for the first time or again after a death in the middle.
func (s *Side) move(ctx context.Context, key string, j journal, m *mover) (held time.Duration, err error) {
	if err := m.bring(); err != nil {
		return 0, err
	}
	if m.log {
		held, err = underEvents(ctx, j.live, eventsPatience, func() error { return m.bringLog(*j.place) })
		if err != nil {
			return held, err
		}
	}
	if err := m.clear(); err != nil {
		return held, err
	}
	if err := flushFS(j.live); err != nil {
		return held, err
	}
	if err := dropEmptyDirs(m.tree); err != nil {
		return held, err
	}
	return held, s.finishPlace(key, j)
}

// finishPlace makes a generation of what was replaced.
func (s *Side) finishPlace(key string, j journal) error {
	run := s.runPath(key, j.run)
	if !j.keep {
		return s.remove(run)
	}
	old, tree := filepath.Join(run, "old"), filepath.Join(run, "tree")
	if err := renameNew(old, tree); IgnoreMissing(err) != nil {
		return err
	}
	if err := errors.Join(s.remove(filepath.Join(run, "copies")), s.remove(filepath.Join(run, "dirs")), s.makeState("generations", key)); err != nil {
		return err
	}
	if err := renameNew(run, filepath.Join(s.generationsPath(key), j.run)); err != nil {
		return err
	}
	return syncDirs(s.stagePath(key), s.generationsPath(key))
}

// mover brings the entries of a stage into live, one by one, each by rename(2). What it has done it does not do again.
type mover struct {
	run, live, tree, old string
	first                []string // what lies beside a database: it goes before the database is another one
	order                []string // what comes in: added, replaced, the primary
	log                  bool     // the log is among the changes
	gone                 []string // what goes
	dirs                 []remote.Change
	moved                bool // something of live was touched
}

func newMover(run, live string, changes, dirs []remote.Change) *mover {
	m := &mover{run: run, live: live, tree: filepath.Join(run, "tree"), old: filepath.Join(run, "old"), dirs: dirs}
	var replaced, last []string
	for _, c := range changes {
		if c.Kind != 'A' && verify.Database(c.Path) != c.Path {
			m.first = append(m.first, c.Path)
		}
		switch {
		case c.Path == eventsLog:
			m.log = true
		case c.Kind == 'D':
			m.gone = append(m.gone, c.Path)
		case c.Path == primary:
			last = append(last, c.Path)
		case c.Kind == 'A':
			m.order = append(m.order, c.Path)
		default:
			replaced = append(replaced, c.Path)
		}
	}
	m.order = slices.Concat(m.order, replaced, last)
	return m
}

// permitted refuses, before anything moves, what would fail half-way for want of permission.
func (m *mover) permitted() error {
	seen := map[string]bool{}
	for _, file := range slices.Concat(m.order, m.gone) {
		dir := existing(filepath.Dir(filepath.Join(m.live, file)))
		if seen[dir] {
			continue
		}
		seen[dir] = true
		st, err := stat(dir)
		if err != nil {
			return err
		}
		if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil && int(st.Uid) != os.Geteuid() {
			return &fs.PathError{Op: "write to", Path: dir, Err: err}
		}
	}
	return movable(m.live, m.touched())
}

func (m *mover) bring() error {
	for _, file := range m.first {
		if err := m.drop(file); err != nil {
			return err
		}
	}
	for _, file := range m.order {
		if err := m.put(file); err != nil {
			return err
		}
	}
	for _, d := range m.dirs {
		if d.Kind == 'A' {
			if err := m.put(d.Path); err != nil {
				return err
			}
		}
	}
	return nil
}

// put brings a file or an empty directory in. A directory that live lacks comes as a whole.
func (m *mover) put(file string) error {
	from, to := filepath.Join(m.tree, file), filepath.Join(m.live, file)
	st, err := lstat(from)
	if err != nil { // it is there, or went with its directory
		return IgnoreMissing(err)
	}
	for i, c := range file {
		if c != '/' {
			continue
		}
		dir := file[:i]
		switch there, err := m.enterable(dir); {
		case err != nil:
			return err
		case !there:
			err := m.rename(filepath.Join(m.tree, dir), filepath.Join(m.live, dir))
			if err == nil || !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrExist) { // else another program made it
				return err
			}
		}
	}
	if !isDir(st) {
		if added, err := m.add(from, to); added || err != nil {
			return err
		}
	}
	live, err := lstat(to)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case isDir(st) && isDir(live):
		return nil
	case isDir(st) || isDir(live):
		err = m.aside(file)
	default:
		err = m.save(file)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return m.rename(from, to)
}

// add brings a file in that live lacks, by a second name: rename(2) would replace what another program makes there in the
// same moment. It reports whether that is done, also by a run that died then.
func (m *mover) add(from, to string) (bool, error) {
	err := inWritable(filepath.Dir(to), func() error { return link(from, to) })
	if errors.Is(err, fs.ErrExist) {
		a, aerr := inodeOf(from)
		b, berr := inodeOf(to)
		if err = errors.Join(aerr, berr); err != nil || a != b {
			return false, err
		}
	}
	if err != nil { // there are no second names
		return false, nil
	}
	m.moved = true
	return true, inWritable(filepath.Dir(from), func() error { return os.Remove(from) })
}

// enterable: a file in the place of a directory makes way.
func (m *mover) enterable(dir string) (bool, error) {
	st, err := lstat(filepath.Join(m.live, dir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil || isDir(st):
		return err == nil, err
	}
	return false, m.aside(dir)
}

// save gives what live has under a name a second one in old. Where that was done before and another program has put
// something else there since, it gets its own place.
func (m *mover) save(file string) error {
	from := filepath.Join(m.live, file)
	for n := 0; ; n++ {
		to := m.place(n, file)
		st, err := lstat(to)
		if errors.Is(err, fs.ErrNotExist) {
			if err := m.makeDirs(n, path.Dir(file)); err != nil {
				return err
			}
			return m.second(from, to)
		}
		live, lerr := lstat(from)
		if err := errors.Join(err, lerr); err != nil || sameVersion(st, live) {
			return err
		}
	}
}

// sameVersion: one file, or a copy of it.
func sameVersion(a, b unix.Stat_t) bool {
	return a.Dev == b.Dev && a.Ino == b.Ino || a.Size == b.Size && a.Mtim == b.Mtim
}

// place is where the nth version goes that others had under a name.
func (m *mover) place(n int, file string) string {
	if n == 0 {
		return filepath.Join(m.old, file)
	}
	return filepath.Join(m.run, LatePrefix+fmt.Sprint(n), file)
}

// LatePrefix begins the names of directories of a run that hold what others put in the place of what was replaced.
const LatePrefix = "late."

// aside moves what live has under a name out of the way.
func (m *mover) aside(file string) error {
	n := 0
	for ; ; n++ {
		if _, err := os.Lstat(m.place(n, file)); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return err
		}
	}
	if err := m.makeDirs(n, path.Dir(file)); err != nil {
		return err
	}
	return m.rename(filepath.Join(m.live, file), m.place(n, file))
}

// second is a second name or, where there is none to be had, a copy.
func (m *mover) second(from, to string) error {
	err := link(from, to)
	if !unlinkable(err) {
		return err
	}
	aside := filepath.Join(m.run, "aside")
	if err := os.Remove(aside); IgnoreMissing(err) != nil {
		return err
	}
	if err := copyFile(from, aside); err != nil {
		return err
	}
	return os.Rename(aside, to)
}

// makeDirs makes directories in old as they are in live.
func (m *mover) makeDirs(n int, dir string) error {
	to := m.place(n, dir)
	if _, err := os.Lstat(to); err == nil {
		return nil
	}
	if dir != "." {
		if err := m.makeDirs(n, path.Dir(dir)); err != nil {
			return err
		}
	}
	if err := os.Mkdir(to, 0o777); err != nil {
		return err
	}
	st, err := stat(filepath.Join(m.live, dir))
	if err != nil {
		return IgnoreMissing(err)
	}
	return giveDir(to, uint32(st.Mode)|0o700, st.Gid)
}

// rename is rename(2), also in directories that their owner may not write to.
func (m *mover) rename(from, to string) error {
	err := inWritable(filepath.Dir(from), func() error {
		return inWritable(filepath.Dir(to), func() error {
			if err := unix.Rename(from, to); err != nil {
				return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
			}
			return nil
		})
	})
	m.moved = m.moved || err == nil
	return err
}

// bringLog is done under the lock of the events. What live's log has got since it was listed follows the staged one; a
// staged log that was written to before a death is cut back first.
func (m *mover) bringLog(p placement) error {
	log, staged, old := filepath.Join(m.live, eventsLog), filepath.Join(m.tree, eventsLog), filepath.Join(m.old, eventsLog)
	taken := p.listed
	if _, err := os.Lstat(staged); err == nil {
		if sizeOf(staged) > p.staged {
			if err := os.Truncate(staged, p.staged); err != nil {
				return err
			}
		}
		if p.listed >= 0 {
			if taken, err = followLog(log, p.listed, staged); err != nil {
				return err
			}
		}
		if err := m.put(eventsLog); err != nil {
			return err
		}
	} else if p.staged >= 0 {
		return nil // it is there
	} else if err := m.drop(eventsLog); err != nil {
		return err
	}
	if p.listed < 0 {
		return nil
	}
	_, err := followLog(old, taken, log) // of who took no lock
	return err
}

// drop moves what goes to old, once.
func (m *mover) drop(file string) error {
	if _, err := os.Lstat(filepath.Join(m.old, file)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Lstat(filepath.Join(m.live, file)); err != nil {
		if errors.Is(err, unix.ENOTDIR) { // its directory has become a file
			return nil
		}
		return IgnoreMissing(err)
	}
	return m.aside(file)
}

// clear moves out what goes, and the directories that are empty by then.
func (m *mover) clear() error {
	for _, file := range m.gone {
		if err := m.drop(file); err != nil {
			return err
		}
	}
	for _, d := range slices.Backward(m.dirs) {
		if d.Kind != 'D' {
			continue
		}
		dir := filepath.Join(m.live, d.Path)
		st, err := lstat(dir)
		if err != nil || !isDir(st) {
			continue
		}
		err = inWritable(filepath.Dir(dir), func() error { return unix.Rmdir(dir) })
		switch {
		case err == nil:
			err = m.makeDirs(0, d.Path)
		case errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist):
			err = nil
		}
		if err != nil {
			return fmt.Errorf("cannot remove the directory %s: %w", dir, err)
		}
	}
	return nil
}

// dropEmptyDirs removes a tree of directories. It is an error if there is anything else.
func dropEmptyDirs(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return IgnoreMissing(err)
	}
	for _, e := range entries {
		if err := dropEmptyDirs(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return os.Remove(dir)
}

func sizeOf(file string) int64 {
	st, err := lstat(file)
	if err != nil {
		return -1
	}
	return st.Size
}

// records is the text of the files changes and dirs.
func records(changes []remote.Change) string {
	var b strings.Builder
	for _, c := range changes {
		b.WriteByte(c.Kind)
		b.WriteString(" " + c.Path + "\x00")
	}
	return b.String()
}

// ParseRecords reads the file changes of a generation: what its promotion added, replaced and deleted.
func ParseRecords(text string) (found []remote.Change, err error) {
	for record := range strings.SplitSeq(strings.TrimSuffix(text, "\x00"), "\x00") {
		switch {
		case record == "":
		case len(record) < 3 || record[1] != ' ' || !strings.Contains("AMD", record[:1]) || !filepath.IsLocal(record[2:]):
			return nil, fmt.Errorf("%q is no change", record)
		default:
			found = append(found, remote.Change{Kind: record[0], Path: record[2:]})
		}
	}
	return found, nil
}

func readRecords(file string) ([]remote.Change, error) {
	f, err := Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	found, err := ParseRecords(string(text))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", file, err)
	}
	return found, nil
}
