package sync

import (
	"context"
	"maps"
	"slices"
	"time"
)

// A transaction, from its first step to its last. Each step takes what the step before returned:
//
//	look     both sides, once nothing of a dead run stands there     → view
//	decide   what the destination is to become, or a refusal          → plan
//	agree    the user's yes to what is overwritten and deleted        → consent
//	take     the run lock of the destination                          → claim
//	stage    a private tree for what is incoming, filled without locks → stage
//	lock     both datasets, then catch up with what moved              → locks, plan
//	prove    every file of the new tree                               → proven
//	promote  the one step that others see                             → promoted
//	record   common base, hash cache, log                             → Report
//
// Pull, push and undo are deeds over these steps.

// deed is the part of a command in which pull, push and undo differ.
type deed struct {
	action string
	dst    side
	// look lists both ends; before is the zero view the first time.
	look func(ctx context.Context, before view) (view, error)
	// decide plans, or refuses. It runs again after every look.
	decide func(ctx context.Context, v view) (*plan, error)
	// pend writes the common base that will hold once the tree is promoted, and reports whether there is one.
	pend func(ctx context.Context, t *proven) (bool, error)
	// show adds to a report what the command does beside this deed; may be nil.
	show func(p *plan, r *Report)
	// idle ends a deed that changes nothing; nil means that both sides are equal.
	idle func(ctx context.Context, d deed, p *plan) (*Report, error)
}

// Transfer makes one side's dataset equal to the other's. It redials a lost line, and uses what has arrived, as the next
// run of the command would. Errors: those of errors.go, *remote.LockError, *remote.ConnectError and the error of m.Confirm.
func (p *Pair) Transfer(ctx context.Context, id string, d Direction, m Modes) (*Report, error) {
	c, err := p.begin(id, m)
	if err != nil {
		return nil, err
	}
	return c.retry(ctx, func() deed { return c.copying(d) })
}

// copying is the deed of a pull or push.
func (c *command) copying(d Direction) deed {
	dst := c.local
	if d == Push {
		dst = c.remote
	}
	return deed{
		action: string(d),
		dst:    dst,
		look:   c.look,
		decide: func(ctx context.Context, v view) (*plan, error) { return c.decideCopy(ctx, v, d) },
		pend:   c.pendNext,
	}
}

// attempt runs a deed once.
func (c *command) attempt(ctx context.Context, d deed, left *legacy) (*Report, error) {
	seen, err := c.lookSettled(ctx, d)
	if err != nil {
		return nil, err
	}
	if d.action != "undo" {
		c.warnOfRegistries(seen)
	}
	plan, err := c.decideRoomy(ctx, d, seen)
	if err != nil {
		return nil, err
	}
	if len(plan.changes) == 0 {
		return c.nothingToDo(ctx, d, plan, left)
	}
	preview, err := c.tell(ctx, d, plan, DryRun)
	if err != nil || c.asked.DryRun {
		c.remember(plan.view)
		return preview, err
	}
	c.sayLeft(plan)
	if left.agreed, err = c.agree(preview, left.agreed); err != nil {
		return nil, err
	}
	claim, plan, err := c.take(ctx, d, plan)
	if err != nil {
		return nil, err
	}
	defer claim.release()
	tree, locks, err := c.build(ctx, d, claim, plan, left.agreed)
	if err != nil {
		return nil, err
	}
	defer locks.release()
	if len(tree.plan.changes) == 0 { // meanwhile another run has made them equal
		return c.unchanged(ctx, d, tree.plan)
	}
	done, err := c.promote(ctx, d, claim, locks, tree)
	if err != nil {
		left.unsure = done
		return nil, err
	}
	return c.record(ctx, claim, locks, done), nil
}

// tell makes the report of what a deed would do, or does.
func (c *command) tell(ctx context.Context, d deed, p *plan, state State) (*Report, error) {
	r, err := c.report(ctx, p, d.action, state)
	if err == nil && d.show != nil {
		d.show(p, r)
	}
	return r, err
}

// build puts the new tree together and proves it; only the switch remains. It returns with the locks held, unless it
// fails. Depending on the error, the stage stays for the next run or is removed.
func (c *command) build(ctx context.Context, d deed, claim *claim, p *plan, agreed *consent) (t *proven, _ *locks, err error) {
	l := &locks{c: c}
	if len(p.changes) == 0 {
		return &proven{plan: p}, l, nil
	}
	stage, err := claim.stage(ctx, p)
	if err != nil {
		return nil, nil, c.explainSpace(ctx, p, err)
	}
	defer func() {
		if err != nil {
			l.release()
			err = c.explainSpace(ctx, p, c.broken(stage.plan.view, err))
			stage.leave(err)
		}
	}()
	durable, err := stage.preCopy(ctx)
	if err != nil {
		return nil, nil, err
	}
	now, listed, err := stage.catchUp(ctx, d, l, agreed)
	if err != nil || len(now.changes) == 0 {
		return &proven{plan: now}, l, err
	}
	t, err = stage.complete(ctx, now, listed, durable)
	return t, l, err
}

// decideRoomy decides, and refuses if this host has no usable rsync or the destination no room.
func (c *command) decideRoomy(ctx context.Context, d deed, v view) (*plan, error) {
	p, err := c.planned(ctx, d, v)
	if err != nil || len(p.changes) == 0 {
		return p, err
	}
	if slices.ContainsFunc(p.items, func(it item) bool { return it.origin == fetch }) {
		if err := c.canCopy(ctx); err != nil {
			return nil, err
		}
	}
	return p, c.nameKept(ctx, p.dst.side, c.room(ctx, p))
}

// nothingToDo ends a transfer that changes nothing, and removes a dead run's stage. If an earlier attempt lost its line
// during the switch, that attempt made the sides equal.
func (c *command) nothingToDo(ctx context.Context, d deed, p *plan, left *legacy) (*Report, error) {
	if err := c.clearStages(ctx, p.dst); err != nil {
		return nil, err
	}
	if left.unsure == nil {
		return c.unchanged(ctx, d, p)
	}
	c.remember(p.view)
	return c.logged(c.finish(left.unsure.report)), nil
}

// unchanged ends a deed without changes.
func (c *command) unchanged(ctx context.Context, d deed, p *plan) (*Report, error) {
	if d.idle != nil {
		return d.idle(ctx, d, p)
	}
	return c.equal(ctx, d, p)
}

// equal makes the report that there is nothing to transfer. Equal content becomes the common base.
func (c *command) equal(ctx context.Context, d deed, p *plan) (*Report, error) {
	state := NoOp
	if p.history.Relation == LocalAhead || p.history.Relation == LocalBehind {
		state = Skipped
	}
	r, err := c.report(ctx, p, d.action, state)
	if err != nil {
		return nil, err
	}
	c.remember(p.view)
	if p.src.kept == nil && state == NoOp { // a kept tree belongs to one side only
		c.bringTimes(ctx, p)
		if err := c.recordEqual(ctx, p); err != nil {
			return nil, err
		}
	}
	return c.logged(c.finish(r)), nil
}

// consent is what a user has agreed to lose: what the plan on show overwrites and deletes.
type consent struct{ lost map[string]ChangeKind }

// covers reports whether the consent includes everything that a plan overwrites and deletes.
func (a *consent) covers(changes []Change) bool {
	if a == nil {
		return false
	}
	for _, ch := range changes {
		if ch.Kind != Added && a.lost[ch.Path] != ch.Kind {
			return false
		}
	}
	return true
}

// with returns the consent extended to these changes.
func (a *consent) with(shown []Change) *consent {
	all := &consent{lost: map[string]ChangeKind{}}
	if a != nil {
		maps.Copy(all.lost, a.lost)
	}
	for _, ch := range shown {
		all.lost[ch.Path] = ch.Kind
	}
	return all
}

// agreed returns the consent from before the command began; nil without one.
func (m Modes) agreed() (before *consent) {
	if m.Agreed == nil {
		return nil
	}
	return before.with(m.Agreed.all())
}

// standing reports whether the command must not ask: -y is a standing yes.
func (m Modes) standing() bool { return m.Confirm == nil }

// agree asks the user, unless an earlier answer covers everything.
func (c *command) agree(preview *Report, before *consent) (*consent, error) {
	if c.asked.standing() || before.covers(preview.all()) {
		return before, nil
	}
	began := c.o.Now()
	err := c.asked.Confirm(preview)
	c.cost.asking += c.o.Now().Sub(began)
	if err != nil {
		return nil, err
	}
	return before.with(preview.all()), nil
}

// command is one command on one dataset, with all its attempts.
type command struct {
	*Pair
	id, key string
	asked   Modes
	cost    cost
	footers map[string]footer // by side: a footer costs a round trip, so it is read again only if its file was touched
	logs    comparedLogs      // likewise

	keptTrees map[string][]*snapshot // by side: the newest, of those that were asked for what can be reused
}

// cost is what all attempts of a command have cost so far.
type cost struct {
	began          time.Time
	asking         time.Duration // while the user thought about the question
	sent, received int64
	lockHeld       time.Duration
	eventsHeld     time.Duration // the longest
}

// begin checks the id.
func (p *Pair) begin(id string, m Modes) (*command, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	return p.beginAs(id, stateKey(id), m), nil
}

func (p *Pair) beginAs(id, key string, m Modes) *command {
	return &command{Pair: p, id: id, key: key, asked: m, cost: cost{began: p.o.Now()}, footers: map[string]footer{}, keptTrees: map[string][]*snapshot{}}
}

func (c *command) lockTimeout() time.Duration {
	if c.asked.LockTimeout > 0 {
		return c.asked.LockTimeout
	}
	return c.o.LockTimeout
}
