package sync_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// TestFaultTouchedHere: a file whose time alone moved here is not a change of this side, even where the other side has
// changed it since.
func TestFaultTouchedHere(t *testing.T) {
	for _, rehash := range []bool{false, true} {
		r := newRig(t, sync.Pull)
		path := "_derived/changing/part-0.parquet"
		r.must(replaceFile(filepath.Join(r.src(), path), "one more row, and so longer than before\n"))
		later := time.Now().Add(-time.Hour)
		r.must(os.Chtimes(filepath.Join(r.dst(), path), later, later))
		p := r.open()
		m := modes()
		m.Rehash = rehash
		rep, err := p.Diff(context.Background(), faultID, m)
		p.Close()
		r.must(err)
		if rep.Relation != sync.LocalBehind {
			t.Errorf("rehash %v: %s", rehash, rep.Relation)
		}
	}
}

// TestFaultSourceReadOnly: a source that cannot be locked is only read from, and that is enough.
func TestFaultSourceReadOnly(t *testing.T) {
	r := emptyRig(t, sync.Pull)
	mount(t, r.remote, "size=8m")
	r.write(r.src(), 1)
	if out, err := exec.Command("mount", "-o", "remount,ro", r.remote).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r.transferred()
	r.is(r.dst(), 1)
	if !r.warned("cannot be locked") {
		t.Errorf("%q", r.warnings)
	}
}

// TestFaultWiderThanAgreed: an answer is for what was shown. A plan that was made anew under the locks and overwrites
// more is shown and asked about again; a standing yes covers it.
func TestFaultWiderThanAgreed(t *testing.T) {
	both(t, func(t *testing.T, d sync.Direction) {
		r := newRig(t, d)
		r.write(r.src(), 2)
		extra := "_derived/changing/part-0.parquet"
		r.must(os.WriteFile(filepath.Join(r.dst(), "late.txt"), []byte("of the destination"), 0o644))
		m := modes()
		m.Force = true
		asked := 0
		m.Confirm = func(rep *sync.Report) error {
			asked++
			if asked == 1 { // while the user thinks about it
				return replaceFile(filepath.Join(r.dst(), "later.txt"), "not shown")
			}
			for _, ch := range rep.Changes {
				if ch.Path == "later.txt" && ch.Kind == sync.Deleted {
					return nil
				}
			}
			t.Errorf("asked again without the new deletion")
			return nil
		}
		rep, err := r.run(d, m)
		r.must(err)
		if asked != 2 || rep.State != sync.Transferred {
			t.Errorf("asked %d times, %s", asked, rep.State)
		}
		asked = 0
		m.Confirm = func(*sync.Report) error {
			asked++
			return replaceFile(filepath.Join(r.src(), "new.txt"), "added meanwhile")
		}
		r.must(replaceFile(filepath.Join(r.src(), extra), "changed again"))
		rep, err = r.run(d, m)
		r.must(err)
		if asked != 1 || rep.State != sync.Transferred {
			t.Errorf("an addition: asked %d times, %s", asked, rep.State)
		}
	})
}

// TestFaultPromotedIsTransferred: a run that has promoted and cannot tidy up has transferred, and reports that with a
// warning.
func TestFaultPromotedIsTransferred(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
		r := emptyRig(t, d)
		if ssh {
			r.overSSH(remotetest.Options{})
		}
		for v := 1; v <= 2; v++ {
			r.write(r.src(), v)
			r.transferred()
		}
		kept, err := filepath.Glob(r.state("generations", faultKey, "*"))
		r.must(err)
		if len(kept) != 1 {
			t.Fatalf("%d generations", len(kept))
		}
		// A mount point cannot be removed, but it moves with its parent.
		busy := filepath.Join(kept[0], "tree", "_derived")
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", busy).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Cleanup(func() {
			left, _ := filepath.Glob(filepath.Join(kept[0], "*", "_derived"))
			for _, dir := range left {
				exec.Command("umount", "-l", dir).Run()
			}
		})
		r.write(r.src(), 3)
		rep, err := r.run(d, modes())
		if err != nil {
			t.Fatal(err)
		}
		if rep.State != sync.Transferred || rep.Generation == "" || !r.warned("tidied up") {
			t.Errorf("%s %q %q", rep.State, rep.Generation, r.warnings)
		}
		r.is(r.dst(), 3)
		log, err := sync.Log(r.local, faultID)
		r.must(err)
		if len(log) == 0 || log[0].State != sync.Transferred || log[0].Generation != rep.Generation {
			t.Errorf("the log: %+v", log[:min(1, len(log))])
		}
	})
}

// TestFaultRetryCounts: what the attempt before a lost line has cost is part of what the command cost, and a promotion
// whose answer was lost is reported as what it was.
func TestFaultRetryCounts(t *testing.T) {
	both(t, func(t *testing.T, d sync.Direction) {
		r := emptyRig(t, d)
		relay := r.overRelay(0)
		r.write(r.src(), 1)
		r.transferred()
		for _, step := range []sync.Step{sync.StepVerify, sync.StepPromote} {
			v := map[sync.Step]int{sync.StepVerify: 2, sync.StepPromote: 3}[step]
			r.write(r.src(), v)
			cut := false
			r.observe = func(e sync.Event) {
				if began, ok := e.(sync.StepEnded); ok && began.Step == step && !cut {
					cut = true
					time.Sleep(300 * time.Millisecond)
					relay.Cut()
				}
			}
			began := time.Now()
			rep, err := r.run(d, modes())
			took := time.Since(began)
			r.observe = nil
			r.must(err)
			if rep.State != sync.Transferred || rep.Generation == "" {
				t.Errorf("cut after %s: %s %q", step, rep.State, rep.Generation)
			}
			if rep.Took < 300*time.Millisecond || rep.Took > took {
				t.Errorf("cut after %s: took %v of %v", step, rep.Took, took)
			}
			if step == sync.StepVerify && (rep.Executions < 4 || rep.LockHeld < 300*time.Millisecond) {
				t.Errorf("cut after %s: %d ssh processes, locks held %v", step, rep.Executions, rep.LockHeld)
			}
			r.is(r.dst(), v)
		}
	})
}

// TestFaultLocalErrorKeepsTheLine: what goes wrong here with one dataset ends neither the request that is under way on
// the shared connection nor the connection, so that the next dataset has it.
func TestFaultLocalErrorKeepsTheLine(t *testing.T) {
	r := emptyRig(t, sync.Pull)
	r.write(r.src(), 1)
	bin := r.TempDir() // a listing that is under way when this side fails
	r.must(remotetest.Shim(bin, "find", "sleep 1\nexec "+remotetest.Real("find")+" \"$@\""))
	r.overSSH(remotetest.Options{Env: map[string]string{"PATH": bin + ":" + os.Getenv("PATH")}})
	p := r.open()
	defer p.Close()
	// A directory in which no file can be listed: a link that leads to itself.
	r.must(os.Symlink("loop", filepath.Join(r.local, "loop")))
	r.must(os.MkdirAll(filepath.Join(r.remote, "loop"), 0o755))
	r.must(os.WriteFile(filepath.Join(r.remote, "loop", "records.parquet"), []byte("x"), 0o644))
	if _, err := p.Diff(context.Background(), "loop", modes()); err == nil {
		t.Fatal("a link that leads to itself was listed")
	}
	if _, err := p.Diff(context.Background(), faultID, modes()); err != nil {
		t.Errorf("the next dataset: %v", err)
	}
}

// TestFileLeavesNoState: a single file outside of any root is replaced without a state directory beside it.
func TestFileLeavesNoState(t *testing.T) {
	r := emptyRig(t, sync.Pull)
	here, there := filepath.Join(r.local, "a.parquet"), filepath.Join(r.remote, "a.parquet")
	r.must(os.WriteFile(there, []byte("new"), 0o644))
	for _, d := range []sync.Direction{sync.Pull, sync.Push} {
		p := r.open()
		m := modes()
		_, err := p.File(context.Background(), sync.FileSpec{Local: here, Remote: there}, d, m)
		p.Close()
		r.must(err)
		r.must(os.WriteFile(here, []byte("newer"), 0o644))
	}
	for _, root := range []string{r.local, r.remote} {
		entries, err := os.ReadDir(root)
		r.must(err)
		if len(entries) != 1 {
			t.Errorf("left in %s: %v", root, entries)
		}
	}
	var missing *sync.MissingError
	p := r.open()
	defer p.Close()
	if _, err := p.File(context.Background(), sync.FileSpec{Local: here + "x", Remote: there + "x"}, sync.Pull, modes()); !errors.As(err, &missing) {
		t.Errorf("%v", err)
	}
}
