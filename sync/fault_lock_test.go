package sync_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/profiles"
	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// flockWriter adds lines to a file of the dataset under flock(1), pythonWriter under fcntl.flock. Either opens the
// lock file anew each time, as the writers do, and makes sure that it is alone.
const flockWriter = `cd "$1"; n=0
while [ -e "$2/go" ]; do
  n=$((n + 1))
  flock .usr.lock sh -c 'cd "$1" && { mkdir "$2/alone" || echo violated >>"$2/violations"; } && echo "flock $3" >>_artifacts/written && rmdir "$2/alone"' sh "$1" "$2" $n && echo "flock $n" >>"$2/said"
  cd "$1"
  sleep 0.002
done`

const pythonWriter = `
import fcntl, os, sys, time
live, out = sys.argv[1:3]
n = 0
while os.path.exists(out + "/go"):
    n += 1
    with open(live + "/.usr.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            os.mkdir(out + "/alone")
        except FileExistsError:
            open(out + "/violations", "a").write("violated\n")
        with open(live + "/_artifacts/written", "a") as f:
            f.write("python %d\n" % n)
        os.rmdir(out + "/alone")
    with open(out + "/said", "a") as f:
        f.write("python %d\n" % n)
    time.sleep(0.002)
`

// TestFaultLockedWriters: writers that take the lock work on the destination while it is promoted over and over, by
// force, since they make it diverge. They exclude each other across all promotions, and every line that one of
// them wrote is in live or in a generation.
func TestFaultLockedWriters(t *testing.T) {
	both(t, func(t *testing.T, d sync.Direction) {
		r := newRig(t, d)
		r.profile.KeepGenerations = 10_000
		out := t.TempDir()
		r.must(os.WriteFile(out+"/go", nil, 0o644))
		writers := []*exec.Cmd{
			exec.Command("sh", "-c", flockWriter, "sh", r.dst(), out),
			exec.Command("python3", "-c", pythonWriter, r.dst(), out),
			exec.Command("python3", "-c", pythonWriter, r.dst(), out),
		}
		for _, w := range writers {
			w.Stderr = os.Stderr
			r.must(w.Start())
		}
		m := modes()
		m.Force, m.LockTimeout = true, 20*time.Second
		promotions := 0
		for v := 2; v < 2+shortOr(8, 200); v++ {
			r.write(r.src(), v)
			rep, err := r.run(d, m)
			if err != nil {
				t.Error(err)
				break
			}
			if rep.State == sync.Transferred {
				promotions++
			}
		}
		r.must(os.Remove(out + "/go"))
		for _, w := range writers {
			if err := w.Wait(); err != nil {
				t.Error(err)
			}
		}
		violations, _ := os.ReadFile(out + "/violations")
		lost, lines := lostLines(r, out+"/said")
		t.Logf("%d promotions, %d writes under the lock, %d violations, %d lost", promotions, lines, strings.Count(string(violations), "\n"), lost)
		if len(violations) > 0 || lost > 0 || lines == 0 {
			t.Errorf("%d violations, %d of %d lines lost", strings.Count(string(violations), "\n"), lost, lines)
		}
	})
}

// lostLines counts the lines that are neither in live nor in a generation.
func lostLines(r *rig, said string) (lost, lines int) {
	r.Helper()
	found := map[string]bool{}
	collect := func(path string) {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		r.must(err)
		for line := range strings.Lines(string(text)) {
			found[line] = true
		}
	}
	collect(filepath.Join(r.dst(), "_artifacts/written"))
	kept, err := filepath.Glob(strings.ReplaceAll(r.state("generations", faultKey), "%", "%") + "/*/tree/_artifacts/written")
	r.must(err)
	for _, path := range kept {
		collect(path)
	}
	text, err := os.ReadFile(said)
	r.must(err)
	for line := range strings.Lines(string(text)) {
		lines++
		if !found[line] {
			lost++
		}
	}
	return lost, lines
}

// TestFaultLockHeld: a lock that another program holds is waited for, and then is exit 4 with the pre-copy kept.
func TestFaultLockHeld(t *testing.T) {
	both(t, func(t *testing.T, d sync.Direction) {
		r := newRig(t, d)
		r.write(r.src(), 2)
		lock := exec.Command("flock", filepath.Join(r.dst(), ".usr.lock"), "sh", "-c", "echo held; read x")
		in, _ := lock.StdinPipe()
		out, _ := lock.StdoutPipe()
		r.must(lock.Start())
		fmt.Fscanln(out, new(string))
		m := modes()
		m.LockTimeout = 300 * time.Millisecond
		var busy *remote.LockError
		if _, err := r.run(d, m); !errors.As(err, &busy) || busy.Holder == "" {
			t.Errorf("%v", err)
		}
		r.is(r.dst(), 1)
		stages, _ := os.ReadDir(r.state("stage", faultKey))
		if len(stages) == 0 {
			t.Error("what was copied before the lock is gone")
		}
		in.Close()
		lock.Wait()
		r.next(2)
	})
}

// TestFaultTwoRuns: of two runs on one dataset the second waits for the first, or gives up when its time is over.
func TestFaultTwoRuns(t *testing.T) {
	for _, wait := range []time.Duration{0, 20 * time.Second} {
		r := newRig(t, sync.Pull)
		r.write(r.src(), 2)
		reached, goOn := make(chan bool), make(chan bool)
		r.observe = func(e sync.Event) {
			if began, ok := e.(sync.StepBegan); ok && began.Step == sync.StepLink {
				close(reached)
				<-goOn
			}
		}
		first := make(chan error)
		go func() {
			_, err := r.run(sync.Pull, modes())
			first <- err
		}()
		<-reached
		cmd, out := r.child(job{Timeout: max(wait, time.Millisecond)})
		time.AfterFunc(300*time.Millisecond, func() { close(goOn) })
		if wait == 0 {
			if cmd.Wait() == nil || !strings.Contains(out.String(), "*remote.LockError") {
				t.Errorf("the second run: %s", out)
			}
			r.must(<-first)
		} else {
			r.must(<-first)
			if err := cmd.Wait(); err != nil || !strings.HasSuffix(out.String(), "NO-OP\n") {
				t.Errorf("the second run: %v %s", err, out)
			}
		}
		r.observe = nil
		r.next(2)
	}
}

// TestFaultWaitingTime is the figure of how long a writer on the remote waits while a bulk pull runs.
func TestFaultWaitingTime(t *testing.T) {
	r := emptyRig(t, sync.Pull)
	r.overSSH(remotetest.Options{})
	r.profile.LockTimeout = profiles.Default("").LockTimeout
	r.write(r.src(), 1)
	files, each := shortOr(200, 2000), int64(shortOr(100_000, 500_000))
	for i := range files {
		r.noise(fmt.Sprintf("_derived/ns%d/part-%d.parquet", i%8, i), each)
	}
	stop, waited := make(chan bool), make(chan time.Duration)
	r.must(exec.Command("flock", filepath.Join(r.src(), ".usr.lock"), "true").Run())
	go func() {
		var longest time.Duration
		for {
			select {
			case <-stop:
				waited <- longest
				return
			default:
			}
			begin := time.Now()
			exec.Command("flock", filepath.Join(r.src(), ".usr.lock"), "true").Run()
			longest = max(longest, time.Since(begin))
			time.Sleep(5 * time.Millisecond)
		}
	}()
	begin := time.Now()
	rep := r.transferred()
	took := time.Since(begin)
	close(stop)
	longest := <-waited
	t.Logf("%d MB in %d files: pull %v, lock held %v, a writer waited at most %v", int64(files)*each>>20, files, took.Round(time.Millisecond), rep.LockHeld.Round(time.Millisecond), longest.Round(time.Millisecond))
	if longest > took*3/4 {
		t.Errorf("a writer waited %v of %v", longest, took)
	}
	r.same()
}
