package sync

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/dnadesign-maintainers/usr/verify"
)

func sorted(m verify.Manifest) verify.Manifest {
	slices.SortFunc(m, verify.ComparePaths)
	return m
}

// complete turns the stage into the whole new tree: what does not change is linked from live, what left the plan
// since it was copied is dropped; then every file is held against what it must be.
func (t *transfer) complete(ctx context.Context, p *plan) error {
	dst, live, tree := p.dst.side, p.dst.survey.Live, t.stage.tree
	if t.modes.all() && t.base != nil {
		t.base.Files = nil // nothing of it is to be carried over into the next base, and it may be long
	}
	if err := t.dropStale(ctx, p); err != nil {
		return err
	}
	if len(p.keep) > 0 {
		t.stage.listed = nil
	}
	err := t.o.Observe.step(StepLink, func() error {
		if err := dst.Link(ctx, live, tree, p.keep); err != nil {
			return err
		}
		return dst.Copy(ctx, live, statePath(dst, "stage", t.key, t.run, "copies"), t.unshared(p))
	})
	if errors.Is(err, fs.ErrNotExist) { // removed without the lock since it was listed
		return &movedError{paths: []string{err.Error()}}
	}
	if err != nil {
		return err
	}
	if err := t.o.Observe.step(StepVerify, func() error { return t.verify(ctx, p) }); err != nil {
		return err
	}
	return t.o.Observe.step(StepFlush, func() error { return dst.Flush(ctx, tree) })
}

// dropStale removes staged files that the source no longer has or that turned out to be equal.
func (t *transfer) dropStale(ctx context.Context, p *plan) error {
	var err error
	t.stage.files = slices.DeleteFunc(t.stage.files, func(e verify.Entry) bool {
		stale := p.copied(e.Path) == nil
		if stale && err == nil {
			t.stage.listed = nil
			err = p.dst.side.Remove(ctx, t.stage.tree+"/"+e.Path)
		}
		return stale
	})
	return err
}

// unshared lists the kept files that writers change in place: the generation gets copies of them, so that live
// keeps the inode and with it every writer that has the file open.
func (t *transfer) unshared(p *plan) []string {
	var paths []string
	for _, path := range p.keep {
		if e := p.dst.files.Find(path); e != nil && e.Class.InPlace() {
			paths = append(paths, path)
		}
	}
	return paths
}

// verify holds the complete stage against the source, file by file.
func (t *transfer) verify(ctx context.Context, p *plan) error {
	t.after = t.expected(p)
	found := proof{t: t, p: p, seen: make([]bool, len(t.after))}
	if err := t.walkStage(ctx, p, found.look); err != nil {
		return err
	}
	if err := found.verdict(); err != nil {
		return err
	}
	if err := t.verifyEvents(ctx, p); err != nil {
		return err
	}
	if err := t.verifyTable(ctx, p); err != nil {
		return err
	}
	return p.dst.side.SetDirs(ctx, t.stage.tree, dirsToMend(sorted(found.dirs), p.dst.dirs))
}

// walkStage tells what is in the stage, from the listing that was made of it if it still holds.
func (t *transfer) walkStage(ctx context.Context, p *plan, visit func(verify.Entry)) error {
	if t.stage.listed == nil {
		return p.dst.side.Walk(ctx, t.stage.tree, visit)
	}
	for _, e := range t.stage.listed {
		visit(e)
	}
	t.stage.listed = nil
	return nil
}

// proof holds what is found in the stage against what the new tree is to be.
type proof struct {
	t            *transfer
	p            *plan
	seen         []bool // of the new tree, by index
	dirs         verify.Manifest
	wrong, moved []string // moved are live's own files, which somebody wrote to without the lock
}

func (c *proof) look(f verify.Entry) {
	if f.Kind == verify.Directory {
		c.dirs = append(c.dirs, f)
		return
	}
	copied := c.p.copied(f.Path) != nil
	i, found := c.t.after.Index(f.Path)
	if found {
		c.seen[i] = true
	}
	switch {
	case found && f.Kind == verify.File && untouched(&f, &c.t.after[i]) && (!copied || f.Ctime == c.t.after[i].Ctime):
	case !copied && c.p.dst.files.Find(f.Path) != nil:
		c.moved = append(c.moved, f.Path)
	default:
		c.wrong = append(c.wrong, f.Path)
	}
}

func (c *proof) verdict() error {
	for i, seen := range c.seen {
		if !seen {
			c.wrong = append(c.wrong, c.t.after[i].Path)
		}
	}
	slices.Sort(c.wrong)
	slices.Sort(c.moved)
	if len(c.wrong) > 0 {
		return &MismatchError{Paths: c.wrong}
	}
	if len(c.moved) > 0 {
		return &movedError{paths: c.moved}
	}
	return nil
}

// expected is the new tree: copied files as they were proved in the stage, kept ones as they stand in live.
func (t *transfer) expected(p *plan) verify.Manifest {
	if len(p.keep) == 0 {
		return t.stage.files
	}
	want := slices.Clone(t.stage.files)
	for _, path := range p.keep {
		if e := p.dst.files.Find(path); e != nil {
			want = append(want, *e)
		}
	}
	return sorted(want)
}

// untouched tells whether an inode is still what it was. Linking moves the change time of a kept file, and
// nothing of ours writes to it, so its change time is left out; a copied file must show every stamp.
func untouched(f, w *verify.Entry) bool {
	return f.Dev == w.Dev && f.Ino == w.Ino && f.Size == w.Size && f.Mtime == w.Mtime
}

// dirsToMend lists directories of the new tree whose mode or group differs from that of the ones they replace.
func dirsToMend(fresh, live verify.Manifest) []verify.Entry {
	var out []verify.Entry
	verify.Join(fresh, live, func(f, l *verify.Entry) {
		if f != nil && l != nil && (f.Mode != l.Mode || f.Gid != l.Gid) {
			out = append(out, verify.Entry{Path: f.Path, Mode: l.Mode, Gid: l.Gid})
		}
	})
	return out
}

// verifyTable proves the staged primary by its footer, where the mode asks for that.
func (t *transfer) verifyTable(ctx context.Context, p *plan) error {
	if !slices.ContainsFunc(p.copy, func(e *verify.Entry) bool { return e.Path == primaryPath }) {
		return nil
	}
	return t.sameFooter(ctx, p.src, &snapshot{side: p.dst.side, survey: &survey{Live: t.stage.tree}, files: t.stage.files})
}

// generationInfo is what a kept tree says of itself, one line of JSON.
type generationInfo struct {
	Run     string    `json:"run"`
	Action  string    `json:"action"`
	Dataset string    `json:"dataset"`
	Remote  string    `json:"remote,omitempty"`
	Time    time.Time `json:"time"`
	Hash    string    `json:"hash"`               // algorithm of the digests in the fingerprints
	Before  string    `json:"fingerprint_before"` // of this tree; "" where not every digest was known
	After   string    `json:"fingerprint_after"`  // of the tree that replaced it, likewise
	Stamps  string    `json:"stamps_after"`       // the same by sizes and time stamps, which are always known
	Base    string    `json:"base,omitempty"`     // run of the common base once this tree was replaced
}

// stamps is a fingerprint by size and modification time.
func stamps(m verify.Manifest) string {
	sum := sha256.New()
	for i := range m {
		fmt.Fprintf(sum, "%d %d %s\x00", m[i].Size, m[i].Mtime, m[i].Path)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// promote switches the destination to the stage and records the success. Up to the switch nothing outside the state
// directory has changed; after it nothing can take it back but an undo.
func (t *transfer) promote(ctx context.Context, p *plan, r *Report) error {
	after := t.after
	name := t.remote.Name()
	if err := t.store.putPending(t.id, name, t.algorithm, t.nextBase(t.run, after)); err != nil {
		return err
	}
	info := t.generationInfo(p, after, r.Action)
	info.Remote, info.Base = name, t.run
	t.switched = r
	err := t.switchTrees(ctx, p, info, func() error { return t.store.settlePending(t.id, name, t.run, true) })
	if err != nil {
		return err
	}
	if p.dst.survey.Exists && t.o.KeepGenerations > 0 {
		r.Generation = t.run
	}
	r.Print = Sides[string]{Local: fingerprint(after), Remote: fingerprint(after)}
	if t.modes.PrimaryOnly || t.modes.SkipSnapshots {
		r.Print = t.partialPrints(p, after)
	}
	return t.settle(ctx, p, after)
}

func (t *transfer) generationInfo(p *plan, after verify.Manifest, action string) generationInfo {
	return generationInfo{Run: t.run, Action: action, Dataset: t.id, Time: t.o.Now().UTC(),
		Hash: t.algorithm, Before: fingerprint(p.dst.files), After: fingerprint(after), Stamps: stamps(after)}
}

// switchTrees promotes the stage, then carries in what a writer without a lock did meanwhile and lets record
// remember the success, before the journal goes.
func (t *transfer) switchTrees(ctx context.Context, p *plan, info generationInfo, record func() error) error {
	line, err := json.Marshal(info)
	if err != nil {
		return err
	}
	err = t.o.Observe.step(StepPromote, func() error {
		for _, s := range t.locks {
			if err := s.Locked(ctx); err != nil {
				return err
			}
		}
		t.claimed = false // from here on the stage may hold the old tree
		return t.swap(ctx, p, string(line))
	})
	if err != nil {
		return err
	}
	return t.o.Observe.step(StepRecord, func() error {
		t.carryIn(ctx, p)
		return record()
	})
}

// partialPrints: only the destination has the new tree, the source keeps what was out of scope.
func (t *transfer) partialPrints(p *plan, after verify.Manifest) Sides[string] {
	if t.direction == Push {
		return Sides[string]{Local: fingerprint(p.src.files), Remote: fingerprint(after)}
	}
	return Sides[string]{Local: fingerprint(after), Remote: fingerprint(p.src.files)}
}

// swap comes right after the fence: on a pull the source's lock was proved before the local exchange; on a push the
// exchange runs inside the very shell that holds the lock.
func (t *transfer) swap(ctx context.Context, p *plan, info string) error {
	return p.dst.side.Promote(ctx, promotion{
		Key: t.key, Run: t.run, Live: p.dst.survey.Live, Carry: p.dst.carry, Keep: true, Info: info,
		NoExchange: t.o.NoExchange,
	})
}

// settle ends the transaction: journal, surplus generations and stages go, and the inodes that live shares with
// them, whose change times that moved, are stamped anew under the lock.
func (t *transfer) settle(ctx context.Context, p *plan, after verify.Manifest) error {
	dst := p.dst.side
	p.dst.files = nil // the old tree is not asked for any more, and its listing may be long
	err := t.o.Observe.step(StepSettle, func() error {
		if err := dst.Settle(ctx, t.key, t.keep); err != nil {
			return err
		}
		t.claimed = true // there is no journal any more
		return dst.Remove(ctx, statePath(dst, "stage", t.key))
	})
	if err != nil {
		return err
	}
	return t.o.Observe.step(StepRestamp, func() error {
		fresh, err := t.stamped(ctx, p, after)
		if err != nil {
			return err
		}
		if t.direction == Pull {
			t.known.local = fresh
		} else {
			t.known.remote = fresh
		}
		t.rememberBoth()
		return nil
	})
}

// stamped is the new live tree with the stamps that it has now. Where nothing was kept no inode has got or lost a
// name since it was proved, so that it need not be listed once more.
func (t *transfer) stamped(ctx context.Context, p *plan, after verify.Manifest) (*snapshot, error) {
	provedAfter := p.dst.survey.Now
	if len(p.keep) == 0 && after.CountSettled(provedAfter) == len(after) {
		return &snapshot{side: p.dst.side, survey: &survey{Live: p.dst.survey.Live, Exists: true, Now: provedAfter}, files: after}, nil
	}
	fresh, err := t.lookAt(ctx, p.dst.side, t.id, nil)
	if err != nil {
		return nil, err
	}
	verify.Join(fresh.files, after, func(f, w *verify.Entry) {
		if f != nil && w != nil && untouched(f, w) {
			f.Digest = w.Digest
		}
	})
	return fresh, nil
}
