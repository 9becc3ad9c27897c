package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	stdsync "sync"

	"github.com/dnadesign-maintainers/usr/sync"
)

// doMany does a job on every dataset that a glob means, over one connection, each its own transaction. Where somebody is
// to be asked all are looked at first, and there is one question for what is to be done.
func (a *app) doMany(ctx context.Context, j job, s subject) error {
	p, err := a.open(ctx, s.root, j.args.Remote)
	if err != nil {
		return err
	}
	defer p.Close()
	found, err := members(ctx, p, s.pattern)
	if err != nil {
		return err
	}
	f := &fleet{app: a, job: j, pair: p, members: found, rows: make([]manyRow, len(found))}
	if err := f.carryOut(ctx); err != nil {
		return err
	}
	sum := f.sum()
	if len(sum.rows)+len(sum.vanished)+len(sum.untried) == 0 {
		return &noMatchError{pattern: s.pattern, side: j.source.name(j.args.Remote)}
	}
	a.code = sum.code(j.drift)
	if ctx.Err() != nil {
		a.code = codeStopped
	}
	return a.show(sum)
}

// fleet is a job on many datasets.
type fleet struct {
	*app
	job
	pair    *sync.Pair
	members []member
	asking  stdsync.Mutex // held while a question is put

	mu    stdsync.Mutex // guards what follows
	rows  []manyRow     // of the members
	turns []int         // the members at work, in order
	told  int           // of how many of them it was told what went wrong
}

// carryOut does the job, or looks at all, asks, and then does it.
func (f *fleet) carryOut(ctx context.Context) error {
	all := make([]int, len(f.members))
	for i := range all {
		all[i] = i
	}
	if !f.changes() || f.modes.Confirm == nil {
		f.each(ctx, all, func(int) sync.Modes { return f.modes })
		return nil
	}
	look := f.modes
	look.DryRun = true
	f.each(ctx, all, func(int) sync.Modes { return look })
	var due []int
	var previews []*audit
	for i, r := range f.rows {
		if !r.done {
			return nil
		}
		if r.audit != nil && r.audit.State == sync.DryRun {
			due, previews = append(due, i), append(previews, r.audit)
		}
	}
	if len(due) == 0 {
		return nil
	}
	if err := f.confirmAll(ctx, f.action, previews); err != nil {
		return err
	}
	f.each(ctx, due, func(i int) sync.Modes {
		agreed := f.modes
		agreed.Agreed = f.rows[i].audit.Report
		return agreed
	})
	return nil
}

// each does the job on some members, in the modes for each of them.
func (f *fleet) each(ctx context.Context, turns []int, modes func(i int) sync.Modes) {
	apps, asked := make([]*app, len(turns)), make([]sync.Modes, len(turns))
	what := sync.Fleet{
		Observe: func(k int) sync.Observer { return apps[k].progress.observe },
		Do: func(ctx context.Context, p *sync.Pair, k int) (*sync.Report, error) {
			return f.one(ctx, p, f.members[turns[k]], asked[k])
		},
		Done: func(k int, r *sync.Report, err error) { f.done(apps[k], turns[k], r, err) },
	}
	for k, i := range turns {
		one, id := *f.app, f.members[i].id
		one.doing.dataset, one.progress = id, f.progress.of(id)
		apps[k], asked[k] = &one, modes(i)
		if asked[k].Confirm != nil {
			asked[k].Confirm = func(r *sync.Report) error {
				f.asking.Lock()
				defer f.asking.Unlock()
				return one.confirm(ctx, r)
			}
		}
		what.IDs = append(what.IDs, id)
	}
	for _, i := range turns {
		f.rows[i] = manyRow{id: f.members[i].id}
	}
	f.turns, f.told = turns, 0
	f.progress.expect(len(turns))
	f.progress.start()
	f.pair.Each(ctx, what)
	f.progress.stop()
}

// one does the job on one dataset, unless it vanished from one side, or is none of those that are meant: then there is no
// report.
func (f *fleet) one(ctx context.Context, p *sync.Pair, m member, asked sync.Modes) (*sync.Report, error) {
	if m.lone() {
		was, err := p.Vanished(ctx, m.id)
		if err != nil {
			return nil, err
		}
		if was {
			return nil, &vanishedError{absentFrom(m.here, p)}
		}
	}
	if !m.in(f.source) {
		return nil, nil
	}
	return f.job.dataset(p, m.id, asked)
}

// done notes what became of a dataset, and says what went wrong in the order of the datasets.
func (f *fleet) done(one *app, i int, r *sync.Report, err error) {
	row := manyRow{id: f.members[i].id, err: err, done: true}
	var gone *vanishedError
	switch {
	case errors.As(err, &gone):
		row.from = gone.from
	case err != nil:
		failed := one.explain(err)
		failed.Message = ofDataset(failed.Message, f.action, row.id)
		one.logFailure(failed)
		row.failed = &failed
	case r != nil:
		row.audit = one.auditOf(r, false)
	}
	one.progress.finished(row.failed != nil)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows[i] = row
	for ; f.told < len(f.turns) && f.rows[f.turns[f.told]].done; f.told++ {
		if row := f.rows[f.turns[f.told]]; row.failed != nil {
			f.progress.over(func() {
				f.tellConflicts(row.err)
				fmt.Fprintf(f.env.stderr, "usr: error: %s\nusr: hint: %s\n", row.failed.Message, row.failed.Hint)
			})
		}
	}
}

// vanishedError: a side has the dataset no more.
type vanishedError struct{ from string }

func (e *vanishedError) Error() string { return "cannot find it on " + e.from + " any more" }

func absentFrom(isHere bool, p *sync.Pair) string {
	if isHere {
		return p.RemoteName()
	}
	return here
}

// sum makes the summary.
func (f *fleet) sum() *summary {
	s := &summary{action: f.action, remote: f.args.Remote}
	for i, r := range f.rows {
		switch {
		case r.from != "":
			s.vanished = append(s.vanished, vanished{r.id, r.from})
		case r.audit != nil || r.failed != nil:
			s.rows = append(s.rows, r)
		case !r.done && f.members[i].in(f.source):
			s.untried = append(s.untried, f.members[i].id)
		}
	}
	return s
}

// ofDataset names the dataset in the message of an error.
func ofDataset(message, action, id string) string {
	deed := "cannot " + action
	if rest, ok := strings.CutPrefix(message, deed); ok && (strings.HasPrefix(rest, ":") || strings.HasPrefix(rest, " (")) {
		return deed + " " + shown(id) + rest
	}
	return deed + " " + shown(id) + ": " + message
}

// summary is the result of a glob.
type summary struct {
	action, remote string
	rows           []manyRow
	untried        []string // since the connection was lost before their turn
	vanished       []vanished
}

// vanished is a dataset that was on both sides once, and is on one of them no more: it is named, and left alone.
type vanished struct {
	Dataset string `json:"dataset"`
	From    string `json:"from"` // the side that has it no more
}

// manyRow is one dataset, once it is done: an audit, or what went wrong, or from where it vanished.
type manyRow struct {
	id     string
	done   bool
	audit  *audit
	failed *failure
	err    error
	from   string
}

// code is the worst of all: the highest of the failures, else 1 for a difference that was asked about.
func (s *summary) code(drift bool) int {
	code := codeDone
	for _, r := range s.rows {
		switch {
		case r.failed != nil:
			code = max(code, r.failed.Code)
		case drift && r.audit.differs():
			code = max(code, codeDifference)
		}
	}
	return code
}

func (s *summary) data() any {
	type failed struct {
		Dataset string   `json:"dataset"`
		Error   *failure `json:"error"`
	}
	rows := []any{}
	for _, r := range s.rows {
		if r.failed != nil {
			rows = append(rows, failed{r.id, r.failed})
		} else {
			rows = append(rows, r.audit.data())
		}
	}
	return struct {
		Datasets []any      `json:"datasets"`
		Untried  []string   `json:"untried"`
		Vanished []vanished `json:"vanished"`
	}{rows, orEmpty(s.untried), orEmpty(s.vanished)}
}

func (s *summary) text(p *page, o opt) {
	if o.verbose {
		for _, r := range s.rows {
			if r.audit != nil {
				r.audit.text(p, o)
				p.gap()
			}
		}
	}
	p.fact("action", s.action+" of "+p.count(int64(len(s.rows)), "dataset")+" with "+s.remote)
	p.gap()
	if g := s.grid(p, o); len(g.rows) > 0 {
		p.table(g)
		p.gap()
	}
	if len(s.untried) > 0 {
		p.fact("not tried", names(s.untried, o))
	}
	for _, v := range s.vanished {
		p.fact("vanished", shown(v.Dataset)+" was on "+v.From+" and is gone; it is left alone")
	}
	for _, r := range s.rows {
		if r.failed != nil {
			p.fact(shown(r.id), r.failed.Hint)
		}
	}
	if len(s.rows) > 0 {
		p.line(p.count(int64(len(s.rows)), "dataset") + ": " + strings.Join(s.counts(p), ", "))
	}
}

// outcomes are what may have become of a dataset, in the order in which they are told.
var outcomes = []string{"pulled", "pushed", "synced", "would be pulled", "would be pushed", "would be synced", "only there", "only here", "behind", "ahead", "differ",
	"in sync", "needs you"}

// counts tells how many datasets had each outcome.
func (s *summary) counts(p *page) (out []string) {
	counts := map[string]int64{}
	for _, r := range s.rows {
		counts[r.outcome()]++
	}
	for _, what := range outcomes {
		n := counts[what]
		if n > 1 && what == "needs you" {
			what = "need you"
		}
		if n > 0 {
			out = append(out, p.number(n)+" "+what)
		}
	}
	return out
}

func (s *summary) isOutcome() {}

// outcome is what became of a dataset, in the words of counts.
func (r manyRow) outcome() string {
	if r.failed != nil {
		return "needs you"
	}
	deed := map[string]string{"pull": "pulled", "push": "pushed", "sync": "synced"}[r.audit.Action]
	switch r.audit.State {
	case sync.Transferred:
		return deed
	case sync.DryRun:
		return "would be " + deed
	}
	switch r.audit.Relation {
	case sync.InSync:
		return "in sync"
	case sync.LocalBehind:
		return "behind"
	case sync.LocalAhead:
		return "ahead"
	case sync.RemoteOnly:
		return "only there"
	case sync.LocalOnly:
		return "only here"
	case sync.Diverged, sync.Unrelated:
		return "needs you"
	}
	return "differ"
}

// grid has a row for each dataset that differs, or did; --verbose has one for each.
func (s *summary) grid(p *page, o opt) *grid {
	g := columns("dataset", "state", "relation", ">+add", ">~mod", ">-del", ">bytes")
	g.flex = []int{2} // ids are to be copied in one piece
	for _, r := range s.rows {
		if !o.verbose && r.outcome() == "in sync" {
			continue
		}
		if r.failed != nil {
			g.rows = append(g.rows, []cell{{text: shown(r.id)}, {fmt.Sprintf("FAILED (%d)", r.failed.Code), bad}, {text: r.failed.Kind}, {}, {}, {}, {}})
			continue
		}
		t := r.audit.bothTotals()
		n := p.counted
		g.rows = append(g.rows, []cell{{text: shown(r.id)}, {string(r.audit.State), stateTone(r.audit.State)},
			{string(r.audit.Relation), relationTone(r.audit.Relation)}, n(t.Added), n(t.Modified), n(t.Deleted), sized(t.Bytes)})
	}
	return g
}
