package sync

import (
	"context"
	"errors"
	"strings"

	"github.com/dnadesign-maintainers/usr/sync/history"
	"github.com/dnadesign-maintainers/usr/verify"
)

// Sync makes both sides hold what either gained since their common base. The first transaction merges local, which is then
// ahead; the second pushes the difference. A transaction with nothing to do does not take place. If the second fails, the
// first stays, and Sync returns both the report and the error.
func (p *Pair) Sync(ctx context.Context, id string, m Modes) (*Report, error) {
	return p.merging(ctx, id, m, "sync")
}

// Merge is the first half of Sync: a pull that keeps local changes.
func (p *Pair) Merge(ctx context.Context, id string, m Modes) (*Report, error) {
	return p.merging(ctx, id, m, "pull")
}

func (p *Pair) merging(ctx context.Context, id string, m Modes, action string) (*Report, error) {
	c, err := p.begin(id, m)
	if err != nil {
		return nil, err
	}
	s := &syncing{command: c, action: action, agreed: m.agreed()}
	return s.run(ctx)
}

// syncing is a running sync.
type syncing struct {
	*command
	action string
	agreed *consent // to what was shown of both halves
	waits  bool     // a line of the remote's log that is not finished, for the next time
}

// mostCatchUps is how often Sync merges again because the remote moved between the two halves, and mostForLines how often
// because only its log grew.
const (
	mostCatchUps = 5
	mostForLines = 2
)

func (s *syncing) run(ctx context.Context) (*Report, error) {
	var whole *Report
	for round := 0; ; round++ {
		r, err := s.half(ctx, s.pulling)
		if whole == nil {
			whole = r
		}
		if err != nil {
			return whole, err
		}
		if r.State == Transferred && whole != r {
			whole.Generation, whole.Unique, whole.Print = r.Generation, r.Unique, r.Print
		}
		if s.action != "sync" || r.State == DryRun || r.Push == nil {
			return s.told(whole), nil
		}
		whole.Push = nil
		pushed, err := s.half(ctx, func() deed { return s.pushing(round >= mostForLines) })
		var behind *behindError
		switch {
		case errors.As(err, &behind) && round < mostCatchUps:
			continue
		case behind != nil:
			return s.told(whole), &MismatchError{Paths: behind.paths, Moving: true}
		case err != nil && whole.State != Transferred:
			return nil, err
		case err != nil:
			return s.told(whole), err
		}
		whole.State, whole.Push, whole.Print = pushed.State, pushed, pushed.Print
		if whole.Generation != "" { // local has changed, even if the push failed
			whole.State = Transferred
		}
		return s.told(whole), nil
	}
}

// told completes the report with the cost of the whole command.
func (s *syncing) told(r *Report) *Report {
	r.Action = s.action
	if r.Merge == nil {
		r.Merge = &MergeReport{FromRemote: len(r.Changes)}
	}
	if s.waits {
		s.warn("the last line of .events.log on %s is not complete; it is left for the next time", s.remote.Name())
	}
	return s.finish(r)
}

// half runs one of the two transactions.
func (s *syncing) half(ctx context.Context, deed func() deed) (*Report, error) {
	left := &legacy{agreed: s.agreed}
	r, err := s.retryFrom(ctx, left, deed)
	s.agreed = left.agreed
	return r, err
}

// pulling is the first half: local gets what the remote gained.
func (s *syncing) pulling() deed {
	return deed{
		action: s.action, dst: s.local,
		look:   s.lookWhole,
		decide: s.decideLocal,
		pend:   s.pendMerged,
		show:   s.showBoth,
		idle:   s.idle,
	}
}

// pushing is the second half: the remote gets what local is ahead by. It may pass over new lines of the remote's log.
func (s *syncing) pushing(overLines bool) deed {
	d := s.copying(Push)
	d.look, d.show = s.lookWhole, s.showPush
	d.decide = func(ctx context.Context, v view) (*plan, error) { return s.decideRemote(ctx, v, overLines) }
	return d
}

// compareBoth decides how the sides stand and what a merge makes of them.
func (s *syncing) compareBoth(ctx context.Context, v view) (h compared, m *merged, err error) {
	err = s.o.Observe.step(StepCompare, func() error {
		if v.equal(v.how.modes.levels()) {
			h, m = compared{standing: history.Standing{Relation: InSync}}, &merged{}
			return nil
		}
		if h, err = s.standing(ctx, v); err != nil {
			return err
		}
		if m, err = s.mergeOf(ctx, v, h.base, h); err != nil {
			return err
		}
		if conflicts := m.conflicts(); len(conflicts) > 0 {
			return s.conflictError(ctx, v, h.base, conflicts)
		}
		return nil
	})
	return h, m, err
}

func oneSided(r Relation) bool { return r == LocalOnly || r == RemoteOnly }

// decideLocal plans what local gains, or a plain pull if there is nothing to merge with.
func (s *syncing) decideLocal(ctx context.Context, v view) (*plan, error) {
	if !v.local.present() && !v.remote.present() {
		return nil, &MissingError{Side: "either side", Path: s.id, NoPrimary: v.local.survey.Exists || v.remote.survey.Exists}
	}
	if !v.local.present() {
		p, err := s.decideCopy(ctx, v, Pull)
		return p, err
	}
	if !v.remote.present() {
		p := &plan{view: v, direction: Pull, history: history.Standing{Relation: LocalOnly}, merged: &merged{}}
		p.src, p.dst = v.ends(Pull)
		return p, nil
	}
	h, m, err := s.compareBoth(ctx, v)
	if err != nil {
		return nil, err
	}
	s.waits = m.log.unfinished
	p := planMerge(v, h.standing, m)
	p.base = h.base
	s.fallBack(ctx, p)
	if err := p.safe(); err != nil {
		return nil, err
	}
	if err := p.withinBounds(p.how.modes); err != nil {
		return nil, err
	}
	if len(m.rows) == 0 {
		return p, nil
	}
	return p, s.hashRest(ctx, p)
}

// decideRemote plans what the remote gains. If the remote has something that local lacks, it moved after the merge.
func (s *syncing) decideRemote(ctx context.Context, v view, overLines bool) (*plan, error) {
	if !v.remote.present() {
		return s.decideCopy(ctx, v, Push)
	}
	h, m, err := s.compareBoth(ctx, v)
	if err == nil && overLines && v.takeLogAsMerged(m, h.base) {
		h, m, err = s.compareBoth(ctx, v)
	}
	if err != nil {
		return nil, err
	}
	if gained := m.gains(Pull); len(gained) > 0 {
		behind := &behindError{}
		for _, ch := range gained {
			behind.paths = append(behind.paths, ch.Path)
		}
		return nil, behind
	}
	if end := m.log.whole; m.rows != nil && end > 0 && end < v.remote.files.Find(eventsPath).Size {
		return nil, &LogMergeError{Side: v.remote.side.Name(), Line: m.log.Base + m.log.RemoteTail + 1, Why: "the last line is not complete"}
	}
	p := planCopy(v, Push, h.standing)
	p.base, p.merged = h.base, m
	p.leave(p.light())
	s.fallBack(ctx, p)
	if err := p.safe(); err != nil {
		return nil, err
	}
	return p, p.withinBounds(p.how.modes)
}

// takeLogAsMerged takes the remote's log for what was merged, if it has got whole lines since, and nothing else has changed
// there: they follow ours at the switch, and the next pull brings them. It reports whether it did.
func (v view) takeLogAsMerged(m *merged, base *history.Base) bool {
	gained := m.gains(Pull)
	if len(gained) != 1 || gained[0].Path != eventsPath || !base.Covers(verify.Events) {
		return false
	}
	log, was := v.remote.files.Find(eventsPath), base.Files.Find(eventsPath)
	if log == nil || was == nil || !was.Digest.Known() || m.log.whole != log.Size || log.Size <= was.Size {
		return false
	}
	asOf(log, *was)
	return true
}

// pendMerged writes the pending common base: the remote's content, which local now has too.
func (s *syncing) pendMerged(ctx context.Context, t *proven) (bool, error) {
	if t.plan.merged == nil {
		return s.pendNext(ctx, t)
	}
	next, err := s.mergedBase(ctx, t.run, t.plan)
	if err != nil {
		return false, err
	}
	name := placeName(next.Place)
	if err := s.store.keepUnmerged(s.id, name, t.run); err != nil {
		return false, err
	}
	return true, s.store.putPending(s.id, name, t.plan.how.algorithm, next)
}

// idle ends the first half if local gains nothing: the sides are equal, or only the second half has something to do.
func (s *syncing) idle(ctx context.Context, d deed, p *plan) (*Report, error) {
	if p.merged == nil || p.remoteLacks() == nil {
		return s.equal(ctx, d, p)
	}
	state := NoOp
	if s.asked.DryRun {
		state = DryRun
	}
	s.remember(p.view)
	return s.tell(ctx, d, p, state)
}

// remoteLacks lists what the second half changes.
func (p *plan) remoteLacks() []Change {
	if oneSided(p.history.Relation) && p.history.Relation == LocalOnly {
		return planCopy(p.view, Push, p.history).changes
	}
	if p.merged == nil {
		return nil
	}
	return p.merged.gains(Push)
}

// showBoth adds the second half to the preview of the first.
func (s *syncing) showBoth(p *plan, r *Report) {
	switch both := r.Relation == Diverged || r.Relation == Unrelated; {
	case r.State != Transferred:
	case both:
		r.Action = "merge"
	default:
		r.Action = "pull"
	}
	if p.merged != nil {
		r.Merge = p.merged.report()
	}
	if lacks := p.remoteLacks(); len(lacks) > 0 && s.action == "sync" {
		r.Push = &Report{Action: "push", State: r.State, Direction: Push, Changes: lacks}
	}
}

// showPush makes the report for the question of the second half, if the first one did not ask.
func (s *syncing) showPush(p *plan, r *Report) {
	if r.State == Transferred {
		return
	}
	push := &Report{Action: "push", State: r.State, Direction: Push, Changes: r.Changes}
	r.Action, r.Push, r.Changes = s.action, push, nil
	if r.Merge = (&merged{}).report(); p.merged != nil {
		r.Merge = p.merged.report()
	}
	for i := range r.Classes {
		c := &r.Classes[i]
		c.Added, c.Modified, c.Deleted, c.Bytes = 0, 0, 0, 0
	}
}

// behindError means that the remote moved after local was merged with it.
type behindError struct{ paths []string }

func (e *behindError) Error() string {
	return "cannot push: the remote moved meanwhile: " + list(e.paths)
}

// conflictError lists each conflict with what both sides did, tables with their rows.
func (c *command) conflictError(ctx context.Context, v view, base *history.Base, rows []history.Row) error {
	e := &ConflictError{Remote: v.remote.side.Name()}
	for i := range rows {
		moved := movedOf(&rows[i])
		c.readTables(ctx, v, base, &rows[i], &moved)
		e.Conflicts = append(e.Conflicts, moved)
	}
	return e
}

// readTables adds what both sides have of a table, and had in common.
func (c *command) readTables(ctx context.Context, v view, base *history.Base, r *history.Row, m *Moved) {
	c.readTable(ctx, v.local, r.Local, &m.Here)
	c.readTable(ctx, v.remote, r.Remote, &m.There)
	if base != nil && r.Path == primaryPath {
		m.Base = base.Table
	}
}

// readTable adds the rows and columns of a table, if it can be read.
func (c *command) readTable(ctx context.Context, s *snapshot, e *verify.Entry, d *Done) {
	if e == nil || !strings.HasSuffix(e.Path, ".parquet") {
		return
	}
	if t, err := tableOf(ctx, s.side, s.survey.Live+"/"+e.Path); err == nil {
		d.Rows, d.Cols = t.Rows, int64(len(t.Columns))
	}
}

// explain adds to a diff of two sides that both moved what each did, and what a sync would make of it.
func (c *command) explain(ctx context.Context, p *plan, r *Report) error {
	if p.history.Relation != Diverged && p.history.Relation != Unrelated {
		return nil
	}
	h, err := c.standing(ctx, p.view)
	if err != nil {
		return err
	}
	m, err := c.mergeOf(ctx, p.view, h.base, h)
	var log *LogMergeError
	if errors.As(err, &log) {
		c.warn("%v", err)
		return nil
	} else if err != nil {
		return err
	}
	r.Merge = m.report()
	r.Merge.Paths = nil
	for i := range m.rows {
		moved := movedOf(&m.rows[i])
		if m.rows[i].Choice == history.Conflict {
			c.readTables(ctx, p.view, h.base, &m.rows[i], &moved)
		}
		r.Merge.Paths = append(r.Merge.Paths, moved)
	}
	return nil
}
