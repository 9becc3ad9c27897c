package main

import (
	"context"

	"github.com/dnadesign-maintainers/usr/sync"
)

// statusCmd is diff, of all datasets if none is named.
type statusCmd struct {
	Dataset string `arg:"" optional:"" help:"Id, glob over ids in quotes, dataset directory, or file; without it, all of either side."`
	Remote  string `arg:"" optional:"" help:"Name of a remote ('usr remotes list')."`
	compareFlags
	standingFlags
	ExitCode bool `help:"Exit with 1 if there is a difference."`
	Itemize  bool `help:"Show rsync's own lines (--itemize-changes) as well."`
}

// Run is called by kong.
func (c *statusCmd) Run(ctx context.Context, a *app) error {
	sides := sidesArgs{c.Dataset, c.Remote}
	switch {
	case c.Dataset == "":
		return &usageError{why: "cannot tell how the sides stand: no remote is named", hint: "name one, as in `usr status bu-scc`; `usr remotes list` lists them"}
	case c.Remote == "":
		sides = sidesArgs{everything, c.Dataset}
	}
	return a.diff(ctx, sides, c.compareFlags, c.ExitCode, c.Itemize)
}

// everything is the glob of all ids.
const everything = "**"

// diff previews.
func (a *app) diff(ctx context.Context, sides sidesArgs, flags compareFlags, drift, itemize bool) error {
	m, err := flags.modes()
	if err != nil {
		return err
	}
	m.Itemize = itemize
	return a.carryOut(ctx, job{action: "diff", args: sides, flags: flags, modes: m, source: eitherSide, flagForDatasets: flags.datasetOnly(),
		drift:   drift,
		dataset: func(p *sync.Pair, id string, m sync.Modes) (*sync.Report, error) { return p.Diff(ctx, id, m) },
		file:    func(p *sync.Pair, s sync.FileSpec) (*sync.Report, error) { return p.File(ctx, s, "", m) },
	})
}
