package main

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/dnadesign-maintainers/usr/sync"
)

// confirm shows what a transfer would do and asks. Without a terminal it declines.
func (a *app) confirm(ctx context.Context, r *sync.Report) error {
	if !a.env.canAsk() {
		return &declinedError{action: r.Action}
	}
	a.progress.stop()
	v := a.auditOf(r, a.doing.file)
	p := a.page(a.env.stderr)
	v.printPlan(p, opt{verbose: a.cli.Verbose})
	if err := p.flush(); err != nil {
		return err
	}
	if a.env.isTerminal(a.env.stdout) { // a file needs the list too
		a.listed = r.Changes
	}
	return a.proceed(ctx, r.Action, v.question())
}

// proceed asks, and returns a declinedError unless the answer is yes.
func (a *app) proceed(ctx context.Context, action, question string) error {
	answer, err := a.ask(ctx, question)
	if err != nil {
		return err
	}
	if answer = strings.ToLower(answer); answer != "y" && answer != "yes" {
		return &declinedError{action: action, asked: true}
	}
	a.progress.start()
	return nil
}

// confirmAll puts one question for all that transfers would do, beneath a table of it.
func (a *app) confirmAll(ctx context.Context, action string, previews []*audit) error {
	if !a.env.canAsk() {
		return &declinedError{action: action}
	}
	p := a.page(a.env.stderr)
	printPlans(p, opt{verbose: a.cli.Verbose}, previews)
	if err := p.flush(); err != nil {
		return err
	}
	all := together(previews)
	title := strings.ToUpper(action[:1]) + action[1:] + " of " + p.count(int64(len(previews)), "dataset")
	return a.proceed(ctx, action, title+" with "+all.Remote+": "+all.sum()+". Proceed? [y/N] ")
}

// together adds up what is to change.
func together(previews []*audit) *audit {
	all := &sync.Report{Remote: previews[0].Remote}
	for _, v := range previews {
		all.Classes = append(all.Classes, v.Classes...)
		if v.Push != nil {
			if all.Push == nil {
				all.Push = &sync.Report{}
			}
			all.Push.Changes = append(all.Push.Changes, v.Push.Changes...)
		}
	}
	return &audit{Report: all}
}

// printPlans has a row for each dataset, and a line for each file that goes: the table tells how many go, whatever it costs
// to tell which.
func printPlans(p *page, o opt, previews []*audit) {
	g := columns("dataset", "relation", "change")
	g.flex = []int{2}
	var gone []string
	for _, v := range previews {
		g.rows = append(g.rows, []cell{{text: shown(v.Dataset)}, {string(v.Relation), relationTone(v.Relation)}, {text: v.sum()}})
		changes := v.Changes
		if v.Push != nil {
			changes = slices.Concat(changes, v.Push.Changes)
		}
		for _, c := range changes {
			if c.Kind == sync.Deleted {
				c.Path = v.Dataset + "/" + c.Path
				gone = append(gone, changeLine(c))
			}
		}
	}
	p.table(g)
	for i, line := range gone {
		if i == changesShown && !o.verbose {
			p.line(fmt.Sprintf("  … and %s more that go (-v lists all)", p.number(int64(len(gone)-i))))
			break
		}
		p.line(line)
	}
	if previews[0].Modes.Force {
		p.line(forceSays)
	}
	p.gap()
}

// printPlan fits a terminal of 24 lines, unless there is a lot to delete: people answer for what they see.
func (v *audit) printPlan(p *page, o opt) {
	v.printRelation(p, false)
	v.printDamage(p, o)
	v.printChanges(p, o, changesAsked)
	v.printPush(p, o, changesAsked)
	for _, line := range v.reused(p) {
		p.gap()
		p.line(line + ": copied from what is there, not fetched")
	}
	if v.Modes.Force {
		p.gap()
		p.line(forceSays)
	}
	p.gap()
}

const forceSays = "--force overwrites what the other side does not know of; a generation of it is kept."

// question sums everything up, in case nothing else is in sight.
func (v *audit) question() string {
	title := v.title()
	return strings.ToUpper(title[:1]) + title[1:] + ": " + v.sum() + ". Proceed? [y/N] "
}

// sum is what changes, in one line.
func (v *audit) sum() string {
	here := sumText(v.Totals())
	if v.Push != nil {
		return "here " + here + "; there " + sumText(pushTotals(v.Push))
	}
	return here
}

func sumText(t sync.ClassReport) string {
	return fmt.Sprintf("+%d ~%d -%d, %s", t.Added, t.Modified, t.Deleted, size(t.Bytes))
}

// pushTotals adds up the second half of a sync, which a preview knows by its changes alone.
func pushTotals(r *sync.Report) (t sync.ClassReport) {
	for _, ch := range r.Changes {
		switch ch.Kind {
		case sync.Added:
			t.Added++
		case sync.Modified:
			t.Modified++
		case sync.Deleted:
			t.Deleted++
			continue
		}
		t.Bytes += ch.Bytes
	}
	return t
}

// bothTotals adds up what changes on either side.
func (v *audit) bothTotals() sync.ClassReport {
	t := v.Totals()
	if v.Push != nil {
		there := pushTotals(v.Push)
		t.Added, t.Modified, t.Deleted, t.Bytes = t.Added+there.Added, t.Modified+there.Modified, t.Deleted+there.Deleted, t.Bytes+there.Bytes
	}
	return t
}

// ask puts a question on standard error and reads a line; Ctrl-C ends the wait.
func (a *app) ask(ctx context.Context, question string) (string, error) {
	fmt.Fprint(a.env.stderr, question)
	if a.answers == nil {
		a.answers = bufio.NewReader(a.env.stdin)
	}
	type line struct {
		text string
		err  error
	}
	got := make(chan line, 1)
	go func() {
		text, err := a.answers.ReadString('\n')
		got <- line{text, err}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(a.env.stderr)
		return "", ctx.Err()
	case l := <-got:
		if l.err != nil && l.text == "" { // the input ended without an answer
			fmt.Fprintln(a.env.stderr)
		}
		return strings.TrimSpace(l.text), nil
	}
}
