package main

import (
	"strings"

	"github.com/dnadesign-maintainers/usr/sync"
	"github.com/dnadesign-maintainers/usr/verify"
)

// advice is a sentence about how two sides stand, and the command that may come next ("" if none).
type advice struct {
	sentence string
	was      string // the same, after a transfer
	next     string // the command
	note     string // what the command is or does, such as "is a fast-forward"
}

// relationAdvice makes the advice for a comparison.
func relationAdvice(p *page, v *audit) advice {
	noun := "dataset"
	if v.file {
		noun = "file"
	}
	switch r := v.Report; r.Relation {
	case sync.InSync:
		return advice{sentence: "both sides hold the same content"}
	case sync.LocalBehind:
		lead := lead(p, r, sync.Pull)
		if len(r.Damaged.Remote) > 0 {
			return advice{sentence: r.Remote + " is " + lead, was: r.Remote + " was " + lead, next: "sync", note: "repairs what is damaged there"}
		}
		return advice{sentence: r.Remote + " is " + lead, was: r.Remote + " was " + lead, next: "pull", note: "is a fast-forward"}
	case sync.LocalAhead:
		lead := lead(p, r, sync.Push)
		if len(r.Damaged.Local) > 0 {
			return advice{sentence: "this side is " + lead, was: "this side was " + lead, next: "sync", note: "repairs what is damaged here"}
		}
		return advice{sentence: "this side is " + lead, was: "this side was " + lead, next: "push", note: "is a fast-forward"}
	case sync.RemoteOnly:
		return advice{sentence: "only " + r.Remote + " has the " + noun, was: "only " + r.Remote + " had the " + noun, next: "pull", note: "is a first copy"}
	case sync.LocalOnly:
		return advice{sentence: "only this side has the " + noun, was: "only this side had the " + noun, next: "push", note: "is a first copy"}
	case sync.Diverged:
		return advice{sentence: "both sides changed since they were last equal", was: "both sides had changed since they were last equal",
			next: "sync", note: v.mergeNote(p)}
	case sync.Unrelated:
		return advice{sentence: "both sides have the " + noun + ", they differ, and no common history is known; a pull or a push makes one of them the truth, but deletes nothing without --force",
			was: "both sides had the " + noun + ", and no common history was known"}
	}
	return advice{}
}

// mergeNote says what a sync would do.
func (v *audit) mergeNote(p *page) string {
	if v.Merge == nil {
		return "merges them"
	}
	return mergeWords(p, v.Merge)
}

// lead says by what the source of a transfer is ahead of its destination.
func lead(p *page, r *sync.Report, d sync.Direction) string {
	var parts []string
	src, dst := r.Tables.Remote, r.Tables.Local
	lines := r.Events.Remote - r.Events.Local
	if d == sync.Push {
		src, dst, lines = dst, src, -lines
	}
	if src != nil && dst != nil && src.Rows > dst.Rows {
		parts = append(parts, p.count(src.Rows-dst.Rows, "row"))
	}
	for _, c := range r.Classes {
		only := c.RemoteOnly
		if d == sync.Push {
			only = c.LocalOnly
		}
		if noun := leadNoun(c.Class); noun != "" && len(only) > 0 {
			parts = append(parts, p.count(int64(len(only)), noun))
		}
	}
	if lines > 0 {
		parts = append(parts, p.count(lines, "event"))
	}
	switch n := int64(len(r.Changes)); {
	case len(parts) > 0:
		return and(parts) + " ahead"
	case n > 0:
		return p.count(n, "changed file") + " ahead"
	}
	return "ahead"
}

func leadNoun(c verify.Class) string {
	switch c {
	case verify.Derived:
		return "overlay file"
	case verify.Snapshots:
		return "snapshot"
	case verify.Auxiliary:
		return "auxiliary file"
	}
	return ""
}

// and joins words as people do: a, b and c.
func and(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	last := len(parts) - 1
	return strings.Join(parts[:last], ", ") + " and " + parts[last]
}

func relationTone(r sync.Relation) tone {
	switch r {
	case sync.InSync:
		return good
	case sync.Diverged, sync.Unrelated:
		return bad
	}
	return notable
}
