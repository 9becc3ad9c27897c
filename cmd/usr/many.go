package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/sync"
)

// doMany does a job on every dataset that a glob means, over one connection, each its own transaction.
func (a *app) doMany(ctx context.Context, j job, s subject) error {
	p, err := a.open(ctx, s.root, j.args.Remote)
	if err != nil {
		return err
	}
	defer p.Close()
	ids, gone, err := j.source.matches(ctx, p, s.pattern)
	if err != nil {
		return err
	}
	if len(ids)+len(gone) == 0 {
		return &noMatchError{pattern: s.pattern, side: j.source.name(j.args.Remote)}
	}
	sum := &summary{action: j.action, remote: j.args.Remote, vanished: gone}
	for i, id := range ids {
		row := a.oneOfMany(p, j, id)
		sum.rows = append(sum.rows, row)
		if hopeless(row.err) || ctx.Err() != nil {
			sum.untried = ids[i+1:]
			break
		}
	}
	a.code = sum.code(j.drift)
	if ctx.Err() != nil {
		a.code = codeStopped
	}
	return a.show(sum)
}

// oneOfMany does the job on one dataset and says at once what went wrong with it.
func (a *app) oneOfMany(p *sync.Pair, j job, id string) manyRow {
	a.doing.dataset, a.listed = id, nil
	a.progress.forget()
	a.progress.start()
	r, err := j.dataset(p, id)
	if err == nil {
		return manyRow{id: id, audit: a.auditOf(r, false)}
	}
	a.progress.stop()
	f := a.explain(err)
	f.Message = ofDataset(f.Message, j.action, id)
	a.tellConflicts(err)
	a.logFailure(f)
	fmt.Fprintf(a.env.stderr, "usr: error: %s\nusr: hint: %s\n", f.Message, f.Hint)
	return manyRow{id: id, failed: &f, err: err}
}

// ofDataset names the dataset in the message of an error.
func ofDataset(message, action, id string) string {
	deed := "cannot " + action
	if rest, ok := strings.CutPrefix(message, deed); ok && (strings.HasPrefix(rest, ":") || strings.HasPrefix(rest, " (")) {
		return deed + " " + shown(id) + rest
	}
	return deed + " " + shown(id) + ": " + message
}

// hopeless: the connection is gone for the other datasets, too.
func hopeless(err error) bool {
	var connect *remote.ConnectError
	var interrupted *sync.InterruptedError
	return errors.As(err, &connect) || errors.As(err, &interrupted)
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

// manyRow is one dataset: an audit, or what went wrong.
type manyRow struct {
	id     string
	audit  *audit
	failed *failure
	err    error
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
		p.fact("vanished", shown(v.Dataset)+" is on "+v.From+" no more, and was; it is left alone")
	}
	if len(s.rows) > 0 {
		p.line(p.count(int64(len(s.rows)), "dataset") + ": " + strings.Join(s.counts(p), ", "))
	}
}

// outcomes are what may have become of a dataset, in the order in which they are told.
var outcomes = []string{"pulled", "pushed", "undone", "would be pulled", "would be pushed", "only there", "only here", "behind", "ahead", "differ",
	"in sync", "needs you"}

// counts tells how many datasets had each outcome.
func (s *summary) counts(p *page) (out []string) {
	counts := map[string]int64{}
	for _, r := range s.rows {
		counts[r.outcome()]++
	}
	for _, what := range outcomes {
		if n := counts[what]; n > 0 {
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
	g.flex = 2 // ids are to be copied in one piece
	for _, r := range s.rows {
		if !o.verbose && r.outcome() == "in sync" {
			continue
		}
		if r.failed != nil {
			g.rows = append(g.rows, []cell{{text: shown(r.id)}, {fmt.Sprintf("FAILED (%d)", r.failed.Code), bad}, {text: r.failed.Kind}, {}, {}, {}, {}})
			continue
		}
		t := r.audit.totals()
		n := p.counted
		g.rows = append(g.rows, []cell{{text: shown(r.id)}, {string(r.audit.State), stateTone(r.audit.State)},
			{string(r.audit.Relation), relationTone(r.audit.Relation)}, n(t.Added), n(t.Modified), n(t.Deleted), sized(t.Bytes)})
	}
	return g
}

// totals adds up the classes.
func (v *audit) totals() sync.ClassReport {
	var t sync.ClassReport
	for _, c := range v.Classes {
		t.Added += c.Added
		t.Modified += c.Modified
		t.Deleted += c.Deleted
		t.Bytes += c.Bytes
	}
	return t
}
