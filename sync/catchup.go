package sync

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/dnadesign-maintainers/usr/verify"
)

// maxRounds is how often a source that moves under the lock is caught up with.
const maxRounds = 5

// catchUp takes the locks and copies what moved since the pre-copy, until the stage holds exactly what the source
// shows. The plan it returns was made under the locks.
func (t *transfer) catchUp(ctx context.Context) (*plan, error) {
	for round := 0; ; round++ {
		if err := t.o.Observe.step(StepLock, func() error { return t.lockBoth(ctx) }); err != nil {
			return nil, err
		}
		var p *plan
		var lacking []*verify.Entry
		err := t.o.Observe.step(StepCatchUp, func() (err error) { p, lacking, err = t.lookAgain(ctx, round); return err })
		if err != nil || len(p.changes) == 0 {
			return p, err
		}
		if t.mustLock(p.dst) {
			continue // the destination appeared meanwhile
		}
		if len(lacking) == 0 {
			return p, nil
		}
		if round == maxRounds {
			return nil, &MismatchError{Paths: pathsOf(lacking), Moving: true}
		}
		if err := t.bring(ctx, p, lacking, p.newDirs); err != nil {
			return nil, err
		}
	}
}

// lookAgain plans anew under the locks and says what the stage lacks.
func (t *transfer) lookAgain(ctx context.Context, round int) (*plan, []*verify.Entry, error) {
	before := t.known
	v, err := t.lookAndList(ctx, before)
	if err != nil {
		return nil, nil, err
	}
	p, err := t.compare(ctx, v)
	if err != nil {
		return nil, nil, err
	}
	if err := p.allowed(t.modes); err != nil || len(p.changes) == 0 {
		return p, nil, err
	}
	if err := t.hashSource(ctx, p, p.copy); err != nil {
		return nil, nil, err
	}
	if err := t.acceptLog(ctx, p, round); err != nil {
		return nil, nil, err
	}
	lacking := t.missing(p)
	copied, _ := before.ends(t.direction)
	if wrong, err := t.wrong(ctx, lacking, copied); err != nil {
		return nil, nil, err
	} else if len(wrong) > 0 {
		return nil, nil, &MismatchError{Paths: wrong}
	}
	if torn, err := t.tornLog(ctx, p, copied); err != nil || torn != nil {
		return p, append(lacking, torn), err
	}
	return p, lacking, nil
}

// aheadOfTime is up to how many files two listings are made at once: more would save little and take much memory.
const aheadOfTime = 50_000

// lookAndList looks at both sides and, where the stage is likely to be all of the new tree, lists it meanwhile.
func (t *transfer) lookAndList(ctx context.Context, before view) (v view, err error) {
	_, dst := before.ends(t.direction)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { v, err = t.look(ctx, before, false); return err })
	if !dst.survey.Exists && len(t.stage.files) < aheadOfTime {
		g.Go(func() (err error) { t.stage.listed, err = listTree(ctx, dst.side, t.stage.tree); return err })
	}
	err = g.Wait()
	return v, err
}

func pathsOf(entries []*verify.Entry) []string {
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = e.Path
	}
	return out
}

// lockBoth takes the dataset locks that are not held yet: always local first, so that two transfers in opposite
// directions cannot wait for each other.
func (t *transfer) lockBoth(ctx context.Context) error {
	for _, snap := range []*snapshot{t.known.local, t.known.remote} {
		if !t.mustLock(snap) {
			continue
		}
		src, _ := t.known.ends(t.direction)
		locked, err := snap.side.Lock(ctx, snap.survey.Live, t.lockTimeout(), snap == src)
		if err != nil {
			return err
		}
		if !locked {
			t.warn("%s cannot be locked (read-only); going on, since it is only read", snap.side.Name())
		}
		if len(t.locks) == 0 {
			t.lockedAt = t.o.Now()
		}
		t.locks = append(t.locks, snap.side)
	}
	return nil
}

func (t *transfer) mustLock(snap *snapshot) bool {
	for _, s := range t.locks {
		if s == snap.side {
			return false
		}
	}
	return snap.survey.Exists && !snap.kept
}

// unlock releases the dataset locks, last taken first.
func (t *transfer) unlock(ctx context.Context) (err error) {
	if len(t.locks) > 0 {
		t.held = t.o.Now().Sub(t.lockedAt)
	}
	for len(t.locks) > 0 {
		last := len(t.locks) - 1
		if uerr := t.locks[last].Unlock(ctx); err == nil {
			err = uerr
		}
		t.locks = t.locks[:last]
	}
	return err
}
