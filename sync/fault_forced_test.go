package sync_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// generations are the names of the kept trees at the destination, oldest first.
func (r *rig) generations() (runs []string) {
	r.Helper()
	entries, err := os.ReadDir(r.state("generations", faultKey))
	if !os.IsNotExist(err) {
		r.must(err)
	}
	for _, e := range entries {
		runs = append(runs, e.Name())
	}
	return runs
}

// whole are those that hold all of a tree.
func (r *rig) whole() (runs []string) {
	r.Helper()
	for _, run := range r.generations() {
		if _, err := os.Stat(r.state("generations", faultKey, run, "tree")); err == nil {
			runs = append(runs, run)
		}
	}
	return runs
}

// forcedWork is what exists at the destination alone before it is forced.
var forcedWork = map[string]string{"meta.md": "mine\n", "_derived/mine/part.parquet": "only here\n", "_views/view-1": "view 1\n"}

// forced has version 2 transferred by force over work that exists at the destination alone.
func (r *rig) forced() (rep *sync.Report, mine map[string]string) {
	r.Helper()
	r.write(r.src(), 1)
	r.transferred()
	r.must(replaceFile(filepath.Join(r.dst(), "meta.md"), "mine\n"))
	r.must(replaceFile(filepath.Join(r.dst(), "_derived/mine/part.parquet"), "only here\n"))
	mine = r.content(r.dst())
	r.write(r.src(), 2)
	m := modes()
	m.Force = true
	rep, err := r.run(r.direction, m)
	r.must(err)
	return rep, mine
}

func (r *rig) keeps(run string, want map[string]string) {
	r.Helper()
	for _, dir := range []string{"tree", "only"} {
		got := r.content(r.state("generations", faultKey, run, dir))
		if got != nil && !equalTrees(got, want) || got == nil && dir == "only" {
			r.Errorf("the generation %s holds %q", run, got)
		}
		if got != nil {
			return
		}
	}
}

// TestFaultForcedWorkStays: what a forced transfer replaced, and nothing else has, is kept for 30 days beside the ordinary
// generations, and an undo takes the newest of all.
func TestFaultForcedWorkStays(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
		r := emptyRig(t, d)
		if ssh {
			r.overSSH(remotetest.Options{})
		}
		rep, mine := r.forced()
		r.keeps(rep.Generation, mine)
		info, err := os.ReadFile(r.state("generations", faultKey, rep.Generation, "info"))
		r.must(err)
		if !strings.Contains(string(info), `"forced":true`) {
			t.Errorf("info: %s", info)
		}
		for v := 3; v <= 5; v++ {
			r.write(r.src(), v)
			r.transferred()
			if v == 3 {
				r.keeps(rep.Generation, forcedWork)
			}
			if runs := r.whole(); len(runs) != 1 || r.generations()[0] != rep.Generation {
				t.Fatalf("version %d: whole are %q, forced was %s", v, runs, rep.Generation)
			}
		}
		r.keeps(rep.Generation, forcedWork)
		r.is(r.state("generations", faultKey, r.whole()[0], "tree"), 4)
		r.undone(modes())
		r.is(r.dst(), 4)
		r.keeps(rep.Generation, forcedWork)

		r.options = func(o *sync.Options) { o.Now = func() time.Time { return time.Now().Add(31 * 24 * time.Hour) } }
		r.transferred()
		if runs := r.generations(); len(runs) != 1 || runs[0] == rep.Generation || len(r.whole()) != 1 {
			t.Errorf("after 31 days the generations are %q", runs)
		}
		r.clean()
	})
}

// TestFaultForcedWorkDoneAgain: forced work that was brought back by an undo and replaced by another stays likewise.
func TestFaultForcedWorkDoneAgain(t *testing.T) {
	both(t, func(t *testing.T, d sync.Direction) {
		r := emptyRig(t, d)
		r.forced()
		r.undone(modes())
		r.undone(modes())
		r.is(r.dst(), 2)
		for v := 3; v <= 4; v++ {
			r.write(r.src(), v)
			r.transferred()
		}
		runs := r.generations()
		if len(r.whole()) != 1 {
			t.Fatalf("whole are %q", r.whole())
		}
		r.keeps(runs[0], forcedWork)
	})
}

// TestFaultForcedWorkWithoutGenerations: where no generation is to be kept one that was forced is kept, and named.
func TestFaultForcedWorkWithoutGenerations(t *testing.T) {
	both(t, func(t *testing.T, d sync.Direction) {
		r := emptyRig(t, d)
		r.profile.KeepGenerations = 0
		rep, _ := r.forced()
		if rep.Generation == "" {
			t.Fatal("no generation is named")
		}
		r.write(r.src(), 3)
		r.transferred()
		if runs := r.whole(); len(runs) != 0 {
			t.Errorf("whole are %q", runs)
		}
		r.keeps(rep.Generation, forcedWork)
	})
}
