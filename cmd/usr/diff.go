package main

import (
	"context"

	"github.com/dnadesign-maintainers/usr/sync"
)

type diffCmd struct {
	sidesArgs
	compareFlags
	standingFlags
	ExitCode bool `help:"Exit with 1 if there is a difference."`
	Itemize  bool `help:"Show rsync's own lines (--itemize-changes) as well."`
}

// standingFlags are those of a transfer that change nothing about a diff, which neither asks nor transfers.
type standingFlags struct {
	Yes    bool `short:"y" help:"Changes nothing: a diff does not ask."`
	DryRun bool `short:"n" help:"Changes nothing: a diff is one."`
}

// Run is called by kong.
func (c *diffCmd) Run(ctx context.Context, a *app) error {
	m, err := c.modes()
	if err != nil {
		return err
	}
	m.Itemize = c.Itemize
	j := job{action: "diff", args: c.sidesArgs, flags: c.compareFlags, modes: m, source: eitherSide,
		flagForDatasets: c.compareFlags.datasetOnly()}
	j.dataset = func(p *sync.Pair, id string) (*sync.Report, error) { return p.Diff(ctx, id, m) }
	j.file = func(p *sync.Pair, s sync.FileSpec) (*sync.Report, error) { return p.File(ctx, s, "", m) }
	j.drift = c.ExitCode
	return a.carryOut(ctx, j)
}
