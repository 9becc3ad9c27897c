package remotetest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// server starts one for a test.
func server(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func ssh(s *Server, args ...string) *exec.Cmd {
	return exec.Command("ssh", append([]string{"-F", s.ConfigFile(), "-o", "BatchMode=yes"}, args...)...)
}

func output(t *testing.T, s *Server, command string) string {
	t.Helper()
	out, err := ssh(s, Alias, command).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%v: %s\n%s", err, exit.Stderr, s.Log())
		}
		t.Fatal(err)
	}
	return string(out)
}

func TestServerRunsCommands(t *testing.T) {
	s := server(t, Options{})
	if s.Connections() != 0 {
		t.Errorf("%d connections before the first", s.Connections())
	}
	for want := 1; want <= 2; want++ {
		if got := output(t, s, "printf '%s ' one; echo $HOME"); got != "one "+s.Home()+"\n" {
			t.Errorf("got %q", got)
		}
		if s.Connections() != want || s.Authentications() != want {
			t.Errorf("after %d: %d connections, %d authentications", want, s.Connections(), s.Authentications())
		}
	}
}

func TestServerAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		server(t, Options{})
		return // every other test here runs as one
	}
	user, err := OrdinaryUser()
	if err != nil {
		t.Fatal(err)
	}
	s := server(t, Options{User: &user})
	out, err := ssh(s, Alias, "id -u").CombinedOutput()
	if s.Authentications() != 1 {
		t.Fatalf("not let in: %v %s\n%s", err, out, s.Log())
	}
	if user.CanRun() && (err != nil || strings.TrimSpace(string(out)) == "0") {
		t.Errorf("id -u: %v: %s", err, out)
	}
}

func TestServerEnvironment(t *testing.T) {
	dir := t.TempDir()
	if err := Shim(dir, "greet", "echo shim $1"); err != nil {
		t.Fatal(err)
	}
	s := server(t, Options{Env: map[string]string{"PATH": dir + ":" + os.Getenv("PATH"), "TWO": "a b"}})
	if got := output(t, s, `greet "$TWO"`); got != "shim a b\n" && got != "shim a\n" {
		t.Errorf("got %q", got)
	}
}

func TestServerShells(t *testing.T) {
	for _, shell := range []string{"bash", "dash", "zsh", "fish", "tcsh"} {
		t.Run(shell, func(t *testing.T) {
			s := server(t, Options{Shell: shell, Noise: "Welcome to the 'cluster'\n", NoiseStderr: "quota 93%\n"})
			cmd := ssh(s, Alias, "echo $SHELL")
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if want := "Welcome to the 'cluster'\n" + Real(shell) + "\n"; err != nil || string(out) != want {
				t.Errorf("%v: %q, not %q", err, out, want)
			}
			if !strings.HasSuffix(stderr.String(), "quota 93%\n") { // sshd may complain of the home directory before
				t.Errorf("stderr %q", stderr.String())
			}
		})
	}
}

func TestShellReadsItsStartUpFile(t *testing.T) {
	s := server(t, Options{Shell: "bash"})
	if err := os.WriteFile(filepath.Join(s.Home(), ".bashrc"), []byte("echo from bashrc\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := output(t, s, "echo $HOME"); got != "from bashrc\n"+s.Home()+"\n" {
		t.Errorf("got %q", got)
	}
}

func TestExitStatusAndSignals(t *testing.T) {
	s := server(t, Options{Shell: "dash"})
	err := ssh(s, Alias, "exit 7").Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("got %v", err)
	}
}

func TestCut(t *testing.T) {
	s := server(t, Options{})
	cmd := ssh(s, Alias, "echo up; sleep 100")
	wait := started(t, cmd)
	s.Cut()
	if err := within(t, wait, 5*time.Second); err == nil {
		t.Error("ssh ended well after a cut")
	}
	if got := output(t, s, "echo again"); got != "again\n" {
		t.Errorf("got %q", got)
	}
	s.Stop()
	time.Sleep(50 * time.Millisecond)
	if left := s.Commands(); len(left) != 0 {
		t.Errorf("commands outlive Stop: %v", left)
	}
}

func TestFreeze(t *testing.T) {
	s := server(t, Options{})
	cmd := ssh(s, "-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=1", Alias, "echo up; sleep 100")
	wait := started(t, cmd)
	s.Freeze()
	if err := within(t, wait, 10*time.Second); err == nil {
		t.Error("ssh ended well on a stalled line")
	}
	s.Thaw()
}

func TestStopEndsConnections(t *testing.T) {
	s := server(t, Options{})
	wait := started(t, ssh(s, Alias, "echo up; sleep 100"))
	s.Stop()
	s.Stop()
	if err := within(t, wait, 5*time.Second); err == nil {
		t.Error("ssh ended well after Stop")
	}
	if ssh(s, Alias, "true").Run() == nil {
		t.Error("the server still answers")
	}
}

func TestNoSSHD(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := findProgram("sshd", t.TempDir()); !errors.Is(err, ErrNoSSHD) {
		t.Errorf("got %v", err)
	}
}

// started starts an ssh whose command prints "up", waits for that, and returns what Wait will say.
func started(t *testing.T, cmd *exec.Cmd) <-chan error {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 3)
	if _, err := out.Read(line); err != nil || string(line) != "up\n" {
		t.Fatalf("%v: %q", err, line)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	return done
}

func within(t *testing.T, done <-chan error, d time.Duration) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(d):
		t.Fatalf("not over after %v", d)
		return nil
	}
}
