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
	claimed        bool    // the destination is claimed, and no promotion stands there: its stages may be cleared
	switched       *Report // of a promotion that was begun
	keep           int     // generations
}

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
	if snap, err := p.lookAt(ctx, dst, id); err == nil {
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
	v, err := t.look(ctx, !t.modes.Rehash)
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
	now, serr := p.dst.side.Survey(ctx, t.id)
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
	v, err := t.look(ctx, false)
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
	if torn, err := t.tornLog(ctx, p); err != nil || torn != nil {
		return p, append(lacking, torn), err
	}
	return p, lacking, nil
}

// tornLog is the source's event log if it was copied in the middle of somebody's line and has moved on since.
func (t *transfer) tornLog(ctx context.Context, p *plan) (*verify.Entry, error) {
	staged, b := t.stage.files.Find(eventsPath), t.stage.brought[eventsPath]
	src := p.copied(eventsPath)
	if staged == nil || src == nil || staged.Size == 0 || staged.Digest != src.Digest || verify.SameStamp(&b, src) {
		return nil, nil
	}
	last, err := p.dst.side.ReadRange(ctx, t.stage.tree+"/"+eventsPath, -1, 1)
	if err != nil || string(last) == "\n" {
		return nil, err
	}
	return src, nil
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
