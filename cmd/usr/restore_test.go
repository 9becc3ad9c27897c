package main

import (
	"os"
	"strings"
	"testing"
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
