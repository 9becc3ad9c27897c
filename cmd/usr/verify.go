package main

import (
	"context"

	"github.com/dnadesign-maintainers/usr/sync"
)

type verifyCmd struct {
	sidesArgs
	auditFlags
	placeFlags
}

// Run is called by kong.
func (c *verifyCmd) Run(ctx context.Context, a *app) error {
	flags := compareFlags{auditFlags: c.auditFlags, placeFlags: c.placeFlags}
	m := sync.Modes{Primary: sync.ByHash, Sidecars: true, ContentHashes: true, Rehash: true}
	j := job{action: "verify", args: c.sidesArgs, flags: flags, modes: m, source: eitherSide, drift: true}
	j.dataset = func(p *sync.Pair, id string, m sync.Modes) (*sync.Report, error) { return p.Verify(ctx, id, m) }
	j.file = func(p *sync.Pair, s sync.FileSpec) (*sync.Report, error) {
		r, err := p.File(ctx, s, "", m) // File caches no hashes
		if r != nil {
			r.Action = "verify"
		}
		return r, err
	}
	return a.carryOut(ctx, j)
}
