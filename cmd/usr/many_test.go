package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
)

// A dataset that vanished from one side is named and left alone: it is not pushed as if it were new, nor pulled again.
func TestFaultVanished(t *testing.T) {
	b := newBench(t)
	for _, id := range []string{"ns/a", "ns/b", "ns/c"} {
		b.dataset("cluster", id)
	}
	b.run(0, "pull", "ns/*", "cluster", "-y")
	b.dataset("local", "ns/new")
	must(t, os.RemoveAll(b.path("cluster/ns/a")))
	must(t, os.RemoveAll(b.path("local/ns/b")))
	for _, action := range []string{"push", "pull"} {
		stdout, _ := b.run(0, action, "ns/*", "cluster", "-y")
		wants(t, stdout, "vanished: ns/a was on cluster and is gone", "vanished: ns/b was on local and is gone")
		if exists(b.path("cluster/ns/a")) || exists(b.path("local/ns/b/records.parquet")) || !exists(b.path("cluster/ns/new/records.parquet")) {
			t.Fatalf("%s did what nobody asked for:\n%s", action, stdout)
		}
	}
	stdout, _ := b.run(0, "status", "cluster", "--format", "json")
	var doc struct {
		Data struct {
			Datasets []json.RawMessage
			Vanished []vanished
		}
	}
	must(t, json.Unmarshal([]byte(stdout), &doc))
	if len(doc.Data.Datasets) != 2 || len(doc.Data.Vanished) != 2 {
		t.Errorf("%s", stdout)
	}
	b.run(0, "push", "ns/a", "cluster", "-y") // by its name it is a wish
	b.equal("ns/a")
}

// The summary shows what differs, and counts the rest; status without a dataset is of all.
func TestSummaryCounts(t *testing.T) {
	b := newBench(t)
	for _, id := range []string{"ns/a", "ns/b", "flat", "other/d"} {
		b.dataset("cluster", id)
	}
	b.run(0, "pull", "**", "cluster", "-y")
	must(t, dataset.Increment(b.path("cluster/ns/a"), 10))
	must(t, dataset.Increment(b.path("cluster/flat"), 10))
	must(t, dataset.Annotate(b.path("local/flat")))
	b.dataset("local", "mine")
	stdout, _ := b.run(0, "status", "cluster")
	wants(t, stdout, "5 datasets: 1 only here, 1 behind, 2 in sync, 1 needs you")
	if strings.Contains(stdout, "ns/b") {
		t.Errorf("what is in sync is listed:\n%s", stdout)
	}
	stdout, _ = b.run(codeRefused, "pull", "**", "cluster", "-y")
	wants(t, stdout, "4 datasets: 1 pulled, 2 in sync, 1 needs you")
	b.run(codeUsage, "status")
	stdout, _ = b.run(0, "status", "ns/a", "cluster")
	wants(t, stdout, "in-sync")
}
