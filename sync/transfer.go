package sync

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"syscall"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// transfer is one transaction on one dataset.
type transfer struct {
	*subject
	run            string
	stage          *stage
	locks          []side // held, in the order in which they were taken
	lockedAt       time.Time
	held           time.Duration
	sent, received int64
	claimed        bool            // the destination is claimed, and no promotion stands there: its stages may be cleared
	switched       *Report         // of a promotion that was begun
	keep           int             // generations
	after          verify.Manifest // the new tree, once it was verified
}

// transferOnce plans, asks and carries out.
func (p *Pair) transferOnce(ctx context.Context, id string, d Direction, m *Modes) (*Report, *transfer, error) {
	s, err := p.subject(id, d, *m)
	if err != nil {
		return nil, nil, err
	}
	plan, err := s.survey(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := s.check(ctx, plan); err != nil {
		return nil, nil, err
	}
	if len(plan.changes) == 0 {
		r, err := s.nothingToDo(ctx, plan)
		return r, nil, err
	}
	r := s.report(plan, string(d), DryRun)
	if err := s.describeTables(ctx, r); err != nil {
		return nil, nil, err
	}
	if m.DryRun {
		s.rememberBoth()
		return s.finish(r), nil, nil
	}
	if m.Confirm != nil {
		if err := m.Confirm(r); err != nil {
			return nil, nil, err
		}
		m.Confirm = nil // the answer holds for further attempts
	}
	t := &transfer{subject: s, run: newRun(p.o.Now()), keep: p.o.KeepGenerations}
	r, err = t.do(ctx, plan)
	return r, t, err
}

// check is everything that can stop a transfer before anything is written.
func (s *subject) check(ctx context.Context, p *plan) error {
	if err := p.allowed(s.modes); err != nil {
		return err
	}
	if s.modes.StrictID && s.direction == Pull && !p.dst.present() && !strings.Contains(s.id, "/") {
		return &IDError{ID: s.id, Why: "a bootstrap pull needs a namespace-qualified id (namespace/dataset)"}
	}
	if len(p.changes) == 0 {
		return nil
	}
	return s.room(ctx, p)
}

// nothingToDo ends a transfer of two equal sides: their content is the common base, and a dead run's stage is of
// no further use.
func (s *subject) nothingToDo(ctx context.Context, p *plan) (*Report, error) {
	if err := s.clearStages(ctx, p.dst); err != nil {
		return nil, err
	}
	return s.areEqual(ctx, p)
}

func (s *subject) areEqual(ctx context.Context, p *plan) (*Report, error) {
	r := s.report(p, string(s.direction), NoOp)
	if err := s.describeTables(ctx, r); err != nil {
		return nil, err
	}
	s.rememberBoth()
	if err := s.recordEqual(p); err != nil {
		return nil, err
	}
	return s.logged(s.finish(r)), nil
}

// logged adds the line of a success to the log. What was done stays done if that fails, which is said.
func (s *subject) logged(r *Report) *Report {
	if err := s.store.log(s.logEntry(r)); err != nil {
		s.warn("cannot write the log: %v", err)
	}
	return r
}

func (s *subject) clearStages(ctx context.Context, dst *snapshot) error {
	if len(dst.survey.Stages) == 0 && !dst.survey.Partial {
		return nil
	}
	var busy *remote.LockError
	if err := dst.side.Claim(ctx, s.key, 0); errors.As(err, &busy) {
		return nil
	} else if err != nil {
		return err
	}
	_, err := s.settleDead(ctx, dst.side) // a stage may hold the old tree of a promotion that was begun since
	if err == nil {
		err = dst.side.Remove(ctx, statePath(dst.side, "stage", s.key))
	}
	if rerr := dst.side.Release(ctx); err == nil {
		err = rerr
	}
	return err
}

// do is the transaction: pre-copy, lock, catch up, verify, promote, settle.
func (t *transfer) do(ctx context.Context, p *plan) (r *Report, err error) {
	dst := p.dst.side
	defer func() { t.leave(ctx, dst, err) }()
	p, err = t.claim(ctx, p)
	if err != nil {
		return nil, err
	}
	if len(p.changes) == 0 { // another run has made them equal
		return t.areEqual(ctx, p)
	}
	if p, err = t.prepare(ctx, p); err != nil {
		return nil, t.explainSpace(ctx, p, err)
	}
	if len(p.changes) == 0 {
		return t.areEqual(ctx, p)
	}
	r = t.report(p, string(t.direction), Transferred)
	if err := t.describeTables(ctx, r); err != nil {
		return nil, err
	}
	if err := t.promote(ctx, p, r); err != nil {
		return nil, err
	}
	return t.conclude(r)
}

// prepare puts the new tree together, up to the point where only the switch remains. The plan that it returns was
// made under the locks, but for an error before that.
func (t *transfer) prepare(ctx context.Context, p *plan) (*plan, error) {
	if err := t.o.Observe.step(StepCopy, func() error { return t.preCopy(ctx, p) }); err != nil {
		return p, err
	}
	p.changes = nil // the plan made under the locks has its own, and each may be long
	locked, err := t.catchUp(ctx)
	if err != nil || len(locked.changes) == 0 { // without changes somebody else has made them equal meanwhile
		return cmp.Or(locked, p), err
	}
	return locked, t.complete(ctx, locked)
}

// claim takes the destination for this run and plans anew where that had to wait or found a dead run's promotion.
func (t *transfer) claim(ctx context.Context, p *plan) (*plan, error) {
	stale, err := t.take(ctx, p.dst.side)
	if err != nil || !stale {
		return p, err
	}
	v, err := t.look(ctx, view{}, !t.modes.Rehash)
	if err != nil {
		return p, err
	}
	if p, err = t.compare(ctx, v); err == nil {
		err = t.check(ctx, p)
	}
	return p, err
}

// take claims a side, waiting for another run, and settles what a dead one left. It reports whether the side may
// have changed over that.
func (t *transfer) take(ctx context.Context, dst side) (stale bool, err error) {
	err = t.o.Observe.step(StepClaim, func() error {
		err := dst.Claim(ctx, t.key, 0)
		var busy *remote.LockError
		if errors.As(err, &busy) && t.lockTimeout() > 0 {
			t.warn("another run is at work on %s of %s; waiting for it", t.id, dst.Name())
			stale = true
			err = dst.Claim(ctx, t.key, t.lockTimeout())
		}
		if err != nil {
			return err
		}
		dead, err := t.settleDead(ctx, dst)
		t.claimed = err == nil
		stale = stale || dead
		return err
	})
	return stale, err
}

// explainSpace says what is missing where the destination's disk was filled while it was written to. A quota shows
// in no number that a side can tell, and is left in the words of the system.
func (t *transfer) explainSpace(ctx context.Context, p *plan, err error) error {
	if !noSpace(err) {
		return err
	}
	now, serr := p.dst.side.Survey(ctx, t.id, "")
	if serr != nil {
		return err
	}
	full := &SpaceError{Side: p.dst.side.Name(), Need: p.bytes(), Free: now.FreeBytes, Unit: "bytes"}
	if inodes := p.inodes(); now.FreeInodes >= 0 && now.FreeInodes < bookkeeping && now.FreeBytes > 1<<20 {
		full.Need, full.Free, full.Unit = inodes, now.FreeInodes, "inodes"
	}
	if full.Free < 0 || full.Free >= full.Need {
		return err
	}
	return full
}

func noSpace(err error) bool {
	var rs *remote.RsyncError
	var full *SpaceError
	return (errors.As(err, &rs) && rs.NoSpace()) || errors.As(err, &full) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// conclude releases the locks before it reports how long they were held. A lock that cannot be released is gone
// with its connection, and what was promoted stays promoted.
func (t *transfer) conclude(r *Report) (*Report, error) {
	if err := t.unlock(context.Background()); err != nil && !lineLost(err) {
		t.warn("%v", err)
	}
	r.LockHeld = t.held
	r.Sent, r.Received = t.sent, t.received
	return t.logged(t.finish(r)), nil
}

func (t *transfer) lockTimeout() time.Duration {
	if t.modes.LockTimeout > 0 {
		return t.modes.LockTimeout
	}
	return t.o.LockTimeout
}

// preCopy moves the bulk without locks: no writer waits for it.
func (t *transfer) preCopy(ctx context.Context, p *plan) error {
	if err := t.newStage(ctx, p); err != nil {
		return err
	}
	if t.stage.adopted > 0 {
		if err := t.listStage(ctx, p, arrivals{}); err != nil {
			return err
		}
		if err := t.hashSource(ctx, p, p.copy); err != nil {
			return err
		}
	}
	if err := t.bring(ctx, p, t.missing(p), p.newDirs); err != nil {
		return err
	}
	if p.bytes() < flushFirst {
		return nil
	}
	return p.dst.side.Flush(ctx, t.stage.tree)
}

// flushFirst is how much is worth being made durable before the locks are taken, so that little is left to flush
// while writers wait.
const flushFirst = 32 << 20

// leave gives up everything that is held. A stage that may serve the next run stays; one that failed its
// verification or that filled the disk goes. While a promotion stands unsettled its stage may hold the old tree,
// so that nothing is cleared.
func (t *transfer) leave(ctx context.Context, dst side, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	t.unlock(ctx)
	if t.claimed && (err == nil || !resumable(err)) {
		dst.Remove(ctx, statePath(dst, "stage", t.key))
	}
	dst.Release(ctx)
}

const leaveTimeout = 10 * time.Second

// resumable tells whether what was staged can serve another run. Most failures have nothing to do with it.
func resumable(err error) bool {
	var mismatch *MismatchError
	var unsafe *UnsafeError
	var history *HistoryError
	var missing *MissingError
	var events *verify.EventError
	switch {
	case errors.As(err, &mismatch):
		return mismatch.Moving
	case noSpace(err), errors.As(err, &unsafe), errors.As(err, &history), errors.As(err, &missing), errors.As(err, &events):
		return false
	}
	return true
}
