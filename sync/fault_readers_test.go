package sync_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
	"github.com/dnadesign-maintainers/usr/verify"
)

// TestFaultLongEvent: the readers of an event log fail on a line over 1 MiB, so none is transferred unforced.
func TestFaultLongEvent(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
		r := wayRig(t, d, ssh)
		const most = 1 << 20
		long := func(n int) string { return fmt.Sprintf("{\"x\":%q}\n", strings.Repeat("x", n-9)) }
		log := filepath.Join(r.src(), ".events.log")
		r.must(appendTo(log, long(most)))
		r.transferred()
		r.must(appendTo(log, "{}\n"+long(most+1)))
		_, err := r.run(d, modes())
		var bad *verify.EventError
		if !errors.As(err, &bad) || bad.Line != 4 || !strings.Contains(bad.Why, "1 MiB") {
			t.Fatalf("%v", err)
		}
		m := modes()
		m.Force = true
		_, err = r.run(d, m)
		r.must(err)
		if !r.warned("line 4: it is longer than 1 MiB") {
			t.Errorf("warnings: %q", r.warnings)
		}
		r.same()
		r.clean()
	})
}

// wayRig has version 1 on both sides.
func wayRig(t *testing.T, d sync.Direction, ssh bool) *rig {
	t.Helper()
	r := emptyRig(t, d)
	if ssh {
		r.overSSH(remotetest.Options{})
	}
	r.write(r.src(), 1)
	r.transferred()
	return r
}

// TestFaultEarlierTransfer: an rsync of the earlier tool may outlive its session, and then holds nothing but
// .usr.transfer.lock, shared. A transfer waits for it on either side; the lock keeps its one name and its inode.
func TestFaultEarlierTransfer(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
		r := wayRig(t, d, ssh)
		r.write(r.src(), 2)
		for _, dir := range []string{r.src(), r.dst()} {
			lock := filepath.Join(dir, ".usr.transfer.lock")
			r.must(os.WriteFile(lock, nil, 0o600))
			before, err := os.Stat(lock)
			r.must(err)
			release := r.heldBy("-s", lock)
			m := modes()
			m.LockTimeout = time.Second
			_, err = r.run(d, m)
			var busy *remote.LockError
			if !errors.As(err, &busy) || filepath.Base(busy.Path) != ".usr.transfer.lock" {
				t.Fatalf("%s: %v", dir, err)
			}
			r.is(r.dst(), 1)
			release()
			if dir == r.src() {
				continue
			}
			r.observe = func(e sync.Event) {
				if e == (sync.StepBegan{Step: sync.StepPromote}) && exec.Command("flock", "-n", "-s", lock, "true").Run() == nil {
					t.Error("the earlier tool's transfer could begin beside ours")
				}
			}
			r.transferred()
			after, err := os.Stat(lock)
			r.must(err)
			if !os.SameFile(before, after) || after.Sys().(*syscall.Stat_t).Nlink != 1 {
				t.Errorf("%s: another inode or a second name", lock)
			}
			r.free(lock)
		}
		r.same()
		r.clean()
	})
}

// heldBy has another program hold a lock until it is released.
func (r *rig) heldBy(how, lock string) (release func()) {
	r.Helper()
	cmd := exec.Command("flock", how, lock, "sh", "-c", "echo held; read x")
	in, err := cmd.StdinPipe()
	r.must(err)
	out, err := cmd.StdoutPipe()
	r.must(err)
	r.must(cmd.Start())
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		r.Fatal(err)
	}
	return func() { in.Close(); cmd.Wait() }
}

// TestFaultTimeOfMeta: meta.md has the same time on both sides after a transfer, also where nothing else differs. A time
// is no change.
func TestFaultTimeOfMeta(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
		r := wayRig(t, d, ssh)
		touch := func(year int) {
			at := time.Date(year, 2, 3, 4, 5, 6, 789_000_000, time.UTC)
			r.must(os.Chtimes(filepath.Join(r.src(), "meta.md"), at, at))
			rep := r.diff()
			if year == 2001 && (rep.Relation != sync.InSync || len(rep.Changes) > 0) {
				t.Errorf("relation %s, changes %v", rep.Relation, rep.Changes)
			}
		}
		equal := func(rep *sync.Report, want sync.State) {
			t.Helper()
			src, err := os.Stat(filepath.Join(r.src(), "meta.md"))
			r.must(err)
			dst, err := os.Stat(filepath.Join(r.dst(), "meta.md"))
			r.must(err)
			if !src.ModTime().Equal(dst.ModTime()) || rep.State != want {
				t.Errorf("%s: %v at the source, %v at the destination", rep.State, src.ModTime(), dst.ModTime())
			}
		}
		touch(2001)
		dry := modes()
		dry.DryRun = true
		_, err := r.run(d, dry)
		r.must(err)
		if fi, err := os.Stat(filepath.Join(r.dst(), "meta.md")); err != nil || fi.ModTime().Year() == 2001 {
			t.Errorf("a dry run set the time: %v", err)
		}
		equal(r.transferred(), sync.NoOp)
		touch(2002)
		r.must(replaceFile(filepath.Join(r.src(), "records.parquet"), "primary 2\n"))
		rep := r.transferred()
		equal(rep, sync.Transferred)
		if len(rep.Changes) != 1 {
			t.Errorf("changes: %v", rep.Changes)
		}
		if rep := r.diff(); rep.Relation != sync.InSync {
			t.Errorf("relation %s", rep.Relation)
		}
		r.same()
		r.clean()
	})
}

// TestFaultRegistries: that registry.yaml differs between the roots is said once, and again when either changes; no
// transfer writes one.
func TestFaultRegistries(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
		r := wayRig(t, d, ssh)
		here, there := filepath.Join(r.local, "registry.yaml"), filepath.Join(r.remote, "registry.yaml")
		said := func(text string, look func()) {
			t.Helper()
			for _, want := range []string{text, ""} { // the second time nothing
				r.warnings = nil
				look()
				r.warnings = slices.DeleteFunc(r.warnings, func(w string) bool { return !strings.Contains(w, "registry.yaml") })
				if len(r.warnings) > 1 || (want != "") != (len(r.warnings) == 1) || !r.warned(want) && want != "" {
					t.Errorf("%q, want %q", r.warnings, want)
				}
			}
		}
		look, transfer := func() { r.diff() }, func() { r.transferred() }
		said("", look)
		r.must(os.WriteFile(here, []byte("a: 1\n"), 0o644))
		said("copy it with `rsync -t ", look)
		r.must(os.WriteFile(there, []byte("a: 2\n"), 0o644))
		said("diverge by themselves", transfer)
		r.must(os.WriteFile(here, []byte("a: 3\n"), 0o644))
		said("diverge by themselves", look)
		r.must(os.WriteFile(there, []byte("a: 3\n"), 0o644))
		said("", transfer)
		r.must(os.WriteFile(there, []byte("a: 2\n"), 0o644))
		said("diverge by themselves", transfer)
		r.must(os.Remove(here))
		said("cannot write overlays here", look)
		if _, err := os.Stat(here); err == nil {
			t.Error("a transfer wrote a registry")
		}
	})
}
