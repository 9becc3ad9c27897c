package main

import (
	"context"

	"github.com/dnadesign-maintainers/usr/sync"
)

type pullCmd struct {
	sidesArgs
	compareFlags
	changeFlags
	takeFlags
	Merge             bool `help:"Keep what local has of its own as well: the first half of a sync."`
	StrictBootstrapID bool `name:"strict-bootstrap-id" help:"A first pull takes whole ids only, no last names of them (also $$USR_SYNC_STRICT_BOOTSTRAP_ID)."`
}

// Run is called by kong.
func (c *pullCmd) Run(ctx context.Context, a *app) error {
	flag := orElse(c.compareFlags.datasetOnly(), c.changeFlags.datasetOnly())
	if c.StrictBootstrapID {
		flag = orElse(flag, "--strict-bootstrap-id")
	}
	switch {
	case c.Merge:
		return a.merge(ctx, "pull", c.sidesArgs, c.compareFlags, c.changeFlags, c.takeFlags)
	case c.takeFlags.given() != "":
		return &usageError{why: "cannot use " + c.takeFlags.given() + " without --merge: a plain pull has no conflicts to decide", hint: "add --merge, or use `usr sync`"}
	}
	strict := c.StrictBootstrapID || truthy(a.env.getenv("USR_SYNC_STRICT_BOOTSTRAP_ID"))
	return a.transfer(ctx, sync.Pull, c.sidesArgs, c.compareFlags, c.changeFlags, strict, flag)
}
