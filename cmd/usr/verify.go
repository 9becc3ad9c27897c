package main

import (
	"context"

	"github.com/dnadesign-maintainers/usr/sync"
)

type verifyCmd struct {
	Dataset      string `arg:"" help:"Id or dataset directory."`
	Remote       string `arg:"" help:"Name of a remote."`
	AuditJSONOut string `name:"audit-json-out" placeholder:"FILE" help:"Write the audit as JSON to FILE as well."`
}

// Run is called by kong.
func (c *verifyCmd) Run(ctx context.Context, a *app) error {
	a.doing.action, a.doing.remote = "verify", c.Remote
	s, err := a.dataset(c.Dataset)
	if err != nil {
		return err
	}
	if err := a.openAudit(c.AuditJSONOut); err != nil {
		return err
	}
	j := job{action: "verify", args: sidesArgs{Remote: c.Remote}, drift: true}
	j.dataset = func(p *sync.Pair, id string) (*sync.Report, error) { return p.Verify(ctx, id, sync.Modes{}) }
	return a.doOne(ctx, j, s)
}
