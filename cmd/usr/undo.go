package main

import (
	"context"
	"time"

	"github.com/dnadesign-maintainers/usr/sync"
)

type undoCmd struct {
	Dataset      string   `arg:"" help:"Id or dataset directory."`
	Remote       string   `arg:"" optional:"" help:"Undo there, after a push; without it here, after a pull."`
	Yes          bool     `short:"y" hidden:"" help:"Accepted for symmetry: an undo does not ask, since it can be undone."`
	LockTimeout  duration `placeholder:"DUR" help:"How long to wait for locks (default 5m, or the profile's)."`
	AuditJSONOut string   `name:"audit-json-out" placeholder:"FILE" help:"Write the audit as JSON to FILE as well."`
	limitFlag
}

// Run is called by kong.
func (c *undoCmd) Run(ctx context.Context, a *app) error {
	a.doing.action, a.doing.remote = "undo", c.Remote
	s, err := a.dataset(c.Dataset)
	if err != nil {
		return err
	}
	if err := a.openAudit(c.AuditJSONOut); err != nil {
		return err
	}
	m := sync.Modes{Primary: sync.ByHash, Sidecars: true, ContentHashes: true, LockTimeout: time.Duration(c.LockTimeout), MaxDelete: c.MaxDelete}
	j := job{action: "undo", args: sidesArgs{Remote: c.Remote}}
	j.dataset = func(p *sync.Pair, id string) (*sync.Report, error) { return p.Undo(ctx, id, m) }
	return a.doOne(ctx, j, s)
}
