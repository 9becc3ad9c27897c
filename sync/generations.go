package sync

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/shell"
	"github.com/dnadesign-maintainers/usr/sync/local"
	"github.com/dnadesign-maintainers/usr/verify"
)

// Kept is a generation, or what else of a run lies in the state directory.
type Kept struct {
	Dataset     string
	Run         string
	Time        time.Time
	Action      string // what replaced it; "" of a stage, and where it is not recorded
	Forced      bool
	Late        int   // files that a writer without the lock left there
	Stage       bool  // it was put together, and not promoted
	Whole       bool  // the generation has all files
	Files       int   // that it has
	Bytes       int64 // that live does not share
	Unique      int   // files of which nothing else has the content
	UniqueBytes int64
	Until       time.Time // when it may go; zero if it stays as the newest do, until others come
}

// Kept lists the generations and leftover stages of a side, of one dataset or of all (""), newest first by dataset.
func (p *Pair) Kept(ctx context.Context, id string, ofRemote bool) ([]Kept, error) {
	var s side = p.local
	if ofRemote {
		s = p.remote
	}
	if id != "" {
		if err := CheckID(id); err != nil {
			return nil, err
		}
	}
	found := runsOf{}
	for _, where := range []string{"generations", "stage"} {
		if err := found.walk(ctx, s, where, id); err != nil {
			return nil, err
		}
	}
	var all []Kept
	for _, key := range found.keys() {
		c := p.beginAs(idOf(key, id), key, Modes{})
		rows, err := c.keptRows(ctx, s, found[key])
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	return all, nil
}

// runsOf are the entries in the directories of runs: by key, by place ("generations/RUN"), by path in it.
type runsOf map[string]map[string]verify.Manifest

func (r runsOf) keys() (keys []string) {
	for key := range r {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func (r runsOf) walk(ctx context.Context, s side, where, id string) error {
	dir, prefix := statePath(s, where), ""
	if id != "" {
		prefix = stateKey(id) + "/"
		dir += "/" + stateKey(id)
	}
	err := s.Walk(ctx, dir, func(e verify.Entry) {
		parts := strings.SplitN(prefix+e.Path, "/", 3)
		if len(parts) < 2 || !local.IsRun(parts[1]) {
			return
		}
		if r[parts[0]] == nil {
			r[parts[0]] = map[string]verify.Manifest{}
		}
		run := where + "/" + parts[1]
		if len(parts) == 3 && e.Kind == verify.File {
			e.Path = parts[2]
			r[parts[0]][run] = append(r[parts[0]][run], e)
		} else if r[parts[0]][run] == nil {
			r[parts[0]][run] = verify.Manifest{}
		}
	})
	return local.IgnoreMissing(err)
}

// idOf is the dataset of a key. Long ones end in a digest, and stay what they are.
func idOf(key, id string) string {
	if id != "" {
		return id
	}
	if id, err := url.PathUnescape(key); err == nil && stateKey(id) == key {
		return id
	}
	return key
}

// keptRows tells of each run what it holds.
func (c *command) keptRows(ctx context.Context, s side, runs map[string]verify.Manifest) (rows []Kept, err error) {
	live := map[[2]uint64]bool{}
	err = s.Walk(ctx, s.Root()+"/"+c.id, func(e verify.Entry) { live[[2]uint64{e.Dev, e.Ino}] = true })
	if local.IgnoreMissing(err) != nil {
		return nil, err
	}
	kept, err := s.Generations(ctx, c.key)
	if err != nil {
		return nil, err
	}
	ends := fates(kept, c.o.KeepGenerations, c.keepUnique, c.o.Now())
	for i, g := range kept {
		row, err := c.keptRow(ctx, s, g, ends[i], runs["generations/"+g.Run], live)
		if err != nil {
			return nil, err
		}
		delete(runs, "generations/"+g.Run)
		rows = append(rows, row)
	}
	for place, files := range runs { // dead runs, and what a removal that was cut short left
		row := Kept{Dataset: c.id, Run: filepath.Base(place), Stage: true}
		row.Time = infoOf(remote.Generation{Run: row.Run}).Time
		row.count(files, live)
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b Kept) int { return strings.Compare(b.Run, a.Run) })
	return rows, nil
}

func (c *command) keptRow(ctx context.Context, s side, g remote.Generation, end fate, files verify.Manifest, live map[[2]uint64]bool) (Kept, error) {
	info := infoOf(g)
	row := Kept{Dataset: c.id, Run: g.Run, Time: info.Time, Action: info.Action, Forced: info.Forced, Late: g.Late, Whole: g.Whole}
	row.count(files, live)
	unique, err := uniqueOf(ctx, s, g)
	if err != nil {
		return row, err
	}
	top := filepath.Base(g.Tree) + "/"
	for _, e := range files {
		file, inTree := strings.CutPrefix(e.Path, top)
		if !inTree || !c.classes.Class(file).Synced() {
			continue
		}
		row.Files++
		if unique == nil || unique[file] {
			row.Unique++
			row.UniqueBytes += e.Size
		}
	}
	if row.Unique > 0 || end != stays || !g.Whole {
		row.Until = info.Time.Add(c.keepUnique(info))
	}
	return row, nil
}

// count adds up what live does not share, each inode once.
func (k *Kept) count(files verify.Manifest, live map[[2]uint64]bool) {
	seen := map[[2]uint64]bool{}
	for i := range files {
		inode := [2]uint64{files[i].Dev, files[i].Ino}
		if !live[inode] && !seen[inode] {
			k.Bytes += files[i].Size
		}
		seen[inode] = true
		if k.Stage {
			k.Files++
		}
	}
}

// uniqueOf are the files that only a generation has; nil if all count as such.
func uniqueOf(ctx context.Context, s side, g remote.Generation) (map[string]bool, error) {
	if g.Unique < 0 {
		return nil, nil
	}
	unique := map[string]bool{}
	for _, name := range []string{"unique", "lately"} {
		text, err := readState(ctx, s, filepath.Dir(g.Tree)+"/"+name)
		if err != nil {
			return nil, err
		}
		for file := range strings.SplitSeq(string(text), "\x00") {
			unique[file] = true
		}
	}
	return unique, nil
}

// Pruning says which generations of a dataset go.
type Pruning struct {
	Run       string        // this one
	OlderThan time.Duration // else, if not 0, those that are older
	// Else all that nothing needs: what is unique stays, and dead runs' stages go.
}

// Takes reports whether a pruning removes a row, or thins it.
func (w Pruning) Takes(k Kept, now time.Time) bool {
	switch {
	case w.Run != "":
		return k.Run == w.Run
	case w.OlderThan > 0:
		return now.Sub(k.Time) >= w.OlderThan
	}
	return k.Stage || k.Unique == 0 && k.Late == 0 || k.Whole && k.Unique < k.Files
}

// Prune removes generations that were asked for. An earlier version's count as unique as a whole.
func (p *Pair) Prune(ctx context.Context, id string, ofRemote bool, w Pruning, timeout time.Duration) error {
	var s side = p.local
	if ofRemote {
		s = p.remote
	}
	if w.Run != "" && !local.IsRun(w.Run) {
		return &GenerationError{Run: w.Run, Is: NoGeneration}
	}
	c, err := p.begin(id, Modes{LockTimeout: timeout})
	if err != nil {
		return err
	}
	if _, err := c.takeSide(ctx, s); err != nil {
		return err
	}
	defer release(s)
	kept, err := s.Generations(ctx, c.key)
	if err != nil {
		return err
	}
	if w.Run != "" {
		if _, err := c.generation(ctx, s, kept, w.Run); err != nil {
			return err
		}
	}
	if err := c.carryOutFates(ctx, s, kept, w.fates(kept, c.o.Now())); err != nil || w.Run != "" {
		return err
	}
	if w.OlderThan > 0 {
		return nil
	}
	return errors.Join(s.Remove(ctx, statePath(s, "stage", c.key)), s.Remove(ctx, statePath(s, "spare", c.key)))
}

func (w Pruning) fates(kept []remote.Generation, now time.Time) []fate {
	out := make([]fate, len(kept))
	for i, g := range kept {
		switch {
		case w.Run != "" && g.Run == w.Run, w.OlderThan > 0 && now.Sub(infoOf(g).Time) >= w.OlderThan:
			out[i] = goes
		case w.Run == "" && w.OlderThan == 0:
			out[i] = fateOf(g, 0, 0, 0, 1)
		}
	}
	return out
}

// KeptPaths lists the paths that the generations of a dataset have, locally or on the remote.
func (p *Pair) KeptPaths(ctx context.Context, id string, ofRemote bool) (paths []string, err error) {
	var s side = p.local
	if ofRemote {
		s = p.remote
	}
	kept, err := s.Generations(ctx, stateKey(id))
	for _, g := range kept {
		werr := s.Walk(ctx, g.Tree, func(e verify.Entry) {
			if e.Kind == verify.File && p.classes.Class(e.Path).Synced() {
				paths = append(paths, e.Path)
			}
		})
		if werr != nil && !errors.Is(werr, fs.ErrNotExist) && !errors.Is(werr, os.ErrPermission) {
			return nil, werr
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), err
}

// nameKept has an error of a full disk name what is kept there for nothing but its own sake.
func (c *command) nameKept(ctx context.Context, s side, err error) error {
	var full *SpaceError
	if !errors.As(err, &full) {
		return err
	}
	rows, kerr := c.Kept(ctx, c.id, s == c.remote)
	if kerr == nil {
		full.Kept = slices.DeleteFunc(rows, func(k Kept) bool { return k.Unique == 0 && !k.Stage })
	}
	return err
}

// Quota is how much of a file system a group may use.
type Quota = remote.Quota

// Quotas tells those of a side, as far as somebody there knows.
func (p *Pair) Quotas(ctx context.Context, ofRemote bool) []Quota {
	if there, over := p.remote.(*shell.Session); ofRemote && over {
		out, _ := there.Run(ctx, remote.QuotaScript)
		return remote.ParseQuotas(string(out))
	}
	out, _ := exec.CommandContext(ctx, "sh", "-c", remote.QuotaScript).Output()
	return remote.ParseQuotas(string(out))
}

// IsGeneration reports whether a word can be the name of a generation.
func IsGeneration(word string) bool { return local.IsRun(word) }
