package sync_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// switchSteps are what a promotion does between its journal and its end, on a file system without exchange. The
// state after the third is that after an exchange as well.
func switchSteps(r *rig, run string) []func() error {
	stage := r.state("stage", faultKey, run)
	tree, old := stage+"/tree", stage+"/old"
	return []func() error{
		func() error { return writeJournal(r, run) },
		func() error { return os.Rename(r.dst(), old) },
		func() error { return os.Rename(tree, r.dst()) },
		func() error { return os.Rename(old, tree) },
		func() error { return os.Rename(stage+"/copies/_artifacts/constant", tree+"/_artifacts/constant") },
		func() error {
			if err := os.RemoveAll(stage + "/copies"); err != nil {
				return err
			}
			if err := os.MkdirAll(r.state("generations", faultKey), 0o700); err != nil {
				return err
			}
			return os.Rename(stage, r.state("generations", faultKey, run))
		},
	}
}

func writeJournal(r *rig, run string) error {
	tree := r.state("stage", faultKey, run, "tree")
	if err := os.Link(filepath.Join(r.dst(), ".usr.lock"), tree+"/.usr.lock"); err != nil {
		return err
	}
	info, err := os.Stat(tree)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("run=%s\nlive=%s\ninode=%d\nreplaces=1\nkeep=1\n", run, r.dst(), info.Sys().(*syscall.Stat_t).Ino)
	return os.WriteFile(r.state("journal", faultKey), []byte(text), 0o600)
}

// TestFaultWithinTheSwitch stops a promotion between any two of its steps: a transfer that was killed right before it
// is taken that far by hand. The next command, whichever it is, makes the tree whole.
func TestFaultWithinTheSwitch(t *testing.T) {
	t.Parallel()
	for _, over := range []string{"local", "ssh"} {
		both(t, func(t *testing.T, d sync.Direction) {
			if over == "ssh" && d == sync.Pull {
				return // the switch is local
			}
			t.Run(over, func(t *testing.T) {
				t.Parallel()
				withinTheSwitch(t, d, over == "ssh")
			})
		})
	}
}

func withinTheSwitch(t *testing.T, d sync.Direction, ssh bool) {
	r := emptyRig(t, d)
	if ssh {
		r.overSSH(remotetest.Options{})
	}
	r.write(r.src(), 1)
	r.transferred()
	r.write(r.src(), 2)
	at := r.numberOf("began promote")
	v := 2
	for n := 1; n <= 6; n++ {
		if ssh && n != 2 && !longFaults() {
			continue
		}
		v++
		cmd, _ := r.child(job{DieAt: at})
		if cmd.Wait() == nil {
			t.Fatal("it lived")
		}
		runs, err := os.ReadDir(r.state("stage", faultKey))
		r.must(err)
		for _, step := range switchSteps(r, runs[len(runs)-1].Name())[:n] {
			r.must(step())
		}
		if n%2 == 0 {
			r.diff() // recovers as well
			r.is(r.dst(), v-1, v)
		}
		r.next(v)
		if !r.warned("was stopped while it switched trees") {
			t.Error("no word of the recovery")
		}
		if t.Failed() {
			t.Fatalf("after step %d", n)
		}
	}
}

// numberOf runs a transfer to its end and counts up to an event.
func (r *rig) numberOf(event string) int {
	r.Helper()
	cmd, out := r.child(job{})
	if err := cmd.Wait(); err != nil {
		r.Fatalf("%v: %s", err, out)
	}
	r.next(2)
	i := slices.Index(strings.Split(out.String(), "\n"), event)
	if i < 0 {
		r.Fatalf("%q is not among %s", event, out)
	}
	return i + 1
}

// TestFaultRecoveryIsOfItsRun: the pending base of a run that died before it promoted anything is not taken for
// that of another client's run, which died in its promotion on the same remote.
func TestFaultRecoveryIsOfItsRun(t *testing.T) {
	t.Parallel()
	r := newRig(t, sync.Push)
	r.write(r.src(), 2)
	at := r.numberOf("began promote")
	cmd, _ := r.child(job{DieAt: at})
	if cmd.Wait() == nil {
		t.Fatal("it lived")
	}
	mine := r.local
	r.local = filepath.Join(t.TempDir(), "other")
	r.must(os.MkdirAll(r.local, 0o755))
	_, err := r.run(sync.Pull, modes())
	r.must(err)
	r.write(r.src(), 9)
	cmd, _ = r.child(job{DieAt: at + 1})
	if cmd.Wait() == nil {
		t.Fatal("it lived")
	}
	r.local = mine
	if rel := r.diff().Relation; rel != sync.Diverged {
		t.Errorf("relation %s: this side's version 3 and the remote's version 9 both moved on from 2", rel)
	}
	r.is(r.dst(), 9)
	r.is(r.src(), 3)
}
