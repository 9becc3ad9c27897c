package local

import (
	"context"
	"slices"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// landing reads each file the moment that rsync reports it, while it is in the page cache.
type landing struct {
	hasher *verify.Hasher
	got    verify.Manifest // filled by one call at a time, the last before the hasher's Wait returns
}

// Landing hashes files below dir, about as many as expected, while rsync is putting them there.
func (s *Side) Landing(ctx context.Context, dir, algorithm string, expected int) (remote.Landing, error) {
	if err := s.sound(dir); err != nil {
		return nil, err
	}
	l := &landing{got: make(verify.Manifest, 0, expected)}
	var err error
	l.hasher, err = verify.NewHasher(ctx, dir, algorithm, 0, func(r verify.Hashed) {
		if r.Err == nil && verify.Fine(r.Entry.Ctime) { // else it is read again when nothing is under way any more
			l.got = append(l.got, r.Entry)
		}
	})
	return l, err
}

func (l *landing) Add(path string, _ int64) { l.hasher.Add(path) }

func (l *landing) Wait() (remote.Arrivals, error) {
	err := l.hasher.Wait()
	slices.SortFunc(l.got, verify.ComparePaths)
	return remote.Arrivals{Stamped: once(l.got)}, err
}

// once leaves out what was reported twice: rsync sends a file again whose checksum was wrong, and it cannot be told
// which of the two was hashed when.
func once(m verify.Manifest) verify.Manifest {
	kept := m[:0]
	for i := 0; i < len(m); {
		next := i + 1
		for next < len(m) && m[next].Path == m[i].Path {
			next++
		}
		if next == i+1 {
			kept = append(kept, m[i])
		}
		i = next
	}
	return kept
}
