package history

import (
	"path"
	"strings"

	"github.com/dnadesign-maintainers/usr/verify"
)

// Deed is what a side did to a path since the common base.
type Deed string

// The deeds; "" is none.
const (
	Added    Deed = "added"
	Modified Deed = "modified"
	Deleted  Deed = "deleted"
)

// Choice says what the merged dataset has at a path.
type Choice uint8

// The choices.
const (
	Conflict   Choice = iota // both sides moved it, and nobody has decided
	TakeLocal                // what local has, be it nothing
	TakeRemote               // what the remote has, be it nothing
	Inside                   // a file made of both
)

// Row is a path in which the two sides differ.
type Row struct {
	Path          string
	Class         verify.Class
	Local, Remote *verify.Entry // nil where the side has no such file
	Here, There   Deed
	Choice        Choice
	Decided       bool // it was a conflict, and the user decided it
}

// Size is how much the file of a row takes where it stands, the larger one of the two.
func (r *Row) Size() (n int64) {
	for _, e := range []*verify.Entry{r.Local, r.Remote} {
		if e != nil {
			n = max(n, e.Size)
		}
	}
	return n
}

// Result is the entry that the merged dataset has by choosing a side, nil for none.
func (r *Row) Result() *verify.Entry {
	if r.Choice == TakeRemote {
		return r.Remote
	}
	return r.Local
}

// Merge compares both sides path by path with their common base and decides by git's trivial merge
// (Documentation/technical/trivial-merge.txt), in which "same" is by content:
//
//	local    remote   result
//	same     moved    remote, deletions included
//	moved    same     local, deletions included
//	moved    moved    a conflict, unless the file can be merged inside
//	damaged  any      remote: bytes that changed under size and time are nobody's work
//
// Both moved to the same content is no difference. Without a base, or for a class that it does not cover, the sides are
// united: a path that one side has alone stays, and other content belongs to the side whose log continues the other's.
func Merge(local, remote verify.Manifest, b *Base, logs LogOrder, levels verify.Levels, inScope func(verify.Class) bool) []Row {
	var rows []Row
	verify.Join(local, remote, func(l, r *verify.Entry) {
		e := verify.Either(l, r)
		if !inScope(e.Class) || (l != nil && r != nil && levels.Compare(l, r) == verify.Same) {
			return
		}
		row := Row{Path: e.Path, Class: e.Class, Local: l, Remote: r}
		switch {
		case e.Path == Events && logs == LogsEqual:
			return
		case e.Path == Events:
			row.continued(logs)
		case b.Covers(e.Class):
			row.trivial(b, levels)
		case l == nil || r == nil:
			row.united()
		default:
			row.continued(logs)
		}
		if row.Choice == Conflict && row.Local != nil && row.Remote != nil && mergesInside(&row, b) {
			row.Choice = Inside
		}
		rows = append(rows, row)
	})
	return rows
}

// mergesInside: logs only grow; of meta.md the base must tell what it was.
func mergesInside(r *Row, b *Base) bool {
	return r.Path == Events || r.Path == Meta && b.Covers(verify.Meta) && b.Meta != nil
}

// trivial decides by the common base.
func (r *Row) trivial(b *Base, levels verify.Levels) {
	r.Here, r.There = b.deed(r.Local, r.Path, levels), b.deed(r.Remote, r.Path, levels)
	here, there := r.Here != "", r.There != ""
	if damagedHere, damagedThere := b.Drifted(r.Local), b.Drifted(r.Remote); damagedHere != damagedThere {
		here, there = damagedThere, damagedHere
	}
	switch {
	case there && !here:
		r.Choice = TakeRemote
	case here && !there:
		r.Choice = TakeLocal
	}
}

// deed says what a side did to a path of a class that the base covers.
func (b *Base) deed(e *verify.Entry, path string, levels verify.Levels) Deed {
	switch old := b.Files.Find(path); {
	case !b.Moved(e, path, levels):
		return ""
	case old == nil:
		return Added
	case e == nil:
		return Deleted
	}
	return Modified
}

// united keeps a file that one side has alone: without a base nobody can say that the other one deleted it.
func (r *Row) united() {
	if r.Local != nil {
		r.Here, r.Choice = Added, TakeLocal
	} else {
		r.There, r.Choice = Added, TakeRemote
	}
}

// continued gives a path to the side whose log continues the other's.
func (r *Row) continued(logs LogOrder) {
	switch logs {
	case LogsLocalShorter:
		r.There, r.Choice = Modified, TakeRemote
	case LogsRemoteShorter:
		r.Here, r.Choice = Modified, TakeLocal
	default:
		r.Here, r.There = Modified, Modified
	}
}

// Resolve finds the files that stand in the way of a directory or of each other, and lets the user's choice decide conflicts.
// choose returns the side to take for a path, Conflict if the user did not say. together returns the names among the given
// paths that are one on a side; nil means none.
func Resolve(rows []Row, together func(standing []string) [][2]string, choose func(path string) (Choice, error)) error {
	dispute(rows, together)
	for i := range rows {
		r := &rows[i]
		if r.Choice != Conflict {
			continue
		}
		choice, err := choose(r.Path)
		if err != nil {
			return err
		}
		r.Choice, r.Decided = choice, choice != Conflict
	}
	dispute(rows, together) // a file was chosen from one side, and what lies below it from the other
	return nil
}

// dispute puts rows in conflict that would have a file and a directory at one path, or two names that are one.
func dispute(rows []Row, together func([]string) [][2]string) {
	at := make(map[string]*Row, len(rows))
	for i := range rows {
		at[rows[i].Path] = &rows[i]
	}
	for i := range rows {
		for dir := path.Dir(rows[i].Path); dir != "."; dir = path.Dir(dir) {
			file := at[dir]
			if file == nil || !file.stands() || !rows[i].stands() {
				continue
			}
			file.Choice, rows[i].Choice = Conflict, Conflict
			file.Decided, rows[i].Decided = false, false
		}
	}
	if together == nil {
		return
	}
	var standing []string
	for i := range rows {
		if rows[i].stands() {
			standing = append(standing, rows[i].Path)
		}
	}
	for _, pair := range together(standing) {
		for i := range rows {
			if r := &rows[i]; r.stands() && (r.below(pair[0]) || r.below(pair[1])) {
				r.Choice, r.Decided = Conflict, false
			}
		}
	}
}

// below reports whether the path is a name, or lies below it.
func (r *Row) below(name string) bool { return r.Path == name || strings.HasPrefix(r.Path, name+"/") }

// stands reports whether the merged dataset has, or may get, a file at the path.
func (r *Row) stands() bool {
	return r.Choice == Conflict || r.Choice == Inside || r.Result() != nil
}
