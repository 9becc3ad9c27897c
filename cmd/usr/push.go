package main

import (
	"context"

	"github.com/dnadesign-maintainers/usr/sync"
)

type pushCmd struct {
	sidesArgs
	compareFlags
	changeFlags
}

// Run is called by kong.
func (c *pushCmd) Run(ctx context.Context, a *app) error {
	flag := orElse(c.compareFlags.datasetOnly(), c.changeFlags.datasetOnly())
	return a.transfer(ctx, sync.Push, c.sidesArgs, c.compareFlags, c.changeFlags, false, flag)
}
