package sync

import (
	"slices"
	"time"

	"github.com/dnadesign-maintainers/usr/sync/history"
	"github.com/dnadesign-maintainers/usr/verify"
)

// What the history of two sides says, by its own names.
type (
	Direction    = history.Direction
	Relation     = history.Relation
	TableSize    = history.TableSize
	Sides[T any] = history.Sides[T]
)

// The directions and the relations.
const (
	Pull = history.Pull
	Push = history.Push

	InSync      = history.InSync
	LocalBehind = history.LocalBehind
	LocalAhead  = history.LocalAhead
	Diverged    = history.Diverged
	LocalOnly   = history.LocalOnly
	RemoteOnly  = history.RemoteOnly
	Unrelated   = history.Unrelated
)

// State is what became of a command (contract section 4).
type State string

// The states of an audit.
const (
	Transferred State = "TRANSFERRED"
	NoOp        State = "NO-OP"
	Skipped     State = "SKIPPED" // the destination alone moved: nothing to transfer this way
	DryRun      State = "DRY-RUN"
	DiffOnly    State = "DIFF-ONLY"
)

// Report is the audit of one dataset: what was found on both sides and what was done. Counts describe the sides
// as they were before the action.
type Report struct {
	Action    string // diff, pull, push, verify, undo
	State     State
	Dataset   string
	Remote    string
	Direction Direction // the way in which Changes are told
	Relation  Relation
	Modes     Modes
	Algorithm string // of the content hashes
	Classes   []ClassReport
	Events    Lines
	Snapshots SnapshotCount
	Changes   []Change
	Reused    Reuse           // of what changes; of a diff as far as digests are known anyway
	Silent    []string        // changes that size and time stamp hide
	Touched   []string        // paths whose time stamps alone differ
	Damaged   Sides[[]string] // other bytes under the size and time stamp of the common base
	Tables    Tables
	Merge     *MergeReport  // of a sync or a merging pull
	Push      *Report       // its second half, nil if there was none to do or it failed
	Print     Sides[string] // fingerprints after the action, "" where digests are not all known

	Sent, Received int64 // bytes on the wire
	Executions     int   // ssh processes started
	LockHeld       time.Duration
	EventsHeld     time.Duration // .events.lock of the destination
	Took           time.Duration
	Generation     string   // run of the kept old tree, "" if none
	Unique         []string // paths of the old tree whose content nothing else has
	Copied         Copied   // what was copied at the destination where a second name was not to be had

	dirs Sides[[]string] // below the dataset, of synchronized classes
}

// Copied counts files, and their bytes. Where the file system shares blocks a copy takes no room.
type Copied struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

func (c *Copied) add(size int64) {
	c.Files++
	c.Bytes += size
}

func (c *Copied) join(other Copied) {
	c.Files += other.Files
	c.Bytes += other.Bytes
}

// all lists the changes of both halves.
func (r *Report) all() []Change {
	if r.Push == nil {
		return r.Changes
	}
	return slices.Concat(r.Changes, r.Push.Changes)
}

// MergeReport says what becomes of two sides that are merged, in files.
type MergeReport struct {
	FromLocal, FromRemote int // what the remote gains, what local gains
	Resolved, Conflicts   int // conflicts that the user decided, or has to
	Events                MergedEvents
	Paths                 []Moved // of a diff all that differ, else the conflicts that were decided
}

// ClassReport is one row of the audit.
type ClassReport struct {
	Class                    verify.Class
	InScope                  bool // false: left alone by --primary-only or --skip-snapshots
	Tally                    Sides[verify.Tally]
	Hashed                   int // files whose content digests were compared
	Added, Modified, Deleted int
	Bytes                    int64    // of added and modified files
	LocalOnly, RemoteOnly    []string // paths relative to the class's directory
}

// Changed reports whether the action changes the class.
func (c ClassReport) Changed() bool { return c.Added+c.Modified+c.Deleted > 0 }

// Totals adds up the changes of all classes.
func (r *Report) Totals() (t ClassReport) {
	for _, c := range r.Classes {
		t.Added += c.Added
		t.Modified += c.Modified
		t.Deleted += c.Deleted
		t.Bytes += c.Bytes
	}
	return t
}

// Lines counts the lines of both event logs.
type Lines struct{ Local, Remote int64 }

// SnapshotCount says how many snapshots the remote holds and how many of them are newer than the newest local one.
type SnapshotCount struct{ Remote, NewerThanLocal int }

// ChangeKind says what an action does to a file.
type ChangeKind string

// The kinds of change, as rsync's --itemize-changes knows them.
const (
	Added    ChangeKind = "added"
	Modified ChangeKind = "modified"
	Deleted  ChangeKind = "deleted"
)

// Change is one file that the action changes, or would change. Bytes is the size after it (before it, if deleted).
type Change struct {
	Path  string
	Class verify.Class
	Kind  ChangeKind
	Bytes int64
	Flags string // rsync's own itemize flags, where a preview ran
}

// Tables describes both primaries; nil where one is absent or no Parquet file.
type Tables struct {
	Sides[*verify.Table]
	Changes []verify.SchemaChange // from the destination's schema to the source's
}
