package sync

import (
	"context"

	"github.com/dnadesign-maintainers/usr/verify"
)

// maxRounds is how often a source that moves under the lock is caught up with.
const maxRounds = 5

// lightRounds is the same for files that can be rebuilt.
const lightRounds = 3

// catchUp takes the locks and copies what moved since the pre-copy, until the stage holds exactly what the plan expects. It
// returns the plan made under the locks, and the listing of the stage if there is one and the stage has not changed since.
func (st *stage) catchUp(ctx context.Context, d deed, l *locks, agreed *consent) (p *plan, listed verify.Manifest, err error) {
	p = st.plan
	for round := 0; ; round++ {
		if err := st.o.Observe.step(StepLock, func() error { return l.extend(ctx, p) }); err != nil {
			return nil, nil, err
		}
		var lacking []*item
		err := st.o.Observe.step(StepCatchUp, func() (err error) {
			before := p
			if p, listed, err = st.lookAgain(ctx, d, p); err == nil && len(p.changes) > 0 {
				lacking, err = st.lacks(ctx, p, before, round)
			}
			return err
		})
		switch {
		case err != nil:
			return nil, nil, err
		case len(p.changes) == 0:
			return p, nil, nil
		case !st.asked.standing() && !agreed.covers(p.changes):
			return nil, nil, &widerError{}
		case l.lacks(p.dst):
			continue // the destination has appeared meanwhile
		case len(lacking) == 0:
			return p, listed, nil
		case round >= lightRounds && p.allLight(lacking):
			p.leave(pathsOf(entriesOf(lacking)))
			st.sayLeft(p)
			return p, nil, nil
		case round == maxRounds:
			return nil, nil, &MismatchError{Paths: pathsOf(entriesOf(lacking)), Moving: true, Databases: p.databases(lacking)}
		}
		if err := st.bring(ctx, p, lacking); err != nil {
			return nil, nil, err
		}
	}
}

// aheadOfTime is up to how many files two listings are made in parallel: beyond that it saves little and takes much memory.
const aheadOfTime = 50_000

// lookAgain plans anew and, if the stage is likely to be all of the new tree, lists it in parallel.
func (st *stage) lookAgain(ctx context.Context, d deed, before *plan) (p *plan, listed verify.Manifest, err error) {
	var v view
	err = together(
		func() (err error) { v, err = d.look(ctx, before.view); return err },
		func() (err error) {
			if !before.dst.survey.Exists && len(st.files) < aheadOfTime {
				listed, err = listTree(ctx, st.dst, st.tree)
			}
			return err
		})
	if err != nil {
		return nil, nil, err
	}
	if p, err = st.planned(ctx, d, v); err == nil {
		st.distrust(p)
	}
	return p, listed, err
}

// lacks returns what the stage lacks of a plan made under the locks.
func (st *stage) lacks(ctx context.Context, p, before *plan, round int) ([]*item, error) {
	if err := st.hashSource(ctx, p, p.arriving()); err != nil {
		return nil, err
	}
	if err := st.acceptLog(ctx, p, round); err != nil {
		return nil, err
	}
	if err := st.acceptMerge(ctx, p, before, round); err != nil {
		return nil, err
	}
	lacking := st.missing(p)
	if wrong, err := st.wrong(ctx, p, lacking, before.src); err != nil {
		return nil, err
	} else if len(wrong) > 0 {
		return nil, &MismatchError{Paths: wrong}
	}
	if torn, err := st.tornLog(ctx, p, before.src); err != nil || torn != nil {
		return append(lacking, torn), err
	}
	return lacking, nil
}

func pathsOf(entries []*verify.Entry) []string {
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = e.Path
	}
	return out
}
