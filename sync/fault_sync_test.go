package sync_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
	"github.com/dnadesign-maintainers/usr/sync"
)

// TestFaultSyncKill stops a sync dead at each of its steps, both halves included. Each side is what it was or what it was
// to become, and the next sync finishes it: nothing is lost or doubled.
func TestFaultSyncKill(t *testing.T) {
	for _, ssh := range []bool{false, true} {
		steps := 0
		for at := 1; ; at += map[bool]int{true: shortOr(15, 1), false: shortOr(4, 1)}[ssh] {
			r := bothMoved(t, ssh)
			here, there := r.content(r.dst()), r.content(r.src())
			cmd, out := r.child(job{Sync: true, DieAt: at})
			if cmd.Wait() == nil {
				r.united()
				break
			}
			steps++
			r.unitedFrom(fmt.Sprintf("ssh %v, event %d: %s", ssh, at, out), here, there)
		}
		t.Logf("ssh %v: %d steps", ssh, steps)
	}
}

// unitedFrom holds what a sync that was stopped left, and lets the next one finish it.
func (r *rig) unitedFrom(name string, here, there map[string]string) {
	r.Helper()
	r.diff() // recovers
	gotHere, gotThere := r.content(r.dst()), r.content(r.src())
	r.synced(modes())
	r.united()
	want := r.content(r.src())
	oldHere, oldThere := equalTrees(gotHere, here), equalTrees(gotThere, there)
	if !oldHere && !equalTrees(gotHere, want) || !oldThere && !equalTrees(gotThere, want) || oldHere && !oldThere {
		r.Errorf("%s: a side is half there: %s%s", name, cmp.Diff(here, gotHere), cmp.Diff(there, gotThere))
	}
	r.clean()
	if r.Failed() {
		r.Fatal(name)
	}
}

// TestFaultSyncStopped does the same by a cancelled command, which lets go of what it holds.
func TestFaultSyncStopped(t *testing.T) {
	for at := 1; ; at += shortOr(3, 1) {
		r := bothMoved(t, false)
		here, there := r.content(r.dst()), r.content(r.src())
		ctx, stop := context.WithCancel(t.Context())
		events := 0
		r.observe = func(e sync.Event) {
			switch e.(type) {
			case sync.StepBegan, sync.StepEnded:
				if events++; events == at {
					stop()
				}
			}
		}
		p := r.open()
		_, err := p.Sync(ctx, faultID, modes())
		p.Close()
		stop()
		if r.observe = nil; err == nil && events < at {
			return
		}
		r.unitedFrom(fmt.Sprintf("event %d: %v", at, err), here, there)
	}
}

// TestFaultSyncLoops runs the cluster's loop and the analyst's at once, with syncs between them that are killed at random.
// At the end both sides are equal and hold what either wrote, each event once.
func TestFaultSyncLoops(t *testing.T) {
	r := bothMoved(t, false)
	r.must(os.Remove(r.here("meta.md"))) // two that write it at once are a conflict by rights
	r.must(os.Remove(r.there("meta.md")))
	rounds := shortOr(12, 200)
	lines := map[string]bool{event(1): true, "{\"batch\": 2}\n": true, "{\"overlay\": 1}\n": true}
	for i := range rounds {
		batch, overlay := fmt.Sprintf("{\"batch\": %d}\n", i+10), fmt.Sprintf("{\"overlay\": %d}\n", i+10)
		lines[batch], lines[overlay] = true, true
		wrote := make(chan error, 1)
		go func() {
			time.Sleep(time.Duration(i%5) * 20 * time.Millisecond)
			wrote <- r.underLock(r.there(""), func() error {
				if err := replaceFile(r.there("records.parquet"), batch); err != nil {
					return err
				}
				return dataset.AppendEvent(r.there(""), batch)
			})
		}()
		r.must(r.underLock(r.here(""), func() error {
			file := r.here(fmt.Sprintf("_derived/mine/part-%d.parquet", i+10))
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				return err
			}
			if err := replaceFile(file, overlay); err != nil {
				return err
			}
			return dataset.AppendEvent(r.here(""), overlay)
		}))
		cmd, _ := r.child(job{Sync: true, DieAt: 1 + (i*13)%60, Timeout: 5 * time.Second})
		_ = cmd.Wait()
		r.must(<-wrote)
	}
	r.synced(modes())
	got, err := os.ReadFile(r.here(".events.log"))
	r.must(err)
	for line := range lines {
		if n := strings.Count(string(got), line); n != 1 {
			t.Errorf("%q stands %d times in the log", line, n)
		}
	}
	for i := range rounds {
		r.holds(fmt.Sprintf("_derived/mine/part-%d.parquet", i+10), fmt.Sprintf("{\"overlay\": %d}\n", i+10))
	}
	r.clean()
}

// underLock writes as the datasets' writers do.
func (r *rig) underLock(dir string, write func() error) error {
	lock, err := os.OpenFile(filepath.Join(dir, ".usr.lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	return write()
}
