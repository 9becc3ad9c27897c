package sync

import (
	"context"
	"errors"

	"github.com/dnadesign-maintainers/usr/sync/history"
	"github.com/dnadesign-maintainers/usr/verify"
)

// decided is the plan of a deed. A refusal counts only if both sides stood still from their listing to the reading of their
// files: a writer that went on meanwhile makes a log look like another history.
func (c *command) decided(ctx context.Context, d deed, v view) (*plan, error) {
	for moves := 0; ; moves++ {
		p, err := d.decide(ctx, v)
		if moves == maxMoves || !isRefusal(err) {
			return p, err
		}
		again, lerr := d.look(ctx, v)
		if lerr != nil {
			return nil, lerr
		}
		if again.local.survey.Same && again.remote.survey.Same {
			return p, err
		}
		v = again
	}
}

func isRefusal(err error) bool {
	var log *LogMergeError
	var conflict *ConflictError
	return isHistory(err) || errors.As(err, &log) || errors.As(err, &conflict)
}

// decideCopy plans a pull or push, or refuses it.
func (c *command) decideCopy(ctx context.Context, v view, d Direction) (*plan, error) {
	p, err := c.compare(ctx, v, d)
	if err != nil {
		return nil, err
	}
	err = p.allowed()
	if p.destinationMoved() && isHistory(err) {
		return p.unchanged(), nil
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

func isHistory(err error) bool {
	var refused *HistoryError
	return errors.As(err, &refused)
}

// destinationMoved reports whether the source is what the common base records, and the destination has moved on by writing,
// not by damage. Then there is nothing to transfer in this direction.
func (p *plan) destinationMoved() bool {
	ahead, damaged := LocalAhead, p.history.Drift.Local
	if p.direction == Push {
		ahead, damaged = LocalBehind, p.history.Drift.Remote
	}
	return p.history.Relation == ahead && len(damaged) == 0
}

// unchanged returns the plan that leaves the destination as it is.
func (p *plan) unchanged() *plan {
	q := &plan{view: p.view, direction: p.direction, src: p.src, dst: p.dst, history: p.history, base: p.base}
	for i := range q.dst.files {
		q.add(&q.dst.files[i], keep)
	}
	for _, d := range q.dst.dirs {
		q.keptDirs = append(q.keptDirs, d.Path)
	}
	return q
}

// compare decides how the sides relate and what a transfer would change. Without a direction it uses the one that fits the
// relation.
func (c *command) compare(ctx context.Context, v view, d Direction) (p *plan, err error) {
	err = c.o.Observe.step(StepCompare, func() error {
		levels := v.how.modes.levels()
		if v.equal(levels) { // history does not matter
			p = planCopy(v, towards(d, InSync), history.Standing{Relation: InSync})
			return nil
		}
		h, err := c.standing(ctx, v)
		if err != nil {
			return err
		}
		p = planCopy(v, towards(d, h.standing.Relation), h.standing)
		p.base = h.base
		p.leaveRebuilt()
		c.fallBack(ctx, p)
		return nil
	})
	return p, err
}

// compared is how two sides stand, and what decided that.
type compared struct {
	standing history.Standing
	base     *history.Base
	logs     history.LogOrder
}

// standing evaluates the history of two sides.
func (c *command) standing(ctx context.Context, v view) (h compared, err error) {
	h.base = c.loadBase(v)
	if err = c.hashUndecided(ctx, v, h.base); err != nil {
		return h, err
	}
	if h.logs, err = c.logOrder(ctx, v); err != nil {
		return h, err
	}
	h.standing = history.Relate(v.local.files, v.remote.files, h.base, h.logs, v.how.modes.levels(), v.how.modes.inScope, v.how.light)
	return h, nil
}

// towards returns the direction of reported changes: that of the transfer, or for a diff the one that fits the relation.
func towards(d Direction, r Relation) Direction {
	switch {
	case d != "":
		return d
	case r == LocalAhead || r == LocalOnly:
		return Push
	}
	return Pull
}

// equal reports whether two datasets are known to be the same in every class.
func (v view) equal(levels verify.Levels) bool {
	if !v.local.present() || !v.remote.present() || len(v.local.files) != len(v.remote.files) {
		return false
	}
	same := true
	verify.Join(v.local.files, v.remote.files, func(l, r *verify.Entry) {
		same = same && l != nil && r != nil && levels.Compare(l, r) == verify.Same
	})
	return same
}

// hashUndecided hashes, on both sides in parallel, the files whose digests are needed to compare the sides with each other
// or with the common base.
func (c *command) hashUndecided(ctx context.Context, v view, b *history.Base) error {
	local, remote := undecided(v, b)
	return c.broken(v, together(
		func() error { return c.hash(ctx, v.local, local, v.how.algorithm) },
		func() error { return c.hash(ctx, v.remote, remote, v.how.algorithm) }))
}

// undecided lists the files of both sides whose digests are needed: those for which the other side, or the common base, has
// a file of the same path and size. The base matters even if the sides are known to differ: it says which one has changed.
func undecided(v view, b *history.Base) (local, remote []*verify.Entry) {
	levels := v.how.modes.levels()
	verify.Join(v.local.files, v.remote.files, func(l, r *verify.Entry) {
		if l != nil && r != nil && levels.Compare(l, r) == verify.Same {
			return
		}
		old := b.Find(l, r)
		needed := func(mine, other *verify.Entry) bool {
			return mine != nil && !mine.Digest.Known() && levels[mine.Class] == verify.Content &&
				(other != nil && other.Size == mine.Size || old != nil && old.Size == mine.Size)
		}
		if needed(l, r) {
			local = append(local, l)
		}
		if needed(r, l) {
			remote = append(remote, r)
		}
	})
	return local, remote
}
