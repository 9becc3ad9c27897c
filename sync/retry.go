package sync

import (
	"context"
	"errors"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/rsync"
)

// retryPauses are the growing pauses before a lost line is dialled again, where the options name no others.
func retryPauses() []time.Duration {
	return []time.Duration{2 * time.Second, 5 * time.Second, 15 * time.Second, 30 * time.Second}
}

// maxMoves is how often a transfer starts again at once because the destination moved under the lock.
const maxMoves = 5

// legacy is what an attempt leaves to the next one.
type legacy struct {
	agreed *consent
	unsure *promoted // a switch whose answer was lost with the line
}

// retry attempts a deed until it is done, refused or hopeless. It makes the deed anew for each attempt, because a redial
// replaces the remote side.
func (c *command) retry(ctx context.Context, deed func() deed) (*Report, error) {
	return c.retryFrom(ctx, &legacy{agreed: c.asked.agreed()}, deed)
}

// retryFrom is retry with what the user has agreed to before.
func (c *command) retryFrom(ctx context.Context, left *legacy, deed func() deed) (*Report, error) {
	pauses := c.o.RetryPauses
	if pauses == nil {
		pauses = retryPauses()
	}
	all := len(pauses)
	for moves := 0; ; {
		d := deed()
		r, err := c.attempt(ctx, d, left)
		var moved *movedError
		var wider *widerError
		switch {
		case err == nil || ctx.Err() != nil:
			return r, err
		case errors.As(err, &wider): // the next attempt shows the new plan and asks
		case errors.As(err, &moved) && moves == maxMoves:
			return nil, &MismatchError{Paths: moved.paths, Moving: true}
		case moved != nil:
			moves++
		case !lineLost(err) && !(len(pauses) < all && unreachable(err)): // a fresh line shows at its first use whether the host is there
			if moves > 0 && !resumable(err) {
				c.dropStages(ctx, d.dst)
			}
			return nil, err
		default:
			if pauses, err = c.reconnect(ctx, err, pauses); err != nil {
				return nil, err
			}
		}
	}
}

// dropStages removes what attempts left in the stage when there will be no further one. If it fails, the next run does it.
func (c *command) dropStages(ctx context.Context, dst side) {
	if snap, err := c.lookAt(ctx, dst, c.id, nil); err == nil {
		c.clearStages(ctx, snap)
	}
}

// movedError means that files of the destination changed without the lock after they were listed under it.
type movedError struct{ paths []string }

func (e *movedError) Error() string {
	return "cannot complete the new tree: the destination keeps changing: " + list(e.paths)
}

// widerError means that a new plan overwrites more than the user has agreed to.
type widerError struct{}

func (*widerError) Error() string {
	return "cannot go on: more would be overwritten than was shown"
}

// lineLost reports whether dialling again may help.
func lineLost(err error) bool {
	var rs *rsync.Error
	if errors.As(err, &rs) {
		return rs.Transient()
	}
	var conn *remote.ConnectError
	return errors.As(err, &conn) && (conn.Reason == remote.Lost || conn.Reason == remote.Silent)
}

// reconnect redials, each time after a longer pause, and returns the pauses that are left. It gives up if the host refuses
// or needs a person.
func (p *Pair) reconnect(ctx context.Context, lost error, pauses []time.Duration) ([]time.Duration, error) {
	for len(pauses) > 0 {
		p.warn("%v; trying again in %v", lost, pauses[0])
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pauses[0]):
		}
		pauses = pauses[1:]
		fresh, err := p.dial(ctx)
		if err == nil {
			p.remote.Close()
			p.remote = fresh
			return pauses, nil
		}
		if lost = err; !unreachable(err) {
			break
		}
	}
	return nil, &InterruptedError{Err: lost}
}

// unreachable reports whether a host that did not answer now may answer later.
func unreachable(err error) bool {
	var conn *remote.ConnectError
	if !errors.As(err, &conn) {
		return false
	}
	switch conn.Reason {
	case remote.Lost, remote.Silent, remote.Refused, remote.Unreachable, remote.Timeout, remote.UnknownHost, remote.Other:
		return true
	}
	return false
}
