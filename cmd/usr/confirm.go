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
	p := a.page(a.env.stderr)
	a.printPlan(p, r)
	if err := p.flush(); err != nil {
		return err
	}
	answer, err := a.ask(ctx, "Go on? [y/N] ")
	if err != nil {
		return err
	}
	if answer = strings.ToLower(answer); answer != "y" && answer != "yes" {
		return &declinedError{action: r.Action, asked: true}
	}
	a.progress.start()
	return nil
}

// printPlan is the audit's heart, ahead of time.
func (a *app) printPlan(p *page, r *sync.Report) {
	v := a.auditOf(r, a.doing.file)
	p.fact("action", v.title())
	adv := relationAdvice(p, r)
	p.state("relation", string(r.Relation), relationTone(r.Relation), adv.sentence)
	p.gap()
	p.table(v.classGrid(p))
	v.printChanges(p, opt{verbose: a.cli.Verbose})
	if r.Modes.Force {
		p.gap()
		p.line("--force overwrites what the other side does not know of; a generation of it is kept.")
	}
	p.gap()
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
