package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dnadesign-maintainers/usr/remote"
)

// journal is what S/journal/KEY says about a promotion that was begun.
type journal struct {
	run, live string
	inode     uint64 // of the staged tree
	replaces  bool   // live existed
	keep      bool
	place     *placement // nil for an exchange
}

// placement is what a journal says about a switch in place.
type placement struct {
	listed int64 // size of the log of live when it was listed; negative: what it gained since stays behind
	staged int64 // size of the staged log; negative if there is none
}

func (j journal) String() string {
	bit := map[bool]int{true: 1}
	if j.place != nil { // earlier versions, which would go back, cannot read it
		return fmt.Sprintf("way=place\nrun=%s\nlive=%s\ntree=%d\nlisted=%d\nstaged=%d\nkeep=%d\n", j.run, j.live, j.inode, j.place.listed, j.place.staged, bit[j.keep])
	}
	return fmt.Sprintf("run=%s\nlive=%s\ninode=%d\nreplaces=%d\nkeep=%d\n", j.run, j.live, j.inode, bit[j.replaces], bit[j.keep])
}

func parseJournal(text string) (j journal, err error) {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		values[name] = value
	}
	j.run, j.live = values["run"], values["live"]
	j.replaces, j.keep = values["replaces"] == "1", values["keep"] == "1"
	if values["way"] == "place" {
		j.place = &placement{}
		_, err = fmt.Sscan(values["listed"]+" "+values["staged"], &j.place.listed, &j.place.staged)
		values["inode"], values["replaces"], j.replaces = values["tree"], "1", true
	}
	var nerr error
	j.inode, nerr = strconv.ParseUint(values["inode"], 10, 64)
	if err != nil || nerr != nil || checkName(j.run) != nil || !filepath.IsAbs(j.live) || values["replaces"] == "" || values["keep"] == "" {
		return j, errors.New("the journal is damaged")
	}
	return j, nil
}

func (s *Side) writeJournal(key string, j journal) error {
	if strings.Contains(j.live, "\n") {
		return fmt.Errorf("the path %q holds a newline", j.live)
	}
	return writeDurably(s.journalPath(key), j.String())
}

func (s *Side) dropJournal(key string) error {
	return s.inState(func(dir ownDir) error {
		if err := dir.Remove(key); err != nil {
			return IgnoreMissing(err)
		}
		return syncDirs(dir.path)
	}, "journal")
}

func (s *Side) Recover(ctx context.Context, key string) (remote.Recovered, error) {
	err := errors.Join(ctx.Err(), s.needClaim(key))
	var r remote.Recovered
	if err == nil {
		r, err = s.recover(ctx, key)
	}
	if err == nil {
		err = s.heal(key)
	}
	if err != nil {
		return r, lockError("recover "+key+" on "+s.name, err)
	}
	return r, nil
}

func (s *Side) recover(ctx context.Context, key string) (remote.Recovered, error) {
	text, err := Read(s.journalPath(key))
	if err != nil {
		return remote.Recovered{}, IgnoreMissing(err)
	}
	j, err := parseJournal(string(text))
	if err != nil {
		return remote.Recovered{}, fmt.Errorf("%s: %w", s.journalPath(key), err)
	}
	r := remote.Recovered{Run: j.run}
	if err := IgnoreMissing(s.sound(s.runPath(key, j.run))); err != nil {
		return r, err
	}
	if j.place != nil {
		r.Forward = true
		return r, errors.Join(s.lone(key, j.run), s.rollForward(ctx, key, j))
	}
	if r.Forward, err = s.restore(key, j); err != nil {
		return r, err
	}
	if r.Forward {
		return r, errors.Join(s.lone(key, j.run), s.finish(key, j))
	}
	return r, s.dropJournal(key)
}

// lone: after a death nobody looks any more for what was late, so all that is kept counts as unique.
func (s *Side) lone(key, run string) error {
	forget := func(dir ownDir) error { return dir.erase("unique") }
	return errors.Join(s.inState(forget, "stage", key, run), s.inState(forget, "generations", key, run))
}

// restore sees to it that there is a live tree, if there was one, and says whether it is the new one. The old tree is aside
// only where an earlier version made two renames of a switch.
func (s *Side) restore(key string, j journal) (forward bool, err error) {
	run := s.runPath(key, j.run)
	now, lerr := inodeOf(j.live)
	tree, terr := inodeOf(filepath.Join(run, "tree"))
	old, oerr := inodeOf(filepath.Join(run, "old"))
	if err := errors.Join(lerr, terr, oerr); err != nil {
		return false, err
	}
	switch {
	case now == j.inode:
		return true, nil
	case now != 0 && old != 0: // another dataset was made between the two renames
		return false, s.keepOld(key, j.run)
	case now != 0 || !j.replaces:
		return false, nil
	case tree == j.inode:
		return true, moveDurably(filepath.Join(run, "tree"), j.live)
	case old != 0:
		return false, moveDurably(filepath.Join(run, "old"), j.live)
	case tree != 0: // exchanged, and then the new tree was deleted
		if st, err := lstat(filepath.Join(run, "tree", remote.LockFile)); err == nil && uint32(st.Mode)&unix.S_IFMT == unix.S_IFLNK {
			if err := drop(filepath.Join(run, "tree"), remote.LockFile); err != nil {
				return false, err
			}
		}
		return false, moveDurably(filepath.Join(run, "tree"), j.live)
	}
	return false, nil
}

// keepOld makes a generation of the old tree; the new one stays behind as the stage of a dead run.
func (s *Side) keepOld(key, run string) error {
	if err := s.makeState("generations", key, run); err != nil {
		return err
	}
	dir := filepath.Join(s.generationsPath(key), run)
	if err := os.Rename(filepath.Join(s.runPath(key, run), "info"), filepath.Join(dir, "info")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := moveDurably(filepath.Join(s.runPath(key, run), "old"), filepath.Join(dir, "tree")); err != nil {
		return err
	}
	return dropLockFiles(filepath.Join(dir, "tree"))
}

func moveDurably(from, to string) error {
	if err := renameNew(from, to); err != nil {
		return err
	}
	return syncDirs(filepath.Dir(to), filepath.Dir(from))
}

func (s *Side) Settle(ctx context.Context, key string, keep int, spared ...string) error {
	err := errors.Join(ctx.Err(), s.needClaim(key))
	if err == nil {
		err = s.dropJournal(key)
	}
	if err == nil {
		err = s.prune(key, keep, spared)
	}
	if err != nil {
		return fmt.Errorf("cannot settle %s on %s: %w", key, s.name, err)
	}
	return nil
}

// prune removes the oldest generations but for the spared ones, and remains of earlier prunings.
func (s *Side) prune(key string, keep int, spared []string) error {
	err := s.inState(func(dir ownDir) error {
		whole, err := dir.generations()
		if err != nil {
			return err
		}
		whole = slices.DeleteFunc(whole, func(run string) bool { return slices.Contains(spared, run) })
		kept := append(whole[max(0, len(whole)-max(0, keep)):], spared...)
		runs, err := dir.subdirs(IsRun)
		for _, run := range runs {
			if !slices.Contains(kept, run) {
				err = errors.Join(err, dir.dropRun(run))
			} else if own, eerr := dir.enter(run); eerr == nil { // what could not be removed when it was thinned
				_ = own.erase("gone")
				own.Close()
			}
		}
		return err
	}, "generations", key)
	for _, path := range [][]string{{"stage", key, "partial"}, {"stage", key}, {"generations", key}} {
		last := len(path) - 1
		err = errors.Join(err, s.inState(func(dir ownDir) error { dir.Remove(path[last]); return nil }, path[:last]...))
	}
	return err
}

// generations are the names of the whole generations in d, oldest first.
func (d ownDir) generations() ([]string, error) {
	return d.subdirs(func(run string) bool { return d.has(run, "tree") })
}

// has reports whether a run has a directory of this name.
func (d ownDir) has(run, name string) bool {
	fi, err := d.Lstat(filepath.Join(run, name))
	return err == nil && fi.IsDir() && IsRun(run)
}

func (s *Side) Generations(ctx context.Context, key string) ([]remote.Generation, error) {
	var found []remote.Generation
	err := s.inState(func(dir ownDir) error {
		runs, err := dir.subdirs(func(run string) bool { return dir.has(run, "tree") || dir.has(run, "only") })
		for _, run := range slices.Backward(runs) {
			g := remote.Generation{Run: run, Tree: filepath.Join(dir.path, run, "only"), Whole: dir.has(run, "tree")}
			if g.Whole {
				g.Tree = filepath.Join(dir.path, run, "tree")
			}
			if err == nil {
				err = dir.describe(&g)
			}
			found = append(found, g)
		}
		return err
	}, "generations", key)
	if err = errors.Join(ctx.Err(), err); err != nil {
		return nil, fmt.Errorf("cannot list the generations of %s on %s: %w", key, s.name, err)
	}
	return found, nil
}

// describe reads what a generation says of itself.
func (d ownDir) describe(g *remote.Generation) error {
	dir := filepath.Join(d.path, g.Run)
	info, err := Read(filepath.Join(dir, "info"))
	if IgnoreMissing(err) != nil {
		return err
	}
	g.Info = strings.TrimSuffix(string(info), "\n")
	unique, err := Read(filepath.Join(dir, "unique"))
	if IgnoreMissing(err) != nil {
		return err
	}
	g.Unique = bytes.Count(unique, []byte{0})
	if err != nil {
		g.Unique = -1
	}
	late, err := Read(filepath.Join(dir, "lately"))
	g.Late = bytes.Count(late, []byte{0})
	return IgnoreMissing(err)
}
