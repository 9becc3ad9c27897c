package sync_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
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

// TestFaultSyncCut cuts the line at a random moment of a sync: for a moment, which the run gets over by itself, or until
// the next one. Nothing is lost, doubled or half there.
func TestFaultSyncCut(t *testing.T) {
	t.Parallel()
	var cut, failed int
	for i := range shortOr(4, 100) {
		r := emptyRig(t, sync.Pull)
		relay := r.overRelay(0)
		r.bothMove()
		here, there := r.content(r.dst()), r.content(r.src())
		before, gone := relay.Connections(), i%2 == 0
		timer := time.AfterFunc(time.Duration(rand.IntN(900))*time.Millisecond, func() {
			relay.Refuse(gone)
			relay.Cut()
		})
		_, err := r.sync(modes())
		timer.Stop()
		relay.Refuse(false)
		if relay.Connections() > before+1 || err != nil {
			cut++
		}
		if err != nil {
			failed++
			if !gone {
				t.Errorf("it did not get over a cut: %v", err)
			}
		}
		r.unitedFrom(fmt.Sprintf("cut %d: %v", i, err), here, there)
	}
	t.Logf("%d were cut, %d ended by that", cut, failed)
}

// TestFaultSyncLoops runs the cluster's loop and the analyst's at once, with a sync after each of their steps that is
// killed at random or loses its line. At the end both sides are equal and hold what either wrote, each event once. In the
// long form that is a step every five minutes of a day.
func TestFaultSyncLoops(t *testing.T) {
	t.Parallel()
	for _, over := range []string{"local", "ssh"} {
		t.Run(over, func(t *testing.T) {
			t.Parallel()
			r := emptyRig(t, sync.Pull)
			var relay *remotetest.RelayServer
			if over == "ssh" {
				relay = r.overRelay(0)
			}
			r.bothMove()
			syncLoops(r, relay)
		})
	}
}

func syncLoops(r *rig, relay *remotetest.RelayServer) {
	r.must(os.Remove(r.here("meta.md"))) // two that write it at once are a conflict by rights
	r.must(os.Remove(r.there("meta.md")))
	rounds := shortOr(12, 288)
	if relay != nil {
		rounds = shortOr(6, 288)
	}
	lines := map[string]bool{event(1): true, "{\"batch\": 2}\n": true, "{\"overlay\": 1}\n": true}
	outcomes := map[string]int{}
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
			if err := replaceFile(r.here(fmt.Sprintf("_derived/mine/part-%d.parquet", i+10)), overlay); err != nil {
				return err
			}
			return dataset.AppendEvent(r.here(""), overlay)
		}))
		outcomes[r.disturbedSync(relay, i)]++
		r.must(<-wrote)
	}
	r.synced(modes())
	got, err := os.ReadFile(r.here(".events.log"))
	r.must(err)
	if n := strings.Count(string(got), "\n"); n != len(lines) {
		r.Errorf("%d lines in the log, want %d", n, len(lines))
	}
	for line := range lines {
		if n := strings.Count(string(got), line); n != 1 {
			r.Errorf("%q stands %d times in the log", line, n)
		}
	}
	for i := range rounds {
		r.holds(fmt.Sprintf("_derived/mine/part-%d.parquet", i+10), fmt.Sprintf("{\"overlay\": %d}\n", i+10))
	}
	r.clean()
	r.Logf("%d rounds, %d events: %v", rounds, len(lines), outcomes)
}

// disturbedSync runs one that is killed at a step or, every other time where there is a relay, has its line cut after some
// bytes, for good or for a moment. It returns what came of that.
func (r *rig) disturbedSync(relay *remotetest.RelayServer, i int) string {
	r.Helper()
	if relay == nil || i%2 == 0 {
		cmd, out := r.child(job{Sync: true, DieAt: 1 + (i*13)%80, Timeout: 5 * time.Second})
		switch err := cmd.Wait(); {
		case err == nil:
			return "done"
		case cmd.ProcessState.Exited():
			said := strings.Split(strings.TrimSpace(out.String()), "\n")
			return "failed: " + said[len(said)-1]
		}
		return "killed"
	}
	before := relay.Connections()
	relay.CutAfter(rand.Int64N(60_000))
	if i%4 == 1 {
		defer time.AfterFunc(time.Duration(rand.IntN(600))*time.Millisecond, func() { relay.Refuse(true); relay.Cut() }).Stop()
	}
	_, err := r.sync(modes())
	relay.CutAfter(1 << 40)
	relay.Refuse(false)
	switch {
	case err != nil:
		return fmt.Sprintf("cut off: %T", err)
	case relay.Connections() > before+1:
		return "cut and done"
	}
	return "done"
}

// TestFaultAppendedWhileCompared: a batch ends, with its event, after the listing and before the logs are read. That is no
// other history.
func TestFaultAppendedWhileCompared(t *testing.T) {
	t.Parallel()
	for _, over := range []string{"local", "ssh"} {
		for _, act := range []string{"pull", "sync"} {
			t.Run(act+" "+over, func(t *testing.T) {
				t.Parallel()
				r := wayRig(t, sync.Pull, over == "ssh")
				r.replace(r.there("records.parquet"), "primary 2\n")
				r.atStep(sync.StepBegan{Step: sync.StepCompare}, func() { r.must(dataset.AppendEvent(r.there(""), event(2))) })
				m := modes()
				m.Rehash = true
				var err error
				if act == "pull" {
					_, err = r.run(sync.Pull, m)
				} else {
					r.replace(r.here("_derived/mine/part-1.parquet"), "overlay 1\n")
					_, err = r.sync(m)
				}
				r.must(err)
				r.same()
				r.holds(".events.log", event(1)+event(2))
			})
		}
	}
}

// underLock writes as the datasets' writers do.
// TestFaultSyncAppends: programs append to the logs of both sides all the while, without the lock of the dataset. A sync takes
// what was there when it looked; later lines follow, and the next one takes them.
func TestFaultSyncAppends(t *testing.T) {
	t.Parallel()
	for _, over := range []string{"local", "ssh"} {
		for _, way := range []string{"exchange", "in place"} {
			t.Run(over+" "+way, func(t *testing.T) {
				t.Parallel()
				r := bothMoved(t, over == "ssh")
				r.options = func(o *sync.Options) { o.NoExchange = way == "in place" }
				stops := []func() []written{startWritersIn(r, filepath.Join(r.local, faultID), "w0"), startWritersIn(r, filepath.Join(r.remote, faultID), "w1")}
				for v := 3; v < 3+shortOr(3, 30); v++ {
					if _, err := r.sync(modes()); err != nil {
						t.Error(err)
					}
					r.batch(v)
					r.overlay(v - 1)
				}
				lines := 0
				var said []written
				for _, stop := range stops {
					said = append(said, stop()...)
				}
				r.synced(modes())
				log, err := os.ReadFile(r.here(".events.log"))
				r.must(err)
				for _, w := range said {
					if n := strings.Count(string(log), w.line+"\n"); w.err == "<nil>" && n != 1 {
						t.Errorf("%s is there %d times", w.line, n)
					}
					lines++
				}
				t.Logf("%d lines", lines)
			})
		}
	}
}

// TestFaultSyncAppendedWhileHashed: the remote's log grows once it was compared, and is then read. What was merged of it is the
// common base, and no more.
func TestFaultSyncAppendedWhileHashed(t *testing.T) {
	t.Parallel()
	for _, over := range []string{"local", "ssh"} {
		for at := 1; at <= 3; at++ { // it is compared so often before the first switch
			t.Run(fmt.Sprint(over, " ", at), func(t *testing.T) {
				t.Parallel()
				r := bothMoved(t, over == "ssh")
				n := 0
				r.observe = func(e sync.Event) {
					if end, ok := e.(sync.StepEnded); ok && end.Step == sync.StepCompare {
						if n++; n == at {
							r.must(dataset.AppendEvent(filepath.Join(r.remote, faultID), "{\"late\": 1}\n"))
						}
					}
				}
				if _, err := r.sync(modes()); err != nil {
					t.Error(err)
				}
				r.overlay(3)
				r.synced(modes())
				log, err := os.ReadFile(r.here(".events.log"))
				r.must(err)
				if got := strings.Count(string(log), "late"); got != 1 {
					t.Errorf("the late line is there %d times", got)
				}
			})
		}
	}
}

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
