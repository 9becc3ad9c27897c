package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
	"github.com/dnadesign-maintainers/usr/sync"
)

// fleet makes n datasets on the remote, and has a copy of each here.
func (b *bench) fleet(n int) (ids []string) {
	b.t.Helper()
	for i := range n {
		ids = append(ids, fmt.Sprintf("ns/d%03d", i))
		b.dataset("cluster", ids[i])
	}
	b.run(0, "pull", "ns/*", "cluster", "-y")
	return ids
}

func (b *bench) locks(elem ...string) {
	b.t.Helper()
	f, err := os.OpenFile(b.path(elem...), os.O_RDWR|os.O_CREATE, 0o644)
	must(b.t, err)
	must(b.t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
	b.t.Cleanup(func() { f.Close() })
}

func shortOr(short, long int) int {
	if os.Getenv("USR_FAULTS") == "long" {
		return long
	}
	return short
}

// TestFaultFleet: of many datasets one is locked, one is damaged, one has diverged and one has vanished. The others are
// done, over one connection, and the end of the summary says what to do about the four.
func TestFaultFleet(t *testing.T) {
	t.Parallel()
	b, s := farBench(t, remotetest.Options{})
	ids := b.fleet(shortOr(14, 200))
	locked, damaged, diverged, gone := ids[1], ids[4], ids[7], ids[9]
	for i, id := range ids {
		if i%2 == 0 || id == locked || id == diverged {
			must(t, dataset.Increment(b.path("cluster", id), 10))
		}
	}
	b.locks("cluster", locked, ".usr.lock")
	must(t, appendFile(b.path("cluster", damaged, ".events.log"), "no event\n"))
	must(t, dataset.Annotate(b.path("local", diverged)))
	must(t, os.RemoveAll(b.path("cluster", gone)))
	before := s.Authentications()
	stdout, stderr := b.run(codeRefused, "pull", "ns/*", "cluster", "-y", "--lock-timeout", "1s")
	if n := s.Authentications() - before; n != 1 {
		t.Errorf("%d authentications", n)
	}
	nothingRuns(t, s)
	for _, id := range ids {
		if !slices.Contains([]string{locked, damaged, diverged, gone}, id) {
			b.equal(id)
		}
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	end := strings.Join(lines[max(0, len(lines)-20):], "\n")
	wants(t, end, locked+": wait until the other program is done", damaged+": mend the event log", diverged+": keep what both have with `usr sync "+diverged,
		"vanished: "+gone+" was on cluster and is gone", "3 need you")
	at := -1
	for _, id := range []string{locked, damaged, diverged} { // in order, though not done in order
		i := strings.Index(stderr, " "+id)
		if i < at || i < 0 {
			t.Errorf("%s is told of at %d, after %d:\n%s", id, i, at, stderr)
		}
		at = i
	}
	stdout, _ = b.run(0, "log", "--failed")
	wants(t, stdout, locked, damaged, diverged)
}

func appendFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	f.Close()
	return err
}

// TestFleetCosts: what is in sync costs no ssh and no process there, however many there are of it.
func TestFleetCosts(t *testing.T) {
	t.Parallel()
	ssh, far := filepath.Join(t.TempDir(), "log"), filepath.Join(t.TempDir(), "log")
	here, there := t.TempDir(), t.TempDir()
	must(t, remotetest.Shim(here, "ssh", remotetest.Counting(remotetest.Real("ssh"), ssh)))
	for _, name := range []string{"find", "stat", "df", "date", "head", "wc", "tail", "ls", "cat", "sh", "xargs", "b3sum", "openssl"} {
		must(t, remotetest.Shim(there, name, remotetest.Counting(remotetest.Real(name), far)))
	}
	b, _ := farBench(t, remotetest.Options{Env: map[string]string{"PATH": there + ":" + os.Getenv("PATH")}})
	b.vars["PATH"] = here + ":" + os.Getenv("PATH")
	b.fleet(5)
	cost := func() (executions, processes int) {
		e, p := lines(t, ssh), lines(t, far)
		stdout, _ := b.spawn(0, "pull", "ns/*", "cluster", "-y")
		wants(t, stdout, "in sync")
		return lines(t, ssh) - e, lines(t, far) - p
	}
	few, fewThere := cost()
	b.fleet(40)
	many, manyThere := cost()
	t.Logf("5 datasets: %d ssh, %d processes there; 40: %d and %d", few, fewThere, many, manyThere)
	if few != 2 || many != few || manyThere > fewThere {
		t.Error("the cost grows with what is in sync")
	}
}

// TestFleetQuestion: all are looked at first, the table shows what goes, and one answer is for that and for no more.
func TestFleetQuestion(t *testing.T) {
	b := newBench(t)
	ids := b.fleet(4)
	for _, id := range ids[:2] {
		must(t, dataset.Increment(b.path("cluster", id), 10))
	}
	must(t, os.Remove(b.path("cluster", ids[0], "_artifacts/plots/length.svg")))
	stdout, stderr := b.run(codeDeclined, "pull", "ns/*", "cluster")
	wants(t, stderr, "usr: hint: add -y")
	if stdout != "" {
		t.Errorf("%s", stdout)
	}
	b.terminal = true
	asked := func(code int, answers string, meanwhile func()) string {
		t.Helper()
		e, shown, out := b.env(), &prompt{}, &bytes.Buffer{}
		shown.act = func() { shown.act = nil; meanwhile() }
		e.stdin, e.stderr, e.stdout = strings.NewReader(answers), shown, out
		if got := run(t.Context(), []string{"pull", "ns/*", "cluster"}, e); got != code {
			t.Fatalf("exit code %d, not %d\n%s%s", got, code, shown, out)
		}
		return shown.String()
	}
	text := asked(codeDeclined, "n\n", func() {})
	wants(t, text, ids[0], ids[1], "deleted", ids[0]+"/_artifacts/plots/length.svg", "Pull of 2 datasets with cluster: +4 ~6 -1", "Proceed? [y/N]")
	if strings.Contains(text, ids[2]) || exists(b.path("local/.usr-sync/generations")) {
		t.Errorf("%s", text)
	}
	// What goes meanwhile was not shown.
	text = asked(codeDeclined, "y\nn\n", func() { must(t, os.Remove(b.path("cluster", ids[0], "_views/README.md"))) })
	if n := strings.Count(text, "Proceed?"); n != 2 {
		t.Errorf("asked %d times:\n%s", n, text)
	}
	wants(t, text, "_views/README.md", "Pull "+ids[0]+" from cluster")
	b.equal(ids[1])
	if !exists(b.path("local", ids[0], "_views/README.md")) {
		t.Error("what nobody agreed to was deleted")
	}
	text = asked(0, "y\n", func() { must(t, dataset.Increment(b.path("cluster", ids[3]), 10)) })
	b.equal(ids[0])
	if n := strings.Count(text, "Proceed?"); n != 1 || exists(b.path("local/.usr-sync/generations", "ns%2F"+filepath.Base(ids[3]))) {
		t.Errorf("asked %d times:\n%s", n, text)
	}
	b.write("local/"+ids[0]+"/mine", "new")
	_, stderr = b.run(codeDeclined, "sync", "ns/*", "cluster")
	wants(t, stderr, "Sync of 2 datasets with cluster: here +2 ~3 -0", "; there +1 ~0 -0")
}

// TestFleetSync: where both sides of several datasets moved they are merged, and pushed.
func TestFleetSync(t *testing.T) {
	t.Parallel()
	b, _ := farBench(t, remotetest.Options{})
	ids := b.fleet(3)
	for _, id := range ids[:2] {
		must(t, dataset.Increment(b.path("cluster", id), 10))
		must(t, dataset.Append(b.path("local", id)))
		b.write("local/"+id+"/mine", "new")
	}
	stdout, _ := b.run(0, "sync", "ns/*", "cluster", "-y")
	wants(t, stdout, "3 datasets: 2 synced, 1 in sync")
	for _, id := range ids {
		b.equal(id)
	}
}

// TestFleetSessions: where the host allows fewer sessions at a time than are wanted, fewer are used.
func TestFleetSessions(t *testing.T) {
	t.Parallel()
	for most, code := range map[int]int{1: codeUnreachable, 2: 0, 3: 0, 5: 0} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			t.Parallel()
			b, s := farBench(t, remotetest.Options{MaxSessions: most})
			var ids []string
			for i := range 4 {
				ids = append(ids, fmt.Sprintf("ns/d%d", i))
				b.dataset("cluster", ids[i])
			}
			_, stderr := b.run(code, "pull", "ns/*", "cluster", "-y")
			nothingRuns(t, s)
			if code != 0 {
				wants(t, stderr, "MaxSessions 4")
				return
			}
			if strings.Contains(stderr, "usr: error") || strings.Contains(stderr, "usr: warning") {
				t.Error(stderr)
			}
			for _, id := range ids {
				b.equal(id)
			}
			stdout, _ := b.run(0, "status", "cluster")
			wants(t, stdout, "4 datasets: 4 in sync")
		})
	}
}

// TestFaultFleetInterrupted: Ctrl-C ends several transactions at a time and leaves nothing running; the next command goes
// on.
func TestFaultFleetInterrupted(t *testing.T) {
	t.Parallel()
	b, s := farBench(t, remotetest.Options{})
	bin := t.TempDir()
	must(t, remotetest.Shim(bin, "rsync", "case $1 in --version) ;; *) sleep 60;; esac\nexec "+remotetest.Real("rsync")+` "$@"`))
	b.vars["PATH"] = bin + ":" + os.Getenv("PATH")
	var ids []string
	for i := range 6 {
		ids = append(ids, fmt.Sprintf("ns/d%d", i))
		b.dataset("cluster", ids[i])
	}
	cmd := b.program("pull", "ns/*", "cluster", "-y")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	must(t, cmd.Start())
	for begin := time.Now(); len(globbed(t, b.path("local/.usr-sync/stage/*/*/tree"))) < 4; time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > 20*time.Second {
			t.Fatal("no four transactions at a time")
		}
	}
	must(t, cmd.Process.Signal(os.Interrupt))
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != codeStopped {
		t.Errorf("exit code %d: %s", cmd.ProcessState.ExitCode(), &stderr)
	}
	nothingRuns(t, s)
	for _, id := range ids {
		if exists(b.path("local", id)) {
			t.Errorf("%s is there", id)
		}
	}
	delete(b.vars, "PATH")
	b.run(0, "pull", "ns/*", "cluster", "-y")
	for _, id := range ids {
		b.equal(id)
	}
}

// TestFleetProgress: the line counts datasets, and tells of one.
func TestFleetProgress(t *testing.T) {
	p := newProgress(newBench(t).env(), progressOptions{})
	p.expect(120)
	one, two := p.of("ns/a"), p.of("ns/b")
	two.finished(true)
	one.observe(sync.StepBegan{Step: sync.StepCopy})
	if got := p.describe(time.Now()); got != "1 of 120 datasets, 1 failed; ns/a: copying" {
		t.Error(got)
	}
	one.observe(sync.Warned{Text: "take care"})
	two.observe(sync.Warned{Text: "take care"})
	if len(one.warnings) != 1 || len(two.warnings) != 1 || len(p.warnings) != 1 {
		t.Errorf("%q, %q, %q", one.warnings, two.warnings, p.warnings)
	}
}

// TestFaultFleetStorm: the line is cut, or the program is killed, while several transactions are at work. Each dataset is
// then exactly its old content or its new, and the next command brings all to the new.
func TestFaultFleetStorm(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"pull", "push"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			b, s := farBench(t, remotetest.Options{})
			relay, err := remotetest.Relay(fmt.Sprintf("127.0.0.1:%d", s.Port()), 0, 0)
			must(t, err)
			t.Cleanup(relay.Close)
			config, err := s.WriteConfig("relayed", relay.Port())
			must(t, err)
			b.profile(s, "ssh_config: "+config)
			ids := b.fleet(shortOr(5, 20))
			from, to := "cluster", "local"
			if way == "push" {
				from, to = to, from
			}
			for round := range shortOr(2, 30) {
				b.storm(relay, ids, way, from, to, round%2 == 1)
			}
			nothingRunsAfter(t, s, time.Minute) // where the line's end killed a shell, its watchdog sleeps on
		})
	}
}

func (b *bench) storm(relay *remotetest.RelayServer, ids []string, way, from, to string, kill bool) {
	b.t.Helper()
	old, fresh := map[string]map[string]string{}, map[string]map[string]string{}
	for _, id := range ids {
		var err error
		old[id], err = contentOf(b.path(to, id))
		must(b.t, err)
		must(b.t, dataset.Increment(b.path(from, id), 5))
		fresh[id], err = contentOf(b.path(from, id))
		must(b.t, err)
	}
	cmd := b.program(way, "ns/*", "cluster", "-y")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	must(b.t, cmd.Start())
	before := len(globbed(b.t, b.path(to, ".usr-sync/generations/*/*/tree")))
	for begin := time.Now(); time.Since(begin) < 20*time.Second; time.Sleep(5 * time.Millisecond) { // until some of them switch, or soon after
		if len(globbed(b.t, b.path(to, ".usr-sync/stage/*/*/tree"))) > 1 || len(globbed(b.t, b.path(to, ".usr-sync/generations/*/*/tree"))) > before {
			break
		}
	}
	time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
	if kill {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	relay.Cut()
	_ = cmd.Wait()
	for _, id := range ids {
		now, err := contentOf(b.path(to, id))
		must(b.t, err)
		if difference(now, old[id]) != "" && difference(now, fresh[id]) != "" {
			b.t.Errorf("%s is neither old nor new: %s, %s", id, difference(now, old[id]), difference(now, fresh[id]))
		}
	}
	b.run(0, way, "ns/*", "cluster", "-y")
	for _, id := range ids {
		b.equal(id)
	}
	for _, left := range []string{"stage/*/*", "journal/*[^k]"} { // but for .lock
		if all := globbed(b.t, b.path(to, ".usr-sync", left)); len(all) > 0 {
			b.t.Errorf("left behind: %q", all)
		}
	}
}
