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

// relate compares both sides path by path with their common base, as git does with a merge base. Where there is
// no base the event logs alone speak, since they are append-only.
func relate(v view, b *base, logs logOrder, levels verify.Levels, inScope func(verify.Class) bool) history {
	switch l, r := v.local.present(), v.remote.present(); {
	case l && !r:
		return history{relation: LocalOnly}
	case r && !l:
		return history{relation: RemoteOnly}
	}
	var h history
	based := true
	verify.Join(v.local.files, v.remote.files, func(l, r *verify.Entry) {
		if any := either(l, r); !inScope(any.Class) || (l != nil && r != nil && levels.Compare(l, r) == verify.Same) {
			return
		} else if h.addDrift(l, r, b); any.Path == eventsPath {
			h.addLog(logs)
		} else {
			based = based && b.covers(any.Class)
			h.add(any.Path, b.moved(l, any.Path, levels), b.moved(r, any.Path, levels))
		}
	})
	if based {
		h.relation = h.decide()
		return h
	}
	return h.byLogs(logs)
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

// byLogs is the relation of two copies that have not met before.
func (h *history) byLogs(logs logOrder) history {
	all := append(append(append([]string(nil), h.local...), h.remote...), h.clash...)
	switch logs {
	case logsLocalShorter:
		return history{relation: LocalBehind, remote: all}
	case logsRemoteShorter:
		return history{relation: LocalAhead, local: all}
	case logsForked:
		return history{relation: Diverged, clash: all}
	}
	return history{relation: Unrelated, clash: all}
}
