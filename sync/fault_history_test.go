package sync_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
	"github.com/dnadesign-maintainers/usr/verify"
)

// edits are ways to change a dataset.
func edits(r *rig) map[string]func(dir string) {
	put := func(path, text string) func(string) {
		return func(dir string) { r.must(replaceFile(filepath.Join(dir, path), text)) }
	}
	return map[string]func(string){
		"nothing":  func(string) {},
		"meta":     put("meta.md", "edited\n"),
		"meta too": put("meta.md", "edited elsewhere\n"),
		"derived":  put("_derived/new/part.parquet", "new\n"),
		"deletes":  func(dir string) { r.must(os.Remove(filepath.Join(dir, "_views/view-1"))) },
		"appends":  func(dir string) { r.must(appendTo(filepath.Join(dir, ".events.log"), event(7))) },
		"appends more": func(dir string) {
			r.must(appendTo(filepath.Join(dir, ".events.log"), event(7)+event(8)))
		},
		"forks":     func(dir string) { r.must(appendTo(filepath.Join(dir, ".events.log"), event(9))) },
		"rewrites":  put(".events.log", event(5)+event(6)),
		"truncates": put(".events.log", ""),
		"drops log": func(dir string) { r.must(os.Remove(filepath.Join(dir, ".events.log"))) },
	}
}

// TestFaultRelations is the table of relations with a common base, and of what they allow.
func TestFaultRelations(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		local, remote string
		want          sync.Relation
	}{
		{"nothing", "nothing", sync.InSync},
		{"nothing", "meta", sync.LocalBehind},
		{"meta", "nothing", sync.LocalAhead},
		{"meta", "meta", sync.InSync},
		{"meta", "meta too", sync.Diverged},
		{"meta", "derived", sync.Diverged},
		{"deletes", "nothing", sync.LocalAhead},
		{"nothing", "deletes", sync.LocalBehind},
		{"deletes", "deletes", sync.InSync},
		{"deletes", "meta", sync.Diverged},
		{"appends", "nothing", sync.LocalAhead},
		{"nothing", "appends", sync.LocalBehind},
		{"appends", "appends more", sync.LocalBehind},
		{"appends more", "appends", sync.LocalAhead},
		{"appends", "forks", sync.Diverged},
		{"rewrites", "nothing", sync.Diverged},
		{"nothing", "rewrites", sync.Diverged},
		{"truncates", "nothing", sync.LocalBehind},
		{"nothing", "truncates", sync.LocalAhead},
		{"drops log", "nothing", sync.LocalBehind},
		{"nothing", "drops log", sync.LocalAhead},
		{"meta", "appends", sync.Diverged},
	} {
		t.Run(c.local+" against "+c.remote, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sync.Pull)
			edits(r)[c.local](r.dst())
			edits(r)[c.remote](r.src())
			if got := r.diff().Relation; got != c.want {
				t.Fatalf("relation %s, want %s", got, c.want)
			}
			r.allows(sync.Pull, c.want)
			r.allows(sync.Push, c.want)
		})
	}
}

// allows tries a transfer without carrying it out: it goes on, has nothing to do, or is refused, by the relation.
func (r *rig) allows(d sync.Direction, rel sync.Relation) {
	r.Helper()
	m := modes()
	m.DryRun = true
	report, err := r.run(d, m)
	var refused *sync.HistoryError
	switch theirs := map[sync.Direction]sync.Relation{sync.Pull: sync.LocalAhead, sync.Push: sync.LocalBehind}[d]; {
	case rel == sync.Diverged && !errors.As(err, &refused):
		r.Errorf("%s of %s: %v", d, rel, err)
	case rel != sync.Diverged && err != nil:
		r.Errorf("%s of %s: %v", d, rel, err)
	case rel == theirs && (report.State != sync.Skipped || len(report.Changes) > 0):
		r.Errorf("%s of %s: state %s, changes %v", d, rel, report.State, report.Changes)
	case rel != theirs && rel != sync.Diverged && report.State == sync.Skipped:
		r.Errorf("%s of %s is skipped", d, rel)
	}
}

// TestFaultFirstMeeting: without a common base the logs alone speak.
func TestFaultFirstMeeting(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		local, remote string
		want          sync.Relation
	}{
		{"nothing", "nothing", sync.InSync},
		{"meta", "meta too", sync.Unrelated},
		{"meta", "appends", sync.LocalBehind},
		{"appends", "meta", sync.LocalAhead},
		{"appends", "forks", sync.Diverged},
	} {
		t.Run(c.local+" against "+c.remote, func(t *testing.T) {
			t.Parallel()
			r := emptyRig(t, sync.Pull)
			r.write(r.src(), 1)
			r.write(r.dst(), 1)
			edits(r)[c.local](r.dst())
			edits(r)[c.remote](r.src())
			if got := r.diff().Relation; got != c.want {
				t.Fatalf("relation %s, want %s", got, c.want)
			}
			r.allows(sync.Pull, c.want)
		})
	}
}

// TestFaultForce: what a forced transfer overwrites comes back by an undo, byte for byte, and the undo itself can
// be undone; after a change it is refused.
func TestFaultForce(t *testing.T) {
	t.Parallel()
	for _, over := range []string{"local", "ssh"} {
		both(t, func(t *testing.T, d sync.Direction) {
			t.Run(over, func(t *testing.T) { force(t, d, over == "ssh", false) })
			t.Run(over+" in place", func(t *testing.T) { force(t, d, over == "ssh", true) })
		})
	}
}

func force(t *testing.T, d sync.Direction, ssh, inPlace bool) {
	r := emptyRig(t, d)
	r.options = func(o *sync.Options) { o.NoExchange = inPlace }
	if ssh {
		bin := t.TempDir()
		r.must(remotetest.HidePath(bin, "b3sum")) // the generation is kept under another hash than a local undo would choose
		r.overSSH(remotetest.Options{Env: map[string]string{"PATH": bin}})
	}
	r.write(r.src(), 1)
	r.transferred()
	r.must(replaceFile(filepath.Join(r.dst(), "meta.md"), "mine\n"))
	r.must(appendTo(filepath.Join(r.dst(), ".events.log"), event(40)))
	r.must(replaceFile(filepath.Join(r.dst(), "_derived/mine/part.parquet"), "only here\n"))
	mine := r.content(r.dst())
	r.write(r.src(), 2)
	m := modes()
	var refused *sync.HistoryError
	if _, err := r.run(d, m); !errors.As(err, &refused) || refused.Relation != sync.Diverged {
		t.Fatal(err)
	}
	m.Force = true
	rep, err := r.run(d, m)
	r.must(err)
	if rep.Generation == "" {
		t.Error("no generation is named")
	}
	r.is(r.dst(), 2)
	if !inPlace { // where the generation is a whole tree
		r.generationStandsStill(rep.Generation, mine)
	}
	r.undone(modes())
	if got := r.content(r.dst()); !equalTrees(got, mine) {
		t.Fatal("an undo did not bring it back")
	}
	r.undone(modes())
	r.is(r.dst(), 2)
	if rel := r.diff().Relation; rel != sync.InSync {
		t.Errorf("relation %s", rel)
	}
	r.must(replaceFile(filepath.Join(r.dst(), "meta.md"), "since\n"))
	var changed *sync.NothingToUndoError
	if _, err := r.undo(modes()); !errors.As(err, &changed) || !changed.Changed {
		t.Errorf("an undo over a change: %v", err)
	}
	r.undone(m)
	if got := r.content(r.dst()); !equalTrees(got, mine) {
		t.Error("a forced undo did not bring it back")
	}
	r.clean()
}

func equalTrees(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for path, text := range a {
		if other, there := b[path]; !there || other != text {
			return false
		}
	}
	return true
}

// undo works on the destination.
func (r *rig) undo(m sync.Modes) (*sync.Report, error) {
	r.Helper()
	if r.direction == sync.Push {
		p := r.open()
		defer p.Close()
		return p.Undo(r.Context(), faultID, m)
	}
	o := sync.Options{Root: r.local, KeepGenerations: 1}
	if r.options != nil {
		r.options(&o)
	}
	p, err := sync.Open(r.Context(), o, nil, sync.Reach{})
	r.must(err)
	defer p.Close()
	return p.Undo(r.Context(), faultID, m)
}

func (r *rig) undone(m sync.Modes) {
	r.Helper()
	if _, err := r.undo(m); err != nil {
		r.Fatal(err)
	}
}

// generationStandsStill changes every file of live in place, where writers do that, and holds the generation
// against what it was: it shares inodes of the other files only.
func (r *rig) generationStandsStill(run string, want map[string]string) {
	r.Helper()
	dir := r.state("generations", faultKey, run, "tree")
	if got := r.content(dir); !equalTrees(got, want) {
		r.Fatal("the generation is not what was replaced")
	}
	live := r.content(r.dst())
	for path, text := range live {
		class := faultClasses.Class(path)
		mine, err := os.Stat(filepath.Join(r.dst(), path))
		r.must(err)
		kept, err := os.Stat(filepath.Join(dir, path))
		shared := err == nil && os.SameFile(mine, kept)
		if want[path] == text && shared == class.InPlace() {
			r.Errorf("%s: an inode is shared: %v", path, shared)
		}
		if class.InPlace() {
			r.must(appendTo(filepath.Join(r.dst(), path), "appended in place\n"))
		}
	}
	if got := r.content(dir); !equalTrees(got, want) {
		r.Error("writing to live in place changed the generation")
	}
	for path, text := range live {
		if faultClasses.Class(path).InPlace() {
			r.must(os.Truncate(filepath.Join(r.dst(), path), int64(len(text))))
		}
	}
}

// TestFaultUndoDeletions: a push that deleted remote files, and a partial transfer, are undone; so is a promotion in
// which the destination had files that were never hashed.
func TestFaultUndoDeletions(t *testing.T) {
	both(t, func(t *testing.T, d sync.Direction) {
		r := newRig(t, d)
		before := r.content(r.dst())
		for path := range before {
			if path != "records.parquet" {
				r.must(os.Remove(filepath.Join(r.src(), path)))
			}
		}
		m := modes()
		m.Force = true // the log is shorter
		_, err := r.run(d, m)
		r.must(err)
		if got := r.content(r.dst()); len(got) != 1 {
			t.Fatalf("%d files", len(got))
		}
		r.undone(modes())
		if !equalTrees(r.content(r.dst()), before) {
			t.Error("the deleted files did not come back")
		}
	})
}

// TestFaultUndoPartial: a change since a partial transfer is noticed though not every file was hashed then.
func TestFaultUndoPartial(t *testing.T) {
	r := newRig(t, sync.Pull)
	r.write(r.src(), 2)
	m := modes()
	m.PrimaryOnly = true
	_, err := r.run(sync.Pull, m)
	r.must(err)
	r.must(replaceFile(filepath.Join(r.dst(), "meta.md"), "since then\n"))
	var changed *sync.NothingToUndoError
	if _, err := r.undo(modes()); !errors.As(err, &changed) {
		t.Fatalf("%v", err)
	}
}

// TestFaultOpenWriter: who has the log open goes on writing into live after a promotion that did not change it.
func TestFaultOpenWriter(t *testing.T) {
	both(t, func(t *testing.T, d sync.Direction) {
		r := newRig(t, d)
		f, err := os.OpenFile(filepath.Join(r.dst(), ".events.log"), os.O_APPEND|os.O_WRONLY, 0)
		r.must(err)
		defer f.Close()
		r.must(replaceFile(filepath.Join(r.src(), "meta.md"), "new\n"))
		rep := r.transferred()
		fmt.Fprint(f, event(2))
		if got := r.content(r.dst())[".events.log"]; got != event(1)+event(2) {
			t.Errorf("live's log: %q", got)
		}
		kept := r.content(r.state("generations", faultKey, rep.Generation, "tree"))
		if kept[".events.log"] != event(1) {
			t.Errorf("the generation's log: %q", kept[".events.log"])
		}
	})
}

// TestFaultPartialModes: what is out of scope stays as it is, and the base of it too.
func TestFaultPartialModes(t *testing.T) {
	t.Parallel()
	for name, scope := range map[string]struct {
		set func(*sync.Modes)
		in  func(verify.Class) bool
	}{
		"primary only":   {func(m *sync.Modes) { m.PrimaryOnly = true }, func(c verify.Class) bool { return c == verify.Primary }},
		"skip snapshots": {func(m *sync.Modes) { m.SkipSnapshots = true }, func(c verify.Class) bool { return c != verify.Snapshots }},
	} {
		both(t, func(t *testing.T, d sync.Direction) {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, d)
				old := r.content(r.dst())
				r.write(r.src(), 2)
				m := modes()
				scope.set(&m)
				for _, want := range []sync.State{sync.Transferred, sync.NoOp} {
					rep, err := r.run(d, m)
					r.must(err)
					if rep.State != want {
						t.Fatalf("%s, want %s", rep.State, want)
					}
				}
				got, src := r.content(r.dst()), r.content(r.src())
				for path, text := range got {
					want := old[path]
					if scope.in(faultClasses.Class(path)) {
						want = src[path]
					}
					if text != want {
						t.Errorf("%s: %.20q, want %.20q", path, text, want)
					}
				}
				r.next(2)
			})
		})
	}
}

// TestFaultGrowingLog pulls and pushes while a writer appends to the source's log under its own lock: the transfer
// succeeds, and what arrives is a prefix of whole lines.
func TestFaultGrowingLog(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d sync.Direction) {
		r := newRig(t, d)
		const script = `
import fcntl, os, sys, time
n = 0
while os.path.exists(sys.argv[2]):
    n += 1
    with open(sys.argv[1] + "/.events.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with open(sys.argv[1] + "/.events.log", "a", buffering=1) as f:
            line = '{"n": %d, "text": "%s"}' % (n, "x" * 300)
            f.write(line[:100]); f.flush()
            f.write(line[100:] + "\n")
    time.sleep(0.002)
`
		on := filepath.Join(t.TempDir(), "on")
		r.must(os.WriteFile(on, nil, 0o644))
		w := exec.Command("python3", "-c", script, r.src(), on)
		w.Stderr = os.Stderr
		r.must(w.Start())
		for v := 2; v < 2+shortOr(4, 40); v++ {
			r.must(replaceFile(filepath.Join(r.src(), "meta.md"), fmt.Sprint("meta ", v, "\n")))
			if rep := r.transferred(); rep.State != sync.Transferred {
				t.Errorf("%s", rep.State)
			}
			src, dst := r.content(r.src())[".events.log"], r.content(r.dst())[".events.log"]
			if !strings.HasPrefix(src, dst) || !strings.HasSuffix(dst, "\n") {
				t.Errorf("%d of %d bytes, ending in %q", len(dst), len(src), dst[max(0, len(dst)-20):])
			}
		}
		r.must(os.Remove(on))
		r.must(w.Wait())
		r.transferred()
		r.same()
		r.clean()
	})
}

// TestFaultBadLog: a log that gains something else than events is not promoted.
func TestFaultBadLog(t *testing.T) {
	for name, line := range map[string]string{"incomplete": `{"a": 1`, "not JSON": "hello\n", "not UTF-8": "{\"a\": \"\xff\"}\n"} {
		both(t, func(t *testing.T, d sync.Direction) {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, d)
				r.must(appendTo(filepath.Join(r.src(), ".events.log"), line))
				var bad *verify.EventError
				if _, err := r.run(d, modes()); !errors.As(err, &bad) {
					t.Fatalf("%v", err)
				}
				r.is(r.dst(), 1)
				r.clean()
			})
		})
	}
}
