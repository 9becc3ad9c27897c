package main

import (
	"context"
	"time"

	"github.com/dnadesign-maintainers/usr/sync"
)

type undoCmd struct {
	Dataset string `arg:"" help:"Id or dataset directory."`
	Remote  string `arg:"" optional:"" help:"Undo there, after a push; without it here, after a pull."`
	Yes     bool   `short:"y" hidden:"" help:"Accepted for symmetry: an undo does not ask, since it can be undone."`
	From    string `placeholder:"GENERATION" help:"Go back to this generation ('usr generations'), not to the newest."`
	Force   bool   `help:"Undo even what was changed since; 'usr undo' brings that back."`
	backFlags
	limitFlag
}

// Run is called by kong.
func (c *undoCmd) Run(ctx context.Context, a *app) error {
	return c.goBack(ctx, a, "undo", sidesArgs{c.Dataset, c.Remote}, sync.Modes{MaxDelete: c.MaxDelete, Force: c.Force},
		func(p *sync.Pair, id string, m sync.Modes) (*sync.Report, error) {
			return p.UndoFrom(ctx, id, c.From, m)
		})
}

// backFlags are those that undo and restore share.
type backFlags struct {
	LockTimeout duration `placeholder:"DUR" help:"How long to wait for locks (default 5m, or the profile's)."`
	auditFlags
	baseFlag
}

// goBack changes one side to what its kept trees hold.
func (f backFlags) goBack(ctx context.Context, a *app, action string, args sidesArgs, m sync.Modes,
	do func(p *sync.Pair, id string, m sync.Modes) (*sync.Report, error)) error {
	a.doing.action, a.doing.remote, a.doing.flags.baseFlag = action, args.Remote, f.baseFlag
	s, err := a.dataset(args.Dataset)
	if err != nil {
		return err
	}
	if err := a.openAudits(f.auditFlags, s); err != nil {
		return err
	}
	if !m.DryRun {
		a.doing.root = s.root
	}
	m.Primary, m.Sidecars, m.ContentHashes, m.LockTimeout = sync.ByHash, true, true, time.Duration(f.LockTimeout)
	return a.doOne(ctx, job{action: action, args: sidesArgs{Remote: args.Remote}, source: placeOf(args.Remote), modes: m,
		dataset: do}, s)
}

// placeOf is where a dataset is looked for by a command that acts on one side.
func placeOf(remote string) sides {
	if remote == "" {
		return hereOnly
	}
	return eitherSide
}
