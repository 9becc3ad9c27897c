package sync

import (
	"bytes"
	"context"
	"slices"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/sync/history"
	"github.com/dnadesign-maintainers/usr/verify"
)

// loadBase reads the common base, nil without one. A run that died after its promotion and before it recorded the base left
// a pending one. That holds if the promoted side is exactly that: the other one was already.
func (c *command) loadBase(v view) *history.Base {
	at := v.remote.survey.Place
	b, err := c.store.base(c.id, at, v.how.algorithm)
	if err != nil {
		c.warn("%v; going on without it", err)
	}
	if b == nil { // a base of version 1 does not record its place; it counts if the remote is exactly that
		if b = c.store.placelessBase(c.id, c.remote.Name(), v.how.algorithm); b != nil && !describes(b, v.remote) {
			b = nil
		}
	}
	if pending := c.store.pendingBase(c.id, at, v.how.algorithm); pending != nil {
		if _, dst := v.ends(pending.Direction); describes(pending, dst) {
			b = pending
		}
	}
	if b != nil {
		b.Files.SharePaths(v.local.files)
	}
	return b
}

// describes reports whether a side is what the base records, as far as that is known without reading files.
func describes(b *history.Base, snap *snapshot) bool {
	if !snap.present() {
		return false
	}
	var levels verify.Levels
	for i := range levels {
		levels[i] = verify.Content
	}
	same := true
	verify.Join(b.Files, snap.files, func(old, e *verify.Entry) {
		if old == nil || e == nil {
			same = same && old == nil && !b.Covers(e.Class)
			return
		}
		verdict := levels.Compare(old, e)
		same = same && (verdict == verify.Same || (verdict == verify.Undecided && old.Mtime == e.Mtime))
	})
	return same
}

// nextBase returns the common base once the destination holds after: all classes in scope, and the others as the base
// before recorded them.
func nextBase(run string, p *plan, after verify.Manifest) *history.Base {
	m := p.how.modes
	after = p.common(after)
	next := &history.Base{Place: p.remote.survey.Place, Run: run, Direction: p.direction}
	for _, c := range synced {
		if m.inScope(c) || p.base.Covers(c) {
			next.Classes = append(next.Classes, c)
		}
	}
	if next.Files = after; len(next.Classes) == len(synced) && m.all() {
		next.Print = fingerprint(after)
		return next
	}
	next.Files = nil
	for _, e := range after {
		if m.inScope(e.Class) {
			next.Files = append(next.Files, e)
		}
	}
	if p.base != nil {
		for _, e := range p.base.Files {
			if !m.inScope(e.Class) {
				next.Files = append(next.Files, e)
			}
		}
	}
	sorted(next.Files)
	return next
}

// common returns what the sides have in common. For files that were left alone that is what was common before.
func (p *plan) common(after verify.Manifest) verify.Manifest {
	if len(p.left) == 0 {
		return after
	}
	after = slices.DeleteFunc(slices.Clone(after), func(e verify.Entry) bool { return slices.Contains(p.left, e.Path) })
	for _, path := range p.left {
		if p.base == nil {
			break
		} else if was := p.base.Files.Find(path); was != nil {
			after = append(after, *was)
		}
	}
	return sorted(after)
}

// pendNext writes the pending common base of a pull or push.
func (c *command) pendNext(ctx context.Context, t *proven) (bool, error) {
	next := nextBase(t.run, t.plan, t.files)
	var err error
	if next.Meta, err = c.metaText(ctx, t.meta(), t.plan.how.algorithm); err != nil {
		return false, err
	}
	next.Table = c.tableSize(ctx, t.plan.src)
	return true, c.store.putPending(c.id, placeName(next.Place), t.plan.how.algorithm, next)
}

// meta shows the source's meta.md: where the new tree has the same bytes, and is here, that of the tree.
func (t *proven) meta() *snapshot {
	p := t.plan
	if t.dst.Far() || !p.src.side.Far() || !p.how.modes.inScope(verify.Meta) {
		return p.src
	}
	dir := t.tree
	if t.inPlace && p.incoming(metaPath) == nil { // it stays where it is
		dir = p.dst.survey.Live
	}
	return &snapshot{side: t.dst, survey: &remote.Survey{Live: dir}, files: t.files}
}

// recordEqual makes the content of two equal sides their common base, unless it is already.
func (c *command) recordEqual(ctx context.Context, p *plan) (err error) {
	if p.base == nil && !p.how.modes.all() { // an earlier base of the other classes stays
		p.base = c.loadBase(p.view)
	}
	next := nextBase(newRun(c.o.Now()), p, p.dst.files)
	if next.Meta, err = c.metaText(ctx, p.local, p.how.algorithm); err != nil {
		return err
	}
	name := placeName(next.Place)
	if c.store.says(c.id, next) {
		return c.store.dropPending(c.id, name)
	}
	if b := p.base; b != nil && b.Place == next.Place && slices.Equal(b.Classes, next.Classes) && sameContent(b.Files, next.Files) && bytes.Equal(b.Meta, next.Meta) {
		return c.store.dropPending(c.id, name)
	}
	next.Table = c.tableSize(ctx, p.local)
	if run := c.store.placelessRun(c.id, c.remote.Name(), next); run != "" {
		next.Run = run
	}
	if err := c.store.putPending(c.id, name, p.how.algorithm, next); err != nil {
		return err
	}
	return c.store.settleRun(c.id, next.Run, true)
}

func sameContent(a, b verify.Manifest) bool {
	return slices.EqualFunc(a, b, func(x, y verify.Entry) bool {
		return x.Path == y.Path && x.Size == y.Size && x.Digest == y.Digest
	})
}
