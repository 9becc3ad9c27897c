package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
	"github.com/dnadesign-maintainers/usr/sync"
)

// A forced pull ends with the line that brings back what nothing else has; that line does it.
func TestRestoreLine(t *testing.T) {
	b := newBench(t)
	b.dataset("cluster", "densegen/x")
	b.run(0, "pull", "densegen/x", "cluster", "-y")
	b.write("local/densegen/x/meta.md", "mine\n")
	stdout, _ := b.run(0, "pull", "densegen/x", "cluster", "-y", "--force")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	line, found := strings.CutPrefix(lines[len(lines)-1], "restore: usr ")
	if !found || !strings.HasPrefix(line, "restore densegen/x --path meta.md --from ") {
		t.Fatalf("the last line is %q", lines[len(lines)-1])
	}
	args := strings.Fields(line)
	run := args[len(args)-1]
	b.run(codeDeclined, args...)
	b.run(0, append(args, "--dry-run")...)
	b.run(0, append(args, "-y")...)
	if text, err := os.ReadFile(b.path("local/densegen/x/meta.md")); err != nil || string(text) != "mine\n" {
		t.Errorf("meta.md: %q, %v", text, err)
	}
	stdout, _ = b.run(0, "--format", "json", "generations", "densegen/x")
	wants(t, stdout, `"generation": "`+run+`"`, `"by": "pull --force"`, `"unique_files": 1`, `"stages": []`, `"by": "restore"`)
	stdout, _ = b.run(0, "__complete", "restore", "densegen/x", "--from", "2")
	wants(t, stdout, run)
	stdout, _ = b.run(0, "__complete", "restore", "densegen/x", "--path", "me")
	wants(t, stdout, "meta.md\n")
	b.run(codeDeclined, "generations", "densegen/x", "--prune")
	b.run(codeUsage, "generations", "densegen/x", "--prune=nonsense")
	b.run(codeUsage, "generations", "densegen/x", "--older-than", "5d")
	b.run(0, "generations", "densegen/x", "--prune", run, "-y")
	b.run(codeUsage, "restore", "densegen/x", "--path", "meta.md", "--from", run, "-y")
	b.run(codeRefused, "restore", "densegen/x", "--path", "nothing", "-y")
	b.run(codeUsage, "restore", "densegen/x", "--path", "../x", "-y")
	_, stderr := b.run(codeRefused, "restore", "x", "--path", "nothing", "-y")
	wants(t, stderr, `of "densegen/x" on local`)
	stdout, _ = b.run(0, "generations", "x")
	wants(t, stdout, "densegen/x")
	stdout, _ = b.run(0, "log", "--failed")
	wants(t, stdout, "restore")
	stdout, _ = b.run(0, "generations", "cluster")
	wants(t, stdout, "no generation is kept on cluster")
}

// TestRestoreLines: whatever overwrites what nothing else has ends with a line that brings it back, on the side where it was.
func TestRestoreLines(t *testing.T) {
	const id = "densegen/x"
	for _, c := range []struct{ by, side, command string }{
		{"push --force", "cluster", "push densegen/x cluster -y --force"},
		{"merge", "local", "sync densegen/x cluster -y --take-remote meta.md"},
		{"undo", "local", "undo densegen/x -y --force"},
	} {
		t.Run(c.by, func(t *testing.T) {
			b := newBench(t)
			b.dataset("cluster", id)
			b.run(0, "pull", id, "cluster", "-y")
			must(t, dataset.Increment(b.path("cluster", id), 2))
			if c.by == "undo" {
				b.run(0, "pull", id, "cluster", "-y")
			}
			b.write("cluster/densegen/x/meta.md", "theirs\n")
			b.write("local/densegen/x/meta.md", "mine\n")
			lost := map[string]string{"cluster": "theirs\n", "local": "mine\n"}[c.side]
			stdout, _ := b.run(0, strings.Fields(c.command)...)
			lines := strings.Split(strings.TrimSpace(stdout), "\n")
			line, found := strings.CutPrefix(lines[len(lines)-1], "restore: usr ")
			if !found {
				t.Fatalf("the last line is %q", lines[len(lines)-1])
			}
			if text, err := os.ReadFile(b.path(c.side, id, "meta.md")); err != nil || string(text) == lost {
				t.Fatalf("it was not overwritten: %q, %v", text, err)
			}
			b.run(0, append(strings.Fields(line), "-y")...)
			if text, err := os.ReadFile(b.path(c.side, id, "meta.md")); err != nil || string(text) != lost {
				t.Errorf("meta.md: %q, %v", text, err)
			}
			of := map[string][]string{"cluster": {"cluster"}}[c.side]
			stdout, _ = b.run(0, append([]string{"--format", "json", "generations", id}, of...)...)
			wants(t, stdout, `"by": "`+c.by+`"`)
		})
	}
}

// overwritten is a bench on which a forced pull of a dataset has replaced its meta.md of here.
func overwritten(t *testing.T, id string) *bench {
	t.Helper()
	b := newBench(t)
	b.dataset("cluster", id)
	b.run(0, "pull", id, "cluster", "-y")
	b.write("local/"+id+"/meta.md", "mine\n")
	b.run(0, "pull", id, "cluster", "-y", "--force")
	return b
}

// TestPrune: on a terminal it shows what would go and asks; what was asked for goes, and nothing else.
func TestPrune(t *testing.T) {
	const id = "densegen/x"
	b := overwritten(t, id)
	must(t, dataset.Increment(b.path("cluster", id), 2))
	b.run(0, "pull", id, "cluster", "-y")
	const dead = "20260101T000000.000000Z-abcdef"
	b.write("local/.usr-sync/stage/densegen%2Fx/"+dead+"/tree/x", strings.Repeat("x", 1000))
	stdout, _ := b.run(0, "generations", id)
	wants(t, stdout, dead, "leftover", "a stage", "1.0 kB")
	var runs []string
	for _, dir := range globbed(t, b.path("local/.usr-sync/generations/densegen%2Fx/*")) {
		runs = append(runs, filepath.Base(dir))
	}
	if len(runs) != 2 {
		t.Fatal(runs)
	}
	kept := func(args ...string) string {
		stdout, _ := b.run(0, append([]string{"--format", "json", "generations", id}, args...)...)
		return stdout
	}
	b.terminal, b.stdin = true, "n\n"
	_, stderr := b.run(codeDeclined, "generations", id, "--prune")
	wants(t, stderr, runs[1], dead, "Remove these, but for what is unique. Proceed?")
	wants(t, kept(), runs[0], runs[1], dead)
	b.stdin = "y\n"
	stdout, _ = b.run(0, "generations", id, "--prune")
	wants(t, stdout, "freed: ")
	b.terminal, b.stdin = false, ""
	if left := kept(); strings.Contains(left, runs[1]) || strings.Contains(left, dead) || !strings.Contains(left, runs[0]) {
		t.Errorf("left: %s", left)
	}
	wants(t, kept("--prune", "--older-than", "60d", "-y"), runs[0], `"freed_bytes": 0`)
	b.clock = time.Now().Add(61 * 24 * time.Hour)
	if left := kept("--prune", "--older-than", "60d", "-y"); strings.Contains(left, runs[0]) || strings.Contains(left, `"freed_bytes": 0`) {
		t.Errorf("left: %s", left)
	}
}

// TestRestoreRefusals: a damaged file and a generation that is being removed are told apart, and by name.
func TestRestoreRefusals(t *testing.T) {
	const id = "densegen/x"
	b := overwritten(t, id)
	dir := globbed(t, b.path("local/.usr-sync/generations/densegen%2Fx/*"))[0]
	must(t, os.WriteFile(filepath.Join(dir, "tree/meta.md"), []byte("mind\n"), 0o644))
	_, stderr := b.run(codeMismatch, "restore", id, "--path", "meta.md", "-y")
	wants(t, stderr, `"meta.md"`, filepath.Base(dir))
	must(t, os.Rename(filepath.Join(dir, "tree"), filepath.Join(dir, "gone")))
	_, stderr = b.run(codeLocked, "restore", id, "--path", "meta.md", "--from", filepath.Base(dir), "-y")
	wants(t, stderr, "it is being removed")
	_, stderr = b.run(codeUsage, "restore", id, "--path", "meta.md", "--from", "yesterday", "-y")
	wants(t, stderr, `"yesterday"`)
}

// TestQuotas: what a group may use is told with what is kept, of either side.
func TestQuotas(t *testing.T) {
	bin := t.TempDir()
	must(t, remotetest.Shim(bin, "quota", "printf 'Disk quotas for group lab (gid 100):\\n/dev/sdx 1000 0 2000 - 5 0 0\\n'"))
	path := bin + ":" + os.Getenv("PATH")
	b, _ := farBench(t, remotetest.Options{Env: map[string]string{"PATH": path}})
	stdout, _ := b.run(0, "generations", "cluster")
	wants(t, stdout, "quota: lab on /dev/sdx: 1.0 MB of 2.0 MB used")
	stdout, _ = b.run(0, "--format", "json", "generations", "cluster")
	wants(t, stdout, `"group": "lab"`, `"limit": 2048000`)
	t.Setenv("PATH", path)
	stdout, _ = b.run(0, "generations")
	wants(t, stdout, "quota: lab on /dev/sdx: 1.0 MB of 2.0 MB used")
}

// TestSpaceHint: where room runs out what exists nowhere else is named with its size, and left to a person.
func TestSpaceHint(t *testing.T) {
	a := &app{env: newBench(t).env(), doing: doing{action: "push", dataset: "densegen/x", remote: "cluster"}}
	hint := a.hintSpace(&sync.SpaceError{Side: "cluster", Need: 2, Free: 1, Unit: "bytes", Kept: []sync.Kept{
		{Run: "R1", Unique: 2, UniqueBytes: 4096, Bytes: 100}, {Run: "R2", Stage: true, Bytes: 74_000_000}}})
	wants(t, hint, "4.1 kB of unique files in the generation R1", "74 MB of the leftover stage R2", "generations densegen/x cluster`", "--prune")
}

// TestByWhat is the table of what replaced a generation.
func TestByWhat(t *testing.T) {
	for want, k := range map[string]sync.Kept{
		"pull":                      {Action: "pull"},
		"push --force":              {Action: "push", Forced: true},
		"undo":                      {Action: "undo", Forced: true},
		"merge":                     {Action: "merge"},
		"pull --force, late writer": {Action: "pull", Forced: true, Late: 1},
		"late writer":               {Late: 2},
	} {
		if got := byWhat(k); got != want {
			t.Errorf("%+v: %q, want %q", k, got, want)
		}
	}
}

// TestCompleteKept: what a remote keeps is completed over a connection that is there, and nobody dials for it.
func TestCompleteKept(t *testing.T) {
	const id = "densegen/x"
	b, s := farBench(t, remotetest.Options{})
	b.vars["XDG_RUNTIME_DIR"] = shortDir(t)
	b.dataset("cluster", id)
	b.run(0, "pull", id, "cluster", "-y")
	must(t, dataset.Annotate(b.path("local", id)))
	b.run(0, "push", id, "cluster", "-y")
	kept := globbed(t, b.path("cluster/.usr-sync/generations/densegen%2Fx/*"))
	if len(kept) != 1 {
		t.Fatal(kept)
	}
	run := filepath.Base(kept[0])
	complete := func(want string, words ...string) {
		t.Helper()
		before := s.Authentications()
		stdout, _ := b.spawn(0, append([]string{"__complete"}, words...)...)
		if stdout != want || s.Authentications() != before {
			t.Errorf("%q: %q, want %q; %d authentications", words, stdout, want, s.Authentications()-before)
		}
	}
	complete("", "restore", id, "cluster", "--from", "2")
	b.spawn(0, "remotes", "warm-auth", "--remote", "cluster")
	complete(run+"\n", "restore", id, "cluster", "--from", "2")
	complete("records.parquet\n", "restore", id, "cluster", "--path", "rec")
	complete(run+"\n", "generations", id, "cluster", "--prune", "2")
	b.spawn(0, "remotes", "warm-auth", "--remote", "cluster", "--stop")
	complete("", "restore", id, "cluster", "--from", "2")
}
