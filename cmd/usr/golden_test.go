package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnadesign-maintainers/usr/profiles"
	"github.com/dnadesign-maintainers/usr/sync"
	"github.com/dnadesign-maintainers/usr/verify"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sample is a report with something in every field.
func sample() *sync.Report {
	class := func(c verify.Class, local, remote, added, modified, deleted int, bytes int64) sync.ClassReport {
		return sync.ClassReport{Class: c, InScope: true, Hashed: min(local, remote), Added: added, Modified: modified, Deleted: deleted, Bytes: bytes,
			Tally: sync.Sides[verify.Tally]{Local: verify.Tally{Files: local, Bytes: 1000}, Remote: verify.Tally{Files: remote, Bytes: 2000}}}
	}
	r := &sync.Report{
		Action: "diff", State: sync.DiffOnly, Dataset: "densegen/my_dataset", Remote: "bu-scc", Direction: sync.Pull,
		Relation: sync.LocalBehind, Algorithm: verify.BLAKE3,
		Modes: sync.Modes{Primary: sync.ByHash, Sidecars: true, ContentHashes: true},
		Classes: []sync.ClassReport{
			class(verify.Primary, 1, 1, 0, 1, 0, 18_200_000), class(verify.Meta, 1, 1, 0, 0, 0, 0),
			class(verify.Events, 1, 1, 0, 1, 0, 250_000), class(verify.Snapshots, 3, 4, 1, 0, 0, 18_100_000),
			class(verify.Derived, 12, 14, 2, 0, 0, 8192), class(verify.Auxiliary, 120_000, 119_999, 0, 0, 1, 0),
		},
		Events: sync.Lines{Local: 1204, Remote: 1260}, Snapshots: sync.SnapshotCount{Remote: 4, NewerThanLocal: 1},
		Changes: []sync.Change{
			{Path: "_derived/infer/part-13.parquet", Class: verify.Derived, Kind: sync.Added, Bytes: 4096, Flags: ">f+++++++++"},
			{Path: "_artifacts/odd\x1b\nname", Class: verify.Auxiliary, Kind: sync.Deleted, Bytes: 12},
			{Path: "_artifacts/\xff", Class: verify.Auxiliary, Kind: sync.Added, Bytes: 1},
			{Path: "records.parquet", Class: verify.Primary, Kind: sync.Modified, Bytes: 18_200_000},
		},
		Silent: []string{"records.parquet"}, Touched: []string{"meta.md"},
		Print: sync.Sides[string]{Local: "blake3:" + strings.Repeat("a", 64), Remote: "blake3:" + strings.Repeat("b", 64)},
		Sent:  1500, Received: 26_000_000, Reused: sync.Reuse{Files: 3, Bytes: 135_000_000}, Executions: 4, LockHeld: 420 * time.Millisecond, EventsHeld: 1300 * time.Microsecond, Took: 12345 * time.Millisecond,
	}
	r.Classes[4].RemoteOnly = []string{"infer/part-13.parquet", "infer/part-14.parquet"}
	r.Classes[5].LocalOnly = []string{"_artifacts/odd\x1b\nname", "_artifacts/\xff"}
	r.Tables.Local = &verify.Table{Rows: 10_000, Columns: make([]verify.Column, 8)}
	r.Tables.Remote = &verify.Table{Rows: 13_000, Columns: make([]verify.Column, 9)}
	r.Tables.Changes = []verify.SchemaChange{{Column: "infer__score", Change: verify.ColumnAdded, New: "double"},
		{Column: "length", Change: verify.ColumnRetyped, Old: "int32", New: "int64"}}
	return r
}

func results(t *testing.T) map[string]result {
	a := &app{progress: newProgress(env{isTerminal: func(any) bool { return false }}, progressOptions{}), cli: cli{globals: globals{Format: "auto", Color: "auto"}}}
	a.env.isTerminal = func(any) bool { return false }
	diff := a.auditOf(sample(), false)
	pulled := sample()
	pulled.Action, pulled.State, pulled.Generation = "pull", sync.Transferred, "20261123T141500Z-1a2b3c"
	pull := a.auditOf(pulled, false)
	failed := a.explain(&sync.HistoryError{Relation: sync.Diverged, Direction: sync.Pull})
	return map[string]result{
		"diff": diff, "pull": pull, "insync": a.auditOf(inSync(), false), "question": question{a.auditOf(manyChanges(), false)},
		"glob": &summary{action: "pull", remote: "bu-scc", untried: []string{"densegen/later"},
			rows: []manyRow{{id: "densegen/my_dataset", audit: pull}, {id: "densegen/diverged", failed: &failed}}},
		"datasets": datasetList{side: "bu-scc", list: []sync.Dataset{
			{ID: "densegen/my_dataset", Rows: 13_000, Bytes: 44_000_000, Files: 23, LastEvent: `{"timestamp_utc":"2026-11-23T14:15:00Z","action":"append"}`},
			{ID: "broken", Rows: -1, Bytes: -1, LastEvent: "no JSON \x1b[31m"}, {ID: "plain", Rows: 1, Bytes: 1, Files: 1}}},
		"generations": keptList{side: here, rows: []sync.Kept{
			{Dataset: "densegen/my_dataset", Run: "20261123T141500.000000Z-1a2b3c", Action: "pull", Whole: true, Files: 23, Bytes: 44_000_000},
			{Dataset: "densegen/my_dataset", Run: "20261120T141500.000000Z-4d5e6f", Action: "pull", Forced: true, Files: 2, Bytes: 4096, Unique: 2, UniqueBytes: 4096,
				Until: time.Date(2026, 12, 20, 0, 0, 0, 0, time.UTC)},
			{Dataset: "other", Run: "20261120T141500.000000Z-778899", Stage: true, Files: 1, Bytes: 12}}},
		"conflict": conflictTable{{Path: "records.parquet", Class: verify.Primary, Outcome: "conflict",
			Here: sync.Done{Deed: "modified", Size: 18_200_000, Mtime: 1_795_000_000_000_000_000, Rows: 10_000, Cols: 8}, There: sync.Done{Deed: "deleted", Rows: -1}, Base: &sync.TableSize{Rows: 9_500, Cols: 8}}},
		"log": logList{{Time: time.Date(2026, 11, 23, 14, 15, 0, 0, time.UTC), Action: "pull", Dataset: "densegen/my_dataset_of_a_long_name",
			Remote: "bu-scc", State: sync.Transferred, Added: 3, Modified: 2, Deleted: 1, Bytes: 36_000_000}},
		"remote": remoteDetails{path: "/home/me/.config/dnadesign/usr-remotes.yaml", remote: profiles.Default("bu-scc")},
	}
}

func inSync() *sync.Report {
	r := sample()
	r.Relation, r.Changes, r.Silent, r.Touched = sync.InSync, nil, nil, nil
	for i := range r.Classes {
		c := &r.Classes[i]
		c.Added, c.Modified, c.Deleted, c.Bytes = 0, 0, 0, 0
	}
	r.Classes[3].Tally = sync.Sides[verify.Tally]{}
	return r
}

// manyChanges is a push that deletes three files among many others, and adds an event.
func manyChanges() *sync.Report {
	r := sample()
	r.Action, r.State, r.Direction, r.Relation = "push", sync.DryRun, sync.Push, sync.LocalAhead
	r.Events = sync.Lines{Local: 21, Remote: 20}
	r.Changes = nil
	for i := range 30 {
		r.Changes = append(r.Changes, sync.Change{Path: fmt.Sprintf("_derived/infer/part-%02d.parquet", i), Class: verify.Derived, Kind: sync.Added, Bytes: 2})
		if i%10 == 9 {
			r.Changes = append(r.Changes, sync.Change{Path: fmt.Sprintf("_artifacts/gone-%d", i), Class: verify.Auxiliary, Kind: sync.Deleted, Bytes: 3})
		}
	}
	for i := range r.Classes {
		c := &r.Classes[i]
		c.Added, c.Modified, c.Deleted, c.Bytes = 0, 0, 0, 0
	}
	r.Classes[4].Added, r.Classes[4].Bytes, r.Classes[5].Deleted = 30, 69, 3
	return r
}

// question is what is shown before a transfer.
type question struct{ v *audit }

func (q question) data() any { return auditJSON(q.v) }

func (q question) text(p *page, o opt) {
	q.v.printPlan(p, o)
	p.line(q.v.question())
	q.v.printFacts(p, opt{})
}

// conflictTable is what each side did.
type conflictTable []sync.Moved

func (c conflictTable) data() any           { return movedJSON(c) }
func (c conflictTable) text(p *page, _ opt) { p.table(movedGrid(c)) }

// TestGolden pins what results look like: plain, rich at 80 and 120 columns without colour, and JSON.
func TestGolden(t *testing.T) {
	for name, r := range results(t) {
		for suffix, draw := range map[string]func(*bytes.Buffer) error{
			"plain": func(b *bytes.Buffer) error { return drawn(b, r, false, 0) },
			"80":    func(b *bytes.Buffer) error { return drawn(b, r, true, 80) },
			"120":   func(b *bytes.Buffer) error { return drawn(b, r, true, 120) },
			"json":  func(b *bytes.Buffer) error { return writeJSON(b, document{Data: r.data()}) },
		} {
			t.Run(name+"."+suffix, func(t *testing.T) {
				var got bytes.Buffer
				must(t, draw(&got))
				compareGolden(t, filepath.Join("testdata", "golden", name+"."+suffix), got.String())
			})
		}
	}
}

func drawn(b *bytes.Buffer, r result, rich bool, width int) error {
	p := newPage(b, rich, false)
	p.width = width
	r.text(p, opt{})
	return p.flush()
}

func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (go test ./cmd/usr -update writes it anew):\n%s", path, diff)
	}
}

// Every key of a profile is shown.
func TestRemoteShowsEveryKey(t *testing.T) {
	withoutName := reflect.TypeFor[profiles.Remote]().NumField() - 1
	if got := len(remoteValues(profiles.Remote{})); got != withoutName {
		t.Errorf("%d keys are shown, not %d", got, withoutName)
	}
	for d, want := range map[time.Duration]string{5 * time.Minute: "5m", 90 * time.Second: "1m30s", time.Hour: "1h", 20 * time.Minute: "20m", 10 * time.Second: "10s", 30 * 24 * time.Hour: "30d"} {
		if got := span(d); got != want {
			t.Errorf("%v is shown as %v", d, got)
		}
	}
}
