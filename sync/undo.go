package sync

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/dnadesign-maintainers/usr/remote"
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

// look shows live and the newest kept tree, which does not change between two looks.
func (u *undo) look(ctx context.Context, before view) (v view, err error) {
	old, known := before.ends(u.direction)
	if v.how = before.how; old == nil {
		if v.how, err = u.method(ctx); err != nil {
			return v, err
		}
	}
	live, err := u.lookAt(ctx, u.dst, u.id, known)
	if err != nil {
		return v, err
	}
	if old == nil {
		if old, err = u.lookBack(ctx, &v.how); err != nil {
			return v, err
		}
		if !u.asked.Rehash {
			u.store.learn(live, u.id, u.remoteName(), v.how.algorithm)
		}
	}
	v.local, v.remote = live, old
	if u.direction == Push {
		v.local, v.remote = old, live
	}
	return v, u.hash(ctx, live, unknown(live.files), v.how.algorithm)
}

// lookBack reads the newest kept tree in full and holds it against what it was when it was kept. The method becomes
// that of the generation's own fingerprints, where the side has it.
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
	if err := u.hash(ctx, old, unknown(old.files), how.algorithm); err != nil {
		return nil, err
	}
	if was := old.kept.Before; was != "" && old.kept.Hash == how.algorithm && fingerprint(old.files) != was && !u.asked.Force {
		return nil, &MismatchError{Paths: []string{gen.Tree}}
	}
	return old, nil
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
func (u *undo) pend(t *proven) (pended bool, err error) {
	places, err := u.store.basesOf(u.id, t.plan.src.kept.Base)
	if err != nil {
		return false, err
	}
	for _, place := range places {
		if err := u.store.putPrevious(u.id, place, t.run, u.direction); err != nil {
			return false, err
		}
	}
	return len(places) > 0, nil
}
