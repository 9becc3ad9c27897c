package main

import (
	"context"
	"time"

	"github.com/dnadesign-maintainers/usr/sync"
)

type undoCmd struct {
	Dataset     string   `arg:"" help:"Id or dataset directory."`
	Remote      string   `arg:"" optional:"" help:"Undo there, after a push; without it here, after a pull."`
	Yes         bool     `short:"y" hidden:"" help:"Accepted for symmetry: an undo does not ask, since it can be undone."`
	From        string   `placeholder:"GENERATION" help:"Go back to this generation ('usr generations'), not to the newest."`
	Force       bool     `help:"Undo even what was changed since; 'usr undo' brings that back."`
	LockTimeout duration `placeholder:"DUR" help:"How long to wait for locks (default 5m, or the profile's)."`
	auditFlags
	baseFlag
	limitFlag
}

// Run is called by kong.
func (c *undoCmd) Run(ctx context.Context, a *app) error {
	a.doing.action, a.doing.remote, a.doing.flags.baseFlag = "undo", c.Remote, c.baseFlag
	s, err := a.dataset(c.Dataset)
	if err != nil {
		return err
	}
	if err := a.openAudits(c.auditFlags, s); err != nil {
		return err
	}
	m := sync.Modes{Primary: sync.ByHash, Sidecars: true, ContentHashes: true, LockTimeout: time.Duration(c.LockTimeout), MaxDelete: c.MaxDelete, Force: c.Force}
	a.doing.root = s.root
	j := job{action: "undo", args: sidesArgs{Remote: c.Remote}, source: placeOf(c.Remote), modes: m}
	j.dataset = func(p *sync.Pair, id string, m sync.Modes) (*sync.Report, error) {
		return p.UndoFrom(ctx, id, c.From, m)
	}
	return a.doOne(ctx, j, s)
}
