package sync

import (
	"context"
	"errors"
	"strings"

	"github.com/dnadesign-maintainers/usr/remote/rsync"
	"github.com/dnadesign-maintainers/usr/verify"
)

// Diff previews a dataset. It writes nothing but the local hash cache.
func (p *Pair) Diff(ctx context.Context, id string, m Modes) (*Report, error) {
	c, err := p.begin(id, m)
	if err != nil {
		return nil, err
	}
	return c.show(ctx, "diff", func(v view) error { return nil })
}

// Verify reads every byte of a dataset on both sides, with no cache, and compares. It transfers nothing. The report's
// changes are what a pull would do; there are none if both sides are equal.
func (p *Pair) Verify(ctx context.Context, id string, m Modes) (*Report, error) {
	m.Primary, m.Sidecars, m.ContentHashes, m.Rehash = ByHash, true, true, true
	c, err := p.begin(id, m)
	if err != nil {
		return nil, err
	}
	return c.show(ctx, "verify", func(v view) error {
		return together(
			func() error { return c.hash(ctx, v.local, unknown(v.local.files), v.how.algorithm) },
			func() error { return c.hash(ctx, v.remote, unknown(v.remote.files), v.how.algorithm) })
	})
}

// show compares both sides, reading files as far as the command needs, and reports.
func (c *command) show(ctx context.Context, action string, read func(view) error) (*Report, error) {
	v, err := c.lookSettled(ctx, deed{look: c.look})
	if err != nil {
		return nil, err
	}
	if !v.local.present() && !v.remote.present() {
		return nil, &MissingError{Side: "either side", Path: c.id, NoPrimary: v.local.survey.Exists || v.remote.survey.Exists}
	}
	c.warnOfRegistries(v)
	if err := read(v); err != nil {
		return nil, err
	}
	p, err := c.compare(ctx, v, "")
	if err != nil {
		return nil, err
	}
	p.reuse(p.dst)
	r, err := c.report(ctx, p, action, DiffOnly)
	if err != nil {
		return nil, err
	}
	c.warnOfUnsafe(v)
	if p.history.Relation == LocalOnly && v.remote.survey.Place.Root == "" { // there may be no base directory, and a push would fail
		if _, err := c.IDs(ctx, true); err != nil {
			c.warn("%v", err)
		}
	}
	if action == "diff" {
		if err := c.explain(ctx, p, r); err != nil {
			return nil, err
		}
	}
	if action == "diff" && (len(p.changes) > 0 || c.asked.Itemize) {
		if err := c.rsyncPreview(ctx, p, r); err != nil {
			return nil, err
		}
	}
	c.remember(v)
	return c.finish(r), nil
}

// warnOfUnsafe names what a transfer would be refused for.
func (c *command) warnOfUnsafe(v view) {
	for _, s := range []*snapshot{v.local, v.remote} {
		if len(s.unsafe) > 0 {
			c.warn("%v", &UnsafeError{Side: s.side.Name(), Paths: s.unsafe})
		}
	}
}

// rsyncPreview asks rsync what it would do, and joins that with the manifests. If they disagree the manifests are right, and
// the report says so: what size and time stamp hide (Silent), and what only looks different (Touched).
func (c *command) rsyncPreview(ctx context.Context, p *plan, r *Report) error {
	if !p.dst.survey.Exists || !p.src.survey.Exists {
		return nil // rsync has nothing to compare with: everything is new
	}
	from, to, err := endpoints(ctx, p)
	if err != nil {
		return err
	}
	items, err := rsync.Preview{
		From: from, To: to,
		FromDir: p.src.survey.Live, ToDir: p.dst.survey.Live,
		Exclude: c.excludes(p),
		Itemize: c.itemizer(),
		Stall:   stallTimeout,
		Command: c.ranRsync,
	}.Run(ctx)
	var partial *rsync.Error
	if errors.As(err, &partial) && (partial.Code == 23 || partial.Code == 24) {
		// A file vanished meanwhile; or a file will replace a directory that holds ignored files, at which rsync fails
		// even in a dry run.
		c.warn("rsync's own preview is not complete: %v", err)
		return nil
	} else if err != nil {
		return err
	}
	flags := make(map[string]string, len(items))
	for _, it := range items {
		flags[it.Path] = it.Flags
	}
	for i := range r.Changes {
		ch := &r.Changes[i]
		ch.Flags = flags[ch.Path]
		delete(flags, ch.Path)
		if ch.Flags == "" && ch.Kind == Modified {
			r.Silent = append(r.Silent, ch.Path)
		}
	}
	for _, path := range p.kept() {
		if f, ok := flags[path]; ok && strings.HasPrefix(f[1:], "f") {
			r.Touched = append(r.Touched, path)
		}
	}
	return nil
}

func (c *command) itemizer() func(string) {
	if !c.asked.Itemize {
		return nil
	}
	return func(line string) { c.o.Observe(Itemized{line}) }
}

// excludes keeps rsync's preview to the paths that the modes compare.
func (c *command) excludes(p *plan) []string {
	var out []string
	for _, path := range append(append([]string(nil), p.src.carry...), p.dst.carry...) {
		out = append(out, rsync.ExcludePath(path))
	}
	verify.Join(p.src.files, p.dst.files, func(a, b *verify.Entry) {
		if e := verify.Either(a, b); !p.how.modes.inScope(e.Class) {
			out = append(out, rsync.ExcludePath(e.Path))
		}
	})
	return out
}
