package main

import (
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/sync"
)

// TestProgress: of several phases that are under way at once the transfer is told, with its own rate; then what goes on.
func TestProgress(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := newProgress(newBench(t).env(), progressOptions{})
	p.observe(sync.StepBegan{Step: sync.StepCopy})
	for _, c := range []struct {
		after float64 // seconds
		event sync.Progressed
		want  string
	}{
		{0, sync.Progressed{Phase: "hash local", Done: 1e6, Total: 100e6}, "hash local 1.0 MB of 100 MB"},
		{1, sync.Progressed{Phase: "transfer", Total: 100e6}, "transfer 0 B of 100 MB"},
		{2, sync.Progressed{Phase: "hash local", Done: 50e6, Total: 100e6}, "transfer 0 B of 100 MB"},
		{3, sync.Progressed{Phase: "transfer", Done: 20e6, Total: 100e6}, "transfer 20 MB of 100 MB, 10 MB/s, 8s left"},
		{5, sync.Progressed{Phase: "hash local", Done: 100e6, Total: 100e6}, "transfer 20 MB of 100 MB, 5.0 MB/s, 16s left"},
		{6, sync.Progressed{Phase: "transfer", Done: 100e6, Total: 100e6}, "copying"},
		{7, sync.Progressed{Phase: "hash lab", Done: 10e6, Total: 100e6}, "hash lab 10 MB of 100 MB"},
		{9, sync.Progressed{Phase: "hash lab", Done: 30e6, Total: 100e6}, "hash lab 30 MB of 100 MB, 15 MB/s, 5s left"},
		{9, sync.Progressed{Phase: "hash lab", Done: 1e6, Total: 9e6}, "hash lab 1.0 MB of 9.0 MB"},
	} {
		at := began.Add(time.Duration(c.after * float64(time.Second)))
		p.hear(c.event, at)
		if got := p.describe(at); got != c.want {
			t.Errorf("%v s: %q, want %q", c.after, got, c.want)
		}
	}
	p.observe(sync.StepBegan{Step: sync.StepLock})
	if got := p.describe(began); got != "waiting for the dataset locks" {
		t.Error(got)
	}
}

// TestProgressQueue: a place on a compute node is waited for aloud, beside what goes on meanwhile.
func TestProgressQueue(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := newProgress(newBench(t).env(), progressOptions{})
	p.observe(sync.StepBegan{Step: sync.StepCompare})
	p.observe(sync.Queued{Since: began})
	says := func(want string) {
		t.Helper()
		if got := p.describe(began.Add(130 * time.Second)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	says("in the queue for 2:10")
	p.hear(sync.Progressed{Phase: sync.PhaseTransfer, Done: 20e6, Total: 100e6}, began.Add(130*time.Second))
	says("transfer 20 MB of 100 MB; in the queue for 2:10")
	p.observe(sync.Queued{})
	says("transfer 20 MB of 100 MB")
}
