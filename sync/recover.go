package sync

import (
	"context"
	"errors"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// loadBase reads the common base. A promotion that finished while its run died before it could record the base
// left a pending one, which holds if the side that was promoted is exactly that: the other one was already.
func (s *subject) loadBase(v view) error {
	name := s.remote.Name()
	s.base = nil // an earlier one need not be in memory while this one is read
	b, err := s.store.base(s.id, name, s.algorithm)
	if err != nil {
		s.warn("%v; going on without it", err)
	}
	s.base = b
	if pending := s.store.pendingBase(s.id, name, s.algorithm); pending != nil {
		if _, dst := v.ends(pending.Direction); pending.describes(dst) {
			s.base = pending
		}
	}
	if s.base != nil {
		s.base.Files.SharePaths(v.local.files)
	}
	return nil
}

// describes tells whether a side is what the base says, as far as is known without reading files.
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

// lookSettled looks at both sides until none of them shows the journal of a dead run.
func (s *subject) lookSettled(ctx context.Context, cached bool) (v view, err error) {
	err = s.o.Observe.step(StepSurvey, func() error { v, err = s.look(ctx, view{}, cached); return err })
	if err != nil || !v.local.survey.Journal && !v.remote.survey.Journal {
		return v, err
	}
	again, err := s.recoverAll(ctx, v)
	if err != nil || !again {
		return v, err
	}
	return s.lookSettled(ctx, cached)
}

// recoverAll finishes or undoes what dead runs left on either side. It reports whether anything was done; a
// journal whose run is alive is left alone.
func (s *subject) recoverAll(ctx context.Context, v view) (bool, error) {
	if s.recovered {
		return false, nil
	}
	s.recovered = true
	done := false
	err := s.o.Observe.step(StepRecover, func() error {
		for _, snap := range []*snapshot{v.local, v.remote} {
			if !snap.survey.Journal {
				continue
			}
			ok, err := s.recoverSide(ctx, snap.side)
			if err != nil {
				return err
			}
			done = done || ok
		}
		return nil
	})
	return done, err
}

func (s *subject) recoverSide(ctx context.Context, side side) (bool, error) {
	err := side.Claim(ctx, s.key, 0)
	var locked *remote.LockError
	if errors.As(err, &locked) {
		return false, nil // its run is alive
	}
	if err != nil {
		return false, err
	}
	_, err = s.settleDead(ctx, side)
	if rerr := side.Release(ctx); err == nil {
		err = rerr
	}
	return true, err
}

// settleDead finishes or undoes the promotion that a dead run left, if there is one. Needs the claim.
func (s *subject) settleDead(ctx context.Context, side side) (found bool, err error) {
	r, err := side.Recover(ctx, s.key)
	if err != nil || r.Run == "" {
		return false, err
	}
	s.warn("%s: an earlier run (%s) was stopped while it switched trees: %s", side.Name(), r.Run, outcome(r.Forward))
	if err = s.store.settleRun(s.id, r.Run, r.Forward); err == nil {
		err = side.Settle(ctx, s.key, s.o.KeepGenerations)
	}
	return true, err
}

func outcome(forward bool) string {
	if forward {
		return "finished it"
	}
	return "the old content stands"
}
