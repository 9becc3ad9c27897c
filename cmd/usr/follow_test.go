package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	stdsync "sync"
	"syscall"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
)

// followed is a follow under way, in a process of its own.
type followed struct {
	*bench
	cmd    *exec.Cmd
	lines  chan string // of standard output
	mu     stdsync.Mutex
	stderr strings.Builder
	ended  chan struct{} // closed when it has
}

func (f *followed) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stderr.Write(b)
}

func (f *followed) said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stderr.String()
}

func (b *bench) follows(args ...string) *followed {
	b.t.Helper()
	f := &followed{bench: b, cmd: b.program(append([]string{"follow"}, args...)...), lines: make(chan string, 100), ended: make(chan struct{})}
	f.cmd.Stderr = f
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := f.cmd.StdoutPipe()
	must(b.t, err)
	must(b.t, f.cmd.Start())
	go func() {
		for lines := bufio.NewReader(out); ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				break
			}
			f.lines <- line
		}
		_ = f.cmd.Wait()
		close(f.ended)
	}()
	b.t.Cleanup(func() {
		_ = f.cmd.Process.Kill()
		<-f.ended
	})
	return f
}

// line is the next one on standard output.
func (f *followed) line() string {
	f.t.Helper()
	select {
	case l := <-f.lines:
		return l
	case <-time.After(30 * time.Second):
		f.t.Fatalf("nothing was told:\n%s", f.said())
		return ""
	}
}

// saying waits until standard error holds a text.
func (f *followed) saying(text string) {
	f.t.Helper()
	for end := time.Now().Add(30 * time.Second); !strings.Contains(f.said(), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("%q was not said:\n%s", text, f.said())
		}
	}
}

func (f *followed) exits(code int) {
	f.t.Helper()
	select {
	case <-f.ended:
	case <-time.After(30 * time.Second):
		f.t.Fatalf("it goes on:\n%s", f.said())
	}
	if got := f.cmd.ProcessState.ExitCode(); got != code {
		f.t.Fatalf("exit code %d, not %d\n%s", got, code, f.said())
	}
}

func (b *bench) equal(id string) {
	b.t.Helper()
	here, err := contentOf(b.path("local", id))
	must(b.t, err)
	there, err := contentOf(b.path("cluster", id))
	must(b.t, err)
	if d := difference(here, there); d != "" {
		b.t.Errorf("the two sides differ at %s", d)
	}
}

// TestFollow: each increment is one transaction, one line and one run of the hook, over one connection. SIGTERM ends it.
func TestFollow(t *testing.T) {
	const id = "densegen/x"
	b, s := farBench(t, remotetest.Options{})
	b.dataset("cluster", id)
	f := b.follows(id, "cluster", "--every", "200ms", "--exec", `echo "hook $USR_DATASET $USR_REMOTE $(grep -c TRANSFERRED "$USR_AUDIT")"`)
	wants(t, f.line(), "pull densegen/x from cluster: +")
	f.saying("hook densegen/x cluster 1\n")
	for range 3 {
		must(t, dataset.Increment(b.path("cluster", id), 10))
		wants(t, f.line(), "pull densegen/x from cluster: +")
	}
	b.equal(id)
	before := s.Connections()
	time.Sleep(time.Second)
	must(t, f.cmd.Process.Signal(syscall.SIGTERM))
	f.exits(codeDone)
	if n := s.Authentications(); n != 1 || s.Connections() != before {
		t.Errorf("%d authentications, %d and %d connections", n, before, s.Connections())
	}
	nothingRuns(t, s)
	stdout, _ := b.run(0, "log", id)
	if n := strings.Count(stdout, "pull"); n != 4 {
		t.Errorf("the log has %d lines of 4:\n%s", n, stdout)
	}
}

// TestFollowEnds: --for and --until-idle end it with 0, or with the code of what is wrong; Ctrl-C with 130. JSON is one
// audit a line; --quiet says nothing.
func TestFollowEnds(t *testing.T) {
	const id = "densegen/x"
	b := newBench(t)
	b.dataset("cluster", id)
	stdout, stderr := b.run(0, "follow", id, "cluster", "--every", "100ms", "--until-idle", "500ms", "--format", "json")
	var doc struct{ Data auditData }
	must(t, json.Unmarshal([]byte(stdout), &doc))
	if strings.Count(stdout, "\n") != 1 || doc.Data.State != "TRANSFERRED" || stderr != "" {
		t.Errorf("%s%s", stdout, stderr)
	}
	must(t, dataset.Increment(b.path("cluster", id), 10))
	if stdout, stderr = b.run(0, "follow", id, "cluster", "--for", "300ms", "-q"); stdout+stderr != "" {
		t.Errorf("--quiet: %q%q", stdout, stderr)
	}
	b.equal(id)

	must(t, dataset.Increment(b.path("cluster", id), 10))
	must(t, dataset.Annotate(b.path("local", id)))
	stdout, stderr = b.run(codeRefused, "follow", "x", "cluster", "--every", "50ms", "--for", "5s")
	if stdout != "" || strings.Count(stderr, "usr: error: ") != 1 {
		t.Errorf("%s%s", stdout, stderr)
	}
	wants(t, stderr, "cannot follow densegen/x: cannot pull (diverged)", "tried again")
	for _, args := range [][]string{{"nothing", "cluster"}, {"nothing/*", "cluster"}} {
		b.run(codeRefused, append([]string{"follow"}, args...)...)
	}
	b.run(codeUsage, "follow", id, "cluster", "--dry-run")
	f := b.follows(id, "cluster")
	f.saying("diverged")
	must(t, f.cmd.Process.Signal(os.Interrupt))
	f.exits(codeStopped)
}

// TestFollowGlob: datasets join and go; one that is refused does not hold up the others.
func TestFollowGlob(t *testing.T) {
	b := newBench(t)
	b.dataset("cluster", "densegen/a")
	b.dataset("cluster", "other/c")
	f := b.follows("densegen/*", "cluster", "--every", "100ms")
	wants(t, f.line(), "densegen/a")
	b.dataset("cluster", "densegen/b")
	wants(t, f.line(), "densegen/b")
	must(t, os.RemoveAll(b.path("cluster", "densegen/a")))
	f.saying("densegen/a is on cluster no more")
	if !exists(b.path("local/densegen/a/records.parquet")) || exists(b.path("local/other")) {
		t.Error("what went there went here, or what was not meant came")
	}
	must(t, f.cmd.Process.Signal(syscall.SIGTERM))
	f.exits(codeDone)
}

// TestFollowUnrelated: what is no fast-forward is for a person.
func TestFollowUnrelated(t *testing.T) {
	b := newBench(t)
	b.dataset("cluster", "x")
	b.dataset("local", "x")
	must(t, os.Remove(b.path("local/x/.events.log")))
	must(t, os.Remove(b.path("cluster/x/.events.log")))
	b.write("local/x/meta.md", "mine\n")
	_, stderr := b.run(codeRefused, "follow", "x", "cluster", "--for", "200ms")
	wants(t, stderr, "unrelated")
	if b.read("local/x/meta.md") != "mine\n" {
		t.Error("it was overwritten")
	}
}

// relayed leads the profile's way through a relay.
func (b *bench) relayed(s *remotetest.Server) *remotetest.RelayServer {
	b.t.Helper()
	relay, err := remotetest.Relay(net.JoinHostPort("127.0.0.1", fmt.Sprint(s.Port())), 0, 0)
	must(b.t, err)
	b.t.Cleanup(relay.Close)
	config, err := s.WriteConfig("relayed", relay.Port())
	must(b.t, err)
	b.profile(s, "ssh_config: "+config)
	return relay
}

// TestFollowCut: a line that is cut again and again, in the middle of transfers too, costs one authentication a cut at
// most, is said once a time, and loses nothing.
func TestFollowCut(t *testing.T) {
	const id = "densegen/x"
	b, s := farBench(t, remotetest.Options{})
	relay := b.relayed(s)
	b.dataset("cluster", id)
	f := b.follows(id, "cluster", "--every", "200ms")
	f.line()
	const cuts = 3
	for i := range cuts {
		relay.Cut()
		must(t, dataset.Increment(b.path("cluster", id), 10))
		wants(t, f.line(), "densegen/x")
		b.equal(id)
		for end := time.Now().Add(10 * time.Second); strings.Count(f.said(), "all is well again") < i+1 && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond)
		}
	}
	must(t, f.cmd.Process.Signal(syscall.SIGTERM))
	f.exits(codeDone)
	if n := s.Authentications(); n > 1+cuts {
		t.Errorf("%d authentications for %d cuts", n, cuts)
	}
	if n := strings.Count(f.said(), "usr: error: "); n != cuts {
		t.Errorf("%d cuts were said %d times:\n%s", cuts, n, f.said())
	}
}

// TestFaultFollowStorm: a writer adds batches at random while the line is cut over and over, every minute of half an hour in
// the long form. At the end both sides are equal, and no cut has cost more than one authentication.
func TestFaultFollowStorm(t *testing.T) {
	t.Parallel()
	const id = "densegen/x"
	between, cuts, every := 1500*time.Millisecond, 3, "200ms"
	if os.Getenv("USR_FAULTS") == "long" { // docs/faults.md
		between, cuts, every = time.Minute, 30, "5s"
	}
	b, s := farBench(t, remotetest.Options{})
	relay := b.relayed(s)
	b.dataset("cluster", id)
	f := b.follows(id, "cluster", "--every", every)
	told := make(chan []string)
	go func() {
		var lines []string
		for {
			select {
			case line := <-f.lines:
				lines = append(lines, line)
			case <-f.ended:
				told <- lines
				return
			}
		}
	}()
	batches := 0
	for range cuts {
		for end := time.Now().Add(between); time.Now().Before(end); {
			time.Sleep(rand.N(between / 3))
			must(t, dataset.Increment(b.path("cluster", id), 10))
			batches++
		}
		relay.CutAfter(rand.Int64N(20_000)) // in the next look or transfer
	}
	b.untilEqual(id, time.Minute+between)
	must(t, f.cmd.Process.Signal(syscall.SIGTERM))
	f.exits(codeDone)
	lines := <-told
	if n := s.Authentications(); n > 1+cuts {
		t.Errorf("%d authentications for %d cuts", n, cuts)
	}
	if len(lines) == 0 || strings.Count(f.said(), "usr: error: ") > cuts {
		t.Errorf("%d increments; said:\n%s", len(lines), f.said())
	}
	t.Logf("%d batches, %d cuts, %d authentications, %d increments:\n%s%s", batches, cuts, s.Authentications(), len(lines), strings.Join(lines, ""), f.said())
	nothingRuns(t, s)
}

// untilEqual waits for both sides to be equal.
func (b *bench) untilEqual(id string, patience time.Duration) {
	b.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		here, err := contentOf(b.path("local", id))
		if err != nil {
			continue // a tree that is being switched
		}
		there, err := contentOf(b.path("cluster", id))
		must(b.t, err)
		if difference(here, there) == "" {
			return
		}
	}
	b.equal(id)
}

// TestFollowNeedsPerson: where a login needs a person the warm-auth line is said, nobody dials, and a master that
// somebody opens is used as soon as it is there.
func TestFollowNeedsPerson(t *testing.T) {
	const id = "densegen/x"
	b, s := farBench(t, remotetest.Options{})
	b.vars["XDG_RUNTIME_DIR"] = shortDir(t)
	b.dataset("cluster", id)
	keys := func(from, to string) {
		t.Helper()
		must(t, os.Rename(b.key(s)+from, b.key(s)+to))
	}
	b.spawn(0, "remotes", "warm-auth", "--remote", "cluster")
	f := b.follows(id, "cluster", "--every", "200ms")
	f.line()
	keys("", ".away")
	b.spawn(0, "remotes", "warm-auth", "--remote", "cluster", "--stop")
	f.saying("usr remotes warm-auth --remote cluster")
	must(t, dataset.Increment(b.path("cluster", id), 10))
	tries := s.Connections()
	time.Sleep(3 * time.Second)
	if n := s.Connections(); n != tries {
		t.Errorf("%d connections while a person is needed", n-tries)
	}
	keys(".away", "")
	b.spawn(0, "remotes", "warm-auth", "--remote", "cluster")
	wants(t, f.line(), "densegen/x")
	must(t, f.cmd.Process.Signal(syscall.SIGTERM))
	f.exits(codeDone)
	b.spawn(0, "remotes", "warm-auth", "--remote", "cluster", "--stop")
}

// key is the private key that the server's clients use.
func (b *bench) key(s *remotetest.Server) string {
	b.t.Helper()
	text, err := os.ReadFile(s.ConfigFile())
	must(b.t, err)
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) == 2 && words[0] == "IdentityFile" {
			return strings.Trim(words[1], `"`)
		}
	}
	b.t.Fatal("no key")
	return ""
}

// TestFollowSync: with --sync what appears on either side is on both, and where both moved they are merged; a conflict is
// said, and changes nothing.
func TestFollowSync(t *testing.T) {
	b := newBench(t)
	const id = "densegen/x"
	b.dataset("cluster", id)
	f := b.follows(id, "cluster", "--sync", "--every", "300ms")
	f.line()
	b.equal(id)
	b.write("local/"+id+"/_derived/infer/mine.parquet", "mine")
	if l := f.line(); !strings.Contains(l, id) {
		t.Errorf("%q", l)
	}
	b.equal(id)
	b.write("cluster/"+id+"/_derived/infer/theirs.parquet", "theirs")
	f.line()
	b.equal(id)
	b.write("local/"+id+"/notes.txt", "of this side")
	b.write("cluster/"+id+"/notes.txt", "of the other")
	f.saying("--take-local")
	must(t, f.cmd.Process.Signal(syscall.SIGTERM))
	f.exits(0)
	here, err := os.ReadFile(b.path("local", id, "notes.txt"))
	must(t, err)
	if string(here) != "of this side" {
		t.Errorf("%q", here)
	}
}
