package main

import (
	"fmt"
	"os"
	"testing"
)

// TestDeletionsRefused: a standing yes is no wish to empty a class, and --max-delete is kept to; the error says what
// would go, and the hint what to do.
func TestDeletionsRefused(t *testing.T) {
	const id = "densegen/x"
	b := newBench(t)
	b.dataset("cluster", id)
	must(t, os.RemoveAll(b.path("cluster", id, "_derived")))
	for i := range 12 {
		b.write(fmt.Sprintf("cluster/%s/_derived/infer/part-%d.parquet", id, i), "part")
	}
	b.run(0, "pull", id, "cluster", "-y")
	must(t, os.RemoveAll(b.path("cluster", id, "_derived")))

	b.terminal = true // only a person is offered --force
	_, stderr := b.run(codeRefused, "pull", id, "cluster", "-y")
	b.terminal = false
	wants(t, stderr, "cannot pull: it would empty derived on local (12 files): the source has none", "diff -v", "pull --force "+id+" cluster")
	stdout, _ := b.run(codeRefused, "pull", id, "cluster", "-y", "--format", "json")
	wants(t, stdout, `"kind": "deletion"`)
	b.write(fmt.Sprintf("cluster/%s/_derived/infer/part-0.parquet", id), "part")
	_, stderr = b.run(codeRefused, "pull", id, "cluster", "-y", "--max-delete", "5")
	wants(t, stderr, "cannot pull: it would delete 11 of ", "the limit is 5", "--max-delete")
	b.run(codeRefused, "pull", id, "cluster", "-y", "--max-delete=10%")
	b.run(0, "pull", id, "cluster", "-y", "--max-delete", "11")
	must(t, os.RemoveAll(b.path("local", ".usr-sync/base")))
	b.write("local/"+id+"/_derived/mine.parquet", "mine")
	b.terminal = true
	_, stderr = b.run(codeRefused, "pull", id, "cluster", "-y")
	b.terminal = false
	wants(t, stderr, "cannot pull (unrelated): local has files of its own, and no common history is known: ", "_derived/mine.parquet", "--force")
	b.run(0, "pull", id, "cluster", "-y", "--force")
}
