package main

import (
	"context"

	"github.com/dnadesign-maintainers/usr/sync"
)

type pullCmd struct {
	sidesArgs
	compareFlags
	changeFlags
	StrictBootstrapID bool `name:"strict-bootstrap-id" help:"A first pull takes whole ids only, no last names of them (also $$USR_SYNC_STRICT_BOOTSTRAP_ID)."`
}

// Run is called by kong.
func (c *pullCmd) Run(ctx context.Context, a *app) error {
	flag := orElse(c.compareFlags.datasetOnly(), c.changeFlags.datasetOnly())
	if c.StrictBootstrapID {
		flag = orElse(flag, "--strict-bootstrap-id")
	}
	strict := c.StrictBootstrapID || truthy(a.env.getenv("USR_SYNC_STRICT_BOOTSTRAP_ID"))
	return a.transfer(ctx, sync.Pull, c.sidesArgs, c.compareFlags, c.changeFlags, strict, flag)
}
