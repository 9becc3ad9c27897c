package sync

import (
	"context"
	"errors"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
)

// retryPauses are the growing pauses before a lost line is dialled again, where the options name no others.
func retryPauses() []time.Duration {
	return []time.Duration{2 * time.Second, 5 * time.Second, 15 * time.Second, 30 * time.Second}
}

// maxMoves is how often a transfer begins anew, at once, because the destination moved under the lock.
const maxMoves = 5

// Transfer makes one side's dataset equal to the other's. A line that drops is dialled again; what had arrived
// is taken over by the next attempt, exactly as by the next run of the command.
func (p *Pair) Transfer(ctx context.Context, id string, d Direction, m Modes) (*Report, error) {
	var sent, received int64
	var switched *Report
	pauses := p.o.RetryPauses
	if pauses == nil {
		pauses = retryPauses()
	}
	for moves := 0; ; {
		r, t, err := p.transferOnce(ctx, id, d, &m)
		if t != nil {
			sent, received = sent+t.sent, received+t.received
			if t.switched != nil {
				switched = t.switched
			}
		}
		var moved *movedError
		switch {
		case err == nil:
			r = r.after(switched)
			r.Sent, r.Received = sent, received
			return r, nil
		case ctx.Err() != nil:
			return nil, err
		case errors.As(err, &moved) && moves == maxMoves:
			return nil, &MismatchError{Paths: moved.paths, Moving: true}
		case moved != nil:
			moves++
		case !lineLost(err):
			if moves > 0 && !resumable(err) {
				p.dropStages(ctx, id, d)
			}
			return nil, err
		default:
			if pauses, err = p.reconnect(ctx, err, pauses); err != nil {
				return nil, err
			}
		}
	}
}

// dropStages clears what an attempt left for the next one, which found that there is not to be one.
func (p *Pair) dropStages(ctx context.Context, id string, d Direction) {
	s := &subject{Pair: p, id: id, key: stateKey(id)}
	dst := p.local
	if d == Push {
		dst = p.remote
	}
	if snap, err := p.lookAt(ctx, dst, id, nil); err == nil {
		s.clearStages(ctx, snap) // if it cannot be done now the next run does it
	}
}

// after tells a promotion that was finished by a later attempt, which found nothing left to do, as what it was.
func (r *Report) after(switched *Report) *Report {
	if switched == nil || r.State != NoOp {
		return r
	}
	switched.Took, switched.Executions, switched.Print = r.Took, r.Executions, r.Print
	return switched
}

// movedError: files of the destination changed without the lock after they were listed under it.
type movedError struct{ paths []string }

func (e *movedError) Error() string {
	return "cannot complete the new tree: the destination keeps changing: " + list(e.paths)
}

// lineLost tells whether dialling again may help.
func lineLost(err error) bool {
	var rs *remote.RsyncError
	if errors.As(err, &rs) {
		return rs.Transient()
	}
	var conn *remote.ConnectError
	return errors.As(err, &conn) && conn.Reason == remote.Lost
}

// reconnect dials again, each time after a longer pause, and returns the pauses that are left. A host that cannot be
// reached for now costs the next pause; one that asks for a person or refuses ends it.
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

// unreachable tells whether a host that did not answer now may answer later.
func unreachable(err error) bool {
	var conn *remote.ConnectError
	if !errors.As(err, &conn) {
		return false
	}
	switch conn.Reason {
	case remote.Lost, remote.Refused, remote.Unreachable, remote.Timeout, remote.UnknownHost, remote.Other:
		return true
	}
	return false
}
