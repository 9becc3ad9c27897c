package history

import "github.com/dnadesign-maintainers/usr/verify"

// Relation is how the two sides stand (contract section 4).
type Relation string

// The relations.
const (
	InSync      Relation = "in-sync"
	LocalBehind Relation = "local-behind"
	LocalAhead  Relation = "local-ahead"
	Diverged    Relation = "diverged"
	LocalOnly   Relation = "local-only"
	RemoteOnly  Relation = "remote-only"
	Unrelated   Relation = "unrelated"
)

// LogOrder is which of two event logs continues the other.
type LogOrder uint8

// The orders.
const (
	LogsEqual LogOrder = iota
	LogsLocalShorter
	LogsRemoteShorter
	LogsForked
)

// Standing is the relation with the paths that prove it.
type Standing struct {
	Relation             Relation
	Local, Remote, Clash []string        // changed locally only, on the remote only, on both sides
	Drift                Sides[[]string] // other bytes under the size and time stamp of the common base
	Rebuilt              bool            // rebuildable files differ, whoever changed them
}

// Relate compares both sides path by path with their common base, as git does with a merge base. What the base does not
// cover belongs to the side that has it, or to the side whose log continues the other's, since logs only grow. A change of
// a light file, which a program can make again, does not count.
func Relate(local, remote verify.Manifest, b *Base, logs LogOrder, levels verify.Levels, inScope func(verify.Class) bool, light func(path string) bool) Standing {
	switch l, r := Present(local), Present(remote); {
	case l && !r:
		return Standing{Relation: LocalOnly, Remote: own(remote, local, b, levels, inScope, light)}
	case r && !l:
		return Standing{Relation: RemoteOnly, Local: own(local, remote, b, levels, inScope, light)}
	}
	var h Standing
	known := logs != LogsEqual // something tells what was before
	verify.Join(local, remote, func(l, r *verify.Entry) {
		either := verify.Either(l, r)
		if !inScope(either.Class) || (l != nil && r != nil && levels.Compare(l, r) == verify.Same) {
			return
		}
		if light(either.Path) {
			h.Rebuilt = true
			return
		}
		h.addDrift(l, r, b)
		switch {
		case either.Path == Events:
			h.addLog(logs)
		case b.Covers(either.Class):
			known = true
			h.add(either.Path, b.Moved(l, either.Path, levels), b.Moved(r, either.Path, levels))
		case l == nil || r == nil:
			h.add(either.Path, r == nil, l == nil)
		default:
			h.add(either.Path, logs == LogsRemoteShorter, logs == LogsLocalShorter)
		}
	})
	switch h.Relation = h.decide(); {
	case h.Relation == InSync && h.Rebuilt: // the remote's version counts
		h.Relation = LocalBehind
	case h.Relation != InSync && !known:
		h.Relation = Unrelated
	}
	return h
}

// Present reports whether a directory of these files is a dataset.
func Present(files verify.Manifest) bool { return files.Find(Primary) != nil }

// own lists the files of a directory without a primary.
func own(files, other verify.Manifest, b *Base, levels verify.Levels, inScope func(verify.Class) bool, light func(path string) bool) (paths []string) {
	verify.Join(files, other, func(e, o *verify.Entry) {
		if e != nil && o == nil && inScope(e.Class) && !light(e.Path) && (!b.Covers(e.Class) || b.Moved(e, e.Path, levels)) {
			paths = append(paths, e.Path)
		}
	})
	return paths
}

func (h *Standing) addDrift(l, r *verify.Entry, b *Base) {
	if b.Drifted(l) {
		h.Drift.Local = append(h.Drift.Local, l.Path)
	}
	if b.Drifted(r) {
		h.Drift.Remote = append(h.Drift.Remote, r.Path)
	}
}

// addLog adds a change of the event log. Equal logs with different time stamps are no change.
func (h *Standing) addLog(logs LogOrder) {
	if logs == LogsEqual {
		return
	}
	h.add(Events, logs == LogsRemoteShorter || logs == LogsForked, logs == LogsLocalShorter || logs == LogsForked)
}

func (h *Standing) add(path string, local, remote bool) {
	switch {
	case local && !remote:
		h.Local = append(h.Local, path)
	case remote && !local:
		h.Remote = append(h.Remote, path)
	default:
		h.Clash = append(h.Clash, path)
	}
}

func (h *Standing) decide() Relation {
	switch {
	case len(h.Clash) > 0 || (len(h.Local) > 0 && len(h.Remote) > 0):
		return Diverged
	case len(h.Local) > 0:
		return LocalAhead
	case len(h.Remote) > 0:
		return LocalBehind
	}
	return InSync
}
