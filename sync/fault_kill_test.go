package sync_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// TestFaultKillAtEveryStep stops a transfer dead before and after each of its steps.
func TestFaultKillAtEveryStep(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) { killAtEveryStep(t, d, ssh, false, 0) })
}

func TestFaultKillAtEveryStepWithSpare(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) { killAtEveryStep(t, d, ssh, false, 1) })
}

func TestFaultKillAtEveryStepInPlace(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) { killAtEveryStep(t, d, ssh, true, 0) })
}

func killAtEveryStep(t *testing.T, d sync.Direction, ssh, inPlace bool, spareFrom int) {
	r := emptyRig(t, d)
	r.spareFrom = spareFrom
	if ssh {
		r.overSSH(remotetest.Options{})
	}
	r.write(r.src(), 1)
	r.transferred()
	r.write(r.src(), 2)
	cmd, out := r.child(job{NoExchange: inPlace})
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r.next(2)
	events := strings.Split(strings.TrimSpace(out.String()), "\n")
	events = events[:len(events)-1] // the last line is the outcome
	v := 3                          // next has written it
	for i, event := range events {
		if ssh && !longFaults() && !telling(event) {
			continue
		}
		name := fmt.Sprintf("%d %s", i+1, event)
		cmd, out := r.child(job{DieAt: i + 1, NoExchange: inPlace})
		if err := cmd.Wait(); err == nil {
			t.Fatalf("%s: it lived: %s", name, out)
		}
		r.is(r.src(), v)
		switch got := r.is(r.dst(), v-1, v); {
		case got == v && i <= slices.Index(events, "began promote"):
			t.Errorf("%s: promoted too early", name)
		case got != v && i >= slices.Index(events, "ended promote"):
			t.Errorf("%s: not promoted", name)
		}
		r.next(v)
		v++
		if t.Failed() {
			t.Fatalf("at %s", name)
		}
	}
	t.Logf("%d steps", len(events))
}

// telling are the events that the short form looks at over ssh.
func telling(event string) bool {
	return slices.Contains([]string{"ended copy", "began promote", "ended promote"}, event)
}

// TestFaultKillBootstrap does the same to the first transfer, which has nothing to replace.
func TestFaultKillBootstrap(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d sync.Direction) {
		t.Parallel()
		for at := 1; ; at += shortOr(3, 1) {
			r := emptyRig(t, d)
			r.write(r.src(), 1)
			cmd, _ := r.child(job{DieAt: at})
			if cmd.Wait() == nil {
				break
			}
			r.is(r.dst(), 0, 1)
			r.next(1)
		}
	})
}

// TestFaultKillUndo stops an undo before and after each of its steps: the tree is the one or the other, and can go
// either way afterwards.
func TestFaultKillUndo(t *testing.T) { killUndo(t, false) }

func TestFaultKillUndoInPlace(t *testing.T) { killUndo(t, true) }

func killUndo(t *testing.T, inPlace bool) {
	t.Parallel()
	both(t, func(t *testing.T, d sync.Direction) {
		t.Parallel()
		r := newRig(t, d)
		r.options = func(o *sync.Options) { o.NoExchange = inPlace }
		r.write(r.src(), 2)
		r.transferred()
		for at := 1; ; at += shortOr(2, 1) {
			cmd, _ := r.child(job{Undo: true, DieAt: at, NoExchange: inPlace})
			if cmd.Wait() == nil {
				break
			}
			r.diff() // recovers
			if r.is(r.dst(), 1, 2) == 2 {
				r.undone(modes())
			}
			r.is(r.dst(), 1)
			if rel := r.diff().Relation; rel != sync.LocalBehind && d == sync.Pull || rel != sync.LocalAhead && d == sync.Push {
				t.Errorf("event %d: relation %s", at, rel)
			}
			r.transferred()
			r.is(r.dst(), 2)
			r.clean()
			if t.Failed() {
				t.Fatalf("at event %d", at)
			}
		}
	})
}

// TestFaultCancelAtEveryStep: what Ctrl-C does. The run ends as cancelled unless it is past the switch, releases its
// locks, and what it had received is there for the next one.
func TestFaultCancelAtEveryStep(t *testing.T) { everyWay(t, cancelAtEveryStep) }

func cancelAtEveryStep(t *testing.T, d sync.Direction, ssh bool) {
	r := emptyRig(t, d)
	every := shortOr(5, 1)
	if ssh {
		r.overSSH(remotetest.Options{})
		every = shortOr(11, 1)
	}
	r.write(r.src(), 1)
	r.transferred()
	r.write(r.src(), 2)
	for at, v := 1, 2; ; at, v = at+every, v+1 {
		ctx, cancel := context.WithCancel(t.Context())
		events := 0
		r.observe = func(e sync.Event) {
			switch e.(type) {
			case sync.StepBegan, sync.StepEnded:
				if events++; events == at {
					cancel()
				}
			}
		}
		p := r.open()
		_, err := p.Transfer(ctx, faultID, d, modes())
		p.Close()
		cancel()
		r.observe = nil
		if events < at {
			r.must(err)
			return
		}
		if got := r.is(r.dst(), v-1, v); got != v && !errors.Is(err, context.Canceled) {
			t.Errorf("event %d: %v", at, err)
		}
		for _, root := range []string{r.local, r.remote} {
			r.free(filepath.Join(root, faultID, ".usr.lock"))
			r.free(filepath.Join(root, ".usr-sync/journal", faultKey+".lock"))
		}
		r.next(v)
	}
}

// TestFaultKillAnywhere kills whole process groups at random instants while a reader looks.
func TestFaultKillAnywhere(t *testing.T) {
	t.Parallel()
	for _, over := range []string{"local", "without exchange", "ssh"} {
		both(t, func(t *testing.T, d sync.Direction) {
			t.Run(over, func(t *testing.T) {
				t.Parallel()
				kills := shortOr(4, 60)
				if over == "ssh" {
					kills = shortOr(2, 60)
				}
				killAnywhere(t, d, over, kills)
			})
		})
	}
}

func killAnywhere(t *testing.T, d sync.Direction, over string, kills int) {
	r := emptyRig(t, d)
	inPlace := over == "without exchange" // then there is a mixture until the next command
	if over == "ssh" {
		r.overSSH(remotetest.Options{})
	}
	r.write(r.src(), 1)
	r.transferred()
	r.write(r.src(), 2)
	begin := time.Now()
	cmd, out := r.child(job{})
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	usual := time.Since(begin)
	r.next(2)
	watch := startReader(r.dst())
	survived, early := 0, 0
	for v := 3; v < 3+kills; v++ {
		cmd, _ := r.child(job{NoExchange: inPlace})
		time.Sleep(time.Duration(rand.Int64N(int64(usual) * 11 / 10)))
		killTree(cmd.Process.Pid)
		if cmd.Wait() == nil {
			early++
		}
		r.is(r.src(), v)
		if inPlace {
			r.diff() // recovers
		}
		r.is(r.dst(), v-1, v)
		r.next(v)
		survived++
	}
	sights := watch.stop()
	t.Logf("%d kills survived of %d (%d came after the end); %d sights, %d mixed, %d without a dataset", survived, kills, early, sights.seen, sights.mixed, sights.gone)
	if sights.mixed > 0 && !inPlace || sights.gone > 0 {
		t.Errorf("a reader saw %d mixed trees and none at all %d times: %s", sights.mixed, sights.gone, sights.first)
	}
}

// deleted reports whether it is a file of a directory of the dataset that is not there, such as a snapshot that a switch in
// place deletes once it was listed.
func deleted(err error) bool {
	var missing *fs.PathError
	return errors.As(err, &missing) && strings.HasPrefix(missing.Path, "_")
}

// TestFaultReaders looks at a dataset while it is promoted again and again.
func TestFaultReaders(t *testing.T) {
	both(t, func(t *testing.T, d sync.Direction) {
		t.Parallel()
		r := newRig(t, d)
		watch := []*reader{startReader(r.dst()), startReader(r.dst())}
		for v := 2; v < 2+shortOr(5, 150); v++ {
			r.write(r.src(), v)
			r.transferred()
		}
		for _, w := range watch {
			s := w.stop()
			t.Logf("%d sights of %d versions, %d mixed, %d without a dataset", s.seen, s.versions, s.mixed, s.gone)
			if s.mixed+s.gone > 0 || s.seen == 0 {
				t.Errorf("mixed %d, gone %d: %s", s.mixed, s.gone, s.first)
			}
		}
	})
}

// sights is what a reader saw.
type sights struct {
	seen, mixed, gone, versions int
	first                       string
}

type reader struct {
	end  atomic.Bool
	done chan sights
}

// startReader reads a dataset over and over; each time it must be one whole version.
func startReader(dir string) *reader {
	w := &reader{done: make(chan sights)}
	go func() {
		var s sights
		last := 0
		for !w.end.Load() {
			files, err := readTree(dir)
			v := 0
			fmt.Sscanf(files["records.parquet"], "primary %d", &v)
			s.seen++
			switch {
			case errors.Is(err, fs.ErrNotExist) && !deleted(err):
				s.gone++
				s.first = err.Error()
			case err != nil || !cmp.Equal(files, tree(v)):
				s.mixed++
				s.first = fmt.Sprint(err, cmp.Diff(tree(v), files))
			case v != last:
				s.versions++
				last = v
			}
		}
		w.done <- s
	}()
	return w
}

func (w *reader) stop() sights {
	w.end.Store(true)
	return <-w.done
}
