package sync

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/sync/local"
	"github.com/dnadesign-maintainers/usr/verify"
)

// claim is the run lock of a dataset on one side, which only take makes. Its holder alone stages and promotes there.
type claim struct {
	c   *command
	dst side
}

// take claims the destination, waits for another run that has it, and finishes or takes back what a dead one left.
// Where that took time the plan is made anew.
func (c *command) take(ctx context.Context, d deed, p *plan) (*claim, *plan, error) {
	var stale bool
	err := c.o.Observe.step(StepClaim, func() (err error) { stale, err = c.takeSide(ctx, d.dst); return err })
	if err != nil {
		return nil, nil, err
	}
	cl := &claim{c: c, dst: d.dst}
	if !stale {
		return cl, p, nil
	}
	v, err := d.look(ctx, view{})
	if err == nil {
		p, err = c.decideRoomy(ctx, d, v)
	}
	if err != nil {
		cl.release()
		return nil, nil, err
	}
	return cl, p, nil
}

// takeSide reports whether the side may have changed while it was claimed.
func (c *command) takeSide(ctx context.Context, dst side) (stale bool, err error) {
	err = dst.Claim(ctx, c.key, 0)
	var busy *remote.LockError
	if errors.As(err, &busy) && c.lockTimeout() > 0 {
		c.warn("another run is at work on %s of %s; waiting for it", c.id, dst.Name())
		stale = true
		err = dst.Claim(ctx, c.key, c.lockTimeout())
	}
	if err != nil {
		return false, err
	}
	dead, err := c.settleDead(ctx, dst)
	if err != nil {
		release(dst)
	}
	return stale || dead, err
}

// release gives the claim up. What is on the other side of a lost line is free by itself.
func (cl *claim) release() { release(cl.dst) }

func release(s side) {
	ctx, cancel := leaving()
	defer cancel()
	s.Release(ctx)
}

// leaving is a context for tidying up, which goes on after the command was cancelled, though not for long.
func leaving() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 10*time.Second)
}

// lookSettled looks at both ends until neither shows the journal of a dead run.
func (c *command) lookSettled(ctx context.Context, d deed) (v view, err error) {
	look := func() error {
		return c.o.Observe.step(StepSurvey, func() error { v, err = d.look(ctx, view{}); return err })
	}
	if err := look(); err != nil || !v.local.survey.Journal && !v.remote.survey.Journal {
		return v, err
	}
	again, err := c.recoverAll(ctx, v)
	if err != nil || !again {
		return v, err
	}
	err = look()
	return v, err
}

// recoverAll finishes or takes back what dead runs left on either side, and reports whether there was anything. A
// journal whose run is alive is left alone.
func (c *command) recoverAll(ctx context.Context, v view) (done bool, err error) {
	err = c.o.Observe.step(StepRecover, func() error {
		for _, snap := range []*snapshot{v.local, v.remote} {
			if !snap.survey.Journal {
				continue
			}
			ok, err := c.whileFree(ctx, snap.side, func() error { return nil })
			if err != nil {
				return err
			}
			done = done || ok
		}
		return nil
	})
	return done, err
}

// whileFree does something on a side under its claim, once what a dead run left there is settled. It does nothing
// where another run has the claim, and reports that.
func (c *command) whileFree(ctx context.Context, s side, do func() error) (free bool, err error) {
	var busy *remote.LockError
	if err := s.Claim(ctx, c.key, 0); errors.As(err, &busy) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	_, err = c.settleDead(ctx, s)
	if err == nil {
		err = do()
	}
	if rerr := s.Release(ctx); err == nil {
		err = rerr
	}
	return true, err
}

// clearStages removes what dead runs staged. A stage may hold the old tree of a promotion that was begun since, which
// is settled first.
func (c *command) clearStages(ctx context.Context, dst *snapshot) error {
	if len(dst.survey.Stages) == 0 && !dst.survey.Partial {
		return nil
	}
	_, err := c.whileFree(ctx, dst.side, func() error { return dst.side.Remove(ctx, statePath(dst.side, "stage", c.key)) })
	return c.passOver(err)
}

// settleDead finishes or takes back the promotion that a dead run left, and reports whether there was one. Needs the
// claim.
func (c *command) settleDead(ctx context.Context, s side) (found bool, err error) {
	r, err := s.Recover(ctx, c.key)
	if err != nil || r.Run == "" {
		return false, err
	}
	what, keep, err := c.outcome(ctx, s, r)
	if err != nil {
		return true, err
	}
	c.warn("%s: an earlier run (%s) was stopped while it switched trees: %s", s.Name(), r.Run, what)
	if err = c.store.settleRun(c.id, r.Run, r.Forward); err == nil {
		_, err = c.prune(ctx, s, keep, nil)
		err = c.passOver(err)
	}
	return true, err
}

// outcome is what a recovery came to, and how many generations are to be kept after it. One of the run that did not go
// forward is what was there before another program made a dataset in its place: nothing else has it.
func (c *command) outcome(ctx context.Context, s side, r remote.Recovered) (what string, keep int, err error) {
	kept, err := s.Generations(ctx, c.key)
	if err != nil {
		return "", 0, err
	}
	i := slices.IndexFunc(kept, func(g remote.Generation) bool { return g.Run == r.Run })
	keep = c.o.KeepGenerations
	switch {
	case !r.Forward && i >= 0:
		return "another program had made a dataset in its place: that stands, and the old content is the generation " + r.Run, max(keep, i+1), nil
	case !r.Forward:
		return "the old content stands", keep, nil
	case i < 0:
		return "finished it", keep, nil
	}
	late := false
	err = s.Walk(ctx, path.Dir(kept[i].Tree), func(e verify.Entry) { late = late || strings.HasPrefix(e.Path, local.LatePrefix) })
	if late {
		return "finished it; what others wrote meanwhile under names that it replaces is kept in " + path.Dir(kept[i].Tree), keep, err
	}
	return "finished it", keep, err
}
