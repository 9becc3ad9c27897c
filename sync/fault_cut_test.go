package sync_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	stdsync "sync"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// TestFaultCutAtEveryStep cuts the connection before and after each step. The run dials again and gets to its end.
func TestFaultCutAtEveryStep(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d sync.Direction) {
		t.Parallel()
		r := emptyRig(t, d)
		s := r.overSSH(remotetest.Options{})
		r.write(r.src(), 1)
		r.transferred()
		r.write(r.src(), 2)
		v, every := 2, shortOr(11, 1)
		for at := 1; ; at += every {
			events, cut := 0, ""
			r.observe = func(e sync.Event) {
				switch e.(type) {
				case sync.StepBegan, sync.StepEnded:
					if events++; events == at {
						cut = fmt.Sprintf("%d %T %v", at, e, e)
						s.Cut()
					}
				}
			}
			rep, err := r.run(d, modes())
			r.observe = nil
			if cut == "" {
				break
			}
			if err != nil {
				t.Fatalf("cut at %s: %v", cut, err)
			}
			if rep.State != sync.Transferred {
				t.Errorf("cut at %s: %s", cut, rep.State)
			}
			r.next(v)
			v++
		}
		if !r.warned("trying again in") {
			t.Errorf("no word of it: %q", r.warnings)
		}
	})
}

// TestFaultHostGone: while the host cannot be reached the pauses go by; then the run ends as interrupted, and the
// next one, with the host back, goes on.
func TestFaultHostGone(t *testing.T) {
	t.Parallel()
	r := emptyRig(t, sync.Pull)
	relay := r.overRelay(0)
	r.write(r.src(), 1)
	r.observe = func(e sync.Event) {
		if began, ok := e.(sync.StepEnded); ok && began.Step == sync.StepCopy {
			relay.Refuse(true)
			relay.Cut()
		}
	}
	var interrupted *sync.InterruptedError
	if _, err := r.run(sync.Pull, modes()); !errors.As(err, &interrupted) {
		t.Fatalf("%v", err)
	}
	if len(r.warnings) < 3 {
		t.Errorf("%d pauses were said: %q", len(r.warnings), r.warnings)
	}
	r.is(r.dst(), 0)
	r.observe = nil
	relay.Refuse(false)
	r.next(1)
}

// overRelay is overSSH through a relay.
func (r *rig) overRelay(bytesPerSecond int64) *remotetest.RelayServer {
	r.Helper()
	return r.relayed(r.overSSH(remotetest.Options{}), bytesPerSecond)
}

// relayed reaches a server through a relay from now on.
func (r *rig) relayed(s *remotetest.Server, bytesPerSecond int64) *remotetest.RelayServer {
	r.Helper()
	relay, err := remotetest.Relay(net.JoinHostPort("127.0.0.1", fmt.Sprint(s.Port())), 0, bytesPerSecond)
	r.must(err)
	r.Cleanup(relay.Close)
	r.profile.SSHConfig, err = s.WriteConfig("relayed", relay.Port())
	r.must(err)
	return relay
}

// TestFaultResume cuts a transfer at half of its bytes, for one big file and for many, by a dropped line within a
// run, and by killing everything. The bytes on the wire are the relay's own count.
func TestFaultResume(t *testing.T) {
	for i, what := range []string{"one file", "many files"} {
		for j, how := range []string{"cut", "kill"} {
			both(t, func(t *testing.T, d sync.Direction) {
				if !longFaults() && (i == j) != (d == sync.Pull) {
					return
				}
				t.Run(what+" "+how, func(t *testing.T) { resume(t, d, what == "one file", how == "kill") })
			})
		}
	}
}

func resume(t *testing.T, d sync.Direction, big, kill bool) {
	r := emptyRig(t, d)
	relay := r.overRelay(0)
	r.write(r.src(), 1)
	size := int64(shortOr(40, 500)) << 20 // enough to be flushed before the locks
	if big {
		r.noise("_derived/big.parquet", size)
	} else {
		files := shortOr(300, 5000)
		size = int64(files) * 20_000
		for i := range files {
			r.noise(fmt.Sprintf("_derived/ns%d/part-%d.parquet", i%8, i), 20_000)
		}
	}
	up, down := relay.Bytes()
	before := up + down
	first := int64(0)
	if kill {
		cmd, _ := r.child(job{})
		for up, down := relay.Bytes(); up+down-before < size/2; up, down = relay.Bytes() {
			time.Sleep(time.Millisecond)
		}
		killTree(cmd.Process.Pid)
		if cmd.Wait() == nil {
			t.Fatal("it lived")
		}
		up, down = relay.Bytes()
		first = up + down - before
	} else {
		relay.CutAfter(size / 2)
		first = size / 2
	}
	rep := r.transferred()
	up, down = relay.Bytes()
	second := up + down - before - first
	t.Logf("%d MB of files: %.1f MB on the wire until then, %.1f MB after (%s)", size>>20, float64(first)/1e6, float64(second)/1e6, rep.State)
	const window = 3 << 20 // what ssh had under way may be lost with the line
	if second > size*5/8+window {
		t.Errorf("%d bytes after the cut at half of %d", second, size)
	}
	if !kill && !r.warned("trying again") {
		t.Error("the line was not cut")
	}
	r.same()
	r.clean()
}

// noise writes a file of the source that nothing can shrink.
func (r *rig) noise(path string, size int64) {
	r.Helper()
	path = filepath.Join(r.src(), path)
	r.must(os.MkdirAll(filepath.Dir(path), 0o755))
	b := make([]byte, size)
	randomly.Lock()
	random.Read(b)
	randomly.Unlock()
	r.must(os.WriteFile(path, b, 0o644))
}

var (
	randomly stdsync.Mutex
	random   = rand.NewChaCha8([32]byte{1})
)

// same: both sides hold the same bytes.
func (r *rig) same() {
	r.Helper()
	a, b := r.content(r.src()), r.content(r.dst())
	for path, text := range a {
		if b[path] != text {
			r.Errorf("%s differs", path)
		}
	}
	if len(a) != len(b) {
		r.Errorf("%d and %d files", len(a), len(b))
	}
}

// TestFaultFrozenLine: a line that is open and carries nothing. If it thaws soon, nothing happens. After a minute (the
// long form) the remote has freed its lock by itself, another writer has had it, and the client, when it is back,
// promotes nothing of what it had prepared, but looks again.
func TestFaultFrozenLine(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d sync.Direction) {
		t.Parallel()
		r := emptyRig(t, d)
		relay := r.overRelay(0)
		r.write(r.src(), 1)
		r.transferred()
		r.write(r.src(), 2)
		far := filepath.Join(r.remote, faultID)
		want, thawed := 2, make(chan bool)
		r.atStep(sync.StepBegan{Step: sync.StepVerify}, func() {
			relay.Stall()
			go func() {
				defer close(thawed)
				defer relay.Resume()
				time.Sleep(500 * time.Millisecond)
				if !longFaults() {
					return
				}
				begin := time.Now()
				out, err := exec.Command("flock", "-w", "60", filepath.Join(far, ".usr.lock"), "echo", "mine").CombinedOutput()
				t.Logf("the remote lock was free after %v", time.Since(begin).Round(time.Second))
				if err != nil {
					t.Errorf("the remote lock is still held after a minute: %v %s", err, out)
				}
				if d == sync.Pull { // the other writer is at work
					want = 3
					r.write(r.src(), 3)
				}
				r.is(r.dst(), 1)
				time.Sleep(20 * time.Second) // ssh notices too
			}()
		})
		r.transferred()
		<-thawed
		r.observe = nil
		r.is(r.dst(), want)
		if longFaults() != r.warned("trying again") {
			t.Errorf("%q", r.warnings)
		}
		r.next(want)
	})
}
