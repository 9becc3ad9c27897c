package main

import "context"

type diffCmd struct {
	sidesArgs
	compareFlags
	standingFlags
	ExitCode bool `help:"Exit with 1 if there is a difference."`
	Itemize  bool `help:"Show rsync's own lines (--itemize-changes) as well."`
}

// standingFlags are accepted because a transfer has them: a diff neither asks nor transfers.
type standingFlags struct {
	Yes    bool `short:"y" help:"Changes nothing: a diff does not ask."`
	DryRun bool `short:"n" help:"Changes nothing: a diff is one."`
}

// Run is called by kong.
func (c *diffCmd) Run(ctx context.Context, a *app) error {
	return a.diff(ctx, c.sidesArgs, c.compareFlags, c.ExitCode, c.Itemize)
}
