package sync

import (
	"slices"

	"github.com/dnadesign-maintainers/usr/verify"
)

// loadBase reads the common base, nil without one. A promotion that finished while its run died before it could record
// the base left a pending one, which holds if the side that was promoted is exactly that: the other one was already.
func (c *command) loadBase(v view) *base {
	name := c.remote.Name()
	b, err := c.store.base(c.id, name, v.how.algorithm)
	if err != nil {
		c.warn("%v; going on without it", err)
	}
	if pending := c.store.pendingBase(c.id, name, v.how.algorithm); pending != nil {
		if _, dst := v.ends(pending.Direction); pending.describes(dst) {
			b = pending
		}
	}
	if b != nil {
		b.Files.SharePaths(v.local.files)
	}
	return b
}

// describes reports whether a side is what the base records, as far as is known without reading files.
func (b *base) describes(snap *snapshot) bool {
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
			same = same && old == nil && !b.covers(e.Class)
			return
		}
		verdict := levels.Compare(old, e)
		same = same && (verdict == verify.Same || (verdict == verify.Undecided && old.Mtime == e.Mtime))
	})
	return same
}

// nextBase is the common base once the destination holds after: all classes in scope, and for the others what the base
// before recorded of them.
func nextBase(run string, p *plan, after verify.Manifest) *base {
	m := p.how.modes
	next := &base{Run: run, Direction: p.direction}
	for _, c := range synced {
		if m.inScope(c) || p.base.covers(c) {
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

// pendNext writes the common base of a pull or push down, to hold once it is promoted.
func (c *command) pendNext(t *proven) (bool, error) {
	return true, c.store.putPending(c.id, c.remote.Name(), t.plan.how.algorithm, nextBase(t.run, t.plan, t.files))
}

// recordEqual makes the content of two equal sides their common base, unless it is already.
func (c *command) recordEqual(p *plan) error {
	name := c.remote.Name()
	next := nextBase(newRun(c.o.Now()), p, p.dst.files)
	if next.Print != "" && next.Print == c.store.basePrint(c.id, name) {
		return c.store.dropPending(c.id, name)
	}
	if b := p.base; b != nil && slices.Equal(b.Classes, next.Classes) && sameContent(b.Files, next.Files) {
		return c.store.dropPending(c.id, name)
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
