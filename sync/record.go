package sync

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// record ends a transaction that was promoted: late changes, common base, journal, surplus generations and stages, hash
// cache, log. What was promoted is reported as promoted, whatever fails here: that is a warning, and the next command
// does what is left.
func (c *command) record(ctx context.Context, claim *claim, l *locks, done *promoted) *Report {
	t := done.tree
	ctx = context.WithoutCancel(ctx)
	gone, err := c.settle(ctx, claim, done)
	if err != nil {
		c.warn("the new tree is in place, but not everything could be tidied up; the next command does that: %v", err)
	} else if err := c.o.Observe.step(StepRestamp, func() error { return c.restamp(ctx, t, gone) }); err != nil {
		c.warn("cannot look at the new tree for the hash cache: %v", err)
	}
	l.release()
	return c.logged(c.finish(done.report))
}

// settle brings late changes in, makes the pending base common before the journal goes, and clears what is left over.
// It reports whether a tree went that shared files with live.
func (c *command) settle(ctx context.Context, claim *claim, done *promoted) (gone bool, err error) {
	t := done.tree
	err = c.o.Observe.step(StepRecord, func() error {
		c.carryIn(ctx, done)
		return c.store.settleRun(c.id, t.run, true)
	})
	if err != nil {
		return false, err
	}
	err = c.o.Observe.step(StepSettle, func() error {
		if t.plan.spent != "" {
			err = claim.dst.Remove(ctx, statePath(claim.dst, "generations", c.key, t.plan.spent))
		}
		var perr error
		gone, perr = c.prune(ctx, claim.dst, c.keepAtLeast(t.plan), t.files)
		return c.passOver(errors.Join(err, perr, claim.dst.Remove(ctx, statePath(claim.dst, "stage", c.key))))
	})
	dead := slices.ContainsFunc(t.plan.dst.survey.Stages, func(run string) bool { return run != t.run })
	return gone || dead || t.plan.spent != "", err
}

// passOver says what this user may not remove of what others left, and goes on.
func (c *command) passOver(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		c.warn("what another user left stays for now; the next run of whoever owns it tidies up: %v", err)
		return nil
	}
	return err
}

// keepAtLeast is how many generations are kept: what an undo replaces is kept in any case.
func (c *command) keepAtLeast(p *plan) int {
	if p.src.kept != nil {
		return max(1, c.o.KeepGenerations)
	}
	return c.o.KeepGenerations
}

// restamp learns the change times that links and removals have moved, for the inodes that live shares with others, while
// the lock is still held.
func (c *command) restamp(ctx context.Context, t *proven, gone bool) error {
	fresh, err := c.stamped(ctx, t, gone)
	if err != nil {
		return err
	}
	v := t.plan.view
	if t.plan.direction == Push {
		v.remote = fresh
	} else {
		v.local = fresh
	}
	c.remember(v)
	return nil
}

// stamped is the new live tree with the stamps that it has now. Where the whole of it was staged no inode has got or lost
// a name since it was proved, so that it need not be listed once more.
func (c *command) stamped(ctx context.Context, t *proven, gone bool) (*snapshot, error) {
	live, provedAfter := t.plan.dst.survey.Live, t.plan.dst.survey.Now
	if t.plan.keepsNothing() && !(t.inPlace && t.plan.dst.survey.Exists) && t.files.CountSettled(provedAfter) == len(t.files) {
		return &snapshot{side: t.dst, survey: &remote.Survey{Live: live, Exists: true, Now: provedAfter}, files: t.files}, nil
	}
	if t.spare != "" && !gone {
		return c.restamped(ctx, t)
	}
	letStampsAge(ctx, t.files)
	fresh, err := c.lookAt(ctx, t.dst, c.id, nil)
	if err != nil {
		return nil, err
	}
	verify.Join(fresh.files, t.files, func(f, w *verify.Entry) {
		if f != nil && w != nil && untouched(f, w) && verify.Unique(w.Mtime, provedAfter) {
			f.Digest = w.Digest
		}
	})
	return fresh, nil
}

// letStampsAge waits where stamps have whole seconds and much would have to be read again: files that have just got or
// lost a name were touched by that, and are not trusted until their second is past.
func letStampsAge(ctx context.Context, after verify.Manifest) {
	var bytes int64
	for i := range after {
		if !verify.Fine(after[i].Ctime) {
			bytes += after[i].Size
		}
	}
	if bytes < worthWaiting {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(stampsAge):
	}
}

const (
	worthWaiting = 256 << 20 // a second or two of hashing, by every command that follows
	stampsAge    = 2100 * time.Millisecond
)

// remember saves the digests of both sides. Failing to is worth a word, no more.
func (c *command) remember(v view) {
	c.cache(v, func(err error) { c.warn("cannot write the hash cache: %v", err) })
}

// broken saves what has been read where something went wrong, so that the next attempt, or the next command, does not read it
// again. After a proof that failed all of it is read again, for a digest may be what is wrong. A command that trusts no cache leaves
// it alone: it would take more away than it adds.
func (c *command) broken(v view, err error) error {
	var mismatch *MismatchError
	if err != nil && !errors.As(err, &mismatch) && !v.how.modes.Rehash {
		c.cache(v, func(error) {}) // there is a better one to tell
	}
	return err
}

func (c *command) cache(v view, failed func(error)) {
	for _, side := range []struct {
		snap   *snapshot
		remote string
	}{{v.local, ""}, {v.remote, c.remoteName()}} {
		if side.snap == nil || side.snap.kept != nil {
			continue
		}
		if err := c.store.remember(side.snap, c.id, side.remote, v.how.algorithm); err != nil && !errors.Is(err, os.ErrPermission) {
			failed(err)
		}
	}
}

// finish completes a report with what the whole command cost.
func (c *command) finish(r *Report) *Report {
	r.Took = c.o.Now().Sub(c.cost.began) - c.cost.asking
	r.Sent, r.Received, r.LockHeld, r.EventsHeld = c.cost.sent, c.cost.received, c.cost.lockHeld, c.cost.eventsHeld
	r.Executions = int(c.executions.Load())
	return r
}

// logged adds the line of a success to the log. What was done stays done if that fails, which is reported.
func (c *command) logged(r *Report) *Report {
	if c.asked.Following && r.State != Transferred {
		return r
	}
	if err := c.store.log(c.logEntry(r)); err != nil {
		c.warn("cannot write the log: %v", err)
	}
	return r
}

func (c *command) logEntry(r *Report) LogEntry {
	t := r.Totals()
	return LogEntry{Time: c.o.Now().UTC(), Action: r.Action, Dataset: r.Dataset, Remote: r.Remote, State: r.State,
		Relation: r.Relation, Added: t.Added, Modified: t.Modified, Deleted: t.Deleted, Bytes: t.Bytes,
		Fingerprint: r.Print.Local, Generation: r.Generation, Seconds: r.Took.Seconds(), Forced: c.asked.Force}
}
