package main

import (
	"context"
	"errors"

	"github.com/dnadesign-maintainers/usr/sync"
	"github.com/dnadesign-maintainers/usr/verify"
)

type syncCmd struct {
	sidesArgs
	compareFlags
	changeFlags
	takeFlags
}

// takeFlags decide conflicts of a merge.
type takeFlags struct {
	TakeLocal  []string `placeholder:"GLOB" sep:"none" help:"What both sides changed: the local version (repeatable; patterns as in a profile's ignore)."`
	TakeRemote []string `placeholder:"GLOB" sep:"none" help:"The same: the remote's version."`
}

// Run is called by kong.
func (c *syncCmd) Run(ctx context.Context, a *app) error {
	return a.merge(ctx, "sync", c.sidesArgs, c.compareFlags, c.changeFlags, c.takeFlags)
}

// merge is sync, or its first half: a pull that keeps local changes.
func (a *app) merge(ctx context.Context, action string, args sidesArgs, compare compareFlags, change changeFlags, take takeFlags) error {
	m, err := compare.modes()
	if err != nil {
		return err
	}
	if err := change.apply(&m); err != nil {
		return err
	}
	if m.Take, err = take.takes(); err != nil {
		return err
	}
	if !change.Yes {
		m.Confirm = func(r *sync.Report) error { return a.confirm(ctx, r) }
	}
	j := job{action: action, args: args, flags: compare, modes: m, source: eitherSide, flagForDatasets: "sync"}
	j.dataset = func(p *sync.Pair, id string, m sync.Modes) (*sync.Report, error) { return p.Sync(ctx, id, m) }
	if action == "pull" {
		j.source, j.flagForDatasets = thereOnly, "--merge"
		j.dataset = func(p *sync.Pair, id string, m sync.Modes) (*sync.Report, error) { return p.Merge(ctx, id, m) }
	}
	return a.carryOut(ctx, j)
}

func (f takeFlags) given() string {
	switch {
	case len(f.TakeLocal) > 0:
		return "--take-local"
	case len(f.TakeRemote) > 0:
		return "--take-remote"
	}
	return ""
}

func (f takeFlags) takes() (t sync.Takes, err error) {
	if t.Local, err = verify.NewPatterns(f.TakeLocal); err == nil {
		t.Remote, err = verify.NewPatterns(f.TakeRemote)
	}
	var bad *verify.PatternError
	if errors.As(err, &bad) {
		return t, &usageError{why: "cannot use the pattern " + shown(bad.Pattern) + ": " + bad.Why,
			hint: "name a path, or a pattern such as '_derived/ns/*.parquet'"}
	}
	return t, err
}
