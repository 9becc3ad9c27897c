package sync

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dnadesign-maintainers/usr/verify"
)

// MissingError means that there is nothing to transfer, because the source holds no dataset (or file) of that name.
type MissingError struct {
	Side, Path string
	File       bool // it is a single file
	NoPrimary  bool // a directory is there, without a primary
}

func (e *MissingError) Error() string {
	why := "no such dataset"
	switch {
	case e.File:
		why = "no such file"
	case e.NoPrimary:
		why = "the directory is not a dataset: it has no " + primaryPath
	}
	return fmt.Sprintf("cannot find %s on %s: %s", strconv.Quote(e.Path), e.Side, why)
}

// UnsafeError means that a tree holds entries that are neither files nor directories, which are never transferred, or whose
// names the other side cannot hold.
type UnsafeError struct {
	Side  string
	Paths []string // "path (symlink)"
	Names string   // the side that cannot hold the names, else ""
}

func (e *UnsafeError) Error() string {
	if e.Names != "" {
		return fmt.Sprintf("cannot name entries of %s on %s: %s", e.Side, e.Names, list(e.Paths))
	}
	return fmt.Sprintf("cannot transfer unsafe entries of %s: %s", e.Side, list(e.Paths))
}

// HistoryError means that the transfer would overwrite changes that the source does not know of, or delete files that
// it cannot be shown to have had.
type HistoryError struct {
	Relation    Relation
	Direction   Direction
	Side        string   // the destination
	Conflicting []string // changed on both sides
	Disjoint    []string // changed on the destination only
}

func (e *HistoryError) Error() string {
	why := "has changes that the source lacks: " + list(e.Disjoint)
	switch e.Relation {
	case Unrelated:
		why = "has files of its own, and no common history is known: " + list(e.Disjoint)
	case Diverged:
		why = "and the source both changed"
		if len(e.Conflicting) > 0 {
			why += ", conflicting: " + list(e.Conflicting)
		}
		if len(e.Disjoint) > 0 {
			why += "; changed at the destination only: " + list(e.Disjoint)
		}
	}
	return fmt.Sprintf("cannot %s (%s): %s %s", e.Direction, e.Relation, e.Side, why)
}

// MismatchError means that what was staged is not what the source holds. Nothing was promoted.
type MismatchError struct {
	Paths  []string
	Moving bool // the source changed faster than it could be copied

	Databases []string // of SQLite, among the paths
}

func (e *MismatchError) Error() string {
	if len(e.Databases) > 0 {
		return "cannot catch up with the source: a database is being written to: " + list(e.Databases)
	}
	if e.Moving {
		return "cannot catch up with the source: it keeps changing: " + list(e.Paths)
	}
	return "cannot verify the staged copy: content differs from the source: " + list(e.Paths)
}

// SpaceError means that the destination has not enough room. Found before the bulk copy, or by the disk itself.
type SpaceError struct {
	Side       string
	Need, Free int64
	Unit       string // "bytes" or "inodes"
	Kept       []Kept // what is kept of the dataset that exists nowhere else
}

func (e *SpaceError) Error() string {
	return fmt.Sprintf("cannot stage on %s: %d %s needed, %d free", e.Side, e.Need, e.Unit, e.Free)
}

// DeviceError means that stage and dataset are on different file systems, mounts or layers, so that no rename can join
// them.
type DeviceError struct {
	Side, Live, State string
}

func (e *DeviceError) Error() string {
	return fmt.Sprintf("cannot stage for %s on %s: it is on another file system or mount than %s", strconv.Quote(e.Live), e.Side, strconv.Quote(e.State))
}

// InterruptedError means that the line was lost; what has arrived is kept for the next run.
type InterruptedError struct{ Err error }

func (e *InterruptedError) Error() string {
	return fmt.Sprintf("cannot finish the transfer: %v", e.Err)
}

// Unwrap gives the last failure of the line.
func (e *InterruptedError) Unwrap() error { return e.Err }

// NothingToUndoError means that no generation is kept, or it is not that of the present tree.
type NothingToUndoError struct {
	Side, Dataset string
	Changed       bool
}

func (e *NothingToUndoError) Error() string {
	if e.Changed {
		return fmt.Sprintf("cannot undo on %s: %s changed since the last promotion", e.Side, strconv.Quote(e.Dataset))
	}
	return fmt.Sprintf("cannot undo on %s: no generation of %s is kept", e.Side, strconv.Quote(e.Dataset))
}

// list names at most five paths, quoted.
func list(paths []string) string {
	const most = 5
	var b strings.Builder
	for i, p := range paths {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(paths)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(p))
	}
	return b.String()
}

// ConflictError means that both sides changed the same paths, and nobody decided whose version is to stand. Nothing was
// changed on either side.
type ConflictError struct {
	Remote    string
	Conflicts []Moved
}

// Moved is one path that a side, or both, changed since the common base.
type Moved struct {
	Path        string
	Class       verify.Class
	Here, There Done
	Base        *TableSize // of the primary when both sides had it in common; nil where it is not known
	Outcome     string     // whose version a merge takes: local, remote, merged; or conflict
}

// Done is what a side did to a path, and what it has there now.
type Done struct {
	Deed        string // added, modified, deleted
	Size, Mtime int64  // 0 where the file is gone
	Rows, Cols  int64  // of a table, else -1
}

func (e *ConflictError) Error() string {
	paths := make([]string, len(e.Conflicts))
	for i, c := range e.Conflicts {
		paths[i] = c.Path
	}
	return "cannot merge: both sides changed " + list(paths)
}

// TakeError means that a path in conflict was to be taken from both sides.
type TakeError struct{ Path string }

func (e *TakeError) Error() string {
	return fmt.Sprintf("cannot take %q from both sides", e.Path)
}

// LogMergeError means that a side's event log cannot be merged.
type LogMergeError struct {
	Side string
	Line int64 // counted from 1
	Why  string
}

func (e *LogMergeError) Error() string {
	return fmt.Sprintf("cannot merge the event log of %s: line %d: %s", e.Side, e.Line, e.Why)
}
