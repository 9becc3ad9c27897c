package sync_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// switchSteps are what a promotion by exchange does between its journal and its end; the first two renames are those of
// an earlier version, and the state after the second is that after an exchange.
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
			return intoGenerations(r, run)
		},
	}
}

func intoGenerations(r *rig, run string) error {
	if err := os.MkdirAll(r.state("generations", faultKey), 0o700); err != nil {
		return err
	}
	return os.Rename(r.state("stage", faultKey, run), r.state("generations", faultKey, run))
}

// placeSteps are what a promotion in place does from version v-1 to v, up to its end.
func placeSteps(r *rig, run string, v int) []func() error {
	stage := r.state("stage", faultKey, run)
	staged, old := stage+"/tree", stage+"/old"
	now, before := tree(v), tree(v-1)
	in := func(path string) []func() error {
		if _, there := before[path]; !there {
			return []func() error{
				func() error { return os.Link(staged+"/"+path, r.dst()+"/"+path) },
				func() error { return os.Remove(staged + "/" + path) }}
		}
		save := func() error {
			if err := os.MkdirAll(filepath.Dir(old+"/"+path), 0o755); err != nil {
				return err
			}
			if err := os.Link(r.dst()+"/"+path, old+"/"+path); !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		}
		return []func() error{save, func() error { return os.Rename(staged+"/"+path, r.dst()+"/"+path) }}
	}
	out := func(path string) []func() error {
		return []func() error{func() error {
			if err := os.MkdirAll(filepath.Dir(old+"/"+path), 0o755); err != nil {
				return err
			}
			return os.Rename(r.dst()+"/"+path, old+"/"+path)
		}}
	}
	steps := []func() error{func() error { return writePlaceJournal(r, run, v) }}
	for _, path := range slices.Sorted(maps.Keys(now)) {
		if path != ".events.log" && path != "records.parquet" && now[path] != before[path] {
			steps = append(steps, in(path)...)
		}
	}
	steps = append(steps, in("records.parquet")...)
	steps = append(steps, func() error { return appendTo(staged+"/.events.log", "half a li") }) // another one's line, on its way
	steps = append(steps, func() error { return os.Truncate(staged+"/.events.log", int64(len(now[".events.log"]))) })
	steps = append(steps, in(".events.log")...)
	for _, path := range slices.Sorted(maps.Keys(before)) {
		if _, stays := now[path]; !stays {
			steps = append(steps, out(path)...)
		}
	}
	return append(steps,
		func() error { return os.RemoveAll(staged) },
		func() error { return os.Rename(old, staged) },
		func() error { return os.RemoveAll(stage + "/copies") },
		func() error { return intoGenerations(r, run) })
}

// writePlaceJournal is the journal of a switch in place, with what is written before it.
func writePlaceJournal(r *rig, run string, v int) error {
	stage := r.state("stage", faultKey, run)
	now, before := tree(v), tree(v-1)
	var changes strings.Builder
	for path, text := range now {
		switch old, there := before[path]; {
		case !there:
			changes.WriteString("A " + path + "\x00")
		case old != text:
			changes.WriteString("M " + path + "\x00")
		}
	}
	for path := range before {
		if _, stays := now[path]; !stays {
			changes.WriteString("D " + path + "\x00")
		}
	}
	info, err := os.Stat(stage + "/tree")
	if err != nil {
		return err
	}
	text := fmt.Sprintf("way=place\nrun=%s\nlive=%s\ntree=%d\nlisted=%d\nstaged=%d\nkeep=1\n", run, r.dst(), info.Sys().(*syscall.Stat_t).Ino,
		len(before[".events.log"]), len(now[".events.log"]))
	return errors.Join(os.Mkdir(stage+"/old", 0o755), os.WriteFile(stage+"/changes", []byte(changes.String()), 0o644),
		os.WriteFile(stage+"/dirs", nil, 0o644), os.WriteFile(stage+"/info", []byte("{}\n"), 0o644),
		os.WriteFile(r.state("journal", faultKey), []byte(text), 0o600))
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
			for _, inPlace := range []bool{false, true} {
				t.Run(fmt.Sprint(over, " in place ", inPlace), func(t *testing.T) {
					t.Parallel()
					withinTheSwitch(t, d, over == "ssh", inPlace)
				})
			}
		})
	}
}

func withinTheSwitch(t *testing.T, d sync.Direction, ssh, inPlace bool) {
	r := emptyRig(t, d)
	if ssh {
		r.overSSH(remotetest.Options{})
	}
	r.write(r.src(), 1)
	r.transferred()
	r.write(r.src(), 2)
	at := r.numberOf("began promote")
	if inPlace {
		at -= 2 // nothing is linked
	}
	v := 2
	for n := 1; ; n++ {
		v++
		cmd, out := r.child(job{DieAt: at, NoExchange: inPlace})
		if cmd.Wait() == nil {
			t.Fatal("it lived")
		}
		if !strings.HasSuffix(strings.TrimSpace(out.String()), "began promote") {
			t.Fatalf("it died elsewhere: %s", out)
		}
		runs, err := os.ReadDir(r.state("stage", faultKey))
		r.must(err)
		run := runs[len(runs)-1].Name()
		steps := switchSteps(r, run)
		if inPlace {
			steps = placeSteps(r, run, v)
		}
		if n > len(steps) {
			break
		}
		for _, step := range steps[:n] {
			r.must(step())
		}
		if n%2 == 0 {
			r.diff() // recovers as well
			if inPlace {
				r.is(r.dst(), v)
			} else {
				r.is(r.dst(), v-1, v)
			}
		}
		r.next(v)
		if !r.warned("was stopped while it switched trees") {
			t.Error("no word of the recovery")
		}
		if t.Failed() {
			t.Fatalf("after step %d", n)
		}
		if ssh && !longFaults() {
			n += 3
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
