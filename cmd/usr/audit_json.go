package main

import (
	"unicode/utf8"

	"github.com/dnadesign-maintainers/usr/sync"
	"github.com/dnadesign-maintainers/usr/verify"
)

// auditData is contract: scripts read these keys. Keys are added, never renamed.
type auditData struct {
	Action        string         `json:"action"`
	State         sync.State     `json:"transfer_state"`
	Dataset       string         `json:"dataset"`
	Remote        *string        `json:"remote"`
	RemotePath    string         `json:"remote_path,omitempty"` // FILE mode
	Relation      *string        `json:"relation"`
	Verify        modesData      `json:"verify"`
	Hash          string         `json:"hash"`
	Primary       classData      `json:"primary"`
	Meta          classData      `json:"meta"`
	Events        eventsData     `json:".events.log"`
	Snapshots     snapshotsData  `json:"_snapshots"`
	Derived       inventoryData  `json:"_derived"`
	Auxiliary     inventoryData  `json:"_auxiliary"`
	Rows          ends[*int64]   `json:"rows"`
	Cols          ends[*int64]   `json:"cols"`
	SchemaChanges []schemaData   `json:"schema_changes"`
	Direction     sync.Direction `json:"direction,omitempty"` // in which changes are told
	Changes       []changeData   `json:"changes"`
	Touched       []jsonPath     `json:"touched"` // other time stamp, same content
	Itemized      []string       `json:"itemized,omitempty"`
	Fingerprint   ends[*string]  `json:"fingerprint"`
	Generation    *string        `json:"generation"`
	Unique        []jsonPath     `json:"unique,omitempty"`  // replaced, and nothing but the generation has it
	Restore       string         `json:"restore,omitempty"` // the command that brings it back
	Sent          int64          `json:"bytes_sent"`
	Received      int64          `json:"bytes_received"`
	Reused        reusedData     `json:"reused"` // copied at the destination in place of being fetched
	SSHSessions   int            `json:"ssh_sessions"`
	LockHeld      float64        `json:"lock_held_s"`
	EventsHeld    float64        `json:"events_lock_held_s"`
	Copied        *sync.Copied   `json:"copied,omitempty"` // at the destination, where a second name was not to be had
	Took          float64        `json:"duration_s"`
	Warnings      []string       `json:"warnings"`
	*bothData                    // of a sync, a merging pull or a diff of two sides that both moved
	*earlierData                 // of a diff
}

// bothData is the outcome of a merge of two sides.
type bothData struct {
	Merge *mergeData `json:"merge"`
	Push  *pushData  `json:"push"`
}

func bothJSON(r *sync.Report) *bothData {
	if r.Merge == nil {
		return nil
	}
	return &bothData{mergeJSON(r.Merge), pushJSON(r.Push)}
}

// earlierData holds the keys of the earlier Python tool's diff, where scripts look for them.
type earlierData struct {
	HasChange     bool             `json:"has_change"`
	VerifyMode    string           `json:"verify_mode"`
	VerifyNotes   []string         `json:"verify_notes"`
	PrimaryLocal  primaryData      `json:"primary_local"`
	PrimaryRemote primaryData      `json:"primary_remote"`
	EventsLocal   int64            `json:"events_local_lines"`
	EventsRemote  int64            `json:"events_remote_lines"`
	SnapshotCount snapshotsEarlier `json:"snapshots"`
}

type primaryData struct {
	Exists bool   `json:"exists"`
	Size   *int64 `json:"size"`
	Rows   *int64 `json:"rows"`
	Cols   *int64 `json:"cols"`
}

type snapshotsEarlier struct {
	Count          int `json:"count"`
	NewerThanLocal int `json:"newer_than_local"`
}

func earlierJSON(v *audit) *earlierData {
	if v.Action != "diff" {
		return nil
	}
	tally := classesByName(v.Report)[verify.Primary].Tally
	return &earlierData{
		HasChange: v.differs(), VerifyMode: string(v.Modes.Primary), VerifyNotes: orEmpty(v.warnings),
		PrimaryLocal: primaryJSON(tally.Local, v.Tables.Local), PrimaryRemote: primaryJSON(tally.Remote, v.Tables.Remote),
		EventsLocal: v.Events.Local, EventsRemote: v.Events.Remote,
		SnapshotCount: snapshotsEarlier{v.Snapshots.Remote, v.Snapshots.NewerThanLocal},
	}
}

func primaryJSON(t verify.Tally, table *verify.Table) primaryData {
	if t.Files == 0 {
		return primaryData{}
	}
	return primaryData{Exists: true, Size: &t.Bytes, Rows: known(rowsOf(table)), Cols: known(colsOf(table))}
}

// ends holds a value of each side.
type ends[T any] struct {
	Local  T `json:"local"`
	Remote T `json:"remote"`
}

type modesData struct {
	Primary       string `json:"primary"`
	Sidecars      string `json:"sidecars"`
	ContentHashes string `json:"content_hashes"`
}

// classData is common to all classes. files and bytes count both sides before the action.
type classData struct {
	Changed     bool        `json:"changed"`
	Changes     int         `json:"changes"` // files that the action changes
	InScope     bool        `json:"in_scope"`
	Files       ends[int]   `json:"files"`
	Bytes       ends[int64] `json:"bytes"`
	Hashed      int         `json:"hashed"`
	Added       int         `json:"added"`
	Modified    int         `json:"modified"`
	Deleted     int         `json:"deleted"`
	BytesToCopy int64       `json:"bytes_to_copy"`
}

// eventsData counts lines.
type eventsData struct {
	classData
	Local  int64 `json:"local"`
	Remote int64 `json:"remote"`
}

type snapshotsData struct {
	classData
	RemoteCount    int `json:"remote_count"`
	NewerThanLocal int `json:"newer_than_local"`
}

// inventoryData lists paths below the class's directory. Those that are not UTF-8 are in the _b64 lists.
type inventoryData struct {
	classData
	LocalFiles    int      `json:"local_files"`
	RemoteFiles   int      `json:"remote_files"`
	LocalOnly     []string `json:"local_only"`
	RemoteOnly    []string `json:"remote_only"`
	LocalOnlyB64  [][]byte `json:"local_only_b64,omitempty"`
	RemoteOnlyB64 [][]byte `json:"remote_only_b64,omitempty"`
}

type changeData struct {
	jsonPath
	Class  string          `json:"class"`
	Change sync.ChangeKind `json:"change"`
	Bytes  int64           `json:"bytes"`
	Flags  string          `json:"rsync,omitempty"`  // rsync's itemize flags
	Silent bool            `json:"silent,omitempty"` // size and time stamp hide it
}

type reusedData struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

type schemaData struct {
	Column string  `json:"column"`
	Change string  `json:"change"`
	Old    *string `json:"old"`
	New    *string `json:"new"`
}

func auditJSON(v *audit) auditData {
	r := v.Report
	var unique []jsonPath
	if v.restore != "" {
		unique = jsonPaths(r.Unique)
	}
	class := classesByName(r)
	return auditData{
		Action: r.Action, State: r.State, Dataset: r.Dataset,
		Remote: orNull(r.Remote), RemotePath: v.remotePath, Relation: orNull(string(r.Relation)),
		Verify: jsonModes(r.Modes), Hash: r.Algorithm,
		Primary: classJSON(class[verify.Primary]), Meta: classJSON(class[verify.Meta]),
		Events:    eventsData{classJSON(class[verify.Events]), r.Events.Local, r.Events.Remote},
		Snapshots: snapshotsData{classJSON(class[verify.Snapshots]), r.Snapshots.Remote, r.Snapshots.NewerThanLocal},
		Derived:   inventoryJSON(class[verify.Derived]), Auxiliary: inventoryJSON(class[verify.Auxiliary]),
		Rows:          ends[*int64]{known(rowsOf(r.Tables.Local)), known(rowsOf(r.Tables.Remote))},
		Cols:          ends[*int64]{known(colsOf(r.Tables.Local)), known(colsOf(r.Tables.Remote))},
		SchemaChanges: schemaJSON(r.Tables.Changes), Direction: r.Direction,
		Changes: changesJSON(r), Touched: jsonPaths(r.Touched), Itemized: v.itemized,
		Fingerprint: ends[*string]{orNull(r.Print.Local), orNull(r.Print.Remote)},
		Generation:  orNull(r.Generation), Unique: unique, Restore: v.restore,
		Sent: r.Sent, Received: r.Received, Reused: reusedData(r.Reused), Copied: copiedJSON(r), SSHSessions: r.Executions,
		LockHeld: r.LockHeld.Seconds(), EventsHeld: r.EventsHeld.Seconds(), Took: r.Took.Seconds(),
		Warnings: orEmpty(v.warnings), earlierData: earlierJSON(v), bothData: bothJSON(r),
	}
}

func copiedJSON(r *sync.Report) *sync.Copied {
	if r.Copied.Files == 0 {
		return nil
	}
	return &r.Copied
}

func classesByName(r *sync.Report) map[verify.Class]sync.ClassReport {
	m := make(map[verify.Class]sync.ClassReport, len(r.Classes))
	for _, c := range r.Classes {
		m[c.Class] = c
	}
	return m
}

func classJSON(c sync.ClassReport) classData {
	return classData{
		Changed: c.Changed(), Changes: c.Added + c.Modified + c.Deleted, InScope: c.InScope,
		Files:  ends[int]{c.Tally.Local.Files, c.Tally.Remote.Files},
		Bytes:  ends[int64]{c.Tally.Local.Bytes, c.Tally.Remote.Bytes},
		Hashed: c.Hashed, Added: c.Added, Modified: c.Modified, Deleted: c.Deleted, BytesToCopy: c.Bytes,
	}
}

func inventoryJSON(c sync.ClassReport) inventoryData {
	d := inventoryData{classData: classJSON(c), LocalFiles: c.Tally.Local.Files, RemoteFiles: c.Tally.Remote.Files}
	d.LocalOnly, d.LocalOnlyB64 = splitNames(c.LocalOnly)
	d.RemoteOnly, d.RemoteOnlyB64 = splitNames(c.RemoteOnly)
	return d
}

func splitNames(paths []string) (text []string, bytes [][]byte) {
	text = []string{}
	for _, p := range paths {
		if utf8.ValidString(p) {
			text = append(text, p)
		} else {
			bytes = append(bytes, []byte(p))
		}
	}
	return text, bytes
}

func changesJSON(r *sync.Report) []changeData {
	silent := make(map[string]bool, len(r.Silent))
	for _, p := range r.Silent {
		silent[p] = true
	}
	out := make([]changeData, len(r.Changes))
	for i, c := range r.Changes {
		out[i] = changeData{newJSONPath(c.Path), c.Class.String(), c.Kind, c.Bytes, c.Flags, silent[c.Path]}
	}
	return out
}

func schemaJSON(changes []verify.SchemaChange) []schemaData {
	out := make([]schemaData, len(changes))
	for i, c := range changes {
		out[i] = schemaData{c.Column, c.Change, orNull(c.Old), orNull(c.New)}
	}
	return out
}

func jsonModes(m sync.Modes) modesData {
	d := modesData{Primary: string(m.Primary), Sidecars: "off", ContentHashes: "off"}
	if m.Sidecars {
		d.Sidecars = "strict"
	}
	if m.ContentHashes {
		d.ContentHashes = "on"
	}
	return d
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func known(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
