package main

import (
	"bufio"
	"context"
	"fmt"
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
	if a.env.isTerminal(a.env.stdout) { // else the list is wanted there as well
		a.listed = r.Changes
	}
	answer, err := a.ask(ctx, v.question())
	if err != nil {
		return err
	}
	if answer = strings.ToLower(answer); answer != "y" && answer != "yes" {
		return &declinedError{action: r.Action, asked: true}
	}
	a.progress.start()
	return nil
}

// printPlan fits a terminal of 24 lines, unless there is a lot to delete: the question is asked of what can be seen.
func (v *audit) printPlan(p *page, o opt) {
	v.printRelation(p, false)
	v.printChanges(p, o, changesAsked)
	v.printPush(p, o, changesAsked)
	if v.Modes.Force {
		p.gap()
		p.line("--force overwrites what the other side does not know of; a generation of it is kept.")
	}
	p.gap()
}

// question says it all by itself, for whoever sees nothing else.
func (v *audit) question() string {
	title := v.title()
	return strings.ToUpper(title[:1]) + title[1:] + ": " + v.sum() + ". Proceed? [y/N] "
}

// sum is what changes, in one line.
func (v *audit) sum() string {
	t := v.totals()
	if v.Push != nil {
		there := map[sync.ChangeKind]int{}
		for _, ch := range v.Push.Changes {
			there[ch.Kind]++
		}
		return fmt.Sprintf("here +%d ~%d -%d, %s; there +%d ~%d -%d", t.Added, t.Modified, t.Deleted, size(t.Bytes),
			there[sync.Added], there[sync.Modified], there[sync.Deleted])
	}
	return fmt.Sprintf("+%d ~%d -%d, %s", t.Added, t.Modified, t.Deleted, size(t.Bytes))
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
		if l.err != nil && l.text == "" { // the end of the input is no answer
			fmt.Fprintln(a.env.stderr)
		}
		return strings.TrimSpace(l.text), nil
	}
}
