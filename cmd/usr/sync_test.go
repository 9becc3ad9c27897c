package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
)

// append adds a text to a file of the bench.
func (b *bench) append(name, text string) {
	b.t.Helper()
	old, err := os.ReadFile(b.path(name))
	must(b.t, err)
	b.write(name, string(old)+text)
}

// TestSyncCommand is the ordinary week, as a user and a script see it.
func TestSyncCommand(t *testing.T) {
	b, schema := newBench(t), auditSchema(t, true)
	const id = "densegen/x"
	here, there := "local/"+id+"/", "cluster/"+id+"/"
	b.dataset("cluster", id)
	b.run(0, "sync", id, "cluster", "-y")
	must(t, dataset.Increment(b.path("cluster", id), 5))
	b.write(here+"_derived/mine/part-1.parquet", "overlay")
	b.append(here+".events.log", "{\"action\": \"attach\"}\n")
	b.append(here+"meta.md", "- attached\n")
	wants(t, b.text(0, "diff", id, "cluster"), "diverged", "next: usr sync "+id+" cluster", "no conflict", "here", "there", "_derived/mine/part-1.parquet")
	stdout, _ := b.run(0, "--format", "json", "diff", id, "cluster")
	conforms(t, schema, stdout)

	b.write(here+"_views/v.csv", "here\n")
	b.write(there+"_views/v.csv", "there, longer\n")
	stdout, stderr := b.run(6, "--format", "json", "sync", id, "cluster", "-y")
	conforms(t, schema, stdout)
	wants(t, stderr, "cannot merge: both sides changed", "added, 5 B", "--take-local _views/v.csv", "--take-remote _views/v.csv")
	var refused struct {
		Error struct {
			Kind      string
			Conflicts []struct{ Path string }
		}
	}
	must(t, json.Unmarshal([]byte(stdout), &refused))
	if refused.Error.Kind != "conflict" || len(refused.Error.Conflicts) != 1 || refused.Error.Conflicts[0].Path != "_views/v.csv" {
		t.Errorf("%+v", refused)
	}
	b.run(2, "sync", id, "cluster", "-y", "--take-local", "_views", "--take-remote", "*.csv")
	b.run(2, "pull", id, "cluster", "-y", "--take-local", "_views")
	b.run(2, "sync", id, "cluster", "-y", "--take-local", "[")
	b.run(2, "sync", b.path(here+"records.parquet"), "cluster", "-y")
	b.run(8, "sync", id, "cluster", "--take-local", "_views")
	wants(t, b.text(6, "pull", id, "cluster", "-y"), "usr sync "+id+" cluster")
	stdout, _ = b.run(0, "--format", "json", "sync", id, "cluster", "--take-local", "_views", "--dry-run")
	conforms(t, schema, stdout)

	stdout, _ = b.run(0, "--format", "json", "sync", id, "cluster", "-y", "--take-local", "_views/", "--take-remote", "nothing")
	conforms(t, schema, stdout)
	var done struct {
		Data struct {
			Action string
			State  string `json:"transfer_state"`
			Merge  mergeData
			Push   *pushData
		}
	}
	must(t, json.Unmarshal([]byte(stdout), &done))
	if d := done.Data; d.Action != "sync" || d.State != "TRANSFERRED" || d.Merge.Resolved != 1 || d.Merge.Events.LocalTail != 1 || d.Push == nil || d.Push.Generation == nil {
		t.Errorf("%+v", done)
	}
	b.run(0, "verify", id, "cluster")
	stdout, _ = b.run(0, "--format", "json", "sync", id, "cluster", "-y")
	conforms(t, schema, stdout)
	wants(t, stdout, `"NO-OP"`, `"push": null`)
	wants(t, b.text(0, "log"), "merge", "push")

	b.write(here+"_views/v.csv", "once more\n")
	must(t, dataset.Increment(b.path("cluster", id), 5))
	wants(t, b.text(0, "sync", id, "cluster", "-y"), "changed there:", "undo there: usr undo "+id+" cluster", "merged:")
	b.write(here+"_views/v.csv", "and again\n")
	b.run(0, "pull", id, "cluster", "-y", "--merge")
	b.run(0, "sync", "densegen/*", "cluster", "-y")
}

// text is all that a command says.
func (b *bench) text(code int, args ...string) string {
	b.t.Helper()
	stdout, stderr := b.run(code, args...)
	if os.Getenv("SHOW") != "" {
		b.t.Log(strings.Join(args, " ") + "\n" + stdout + stderr)
	}
	return stdout + stderr
}

// TestConflictOfTables: a primary that both sides rewrote is told with what each did to what they had in common.
func TestConflictOfTables(t *testing.T) {
	const id = "densegen/x"
	b := newBench(t)
	b.dataset("cluster", id)
	b.run(0, "pull", id, "cluster", "-y")
	must(t, dataset.Increment(b.path("cluster", id), 50))
	must(t, dataset.AddColumn(b.path("local", id)))
	_, stderr := b.run(codeRefused, "sync", id, "cluster", "-y")
	wants(t, stderr, "150 rows (+50), 7 columns", "100 rows, 8 columns (+1)")
	stdout, _ := b.run(codeRefused, "sync", id, "cluster", "-y", "--format", "json")
	wants(t, stdout, `"base": {`, `"rows": 100`, `"rows": 150`)
	stdout, _ = b.run(0, "diff", id, "cluster")
	wants(t, stdout, "(+50)", "(+1)")
	b.run(0, "sync", id, "cluster", "-y", "--take-remote", "records.parquet", "--take-remote", "_snapshots/*")
}
