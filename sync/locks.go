package sync

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"time"
)

// locks are the dataset locks that a command holds, in the order in which they were taken.
type locks struct {
	c         *command
	held      []side
	unguarded []side // sources that cannot be locked, which is tolerated
	since     time.Time
}

// extend takes the locks that a view needs and that are not yet held: always local first, so that two transfers in opposite
// directions cannot wait for each other.
func (l *locks) extend(ctx context.Context, p *plan) error {
	for _, snap := range []*snapshot{p.local, p.remote} {
		if !l.lacks(snap) {
			continue
		}
		locked, err := snap.side.Lock(ctx, snap.survey.Live, l.c.lockTimeout(), snap == p.src)
		if err != nil {
			return err
		}
		if !locked {
			l.c.warn("%s cannot be locked (read-only); going on, since it is only read", snap.side.Name())
			l.unguarded = append(l.unguarded, snap.side)
			continue
		}
		if len(l.held) == 0 {
			l.since = l.c.o.Now()
		}
		l.held = append(l.held, snap.side)
	}
	return nil
}

// around takes the lock of a directory, if it is a dataset.
func (l *locks) around(ctx context.Context, s side, dir string) error {
	if _, err := s.Stat(ctx, path.Join(dir, lockFile)); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if _, err := s.Lock(ctx, dir, l.c.lockTimeout(), false); err != nil {
		return err
	}
	l.held, l.since = append(l.held, s), l.c.o.Now()
	return nil
}

// lacks reports whether the lock of a live dataset is not held.
func (l *locks) lacks(snap *snapshot) bool {
	for _, sides := range [][]side{l.held, l.unguarded} {
		for _, s := range sides {
			if s == snap.side {
				return false
			}
		}
	}
	return snap.survey.Exists && snap.kept == nil
}

// stand checks on each side that the lock is still held, and is still that of the dataset.
func (l *locks) stand(ctx context.Context) error {
	for _, s := range l.held {
		if err := s.Locked(ctx); err != nil {
			return err
		}
	}
	return nil
}

// release releases the locks, last taken first; a second call does nothing. A lock that cannot be released went with its
// connection.
func (l *locks) release() {
	if len(l.held) > 0 {
		l.c.cost.lockHeld += l.c.o.Now().Sub(l.since)
	}
	ctx, cancel := leaving()
	defer cancel()
	for ; len(l.held) > 0; l.held = l.held[:len(l.held)-1] {
		if err := l.held[len(l.held)-1].Unlock(ctx); err != nil && !lineLost(err) {
			l.c.warn("%v", err)
		}
	}
}
