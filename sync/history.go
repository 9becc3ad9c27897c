package sync

import (
	"slices"

	"github.com/dnadesign-maintainers/usr/verify"
)

// nextBase is the common base once the destination holds after: all classes in scope, and for the others what
// the base before said of them.
func (s *subject) nextBase(run string, after verify.Manifest) *base {
	next := &base{Run: run, Direction: s.direction}
	for _, c := range synced {
		if s.modes.inScope(c) || s.base.covers(c) {
			next.Classes = append(next.Classes, c)
		}
	}
	if next.Files = after; len(next.Classes) == len(synced) && s.modes.all() {
		next.Print = fingerprint(after)
		return next
	}
	next.Files = nil
	for _, e := range after {
		if s.modes.inScope(e.Class) {
			next.Files = append(next.Files, e)
		}
	}
	if s.base != nil {
		for _, e := range s.base.Files {
			if !s.modes.inScope(e.Class) {
				next.Files = append(next.Files, e)
			}
		}
	}
	sorted(next.Files)
	return next
}

// recordEqual makes the content of two equal sides their common base, unless it is already.
func (s *subject) recordEqual(p *plan) error {
	next := s.nextBase(newRun(s.o.Now()), p.dst.files)
	if next.Print != "" && next.Print == s.store.basePrint(s.id, s.remote.Name()) {
		return s.store.dropPending(s.id, s.remote.Name())
	}
	if s.base != nil && slices.Equal(s.base.Classes, next.Classes) && sameContent(s.base.Files, next.Files) {
		return s.store.dropPending(s.id, s.remote.Name())
	}
	name := s.remote.Name()
	if err := s.store.putPending(s.id, name, s.algorithm, next); err != nil {
		return err
	}
	return s.store.settlePending(s.id, name, next.Run, true)
}

func sameContent(a, b verify.Manifest) bool {
	return slices.EqualFunc(a, b, func(x, y verify.Entry) bool {
		return x.Path == y.Path && x.Size == y.Size && x.Digest == y.Digest
	})
}

func (s *subject) logEntry(r *Report) LogEntry {
	e := LogEntry{Time: s.o.Now().UTC(), Action: r.Action, Dataset: r.Dataset, Remote: r.Remote, State: r.State,
		Relation: r.Relation, Fingerprint: r.Print.Local, Generation: r.Generation, Seconds: r.Took.Seconds(),
		Forced: s.modes.Force}
	for _, c := range r.Classes {
		e.Added += c.Added
		e.Modified += c.Modified
		e.Deleted += c.Deleted
		e.Bytes += c.Bytes
	}
	return e
}
