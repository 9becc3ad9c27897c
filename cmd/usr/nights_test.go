package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
)

// TestNights is a week of cron: what it would mail, which is all that is printed, and what the log says in the morning.
func TestNights(t *testing.T) {
	const a, c = "ns/a", "ns/c"
	b := newBench(t)
	for _, id := range []string{a, c} {
		b.dataset("cluster", id)
	}
	batch := func(id string) { must(t, dataset.Increment(b.path("cluster", id), 5)) }
	for i, night := range []struct {
		name    string
		happens func()
		code    int
		mail    []string // nothing: no mail
		morning []string // of the log
	}{
		{"first pull", func() {}, 0, nil, []string{"pull  ", a, c}},
		{"a batch", func() { batch(a) }, 0, nil, []string{a}},
		{"nothing", func() {}, 0, nil, []string{"pull (NO-OP)"}},
		{"work here", func() { b.write("local/ns/a/_derived/mine/part-1.parquet", "mine") }, 0, nil, []string{"pull (SKIPPED)", "pull (NO-OP)"}},
		{"both moved", func() { batch(a); batch(c) }, codeRefused, []string{"cannot pull ns/a (diverged)", "usr sync ns/a cluster", "1 pulled, 1 needs you"}, []string{"FAILED (6)", "cannot pull ns/a (diverged)", c}},
		{"still", func() {}, codeRefused, []string{"cannot pull ns/a (diverged)"}, []string{"FAILED (6)", "cannot pull ns/a (diverged)"}},
		{"the cluster is away", func() { must(t, os.Rename(b.path("cluster"), b.path("away"))) }, codeUsage, []string{"usr: error: ", "usr: hint: "}, nil},
		{"a person", func() {
			must(t, os.Rename(b.path("away"), b.path("cluster")))
			b.run(0, "sync", a, "cluster", "-y", "-q")
		}, 0, nil, []string{"merge", "push", a}},
	} {
		b.clock = time.Date(2026, 11, 20+i, 3, 0, 0, 0, time.UTC)
		night.happens()
		stdout, stderr := b.run(night.code, "pull", "ns/*", "cluster", "-y", "-q")
		mail := stdout + stderr
		wants(t, mail, night.mail...)
		if night.mail == nil && mail != "" {
			t.Errorf("%s: it would mail %q", night.name, mail)
		}
		b.clock = b.clock.Add(6 * time.Hour)
		log, _ := b.run(0, "log", "--since", "1d")
		wants(t, log, night.morning...)
		if strings.Count(log, "2026-11-") != strings.Count(log, b.clock.Format("2006-01-02")) {
			t.Errorf("%s: there is more than of this night:\n%s", night.name, log)
		}
	}
}
