package main

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
)

// TestFaultLockWaitSpeaks: who waits for a lock, on either side, is told who has it and how long it is waited for.
func TestFaultLockWaitSpeaks(t *testing.T) {
	b, _ := farBench(t, remotetest.Options{})
	b.dataset("cluster", "x")
	b.run(0, "pull", "x", "cluster", "-y")
	for _, side := range []string{"local", "cluster"} {
		must(t, dataset.Increment(b.path("cluster/x"), 10))
		f, err := os.OpenFile(b.path(side, "x/.usr.lock"), os.O_RDWR|os.O_CREATE, 0o644)
		must(t, err)
		must(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
		time.AfterFunc(4*time.Second, func() { f.Close() })
		stdout, stderr := b.run(0, "pull", "x", "cluster", "-y", "--lock-timeout", "1m")
		wants(t, stdout, "TRANSFERRED")
		wants(t, stderr, "usr: waiting 5", " more for "+b.path(side, "x/.usr.lock")+", held by ")
		if side == "local" { // a host may not tell
			wants(t, stderr, "since")
		}
	}
}
