package sync_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
	"github.com/dnadesign-maintainers/usr/verify"
)

// wholeSeconds is a rig whose two sides lie on a file system that stamps with whole seconds: inodes of 128 bytes have
// no room for more.
func wholeSeconds(t *testing.T, d sync.Direction, ssh bool) *rig {
	t.Helper()
	root(t)
	r := emptyRig(t, d)
	base := filepath.Dir(r.local)
	image := filepath.Join(t.TempDir(), "image")
	r.must(os.WriteFile(image, nil, 0o600))
	r.must(os.Truncate(image, 1<<30))
	for _, c := range [][]string{
		{"mkfs.ext4", "-q", "-F", "-I", "128", "-E", "lazy_itable_init=1", "-O", "^has_journal", image},
		{"mount", "-o", "loop", image, base},
	} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", c, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", base).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	for _, dir := range []string{r.local, r.remote} {
		r.must(os.MkdirAll(dir, 0o755))
	}
	if ssh {
		r.overSSH(remotetest.Options{})
	}
	return r
}

// overwrite writes a file in place and gives the second of its change time.
func (r *rig) overwrite(path, text string) int64 {
	r.Helper()
	r.must(os.MkdirAll(filepath.Dir(path), 0o755))
	r.must(os.WriteFile(path, []byte(text), 0o644))
	e, err := verify.StatEntry(path)
	r.must(err)
	return e.Ctime / 1e9
}

// again transfers over a connection that stands.
func (r *rig) again(p *sync.Pair, m sync.Modes) {
	r.Helper()
	_, err := p.Transfer(r.Context(), faultID, r.direction, m)
	r.must(err)
}

// inOneSecond repeats do until its two writes fall into one second.
func inOneSecond(t *testing.T, do func() (first, second int64)) {
	t.Helper()
	for range 60 {
		time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second + 20*time.Millisecond)))
		if first, second := do(); first == second {
			return
		}
	}
	t.Fatal("no two writes fell into one second")
}

// TestFaultSameSecond: where stamps have whole seconds a second write of the same size in the same second is seen, on
// either side, and is no damage that a transfer repairs unasked.
func TestFaultSameSecond(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
		files := []string{"meta.md", "records.parquet", "_derived/new/part-0.parquet"}
		if ssh {
			files = files[:1]
		}
		for _, file := range files {
			r := wholeSeconds(t, d, ssh)
			r.write(r.src(), 1)
			r.transferred()
			source, copied := filepath.Join(r.src(), file), filepath.Join(r.dst(), file)
			p := r.open()
			t.Cleanup(func() { p.Close() })
			inOneSecond(t, func() (first, second int64) {
				first = r.overwrite(source, "one\n")
				r.again(p, modes())
				return first, r.overwrite(source, "two\n")
			})
			if rep := r.diff(); len(rep.Changes) != 1 || rep.Changes[0].Path != file {
				t.Fatalf("%s: a second write at the source shows as %v", file, rep.Changes)
			}
			r.transferred()
			if got := r.content(r.dst())[file]; got != "two\n" {
				t.Errorf("%s: %q", file, got)
			}
			inOneSecond(t, func() (first, second int64) {
				first = r.overwrite(source, "one\n")
				m := modes()
				m.Force = true // over the try before
				r.again(p, m)
				return first, r.overwrite(copied, "two\n")
			})
			if rep := r.diff(); len(rep.Changes) != 1 || rep.Changes[0].Path != file {
				t.Fatalf("%s: a second write at the destination shows as %v", file, rep.Changes)
			}
			if rep, err := r.run(d, modes()); err != nil || rep.State != sync.Skipped {
				t.Errorf("%s: a transfer over a second write at the destination: %v", file, err)
			}
			if got := r.content(r.dst())[file]; got != "two\n" {
				t.Errorf("%s: %q", file, got)
			}
			r.clean()
		}
	})
}

// TestFaultSameSecondDuringTransfer: the same, while a transfer is under way: at the source once it was read, and at
// the destination, in a file that is kept, once that was proved.
func TestFaultSameSecondDuringTransfer(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
		r := wholeSeconds(t, d, ssh)
		r.write(r.src(), 1)
		r.transferred()
		const file, kept = "_artifacts/plot.svg", "_artifacts/constant"
		source, stays := filepath.Join(r.src(), file), filepath.Join(r.dst(), kept)
		p := r.open()
		t.Cleanup(func() { p.Close() })
		inOneSecond(t, func() (first, second int64) {
			first = r.overwrite(source, "one\n")
			r.atStep(sync.StepBegan{Step: sync.StepLock}, func() { second = r.overwrite(source, "two\n") })
			r.again(p, modes())
			if got := r.content(r.dst())[file]; got != "two\n" {
				t.Fatalf("what was written over the copy: %q", got)
			}
			return first, second
		})
		inOneSecond(t, func() (first, second int64) {
			r.overwrite(filepath.Join(r.src(), kept), "one\n")
			first = r.overwrite(stays, "one\n")
			r.overwrite(source, time.Now().String())
			r.atStep(sync.StepBegan{Step: sync.StepRestamp}, func() { second = r.overwrite(stays, "two\n") })
			r.again(p, modes())
			r.observe = nil
			if rep := r.diff(); len(rep.Changes) != 1 || rep.Changes[0].Path != kept {
				t.Fatalf("what was written to a kept file shows as %v", rep.Changes)
			}
			r.overwrite(filepath.Join(r.src(), kept), "two\n")
			return first, second
		})
	})
}

// TestFaultReplacedInSameSecond: a kept file that a writer without the lock replaces during the switch is carried into
// live although size and second are the same.
func TestFaultReplacedInSameSecond(t *testing.T) {
	both(t, func(t *testing.T, d sync.Direction) {
		r := wholeSeconds(t, d, false)
		r.write(r.src(), 1)
		r.transferred()
		const kept = "_derived/same/part-0.parquet"
		inOneSecond(t, func() (first, second int64) {
			r.overwrite(filepath.Join(r.src(), kept), "one\n")
			first = r.overwrite(filepath.Join(r.dst(), kept), "one\n")
			r.overwrite(filepath.Join(r.src(), "meta.md"), time.Now().String())
			r.atStep(sync.StepBegan{Step: sync.StepPromote}, func() {
				second = r.overwrite(filepath.Join(r.dst(), kept+".tmp"), "two\n")
				r.must(os.Rename(filepath.Join(r.dst(), kept+".tmp"), filepath.Join(r.dst(), kept)))
			})
			r.transferred()
			r.observe = nil
			if got := r.content(r.dst())[kept]; got != "two\n" {
				t.Fatalf("live has %q", got)
			}
			return first, second
		})
		if !r.warned(kept) {
			t.Errorf("nothing is said: %q", r.warnings)
		}
	})
}

// TestFaultToolsWithoutFractions: the same on a host whose tools tell whole seconds of stamps that have more.
func TestFaultToolsWithoutFractions(t *testing.T) {
	both(t, func(t *testing.T, d sync.Direction) {
		r := emptyRig(t, d)
		bin := t.TempDir()
		r.must(remotetest.HidePath(bin))
		r.must(remotetest.Shim(bin, "find", `for a do shift; set -- "$@" "$(printf %s "$a" | sed 's/%\([TC]\)@/%\1s/g')"; done
exec `+remotetest.Real("find")+` "$@"`))
		r.overSSH(remotetest.Options{Env: map[string]string{"PATH": bin}})
		r.write(r.src(), 1)
		r.transferred()
		remote := filepath.Join(r.remote, faultID, "meta.md")
		p := r.open()
		t.Cleanup(func() { p.Close() })
		inOneSecond(t, func() (first, second int64) {
			r.overwrite(filepath.Join(r.local, faultID, "meta.md"), "one\n")
			first = r.overwrite(remote, "one\n")
			_, err := p.Diff(r.Context(), faultID, modes())
			r.must(err)
			second = r.overwrite(remote, "two\n")
			if rep := r.diff(); len(rep.Changes) != 1 || !strings.HasSuffix(rep.Changes[0].Path, "meta.md") {
				t.Fatalf("a second write shows as %v", rep.Changes)
			}
			return first, second
		})
	})
}

// TestFaultStampsAge: large files that a transfer keeps are not read again by the next command, though they were
// touched in the second in which their stamps were taken.
func TestFaultStampsAge(t *testing.T) {
	both(t, func(t *testing.T, d sync.Direction) {
		r := wholeSeconds(t, d, false)
		const large = "_derived/large/part-0.parquet"
		for _, dir := range []string{r.src(), r.dst()} {
			r.write(dir, 1)
			r.overwrite(filepath.Join(dir, large), "")
			r.must(os.Truncate(filepath.Join(dir, large), 256<<20))
		}
		time.Sleep(2100 * time.Millisecond)
		r.overwrite(filepath.Join(r.src(), "meta.md"), "meta 2\n")
		m := modes()
		m.Force = true // they meet for the first time
		_, err := r.run(d, m)
		r.must(err)
		var hashed atomic.Bool
		r.observe = func(e sync.Event) {
			if p, ok := e.(sync.Progressed); ok && strings.HasPrefix(p.Phase, "hash") && p.Total >= 256<<20 {
				hashed.Store(true)
			}
		}
		r.diff()
		if hashed.Load() {
			t.Error("it was read again")
		}
	})
}

// TestFaultFlippedByteInSameSecond: a byte that changes in the stage in the second in which its file arrived does not
// get into live.
func TestFaultFlippedByteInSameSecond(t *testing.T) {
	for _, over := range []string{"local", "ssh"} {
		both(t, func(t *testing.T, d sync.Direction) {
			t.Run(over, func(t *testing.T) {
				r := wholeSeconds(t, d, over == "ssh")
				r.write(r.src(), 1)
				r.transferred()
				r.write(r.src(), 2)
				bin, base := t.TempDir(), filepath.Dir(filepath.Dir(r.dst()))
				r.must(remotetest.Shim(bin, "rsync", remotetest.FlipByte(remotetest.Real("rsync"), base, "records.parquet", true)))
				t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
				var mismatch *sync.MismatchError
				if _, err := r.run(d, modes()); !errors.As(err, &mismatch) {
					t.Errorf("%v", err)
				}
				r.is(r.dst(), 1)
			})
		})
	}
}
