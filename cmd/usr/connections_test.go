package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
)

// TestConnections counts, from sshd's log, what each command costs, and holds docs/connections.md to it.
func TestConnections(t *testing.T) {
	t.Parallel()
	b, s := farBench(t, remotetest.Options{})
	log := filepath.Join(t.TempDir(), "log")
	bin := t.TempDir()
	must(t, remotetest.Shim(bin, "ssh", remotetest.Counting(remotetest.Real("ssh"), log)))
	b.vars["PATH"], b.vars["XDG_RUNTIME_DIR"] = bin+":"+os.Getenv("PATH"), shortDir(t)
	const x, y = "densegen/x", "densegen/y"
	b.dataset("cluster", x)
	b.dataset("cluster", y)
	b.write("repo/data/table.parquet", "a table")
	var table strings.Builder
	measure := func(name string, args ...string) {
		t.Helper()
		connections, authentications := s.Connections(), s.Authentications()
		before := lines(t, log)
		b.spawn(0, args...)
		fmt.Fprintf(&table, "| %s | %d | %d | %d |\n", name, s.Connections()-connections, s.Authentications()-authentications, lines(t, log)-before)
		nothingRuns(t, s)
	}
	file := []string{b.path("repo/data/table.parquet"), "cluster", "--remote-path", b.path("cluster/data/table.parquet")}

	measure("`usr remotes doctor`", "remotes", "doctor", "--remote", "cluster")
	measure("`usr datasets REMOTE`", "datasets", "cluster")
	measure("`usr diff`, nothing here yet", "diff", x, "cluster")
	measure("`usr pull`, all of it", "pull", x, "cluster", "-y")
	measure("`usr diff`, in sync", "diff", x, "cluster")
	measure("`usr pull`, in sync", "pull", x, "cluster", "-y")
	must(t, dataset.Increment(b.path("cluster", x), 5))
	measure("`usr diff`, something changed", "diff", x, "cluster")
	measure("`usr pull`, something changed", "pull", x, "cluster", "-y")
	must(t, dataset.Annotate(b.path("local", x)))
	measure("`usr push`, something changed", "push", x, "cluster", "-y")
	measure("`usr verify`", "verify", x, "cluster")
	measure("`usr undo DATASET REMOTE`", "undo", x, "cluster")
	measure("`usr pull 'densegen/*'`, two datasets", "pull", "densegen/*", "cluster", "-y", "--force")
	measure("`usr push FILE`", append([]string{"push", "-y"}, file...)...)
	measure("`usr diff FILE`", append([]string{"diff"}, file...)...)
	measure("`usr pull FILE`, in sync", append([]string{"pull", "-y"}, file...)...)
	measure("`usr datasets`, `log`, `undo DATASET`, `remotes list`, `remotes show`", "log")
	measure("`usr remotes status`, none open", "remotes", "status", "cluster")
	b.profile(s, "control_persist: 10m")
	measure("with `control_persist`: the first command", "diff", x, "cluster")
	must(t, dataset.Increment(b.path("cluster", x), 5))
	measure("with `control_persist`: `usr pull` after it", "pull", x, "cluster", "-y")
	measure("`usr remotes status`, one open", "remotes", "status", "cluster")
	measure("`usr remotes warm-auth --stop`", "remotes", "warm-auth", "--stop", "cluster")
	measure("`usr remotes warm-auth`", "remotes", "warm-auth", "cluster")
	measure("`usr diff` after `warm-auth`", "diff", x, "cluster")
	b.spawn(0, "remotes", "warm-auth", "--stop", "cluster")
	doc, err := os.ReadFile("../../docs/connections.md")
	must(t, err)
	if !strings.Contains(string(doc), table.String()) {
		t.Errorf("docs/connections.md does not hold:\n%s", table.String())
	}
}

func lines(t *testing.T, file string) int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Count(string(text), "\n")
}
