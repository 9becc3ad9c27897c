package sync

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/sync/local"
	"github.com/dnadesign-maintainers/usr/verify"
)

// Undo puts back the generation that the last promotion replaced: on the remote if the pair has one, else locally. It
// is the same transaction with the kept tree as the source, so that the tree it replaces becomes a generation: undoing
// twice is doing again.
func (p *Pair) Undo(ctx context.Context, id string, m Modes) (*Report, error) {
	m.Primary, m.Sidecars, m.ContentHashes = ByHash, true, true
	m.PrimaryOnly, m.SkipSnapshots = false, false
	c, err := p.begin(id, m)
	if err != nil {
		return nil, err
	}
	return c.retry(ctx, c.undoing)
}

// undoing is the deed of an undo.
func (c *command) undoing() deed {
	u := &undo{command: c, dst: c.local, direction: Pull}
	if c.remote != nil {
		u.dst, u.direction = c.remote, Push
	}
	return deed{action: "undo", dst: u.dst, look: u.look, decide: u.decide, pend: u.pend}
}

// undo is where a kept tree is put back.
type undo struct {
	*command
	dst       side
	direction Direction
}

// look shows live and the newest kept tree. What stayed in live is a part of that where the switch was in place.
func (u *undo) look(ctx context.Context, before view) (v view, err error) {
	old, known := before.ends(u.direction)
	first := old == nil
	if v.how = before.how; first {
		if v.how, err = u.method(ctx); err != nil {
			return v, err
		}
	}
	live, err := u.lookAt(ctx, u.dst, u.id, known)
	if err != nil {
		return v, err
	}
	if first {
		if old, err = u.lookBack(ctx, &v.how); err != nil {
			return v, err
		}
		if !u.asked.Rehash {
			u.store.learn(live, u.id, u.remoteName(), v.how.algorithm)
		}
	}
	if err := u.hash(ctx, live, unknown(live.files), v.how.algorithm); err != nil {
		return v, err
	}
	if old.part != nil {
		old = old.part.with(live, old)
	}
	v.local, v.remote = live, old
	if u.direction == Push {
		v.local, v.remote = old, live
	}
	if first {
		err = u.untouched(old, live, v.how.algorithm)
	}
	return v, err
}

// lookBack reads the newest kept tree in full. The method becomes that of the generation's own fingerprints, where the
// side has it.
func (u *undo) lookBack(ctx context.Context, how *method) (*snapshot, error) {
	kept, err := u.dst.Generations(ctx, u.key)
	if err != nil {
		return nil, err
	}
	if len(kept) == 0 {
		return nil, &NothingToUndoError{Side: u.dst.Name(), Dataset: u.id}
	}
	gen := kept[0]
	old := &snapshot{side: u.dst, survey: &remote.Survey{Live: gen.Tree, Exists: true, EventLines: -1}, kept: &generationInfo{}}
	if err := json.Unmarshal([]byte(gen.Info), old.kept); err != nil {
		return nil, fmt.Errorf("cannot read what the generation %s on %s records of itself: %w", gen.Run, u.dst.Name(), err)
	}
	old.kept.Run = gen.Run
	theirs, err := u.dst.Algorithms(ctx)
	if err != nil {
		return nil, err
	}
	if slices.Contains(theirs, old.kept.Hash) {
		how.algorithm = old.kept.Hash
	}
	entries, err := listTree(ctx, u.dst, gen.Tree)
	if err != nil {
		return nil, err
	}
	old.sort(entries, u.classes)
	old.carry = nil
	if err := u.hash(ctx, old, unknown(old.files), how.algorithm); err != nil || !old.kept.Partial {
		return old, err
	}
	changes, err := readChanges(ctx, u.dst, path.Join(path.Dir(gen.Tree), "changes"))
	if err != nil {
		return nil, fmt.Errorf("cannot read what the generation %s on %s replaced: %w", gen.Run, u.dst.Name(), err)
	}
	old.part = &replacedPart{files: old.files, dirs: old.dirs, added: map[string]bool{}}
	for _, c := range changes {
		if c.Kind == 'A' {
			old.part.added[c.Path] = true
		}
	}
	return old, nil
}

// untouched holds a kept tree against what it was when it was kept. Of one that is a part, live is the rest, which says
// nothing where it has changed since; decide refuses that.
func (u *undo) untouched(old, live *snapshot, algorithm string) error {
	was := old.kept.Before
	switch {
	case was == "" || old.kept.Hash != algorithm || u.asked.Force || fingerprint(old.files) == was:
		return nil
	case old.part != nil && old.kept.changedSince(live, algorithm):
		return nil
	}
	return &MismatchError{Paths: []string{old.survey.Live}}
}

// mostChanges is how many bytes the list of a generation's changes has at most: names of millions of files.
const mostChanges = 1 << 30

func readChanges(ctx context.Context, s side, file string) ([]remote.Change, error) {
	e, err := s.Stat(ctx, file)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(&rangeReader{ctx: ctx, side: s, file: file, end: min(e.Size, mostChanges)})
	if err != nil {
		return nil, err
	}
	return local.ParseRecords(string(text))
}

// replacedPart is a kept tree that holds only what a switch in place replaced.
type replacedPart struct {
	files, dirs verify.Manifest
	added       map[string]bool // files that the switch added
}

// with is the tree that was replaced: live without what was added, and with what was replaced.
func (k *replacedPart) with(live, old *snapshot) *snapshot {
	whole := *old
	whole.files = nil
	verify.Join(live.files, k.files, func(now, was *verify.Entry) {
		switch {
		case was != nil:
			whole.files = append(whole.files, *was)
		case !k.added[now.Path]:
			whole.files = append(whole.files, *now)
		}
	})
	whole.dirs = nil
	verify.Join(live.dirs, k.dirs, func(now, was *verify.Entry) {
		switch {
		case was != nil:
			whole.dirs = append(whole.dirs, *was)
		case hasFileBelow(whole.files, now.Path) || !hasFileBelow(live.files, now.Path):
			whole.dirs = append(whole.dirs, *now)
		}
	})
	return &whole
}

// decide plans to make live equal to the kept tree. A live tree that is not what the promotion left is refused.
func (u *undo) decide(_ context.Context, v view) (*plan, error) {
	p := &plan{view: v, direction: u.direction}
	p.src, p.dst = v.ends(u.direction)
	if !u.asked.Force && p.src.kept.changedSince(p.dst, v.how.algorithm) {
		return nil, &NothingToUndoError{Side: u.dst.Name(), Dataset: u.id, Changed: true}
	}
	p.compare(restore)
	for i := range p.items {
		if p.items[i].origin == restore {
			p.items[i].from = p.src.survey.Live
		}
	}
	p.spent = p.src.kept.Run
	return p, p.withinLimit("undo", v.how.modes)
}

// changedSince reports whether live is no longer what the promotion left. Where content does not speak, because a
// partial transfer did not read all of it or another hash was in use, sizes and time stamps do.
func (g *generationInfo) changedSince(live *snapshot, algorithm string) bool {
	switch {
	case g.After != "" && g.Hash == algorithm:
		return fingerprint(live.files) != g.After
	case g.Stamps != "":
		return stamps(live.files) != g.Stamps
	}
	return false
}

// pend: where the common base is still the one that the undone promotion recorded, the one before it holds again.
func (u *undo) pend(_ context.Context, t *proven) (pended bool, err error) {
	places, err := u.store.basesOf(u.id, t.plan.src.kept.Base)
	if err != nil {
		return false, err
	}
	before := previousSuffix
	if len(places) == 0 { // what was merged has been pushed since
		before = unmergedSuffix
		if places, err = u.store.unmergedBy(u.id, t.plan.src.kept.Base); err != nil {
			return false, err
		}
	}
	for _, place := range places {
		if err := u.store.putPrevious(u.id, place, before, t.run, u.direction); err != nil {
			return false, err
		}
	}
	return len(places) > 0, nil
}
