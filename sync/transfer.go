package sync

import (
	"context"
	"errors"
	"strings"
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
}

// retryPauses are the growing pauses before a lost line is dialled again.
var retryPauses = []time.Duration{2 * time.Second, 5 * time.Second, 15 * time.Second, 30 * time.Second}

// Transfer makes one side's dataset equal to the other's. A line that drops is dialled again; what had arrived
// is taken over by the next attempt, exactly as by the next run of the command.
func (p *Pair) Transfer(ctx context.Context, id string, d Direction, m Modes) (*Report, error) {
	var sent, received int64
	for try := 0; ; try++ {
		r, t, err := p.transferOnce(ctx, id, d, &m)
		if t != nil {
			sent, received = sent+t.sent, received+t.received
		}
		if err == nil {
			r.Sent, r.Received = sent, received
			return r, nil
		}
		if !lineLost(err) || ctx.Err() != nil {
			return nil, err
		}
		if try == len(retryPauses) {
			return nil, &InterruptedError{Err: err}
		}
		p.warn("%v; trying again in %v", err, retryPauses[try])
		if err := p.redial(ctx, retryPauses[try]); err != nil {
			return nil, &InterruptedError{Err: err}
		}
	}
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

func (p *Pair) redial(ctx context.Context, pause time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pause):
	}
	fresh, err := p.dial(ctx)
	if err != nil {
		return err
	}
	p.remote.Close()
	p.remote = fresh
	return nil
}

// transferOnce plans, asks and carries out.
func (p *Pair) transferOnce(ctx context.Context, id string, d Direction, m *Modes) (*Report, *transfer, error) {
	s, err := p.subject(ctx, id, d, *m)
	if err != nil {
		return nil, nil, err
	}
	plan, err := s.survey(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := s.check(plan); err != nil {
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
	t := &transfer{subject: s, run: newRun(p.o.Now())}
	r, err = t.do(ctx, plan)
	return r, t, err
}

// check is everything that can stop a transfer before anything is written.
func (s *subject) check(p *plan) error {
	if err := p.allowed(s.modes); err != nil {
		return err
	}
	if s.modes.StrictID && s.direction == Pull && !p.dst.present() && !strings.Contains(s.id, "/") {
		return &IDError{ID: s.id, Why: "a bootstrap pull needs a namespace-qualified id (namespace/dataset)"}
	}
	if len(p.changes) == 0 {
		return nil
	}
	return p.room()
}

// nothingToDo ends a transfer of two equal sides: their content is the common base, and a dead run's stage is of
// no further use.
func (s *subject) nothingToDo(ctx context.Context, p *plan) (*Report, error) {
	if err := s.clearStages(ctx, p.dst); err != nil {
		return nil, err
	}
	r := s.report(p, string(s.direction), NoOp)
	if err := s.describeTables(ctx, r); err != nil {
		return nil, err
	}
	s.rememberBoth()
	if err := s.recordEqual(p); err != nil {
		return nil, err
	}
	r = s.finish(r)
	return r, s.store.log(s.logEntry(r))
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
	err := dst.side.Remove(ctx, statePath(dst.side, "stage", s.key))
	if rerr := dst.side.Release(ctx); err == nil {
		err = rerr
	}
	return err
}

// do is the transaction: pre-copy, lock, catch up, verify, promote, settle.
func (t *transfer) do(ctx context.Context, p *plan) (r *Report, err error) {
	dst := p.dst.side
	err = t.o.Observe.step(StepClaim, func() error { return dst.Claim(ctx, t.key, t.lockTimeout()) })
	if err != nil {
		return nil, err
	}
	defer func() { t.leave(ctx, dst, err) }()
	if err := t.o.Observe.step(StepCopy, func() error { return t.preCopy(ctx, p) }); err != nil {
		return nil, err
	}
	p, err = t.catchUp(ctx)
	if err != nil {
		return nil, err
	}
	if len(p.changes) == 0 { // somebody else has made them equal meanwhile
		return t.nothingToDo(ctx, p)
	}
	if err := t.complete(ctx, p); err != nil {
		return nil, err
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

// conclude releases the locks before it reports how long they were held.
func (t *transfer) conclude(r *Report) (*Report, error) {
	if err := t.unlock(context.Background()); err != nil {
		return nil, err
	}
	r.LockHeld = t.held
	r.Sent, r.Received = t.sent, t.received
	r = t.finish(r)
	return r, t.store.log(t.logEntry(r))
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
	if len(t.stage.brought) > 0 {
		if err := t.listStage(ctx, p, nil); err != nil {
			return err
		}
		if err := t.hashSource(ctx, p, p.copy); err != nil {
			return err
		}
	}
	lacking, _ := t.missing(p)
	return t.bring(ctx, p, lacking, p.newDirs)
}

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
	v, err := t.look(ctx, t.id, t.algorithm, true)
	if err != nil {
		return nil, nil, err
	}
	v.local.files.Learn(before.local.files.Settled(before.local.survey.Now))
	v.remote.files.Learn(before.remote.files.Settled(before.remote.survey.Now))
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
	lacking, wrong := t.missing(p)
	if len(wrong) > 0 {
		return nil, nil, &MismatchError{Paths: wrong}
	}
	return p, lacking, nil
}

// acceptLog takes a staged event log that is a prefix of the source's for the source's: writers append to it
// without the dataset lock. Only whole lines count, and what grew before the lock is caught up once.
func (t *transfer) acceptLog(ctx context.Context, p *plan, round int) error {
	staged, src, dst := t.stage.files.Find(eventsPath), p.src.files.Find(eventsPath), p.dst.files.Find(eventsPath)
	switch {
	case staged == nil || src == nil || !t.modes.inScope(verify.Events) || !staged.Digest.Known():
		return nil
	case staged.Digest == src.Digest && staged.Size == src.Size, round == 0 && staged.Size < src.Size:
		return nil
	case dst != nil && staged.Size < dst.Size && !t.modes.Force:
		return nil
	}
	last, err := p.dst.side.ReadRange(ctx, t.stage.tree+"/"+eventsPath, -1, 1)
	if err != nil || string(last) != "\n" {
		return err
	}
	d, err := p.src.side.HashPrefix(ctx, p.src.survey.Live+"/"+eventsPath, t.algorithm, staged.Size)
	if err == nil && d == staged.Digest {
		src.Size, src.Mtime, src.Digest, src.Ctime = staged.Size, staged.Mtime, d, 0 // as of then; never cached
	}
	return err
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

// leave gives up everything that is held. A stage that may serve the next run stays; one that failed its
// verification or that filled the disk goes.
func (t *transfer) leave(ctx context.Context, dst side, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	t.unlock(ctx)
	if err == nil || !resumable(err) {
		dst.Remove(ctx, statePath(dst, "stage", t.key))
	}
	dst.Release(ctx)
}

const leaveTimeout = 10 * time.Second

func resumable(err error) bool {
	var rs *remote.RsyncError
	if errors.As(err, &rs) && rs.NoSpace() {
		return false
	}
	return lineLost(err) || errors.Is(err, context.Canceled)
}
