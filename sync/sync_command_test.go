package sync_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
	"github.com/dnadesign-maintainers/usr/verify"
)

// sync runs one in a pair of its own.
func (r *rig) sync(m sync.Modes) (*sync.Report, error) {
	r.Helper()
	p := r.open()
	defer p.Close()
	return p.Sync(r.Context(), faultID, m)
}

func (r *rig) synced(m sync.Modes) *sync.Report {
	r.Helper()
	rep, err := r.sync(m)
	r.must(err)
	r.same()
	return rep
}

func (r *rig) here(path string) string  { return filepath.Join(r.local, faultID, path) }
func (r *rig) there(path string) string { return filepath.Join(r.remote, faultID, path) }

func (r *rig) replace(file, text string) {
	r.Helper()
	r.must(os.MkdirAll(filepath.Dir(file), 0o755))
	r.must(replaceFile(file, text))
}

func (r *rig) holds(path, want string) {
	r.Helper()
	for _, file := range []string{r.here(path), r.there(path)} {
		got, err := os.ReadFile(file)
		if want == "" && errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil || string(got) != want {
			r.Errorf("%s: %q %v, want %q", file, got, err, want)
		}
	}
}

// bothMoved is a rig of which both sides have moved.
func bothMoved(t *testing.T, ssh bool) *rig {
	r := emptyRig(t, sync.Pull)
	if ssh {
		r.overSSH(remotetest.Options{})
	}
	r.bothMove()
	return r
}

// bothMove is the ordinary week: a batch lands there, an overlay is attached here.
func (r *rig) bothMove() {
	r.Helper()
	r.write(r.src(), 1)
	r.replace(r.there("_derived/old/there.parquet"), "old\n")
	r.replace(r.there("_derived/old/here.parquet"), "old\n")
	r.replace(r.there("meta.md"), "name: x\n\n### Updates\n")
	r.transferred()
	r.batch(2)
	r.overlay(1)
}

// batch is what the cluster does.
func (r *rig) batch(v int) {
	r.Helper()
	r.replace(r.there("records.parquet"), fmt.Sprintf("primary %d\n", v))
	r.replace(r.there(fmt.Sprintf("_snapshots/records-20260101T%06d.parquet", v)), fmt.Sprintf("primary %d\n", v))
	r.must(appendTo(r.there(".events.log"), fmt.Sprintf("{\"batch\": %d}\n", v)))
	r.must(appendTo(r.there("meta.md"), fmt.Sprintf("- batch %d\n", v)))
	os.Remove(r.there("_derived/old/there.parquet"))
}

// overlay is what an analyst does.
func (r *rig) overlay(v int) {
	r.Helper()
	r.replace(r.here(fmt.Sprintf("_derived/mine/part-%d.parquet", v)), fmt.Sprintf("overlay %d\n", v))
	r.must(appendTo(r.here(".events.log"), fmt.Sprintf("{\"overlay\": %d}\n", v)))
	r.must(appendTo(r.here("meta.md"), fmt.Sprintf("- overlay %d\n", v)))
	os.Remove(r.here("_derived/old/here.parquet"))
}

func (r *rig) united() {
	r.Helper()
	r.holds("records.parquet", "primary 2\n")
	r.holds("_derived/mine/part-1.parquet", "overlay 1\n")
	r.holds(".events.log", event(1)+"{\"batch\": 2}\n{\"overlay\": 1}\n")
	r.holds("meta.md", "name: x\n\n### Updates\n- batch 2\n- overlay 1\n")
	r.holds("_derived/old/there.parquet", "")
	r.holds("_derived/old/here.parquet", "")
}

// TestSync: what both sides gained is on both afterwards, deletions included, and each event once.
func TestSync(t *testing.T) {
	for _, ssh := range []bool{false, true} {
		r := bothMoved(t, ssh)
		before := r.content(r.dst())
		rep := r.synced(modes())
		r.united()
		if rep.Action != "sync" || rep.State != sync.Transferred || rep.Relation != sync.Diverged || rep.Push == nil || rep.Generation == "" || rep.Push.Generation == "" {
			t.Errorf("%+v", rep)
		}
		want := sync.MergedEvents{Base: 1, RemoteTail: 1, LocalTail: 1}
		if got := rep.Merge; got.FromRemote != 5 || got.FromLocal != 4 || got.Events.Base != want.Base || got.Events.RemoteTail != 1 || got.Events.LocalTail != 1 {
			t.Errorf("%+v", got)
		}
		if rep := r.synced(modes()); rep.State != sync.NoOp || rep.Push != nil {
			t.Errorf("again: %s", rep.State)
		}
		r.undone(modes()) // the merge, and with it its base: nothing of it is taken for a deletion
		if diff := cmp.Diff(before, r.content(r.dst())); diff != "" {
			t.Error(diff)
		}
		r.synced(modes())
		r.united()
		r.clean()
	}
}

// TestSyncOneSided: where one side moved a sync is a pull or a push, and where neither did it does nothing.
func TestSyncOneSided(t *testing.T) {
	r := newRig(t, sync.Pull)
	if rep := r.synced(modes()); rep.State != sync.NoOp || rep.Push != nil {
		t.Errorf("%s", rep.State)
	}
	r.batch(2)
	if rep := r.synced(modes()); rep.State != sync.Transferred || rep.Push != nil || rep.Relation != sync.LocalBehind {
		t.Errorf("behind: %+v", rep)
	}
	r.overlay(1)
	if rep := r.synced(modes()); rep.State != sync.Transferred || rep.Push == nil || rep.Generation != "" || rep.Relation != sync.LocalAhead {
		t.Errorf("ahead: %+v", rep)
	}
	r.must(os.RemoveAll(filepath.Join(r.local, faultID)))
	if rep := r.synced(modes()); rep.Relation != sync.RemoteOnly {
		t.Errorf("%s", rep.Relation)
	}
	r.must(os.RemoveAll(filepath.Join(r.remote, faultID)))
	if rep := r.synced(modes()); rep.Relation != sync.LocalOnly || rep.Push == nil {
		t.Errorf("%s", rep.Relation)
	}
}

// TestMergeHalf: a merging pull leaves local ahead, and its undo puts the base back.
func TestMergeHalf(t *testing.T) {
	r := bothMoved(t, false)
	before, remote := r.content(r.dst()), r.content(r.src())
	merge := func() *sync.Report {
		p := r.open()
		defer p.Close()
		rep, err := p.Merge(t.Context(), faultID, modes())
		r.must(err)
		return rep
	}
	if rep := merge(); rep.Action != "pull" || rep.Push != nil || rep.Generation == "" {
		t.Errorf("%+v", rep)
	}
	if diff := cmp.Diff(remote, r.content(r.src())); diff != "" {
		t.Errorf("the remote changed: %s", diff)
	}
	if rel := r.diff().Relation; rel != sync.LocalAhead {
		t.Errorf("%s", rel)
	}
	if rep := merge(); rep.State != sync.NoOp {
		t.Errorf("again: %s", rep.State)
	}
	r.undone(modes())
	if diff := cmp.Diff(before, r.content(r.dst())); diff != "" {
		t.Error(diff)
	}
	if rel := r.diff().Relation; rel != sync.Diverged {
		t.Errorf("%s", rel)
	}
	merge()
	rep, err := r.run(sync.Push, modes())
	r.must(err)
	if rep.State != sync.Transferred {
		t.Error(rep.State)
	}
	r.same()
	r.united()
}

func take(t *testing.T, patterns ...string) *verify.Patterns {
	p, err := verify.NewPatterns(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestSyncConflict: a conflict changes nothing, is told with what each side did, and is decided by the user.
func TestSyncConflict(t *testing.T) {
	const shared = "_artifacts/plot.svg"
	for _, taken := range []string{"local", "remote"} {
		r := bothMoved(t, false)
		r.replace(r.here(shared), "mine\n")
		r.replace(r.there(shared), "theirs!\n")
		here, there := r.content(r.dst()), r.content(r.src())
		_, err := r.sync(modes())
		var conflict *sync.ConflictError
		if !errors.As(err, &conflict) || len(conflict.Conflicts) != 1 {
			t.Fatal(err)
		}
		if c := conflict.Conflicts[0]; c.Path != shared || c.Here.Deed != "modified" || c.There.Deed != "modified" || c.Here.Size != 5 || c.There.Size != 8 {
			t.Errorf("%+v", c)
		}
		if !equalTrees(r.content(r.dst()), here) || !equalTrees(r.content(r.src()), there) {
			t.Fatal("a side changed")
		}
		m := modes()
		m.Take = sync.Takes{Local: take(t, shared), Remote: take(t, "plot.*")}
		var both *sync.TakeError
		if _, err := r.sync(m); !errors.As(err, &both) {
			t.Fatal(err)
		}
		want := "mine\n"
		if m.Take.Remote = nil; taken == "remote" {
			m.Take, want = sync.Takes{Remote: take(t, "plot.*")}, "theirs!\n"
		}
		rep := r.synced(m)
		r.united()
		r.holds(shared, want)
		if rep.Merge.Resolved != 1 || rep.Merge.Paths[0].Outcome != taken {
			t.Errorf("%+v", rep.Merge)
		}
		lost, loser := rep.Generation, r.local
		if taken == "local" {
			lost, loser = rep.Push.Generation, r.remote
		}
		kept, err := os.ReadFile(filepath.Join(loser, ".usr-sync", "generations", faultKey, lost, "tree", shared))
		if err != nil || string(kept) == want {
			t.Errorf("%q %v", kept, err)
		}
	}
}

// TestSyncLogs: logs that cannot be merged are refused; an unfinished line of the remote is left for the next time.
func TestSyncLogs(t *testing.T) {
	refused := func(r *rig, want string) {
		t.Helper()
		_, err := r.sync(modes())
		var bad *sync.LogMergeError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	r := bothMoved(t, false)
	r.replace(r.here(".events.log"), "{\"other\": 1}\n")
	refused(r, "local: line 1: it does not continue")
	r = bothMoved(t, false)
	r.must(appendTo(r.here(".events.log"), "{\"half"))
	refused(r, "local: line 3: the last line is not complete")
	r.must(appendTo(r.there(".events.log"), "{\"half"))
	r.must(appendTo(r.here(".events.log"), "\": 1}\n"))
	go func() {
		time.Sleep(100 * time.Millisecond)
		appendTo(r.there(".events.log"), " there\": 2}\n")
	}()
	_, err := r.sync(modes())
	for range 3 { // whatever it saw, the next ones finish it
		if err == nil {
			break
		}
		time.Sleep(150 * time.Millisecond)
		_, err = r.sync(modes())
	}
	r.must(err)
	r.same()
	got, err := os.ReadFile(r.here(".events.log"))
	r.must(err)
	for _, line := range []string{event(1), "{\"batch\": 2}\n", "{\"half there\": 2}\n", "{\"overlay\": 1}\n", "{\"half\": 1}\n"} {
		if strings.Count(string(got), line) != 1 {
			t.Errorf("%q in %q", line, got)
		}
	}
}

// TestSyncUnfinishedLine: where only the remote moved, its whole lines are taken, and a last one that is not finished is left
// for the next time, which is no failure.
func TestSyncUnfinishedLine(t *testing.T) {
	r := bothMoved(t, false)
	r.synced(modes())
	log, err := os.ReadFile(r.there(".events.log"))
	r.must(err)
	r.must(appendTo(r.there(".events.log"), "{\"batch\": 3}\n{\"half"))
	r.replace(r.there("_views/new"), "new\n")
	for _, want := range []sync.State{sync.Transferred, sync.Skipped} { // the second time nothing but the half line is new
		var warned bool
		r.observe = func(e sync.Event) {
			w, ok := e.(sync.Warned)
			warned = warned || ok && strings.Contains(w.Text, "the last line of .events.log")
		}
		rep, err := r.sync(modes())
		r.must(err)
		if rep.State != want || rep.Push != nil || !warned {
			t.Errorf("%s, push %+v, warned %t; want %s", rep.State, rep.Push, warned, want)
		}
		r.holds("_views/new", "new\n")
		if got, err := os.ReadFile(r.here(".events.log")); string(got) != string(log)+"{\"batch\": 3}\n" {
			t.Errorf("%q %v", got, err)
		}
	}
	r.observe = nil
	r.must(appendTo(r.there(".events.log"), "\": 4}\n"))
	r.synced(modes())
	r.holds(".events.log", string(log)+"{\"batch\": 3}\n{\"half\": 4}\n")
}

// TestSyncWithoutBase: nothing is deleted unasked.
func TestSyncWithoutBase(t *testing.T) {
	r := bothMoved(t, false)
	r.must(os.RemoveAll(filepath.Join(r.local, ".usr-sync", "base")))
	m := modes()
	var conflict *sync.ConflictError
	if _, err := r.sync(m); !errors.As(err, &conflict) || len(conflict.Conflicts) != 2 {
		t.Fatal(err)
	}
	m.Take.Remote = take(t, "records.parquet", "meta.md")
	r.synced(m)
	r.holds("_derived/old/there.parquet", "old\n")
	r.holds("_derived/old/here.parquet", "old\n")
	r.holds("_derived/mine/part-1.parquet", "overlay 1\n")
	r.holds(".events.log", event(1)+"{\"batch\": 2}\n{\"overlay\": 1}\n")
}

// TestSyncDamage: bytes that changed under their time stamp are repaired from the other side, in either direction.
func TestSyncDamage(t *testing.T) {
	r := bothMoved(t, false)
	for _, file := range []string{r.here("_artifacts/constant"), r.there("_derived/same/part-0.parquet")} {
		fi, err := os.Stat(file)
		r.must(err)
		r.must(os.WriteFile(file, []byte("CONSTANT\n"), 0o644))
		r.must(os.Chtimes(file, fi.ModTime(), fi.ModTime()))
	}
	r.synced(modes())
	r.united()
	r.holds("_artifacts/constant", "constant\n")
	r.holds("_derived/same/part-0.parquet", "constant\n")
}

// TestSyncMovesMeanwhile: what lands on the remote between the two halves is merged too.
func TestSyncMovesMeanwhile(t *testing.T) {
	r := bothMoved(t, false)
	var once bool
	r.observe = func(e sync.Event) {
		if ended, ok := e.(sync.StepEnded); ok && ended.Step == sync.StepPromote && !once {
			once = true
			r.must(appendTo(r.there(".events.log"), "{\"batch\": 3}\n"))
			r.replace(r.there("_views/late"), "late\n")
		}
	}
	r.synced(modes())
	r.holds("_views/late", "late\n")
	r.holds(".events.log", event(1)+"{\"batch\": 2}\n{\"batch\": 3}\n{\"overlay\": 1}\n")
}

// TestSyncEmptied: neither half empties a class of many files unasked.
func TestSyncEmptied(t *testing.T) {
	for _, here := range []bool{true, false} {
		r := emptyRig(t, sync.Pull)
		r.write(r.src(), 1)
		for i := range 10 {
			r.replace(r.there(fmt.Sprintf("_derived/more/part-%d.parquet", i)), "more\n")
		}
		r.transferred()
		r.batch(2)
		r.must(appendTo(r.here(".events.log"), "{\"overlay\": 1}\n"))
		dir := r.there("_derived")
		if here {
			dir = r.here("_derived")
		}
		r.must(os.RemoveAll(dir))
		var refused *sync.DeletionError
		if _, err := r.sync(modes()); !errors.As(err, &refused) {
			t.Errorf("%v: %v", here, err)
		}
	}
}

// TestSyncAsks: one question for both directions; a no changes nothing.
func TestSyncAsks(t *testing.T) {
	r := bothMoved(t, false)
	here, there := r.content(r.dst()), r.content(r.src())
	asked, no := 0, errors.New("no")
	m := modes()
	m.Confirm = func(rep *sync.Report) error {
		if asked++; rep.Action != "sync" || rep.Merge == nil || rep.Push == nil || len(rep.Changes) != 5 || len(rep.Push.Changes) != 4 {
			t.Errorf("%+v", rep)
		}
		return no
	}
	if _, err := r.sync(m); !errors.Is(err, no) {
		t.Fatal(err)
	}
	if !equalTrees(r.content(r.dst()), here) || !equalTrees(r.content(r.src()), there) {
		t.Fatal("a side changed")
	}
	no = nil
	r.synced(m)
	if r.united(); asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}

// TestFaultSyncModel runs random histories of both sides through real transfers and holds what becomes of them against
// a model.
func TestFaultSyncModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(17, 5))
	for round := range shortOr(4, 100) {
		r := newRig(t, sync.Pull)
		base, want := r.content(r.src()), r.content(r.src())
		for step := range 6 {
			file := fmt.Sprintf("_derived/%c/f", 'a'+rng.IntN(8))
			mine := rng.IntN(2) == 0
			own, other := r.there(file), r.content(r.dst())[file]
			if mine {
				own, other = r.here(file), r.content(r.src())[file]
			}
			if other != base[file] {
				continue // would be a conflict
			}
			if rng.IntN(3) == 0 {
				os.Remove(own)
				delete(want, file)
			} else {
				want[file] = fmt.Sprintf("%d %d\n", round, step)
				r.replace(own, want[file])
			}
		}
		r.synced(modes())
		got := r.content(r.src())
		maps.DeleteFunc(got, func(p, _ string) bool { return !strings.HasPrefix(p, "_derived/") })
		maps.DeleteFunc(want, func(p, _ string) bool { return !strings.HasPrefix(p, "_derived/") })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("round %d: %s", round, diff)
		}
	}
}

// TestSyncLeavesRebuilt: what a program here can make again is never pushed, and never in conflict: the remote's is taken.
func TestSyncLeavesRebuilt(t *testing.T) {
	r := emptyRig(t, sync.Pull)
	r.profile.Rebuildable = []string{"_artifacts/ids.sqlite"}
	r.write(r.src(), 1)
	r.replace(r.there("_artifacts/ids.sqlite"), "one")
	r.transferred()
	r.replace(r.here("_artifacts/ids.sqlite"), "here")
	r.replace(r.here("_views/only"), "here")
	r.replace(r.there("_artifacts/ids.sqlite"), "there")
	r.replace(r.there("_views/there"), "there")
	rep := r.synced(modes())
	if rep.State != sync.Transferred {
		t.Error(rep.State)
	}
	r.holds("_artifacts/ids.sqlite", "there")
	r.must(os.Remove(r.there("_artifacts/ids.sqlite")))
	r.replace(r.here("_views/more"), "here")
	if _, err := r.sync(modes()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(r.there("_artifacts/ids.sqlite")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pushed: %v", err)
	}
	if got, _ := os.ReadFile(r.there("_views/more")); string(got) != "here" {
		t.Errorf("the rest was not pushed: %q", got)
	}
}
