package sync

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
)

// Undo puts back the generation that the last promotion replaced: on the remote if the pair has one, else
// locally. It is a transfer whose source is the kept tree, so that the tree it replaces becomes a generation:
// undoing twice is doing again.
func (p *Pair) Undo(ctx context.Context, id string, m Modes) (*Report, error) {
	m.Primary, m.Sidecars, m.ContentHashes = ByHash, true, true
	m.PrimaryOnly, m.SkipSnapshots = false, false
	d := Pull
	if p.remote != nil {
		d = Push
	}
	s, err := p.subject(id, d, m)
	if err != nil {
		return nil, err
	}
	if err := s.chooseHash(ctx); err != nil {
		return nil, err
	}
	u := &undo{transfer: &transfer{subject: s, run: newRun(p.o.Now())}, side: p.local}
	if d == Push {
		u.side = p.remote
	}
	return u.do(ctx)
}

// undo is a transfer from a generation.
type undo struct {
	*transfer
	side side
	old  *snapshot // the kept tree
	info generationInfo
}

func (u *undo) do(ctx context.Context) (r *Report, err error) {
	if err := u.findGeneration(ctx); err != nil {
		return nil, err
	}
	plan, err := u.plan(ctx)
	if err != nil {
		return nil, err
	}
	if err := plan.room(0, 0); err != nil {
		return nil, err
	}
	if r, err = u.report(ctx, plan, DryRun); err != nil {
		return nil, err
	}
	if u.modes.DryRun {
		return u.finish(r), nil
	}
	if u.modes.Confirm != nil {
		if err := u.modes.Confirm(r); err != nil {
			return nil, err
		}
	}
	defer func() { u.leave(ctx, u.side, err) }()
	stale, err := u.take(ctx, u.side)
	if err != nil {
		return nil, err
	}
	if stale {
		if err := u.findGeneration(ctx); err != nil {
			return nil, err
		}
	}
	if err := u.o.Observe.step(StepLock, func() error { return u.lockBoth(ctx) }); err != nil {
		return nil, err
	}
	if plan, err = u.plan(ctx); err != nil {
		return nil, err
	}
	return u.carryOut(ctx, plan)
}

// carryOut stages the kept tree and switches to it, under the lock.
func (u *undo) carryOut(ctx context.Context, p *plan) (*Report, error) {
	if err := u.fill(ctx, p); err != nil {
		return nil, err
	}
	if err := u.complete(ctx, p); err != nil {
		return nil, err
	}
	r, err := u.report(ctx, p, Transferred)
	if err != nil {
		return nil, err
	}
	after := u.after
	info := u.generationInfo(p, after, "undo")
	info.Remote = u.info.Remote
	swap, err := u.baseIsOf(u.info)
	if err != nil {
		return nil, err
	}
	if swap {
		info.Base = u.run
		if err := u.store.putPrevious(u.id, u.info.Remote, u.run, u.direction); err != nil {
			return nil, err
		}
	}
	err = u.switchTrees(ctx, p, info, func() error {
		if !swap {
			return nil
		}
		return u.store.settlePending(u.id, u.info.Remote, u.run, true)
	})
	if err != nil {
		return nil, err
	}
	r.Generation = u.run
	r.Print = Sides[string]{Local: fingerprint(after)}
	if u.direction == Push {
		r.Print = Sides[string]{Remote: fingerprint(after)}
	}
	if err := u.side.Remove(ctx, path.Dir(u.old.survey.Live)); err != nil { // it is live now
		return nil, err
	}
	if err := u.settle(ctx, p, after); err != nil {
		return nil, err
	}
	return u.conclude(r)
}

// report tells the tree before the undo as the local one and the kept tree as the remote one, on either side.
func (u *undo) report(ctx context.Context, p *plan, state State) (*Report, error) {
	known := u.known
	defer func() { u.known = known }()
	u.known = view{local: p.dst, remote: p.src}
	r := u.subject.report(p, "undo", state)
	err := u.describeTables(ctx, r)
	r.Relation = ""
	return r, err
}

// baseIsOf tells whether the common base is still the one that the promotion to be undone recorded, so that the
// base before it holds again afterwards.
func (u *undo) baseIsOf(info generationInfo) (bool, error) {
	if info.Remote == "" {
		return false, nil
	}
	b, err := u.store.base(u.id, info.Remote, u.algorithm)
	if err != nil {
		return false, err
	}
	return (b == nil && info.Base == "") || (b != nil && b.Run == info.Base), nil
}

// findGeneration reads the newest kept tree in full and holds it against what it was when it was kept.
func (u *undo) findGeneration(ctx context.Context) error {
	live, err := u.lookAt(ctx, u.side, u.id, nil)
	if err != nil {
		return err
	}
	if live.survey.Journal {
		if _, err := u.recoverSide(ctx, u.side); err != nil {
			return err
		}
	}
	kept, err := u.side.Generations(ctx, u.key)
	if err != nil {
		return err
	}
	if len(kept) == 0 {
		return &NothingToUndoError{Side: u.side.Name(), Dataset: u.id}
	}
	gen := kept[0]
	u.keep = len(kept) // the one that is put back makes room for the tree that it replaces
	u.info = generationInfo{}
	if err := json.Unmarshal([]byte(gen.Info), &u.info); err != nil {
		return fmt.Errorf("cannot read what the generation %s on %s says of itself: %w", gen.Run, u.side.Name(), err)
	}
	if err := u.useHash(ctx, u.info.Hash); err != nil {
		return err
	}
	entries, err := listTree(ctx, u.side, gen.Tree)
	if err != nil {
		return err
	}
	u.old = &snapshot{side: u.side, survey: &survey{Live: gen.Tree, Exists: true, EventLines: -1}, kept: true}
	u.old.sort(entries, u.classes)
	u.old.carry = nil
	if err := u.hash(ctx, u.old, unknown(u.old.files), u.algorithm); err != nil {
		return err
	}
	if u.info.Before != "" && u.info.Hash == u.algorithm && fingerprint(u.old.files) != u.info.Before && !u.modes.Force {
		return &MismatchError{Paths: []string{gen.Tree}}
	}
	return nil
}

// useHash settles on the algorithm of the generation's own fingerprints, where the side has it.
func (u *undo) useHash(ctx context.Context, algorithm string) error {
	theirs, err := u.side.Algorithms(ctx)
	if err == nil && slices.Contains(theirs, algorithm) {
		u.algorithm = algorithm
	}
	return err
}

// plan compares live with the kept tree. A live tree that is not what the promotion left is refused.
func (u *undo) plan(ctx context.Context) (*plan, error) {
	live, err := u.lookAt(ctx, u.side, u.id, nil)
	if err != nil {
		return nil, err
	}
	cached := u.remoteName()
	if !u.modes.Rehash {
		u.store.learn(live, u.id, cached, u.algorithm)
	}
	if before := u.live(); before != nil {
		live.files.LearnSettled(before.files, before.survey.Now)
	}
	if err := u.hash(ctx, live, unknown(live.files), u.algorithm); err != nil {
		return nil, err
	}
	u.known = view{local: live, remote: u.old}
	if u.direction == Push {
		u.known = view{local: u.old, remote: live}
	}
	if !u.modes.Force && u.changedSince(live) {
		return nil, &NothingToUndoError{Side: u.side.Name(), Dataset: u.id, Changed: true}
	}
	return makePlan(u.known, u.direction, history{}, u.modes), nil
}

// changedSince tells whether live is no longer what the promotion left. Where content does not speak, because a
// partial transfer did not read all of it or another hash was in use, sizes and time stamps do.
func (u *undo) changedSince(live *snapshot) bool {
	switch {
	case u.info.After != "" && u.info.Hash == u.algorithm:
		return fingerprint(live.files) != u.info.After
	case u.info.Stamps != "":
		return stamps(live.files) != u.info.Stamps
	}
	return false
}

func (u *undo) live() *snapshot {
	_, dst := u.known.ends(u.direction)
	return dst
}

// fill brings the kept tree's files into the stage: by link, but for those that writers change in place, which
// must not be shared between live and what will be a generation again.
func (u *undo) fill(ctx context.Context, p *plan) error {
	u.stage = &stage{run: u.run, tree: statePath(u.side, "stage", u.key, u.run, "tree")}
	if err := u.side.Stage(ctx, u.key, u.run, p.dst.survey.Live); err != nil {
		return err
	}
	var links, copies []string
	for _, e := range p.copy {
		if e.Class.InPlace() {
			copies = append(copies, e.Path)
		} else {
			links = append(links, e.Path)
		}
	}
	if err := u.side.Link(ctx, u.old.survey.Live, u.stage.tree, append(links, p.newDirs...)); err != nil {
		return err
	}
	if err := u.side.Copy(ctx, u.old.survey.Live, u.stage.tree, copies); err != nil {
		return err
	}
	if err := u.listStage(ctx, p, arrivals{}); err != nil {
		return err
	}
	if lacking := u.missing(p); len(lacking) > 0 {
		return &MismatchError{Paths: pathsOf(lacking)}
	}
	return nil
}
