package sync

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/dnadesign-maintainers/usr/verify"
)

// Verify reads every byte of a dataset on both sides, with no cache, and compares. It transfers nothing.
// The report's changes are what a pull would do; there are none if both sides are equal.
func (p *Pair) Verify(ctx context.Context, id string, m Modes) (*Report, error) {
	m.Primary, m.Sidecars, m.ContentHashes, m.Rehash = ByHash, true, true, true
	s, err := p.subject(id, "", m)
	if err != nil {
		return nil, err
	}
	v, err := s.lookSettled(ctx, false)
	if err != nil {
		return nil, err
	}
	if !v.local.present() && !v.remote.present() {
		return nil, &MissingError{Side: "either side", Path: id}
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, snap := range []*snapshot{v.local, v.remote} {
		g.Go(func() error { return p.hash(gctx, snap, unknown(snap.files), s.algorithm) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	plan, err := s.compare(ctx, v)
	if err != nil {
		return nil, err
	}
	r := s.report(plan, "verify", DiffOnly)
	if err := s.describeTables(ctx, r); err != nil {
		return nil, err
	}
	s.rememberBoth()
	return s.finish(r), nil
}

// unknown lists the files without a digest.
func unknown(m verify.Manifest) []*verify.Entry {
	var out []*verify.Entry
	for i := range m {
		if !m[i].Digest.Known() {
			out = append(out, &m[i])
		}
	}
	return out
}
