package sync

import (
	"context"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// complete reports whether the stamp of every wanted file is known. It does not check that they are the right files.
func complete(a remote.Arrivals, want []*verify.Entry) bool {
	for _, e := range want {
		if a.Stamped.Find(e.Path) == nil {
			return false
		}
	}
	return true
}

// landing begins to hash the wanted files as they arrive in the stage, if their digests are of use.
func (st *stage) landing(ctx context.Context, p *plan, want []*verify.Entry) (*reports, error) {
	r := &reports{p: p, levels: p.how.modes.levels(), classes: st.classes}
	if p.how.modes.noHashes {
		return r, nil
	}
	var err error
	r.landing, err = st.dst.Landing(ctx, st.tree, p.how.algorithm, len(want))
	return r, err
}

// reports passes rsync's reports on to a landing, if there is one.
type reports struct {
	landing remote.Landing
	p       *plan
	levels  verify.Levels
	classes *verify.Classifier
}

func (r *reports) add(path string) {
	if r.landing == nil || r.levels[r.classes.Class(path)] != verify.Content {
		return
	}
	var size int64
	if it := r.p.incoming(path); it != nil {
		path, size = it.Path, it.Size // this copy of the path stays in memory anyway
	}
	r.landing.Add(path, size)
}

func (r *reports) wait() (remote.Arrivals, error) {
	if r.landing == nil {
		return remote.Arrivals{}, nil
	}
	return r.landing.Wait()
}
