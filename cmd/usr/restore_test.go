package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
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
