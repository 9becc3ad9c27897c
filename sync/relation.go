package sync

import "github.com/dnadesign-maintainers/usr/verify"

// Relation says how the two sides stand to each other (contract section 4).
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

// logOrder says which of two event logs continues the other.
type logOrder uint8

const (
	logsEqual logOrder = iota
	logsLocalShorter
	logsRemoteShorter
	logsForked
)

// history is the relation with the paths that speak for it.
type history struct {
	relation             Relation
	local, remote, clash []string        // changed there only; changed on both sides
	drift                Sides[[]string] // changed there under the size and time stamp of the common base
}

// relate compares both sides path by path with their common base, as git does with a merge base. What the base does
// not cover belongs to the side that has it, or to the one whose log continues the other's, since logs only grow.
func relate(v view, b *base, logs logOrder, levels verify.Levels, inScope func(verify.Class) bool) history {
	switch l, r := v.local.present(), v.remote.present(); {
	case l && !r:
		return history{relation: LocalOnly, remote: own(v.remote, v.local, b, levels, inScope)}
	case r && !l:
		return history{relation: RemoteOnly, local: own(v.local, v.remote, b, levels, inScope)}
	}
	var h history
	known := logs != logsEqual // something tells what was before
	verify.Join(v.local.files, v.remote.files, func(l, r *verify.Entry) {
		any := either(l, r)
		if !inScope(any.Class) || (l != nil && r != nil && levels.Compare(l, r) == verify.Same) {
			return
		}
		h.addDrift(l, r, b)
		switch {
		case any.Path == eventsPath:
			h.addLog(logs)
		case b.covers(any.Class):
			known = true
			h.add(any.Path, b.moved(l, any.Path, levels), b.moved(r, any.Path, levels))
		case l == nil || r == nil:
			h.add(any.Path, r == nil, l == nil)
		default:
			h.add(any.Path, logs == logsRemoteShorter, logs == logsLocalShorter)
		}
	})
	if h.relation = h.decide(); h.relation != InSync && !known {
		h.relation = Unrelated
	}
	return h
}

// own lists what a directory without a primary holds of its own.
func own(s, other *snapshot, b *base, levels verify.Levels, inScope func(verify.Class) bool) (paths []string) {
	verify.Join(s.files, other.files, func(e, o *verify.Entry) {
		if e != nil && o == nil && inScope(e.Class) && (!b.covers(e.Class) || b.moved(e, e.Path, levels)) {
			paths = append(paths, e.Path)
		}
	})
	return paths
}

func either(a, b *verify.Entry) *verify.Entry {
	if a != nil {
		return a
	}
	return b
}

func (h *history) addDrift(l, r *verify.Entry, b *base) {
	if b.drifted(l) {
		h.drift.Local = append(h.drift.Local, l.Path)
	}
	if b.drifted(r) {
		h.drift.Remote = append(h.drift.Remote, r.Path)
	}
}

// addLog takes logs that are equal, and differ in their time stamps at most, for no change.
func (h *history) addLog(logs logOrder) {
	if logs == logsEqual {
		return
	}
	h.add(eventsPath, logs == logsRemoteShorter || logs == logsForked, logs == logsLocalShorter || logs == logsForked)
}

func (h *history) add(path string, local, remote bool) {
	switch {
	case local && !remote:
		h.local = append(h.local, path)
	case remote && !local:
		h.remote = append(h.remote, path)
	default:
		h.clash = append(h.clash, path)
	}
}

func (h *history) decide() Relation {
	switch {
	case len(h.clash) > 0 || (len(h.local) > 0 && len(h.remote) > 0):
		return Diverged
	case len(h.local) > 0:
		return LocalAhead
	case len(h.remote) > 0:
		return LocalBehind
	}
	return InSync
}
