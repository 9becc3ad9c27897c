package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	stdsync "sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
)

// TestUnreachable: each way of not getting there is exit 3, one line and a hint of its own, without what ssh says
// beside.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	b, s := farBench(t, remotetest.Options{})
	other, err := remotetest.Start(t.TempDir(), remotetest.Options{})
	must(t, err)
	t.Cleanup(other.Stop)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { silent.Close() })
	for _, c := range []struct{ options, message, hint string }{
		{"[IdentityFile=/nonexistent, PubkeyAuthentication=no]", "authentication failed: .*Permission denied \\(publickey\\)\\.", "`usr remotes warm-auth --remote cluster`"},
		{"[UserKnownHostsFile=" + other.KnownHosts() + "]", "the host key is not the one on record: WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!", "ssh-keygen -R cluster"},
		{"[UserKnownHostsFile=/dev/null]", "the host key is not known yet: ", "log in once by hand"},
		{"[HostName=no-such-host.invalid]", "the host name is not known: ssh: Could not resolve hostname", "check the host name"},
		{"[Port=1]", "connection refused: ", "check network and VPN"},
		{fmt.Sprintf("[Port=%d, ConnectTimeout=1]", silent.Addr().(*net.TCPAddr).Port), "no answer in time: ", "check network and VPN"},
		{"[NoSuchOption=1]", "ssh rejects its configuration: ", "correct ssh_config and ssh_options"},
	} {
		b.profile(s, "ssh_options: "+c.options)
		begin := time.Now()
		stdout, stderr := b.run(codeUnreachable, "diff", "densegen/x", "cluster")
		lines := strings.Split(strings.TrimSpace(stderr), "\n")
		if stdout != "" || len(lines) != 2 || !regexp.MustCompile("^usr: error: cannot reach cluster: "+c.message).MatchString(lines[0]) || !strings.Contains(lines[1], c.hint) {
			t.Errorf("%s: %q %q", c.options, stdout, stderr)
		}
		if d := time.Since(begin); d > 10*time.Second {
			t.Errorf("%s took %s", c.options, d)
		}
		stdout, _ = b.run(codeUnreachable, "--format", "json", "doctor", "cluster")
		var d struct {
			Data struct {
				OK     bool
				Checks []struct{ Name, State, Do string }
			}
		}
		if err := json.Unmarshal([]byte(stdout), &d); err != nil || d.Data.OK || len(d.Data.Checks) < 5 {
			t.Errorf("%v: %s", err, stdout)
		} else if last := d.Data.Checks[len(d.Data.Checks)-1]; last.State != "fail" || !strings.Contains(last.Do, c.hint) {
			t.Errorf("%+v", last)
		}
	}
}

// TestComputeCommand: one that is not there is a mistake in the profile, and the message names it; any other that gives no shell is
// a warning.
func TestComputeCommand(t *testing.T) {
	t.Parallel()
	b, s := farBench(t, remotetest.Options{})
	b.dataset("cluster", "densegen/x")
	b.run(0, "pull", "densegen/x", "cluster", "-y")
	b.profile(s, "compute: qrshh -now n", "compute_from: 0")
	_, stderr := b.run(codeUnreachable, "verify", "densegen/x", "cluster")
	wants(t, stderr, "usr: error: cannot use qrshh on cluster: ", "not found", "usr: hint: correct compute in the profile")
	b.profile(s, "compute: sh -c 'echo no such project >&2; exit 1'", "compute_from: 0")
	stdout, stderr := b.run(0, "verify", "densegen/x", "cluster")
	wants(t, stdout, "in-sync")
	wants(t, stderr, "usr: warning: cannot hash on a compute node: ", "ended with status 1", "no such project; the login node hashes instead")
}

func TestNoisyHost(t *testing.T) {
	t.Parallel()
	b, _ := farBench(t, remotetest.Options{Noise: "Welcome to\x1b[1m SCC\n"})
	_, stderr := b.run(codeUnreachable, "diff", "densegen/x", "cluster")
	wants(t, stderr, `usr: error: cannot talk to cluster: its login shell prints "Welcome to\x1b[1m SCC\x0a"`, "usr: hint: make the start-up files")
	stdout, _ := b.run(codeUnreachable, "doctor", "cluster")
	wants(t, stdout, `bash prints on stdout: "Welcome to\x1b[1m SCC\x0a" -> print nothing from ~/.bashrc`, "cluster: not ready", " 1 fail")
}

func TestMissingTools(t *testing.T) {
	t.Parallel()
	b, _ := farBench(t, remotetest.Options{Env: pathWith(t, nil, "flock")})
	b.dataset("cluster", "densegen/x")
	_, stderr := b.run(codeUnreachable, "pull", "densegen/x", "cluster", "-y")
	wants(t, stderr, "cannot use flock on", "usr: hint: install flock (package util-linux)")
	stdout, _ := b.run(codeUnreachable, "remotes", "doctor", "--remote", "cluster")
	wants(t, stdout, "util-linux", "cluster: not ready, ", " 2 fail")
	must(t, os.WriteFile(b.path("local", "registry.yaml"), nil, 0o600))

	b, _ = farBench(t, remotetest.Options{Env: pathWith(t, nil, "rsync")})
	b.dataset("cluster", "densegen/x")
	_, stderr = b.run(codeUnreachable, "pull", "densegen/x", "cluster", "-y")
	wants(t, stderr, "rsync", "usr: hint: install rsync 3.1.3 or later on cluster")
}

// person is somebody at a terminal that the program runs on.
type person struct {
	t    *testing.T
	cmd  *exec.Cmd
	tty  *os.File
	mu   stdsync.Mutex
	text bytes.Buffer
	seen chan struct{} // closed when the terminal is
}

// program is the program itself, this test's binary, as a process with the bench's environment.
func (b *bench) program(args ...string) *exec.Cmd {
	b.t.Helper()
	self, err := os.Executable()
	must(b.t, err)
	file := filepath.Join(b.t.TempDir(), "usr")
	must(b.t, os.Symlink(self, file))
	cmd := exec.Command(file, args...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "TERM=dumb")
	for name, value := range b.vars {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// spawn is run in a process of its own, without a terminal.
func (b *bench) spawn(code int, args ...string) (stdout, stderr string) {
	b.t.Helper()
	var out, said strings.Builder
	cmd := b.program(args...)
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	_ = cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code {
		b.t.Fatalf("usr %q: exit code %d, not %d\n%s%s", args, got, code, &out, &said)
	}
	return out.String(), said.String()
}

// atTerminal runs the program on a terminal.
func (b *bench) atTerminal(args ...string) *person {
	b.t.Helper()
	p := &person{t: b.t, cmd: b.program(args...), seen: make(chan struct{})}
	var err error
	p.tty, err = pty.Start(p.cmd)
	must(b.t, err)
	go func() {
		defer close(p.seen)
		_, _ = io.Copy(p, p.tty)
	}()
	b.t.Cleanup(func() { p.cmd.Process.Kill(); p.tty.Close() })
	return p
}

func (p *person) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *person) shown() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func (p *person) answers(question, answer string) {
	p.t.Helper()
	for begin := time.Now(); !strings.Contains(p.shown(), question); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > 20*time.Second {
			p.t.Fatalf("the terminal does not show %q but %q", question, p.shown())
		}
	}
	time.Sleep(1500 * time.Millisecond) // longer than it takes until progress is drawn
	_, err := io.WriteString(p.tty, answer+"\n")
	must(p.t, err)
}

// exits waits for the program's end and returns what the terminal has shown.
func (p *person) exits(code int) string {
	p.t.Helper()
	_ = p.cmd.Wait()
	<-p.seen
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Fatalf("exit code %d, not %d: %s", got, code, p.shown())
	}
	return strings.ReplaceAll(p.shown(), "\r\n", "\n")
}

var duo = &remotetest.Question{Text: "Duo two-factor login for me", Answer: "123456"}

// TestQuestion: on a terminal the person is asked once, and the command goes on.
func TestQuestion(t *testing.T) {
	t.Parallel()
	b, s := farBench(t, remotetest.Options{Question: duo})
	b.vars["XDG_RUNTIME_DIR"] = shortDir(t)
	b.dataset("cluster", "densegen/x")
	p := b.atTerminal("--color", "never", "pull", "densegen/x", "cluster", "-y")
	p.answers("Password: ", duo.Answer)
	shown := p.exits(0)
	wants(t, shown, duo.Text, "TRANSFERRED")
	if n := strings.Count(shown, "Password: "); n != 1 || s.Authentications() != 1 || s.Connections() != 1 {
		t.Errorf("asked %d times, %d authentications, %d connections", n, s.Authentications(), s.Connections())
	}
	if at := strings.Index(shown, "Password: "); strings.Contains(shown[:at], "\x1b[K") || strings.Contains(strings.SplitN(shown[at:], "\n", 2)[0], "\x1b[K") {
		t.Errorf("progress is drawn over the question: %q", shown)
	}
	nothingRuns(t, s)

	p = b.atTerminal("--color", "never", "diff", "densegen/x", "cluster")
	for range 3 {
		p.answers("Password: ", "wrong")
		p.forget()
	}
	shown = p.exits(codeUnreachable)
	wants(t, shown, "usr: error: cannot reach cluster: authentication failed", "usr: hint: ")
	if n := strings.Count(shown, "Permission denied"); n > 1 {
		t.Errorf("told %d times: %s", n, shown)
	}
}

func (p *person) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text.Reset()
}

// shortDir is a directory for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "u")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestWarmAuth: without a terminal a question is exit 3 and a line to run; that line opens what later commands use.
func TestWarmAuth(t *testing.T) {
	t.Parallel()
	b, s := farBench(t, remotetest.Options{Question: duo})
	b.vars["XDG_RUNTIME_DIR"] = shortDir(t)
	b.dataset("cluster", "densegen/x")
	stdout, _ := b.spawn(0, "remotes", "status", "--remote", "cluster")
	wants(t, stdout, "connection: none", "next: open one with `usr remotes warm-auth --remote cluster`")
	begin := time.Now()
	_, stderr := b.spawn(codeUnreachable, "diff", "densegen/x", "cluster")
	wants(t, stderr, "authentication failed", "`usr remotes warm-auth --remote cluster`")
	_, stderr = b.spawn(codeUnreachable, "remotes", "warm-auth", "--remote", "cluster")
	wants(t, stderr, "authentication failed", "usr: hint: run it in a terminal")
	b.profile(s, "batch_mode: false")
	_, stderr = b.spawn(codeUnreachable, "diff", "densegen/x", "cluster")
	wants(t, stderr, "authentication failed", "`usr remotes warm-auth --remote cluster`")
	b.profile(s)
	if d := time.Since(begin); d > 20*time.Second {
		t.Errorf("failing took %s", d)
	}

	p := b.atTerminal("--color", "never", "remotes", "warm-auth", "--remote", "cluster")
	p.answers("Password: ", duo.Answer)
	wants(t, p.exits(0), "connection: live, kept by usr", "opened, and kept for 8h after its last use", "--remote cluster --stop`")
	b.spawn(0, "pull", "densegen/x", "cluster", "-y")
	b.spawn(0, "diff", "densegen/x", "cluster", "--exit-code")
	stdout, _ = b.spawn(0, "remotes", "warm-auth", "cluster")
	wants(t, stdout, "it was open already")
	stdout, _ = b.spawn(0, "doctor", "cluster")
	wants(t, stdout, "reuses the connection that usr keeps", "cluster: ready")
	stdout, _ = b.spawn(0, "--format", "json", "remotes", "status", "cluster")
	wants(t, stdout, `"live": true`, `"owner": "usr"`, `"since": "20`)
	if s.Authentications() != 1 {
		t.Errorf("%d authentications", s.Authentications())
	}

	// The line breaks: noticed, and asked for again.
	s.Cut()
	stdout, _ = b.spawn(0, "remotes", "status", "cluster")
	wants(t, stdout, "connection: none")
	p = b.atTerminal("--color", "never", "remotes", "warm-auth", "cluster")
	p.answers("Password: ", duo.Answer)
	p.exits(0)
	stdout, _ = b.spawn(0, "remotes", "warm-auth", "--stop", "cluster")
	wants(t, stdout, "done: closed", "connection: none")
	stdout, _ = b.spawn(0, "remotes", "warm-auth", "--stop", "cluster")
	wants(t, stdout, "usr kept none open")
	nothingRuns(t, s)
}

// TestDeadMaster: a process that holds a line that carries nothing any more is noticed and replaced.
func TestDeadMaster(t *testing.T) {
	t.Parallel()
	b, s := farBench(t, remotetest.Options{}, "control_persist: 10m")
	b.vars["XDG_RUNTIME_DIR"] = shortDir(t)
	b.spawn(0, "remotes", "warm-auth", "cluster")
	s.Freeze()
	b.dataset("cluster", "densegen/x")
	b.spawn(0, "pull", "densegen/x", "cluster", "-y")
	b.spawn(0, "diff", "densegen/x", "cluster", "--exit-code")
	if s.Connections() != 2 {
		t.Errorf("%d connections, not one that died and its replacement", s.Connections())
	}
	s.Thaw()
	b.spawn(0, "remotes", "warm-auth", "--stop", "cluster")
	nothingRuns(t, s)
}

func TestNoConnectionToShare(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	stdout, _ := b.run(0, "remotes", "status", "--remote", "cluster")
	wants(t, stdout, "it is a directory of this host")
	stdout, _ = b.run(0, "remotes", "warm-auth", "--remote", "cluster")
	wants(t, stdout, "it is a directory of this host")
	_, stderr := b.run(codeUsage, "remotes", "status")
	wants(t, stderr, "none is named", "usr remotes list")
	_, stderr = b.run(codeUsage, "remotes", "doctor", "cluster", "--remote", "other")
	wants(t, stderr, "cluster or other")
	stdout, _ = b.run(0, "doctor", "cluster")
	wants(t, stdout, "base writable", "exchange", "cluster: ready")
	stdout, _ = b.run(0, "doctor", "cluster", "--no-check-base-dir")
	wants(t, stdout, "local flock", "cluster: ready")
	if strings.Contains(stdout, "base ") {
		t.Errorf("the base directory was looked at:\n%s", stdout)
	}
}

// TestStoppedTwice: two Ctrl-C in a row end the program where it stands, and leave no ssh behind, though the host is as busy
// as can be: it does not notice that nobody listens any more.
func TestStoppedTwice(t *testing.T) {
	t.Parallel()
	b, s := farBench(t, remotetest.Options{})
	b.dataset("cluster", "densegen/x")
	must(t, os.WriteFile(b.path("cluster", "densegen", "x", "_derived", "big.parquet"), bytes.Repeat([]byte("noise"), 8<<20), 0o644))
	for _, pause := range []time.Duration{0, 100 * time.Millisecond} {
		cmd := b.program("pull", "densegen/x", "cluster", "-y", "--bwlimit", "500")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		must(t, cmd.Start())
		if !until(10*time.Second, func() bool {
			return strings.Contains(processes(t), s.ConfigFile()+" ") && strings.Contains(processes(t), "--bwlimit=500")
		}) {
			t.Fatal("it does not copy")
		}
		s.Freeze()
		must(t, cmd.Process.Signal(os.Interrupt))
		time.Sleep(pause)
		must(t, cmd.Process.Signal(os.Interrupt))
		_ = cmd.Wait()
		if !until(3*time.Second, func() bool { return !strings.Contains(processes(t), s.ConfigFile()+" ") }) {
			t.Errorf("after %v ssh is left behind:\n%s", pause, processes(t))
		}
		s.Thaw()
	}
}

func processes(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("ps", "-e", "-ww", "-o", "args=").Output()
	must(t, err)
	return string(out)
}

// until waits for something to be so.
func until(patience time.Duration, so func() bool) bool {
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(20 * time.Millisecond) {
		if so() {
			return true
		}
	}
	return so()
}
