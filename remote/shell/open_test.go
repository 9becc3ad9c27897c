package shell_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/shell"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
)

func TestOneConnection(t *testing.T) {
	s := server(t, remotetest.Options{})
	c := open(t, target(s), shell.Options{})
	root, _ := dataset(t)
	_, err := surveyOf(c, root, "ns/ds", "ns%2Fds")
	check(t, err)
	if n := c.Executions(); n != 2 {
		t.Errorf("%d ssh processes, want ssh -G and the master", n)
	}
	e := endpoint(t, c)
	if out, err := ride(e, "echo through the master"); out != "through the master\n" {
		t.Errorf("a rider says %q, %v", out, err)
	}
	if n := s.Authentications(); n != 1 {
		t.Errorf("%d authentications", n)
	}
	check(t, c.Close())
	if _, err := os.Stat(filepath.Dir(e.Shell[2])); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory of the socket is left: %v", err)
	}
	if out, err := ride(e, "echo connected"); err == nil || s.Authentications() != 1 {
		t.Errorf("without master the rider says %q, %v; %d authentications", out, err, s.Authentications())
	}
	gone(t, s)
}

// ride runs a command over the ssh that rsync would use.
func ride(e remote.Endpoint, command string) (string, error) {
	out, err := exec.Command(e.Shell[0], append(e.Shell[1:], e.Host, command)...).CombinedOutput()
	return string(out), err
}

// TestCiphers: whatever is preferred, a host that knows one cipher only is reached, and a list that the user has
// configured stands.
func TestCiphers(t *testing.T) {
	s := server(t, remotetest.Options{Lines: []string{"Ciphers chacha20-poly1305@openssh.com"}})
	open(t, target(s), shell.Options{})
	tg := target(s)
	var err error
	tg.ConfigFile, err = s.WriteConfig("own_ciphers", 0, "Ciphers chacha20-poly1305@openssh.com,aes128-ctr")
	check(t, err)
	open(t, tg, shell.Options{Options: ssh.Options{Command: func(argv []string) {
		if line := strings.Join(argv, " "); strings.Contains(line, "Ciphers=") {
			t.Errorf("the user's ciphers are overruled: %s", line)
		}
	}}})
}

func TestLazy(t *testing.T) {
	s := server(t, remotetest.Options{})
	c := open(t, target(s), shell.Options{Lazy: true})
	root, _ := dataset(t)
	v, err := surveyOf(c, root, "ns/ds", "ns%2Fds")
	if err != nil || len(v.Entries) != 6 {
		t.Errorf("%+v, %v", v, err)
	}
	tg := target(s)
	tg.Options = []string{"HostName=no-such-host.invalid"}
	c = open(t, tg, shell.Options{Lazy: true})
	if e, err := c.Endpoint(background); err == nil {
		t.Errorf("%v has no error", e)
	}
	var failed *remote.ConnectError
	if err := c.Ready(background); !errors.As(err, &failed) || failed.Reason != remote.UnknownHost {
		t.Errorf("Ready: %v", err)
	}
}

func TestLoginShells(t *testing.T) {
	for _, login := range []string{"bash", "dash", "zsh", "fish", "tcsh"} {
		for _, sh := range []string{"dash", "bash"} {
			t.Run(login+" and sh is "+sh, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				check(t, os.Symlink(remotetest.Real(sh), filepath.Join(dir, "sh")))
				s := server(t, remotetest.Options{Shell: login, Env: map[string]string{"PATH": dir + ":" + os.Getenv("PATH")}})
				session := open(t, target(s), shell.Options{})
				root, live := dataset(t)
				v, err := surveyOf(session, root, "ns/ds", "ns%2Fds")
				if err != nil || v.Live != live || len(v.Entries) != 6 {
					t.Errorf("%+v, %v", v, err)
				}
				out, err := session.Run(background, `printf '%s|' "$@"`, "a b", "", "it's\n$(x)\\")
				if err != nil || string(out) != "a b||it's\n$(x)\\|" {
					t.Errorf("%q, %v", out, err)
				}
			})
		}
	}
}

func TestNoise(t *testing.T) {
	s := server(t, remotetest.Options{Noise: "Welcome to\x1b[1m SCC!\n"})
	var noise *remote.NoiseError
	_, err := shell.Open(background, target(s), shell.Options{})
	if !errors.As(err, &noise) || noise.Text != `Welcome to\x1b[1m SCC!\x0a` {
		t.Errorf("%v", err)
	}
	c := open(t, target(s), shell.Options{Noisy: true})
	if got := c.Noise(); !strings.HasPrefix(got, "Welcome") {
		t.Errorf("noise %q", got)
	}
	check(t, c.Ping(background))
	s = server(t, remotetest.Options{NoiseStderr: "quota: 95%\n"})
	open(t, target(s), shell.Options{})
}

func TestUsersMaster(t *testing.T) {
	s := server(t, remotetest.Options{})
	dir := shortDir(t)
	config, err := s.WriteConfig("shared_config", 0, "ControlPath "+dir+"/%r", "ControlMaster auto", "ControlPersist 60")
	check(t, err)
	socket := filepath.Join(dir, "root")
	args := []string{"-F", config, remotetest.Alias}
	check(t, exec.Command("ssh", append([]string{"-M", "-N", "-f"}, args...)...).Run())
	defer exec.Command("ssh", append([]string{"-O", "exit"}, args...)...).Run()
	tg := target(s)
	tg.ConfigFile = config
	c := open(t, tg, shell.Options{})
	if n := s.Authentications(); n != 1 || !c.Conn().Reused() || c.Executions() != 2 {
		t.Errorf("%d authentications, reused %v, %d processes", n, c.Conn().Reused(), c.Executions())
	}
	if out, err := ride(endpoint(t, c), "echo ok"); out != "ok\n" {
		t.Errorf("%q, %v", out, err)
	}
	check(t, c.Close())
	if _, err := os.Stat(socket); err != nil {
		t.Errorf("the user's master is gone: %v", err)
	}
	// A socket with nobody behind it, and one that somebody else is behind.
	check(t, exec.Command("ssh", append([]string{"-O", "exit"}, args...)...).Run())
	within(t, time.Second, "no socket", func() bool { _, err := os.Stat(socket); return err != nil })
	l, err := net.Listen("unix", socket)
	check(t, err)
	go func() {
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			conn.Close()
		}
	}()
	defer l.Close()
	c = open(t, tg, shell.Options{})
	if c.Conn().Reused() || s.Authentications() != 2 || c.Executions() != 3 {
		t.Errorf("reused %v, %d authentications, %d processes", c.Conn().Reused(), s.Authentications(), c.Executions())
	}
	check(t, c.Ping(background))
}

// shortDir is a directory for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "u")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestKeptMaster(t *testing.T) {
	s := server(t, remotetest.Options{})
	runtime := shortDir(t)
	o := shell.Options{Options: ssh.Options{Env: append(os.Environ(), "XDG_RUNTIME_DIR="+runtime)}}
	tg := target(s)
	tg.ControlPersist = 30 * time.Second
	c := open(t, tg, o)
	socket := endpoint(t, c).Shell[2]
	if filepath.Dir(socket) != filepath.Join(runtime, "usr") {
		t.Errorf("kept at %s", socket)
	}
	check(t, c.Close())
	defer exec.Command("ssh", "-F", s.ConfigFile(), "-S", socket, "-O", "exit", remotetest.Alias).Run()
	tg.ControlPersist = 0 // finds it all the same
	c = open(t, tg, o)
	if !c.Conn().Reused() || s.Authentications() != 1 {
		t.Errorf("reused %v, %d authentications", c.Conn().Reused(), s.Authentications())
	}
	check(t, c.Close())
	if state, err := ssh.Check(background, tg, o.Options); err != nil || state.Socket != socket || !state.Live {
		t.Errorf("Check: %+v, %v", state, err)
	}
	s.Cut()
	within(t, 3*time.Second, "the kept master ends", func() bool {
		state, err := ssh.Check(background, tg, o.Options)
		return err == nil && !state.Live
	})
	check(t, os.Chmod(filepath.Dir(socket), 0o755))
	tg.ControlPersist = time.Second
	if _, err := shell.Open(background, tg, o); err == nil {
		t.Error("kept a connection where others can reach it")
	}
}

func endpoint(t *testing.T, c *shell.Session) remote.Endpoint {
	t.Helper()
	e, err := c.Endpoint(background)
	check(t, err)
	return e
}

// TestTransferHostUnreachable: it is told as what it is, by its name; and who dials it can be interrupted.
func TestTransferHostUnreachable(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer silent.Close()
	for _, c := range []struct {
		port   int
		reason remote.Reason
	}{{1, remote.Refused}, {silent.Addr().(*net.TCPAddr).Port, ""}} {
		s := server(t, remotetest.Options{})
		config := filepath.Join(t.TempDir(), "config")
		write(t, config, contents(t, s.ConfigFile())+fmt.Sprintf("Host transfer\n  HostName 127.0.0.1\n  Port %d\n", c.port))
		tg := target(s)
		tg.ConfigFile, tg.TransferHost = config, "transfer"
		session := open(t, tg, shell.Options{})
		ctx, cancel := context.WithTimeout(background, 300*time.Millisecond)
		if c.reason != "" {
			ctx = background
		}
		begin := time.Now()
		_, err := session.Endpoint(ctx)
		cancel()
		var failed *remote.ConnectError
		if c.reason != "" && (!errors.As(err, &failed) || failed.Reason != c.reason || !strings.Contains(err.Error(), "the transfer host transfer of ")) {
			t.Errorf("%v", err)
		}
		if took := time.Since(begin); c.reason == "" && (!errors.Is(err, context.DeadlineExceeded) || took > 2*time.Second) {
			t.Errorf("%v after %v", err, took)
		}
	}
}

func TestTransferHost(t *testing.T) {
	control, bulk := server(t, remotetest.Options{}), server(t, remotetest.Options{})
	text := contents(t, control.ConfigFile()) + strings.ReplaceAll(contents(t, bulk.ConfigFile()), "Host "+remotetest.Alias+"\n", "Host transfer\n")
	config := filepath.Join(t.TempDir(), "config")
	write(t, config, text)
	tg := target(control)
	tg.ConfigFile, tg.TransferHost = config, "transfer"
	c := open(t, tg, shell.Options{})
	if bulk.Connections() != 0 {
		t.Error("connected before there was anything to transfer")
	}
	e := endpoint(t, c)
	if out, err := ride(e, `echo "${SSH_CONNECTION##* }"`); e.Host != "transfer" || strings.TrimSpace(out) != strconv.Itoa(bulk.Port()) {
		t.Errorf("%s: %q, %v", e.Host, out, err)
	}
	endpoint(t, c)
	if bulk.Authentications() != 1 || control.Authentications() != 1 {
		t.Errorf("%d, %d authentications", bulk.Authentications(), control.Authentications())
	}
	check(t, c.Close())
	gone(t, bulk)
	gone(t, control)
}

func TestConnectErrors(t *testing.T) {
	s := server(t, remotetest.Options{})
	other := server(t, remotetest.Options{}) // another identity
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer silent.Close()
	port := strconv.Itoa(silent.Addr().(*net.TCPAddr).Port)
	for _, c := range []struct {
		options []string
		want    remote.Reason
	}{
		{[]string{"HostName=no-such-host.invalid"}, remote.UnknownHost},
		{[]string{"Port=1"}, remote.Refused},
		{[]string{"Port=" + port, "ConnectTimeout=1"}, remote.Timeout},
		{[]string{"IdentityFile=" + other.KeyFile(), "IdentityFile=/nonexistent", "PubkeyAuthentication=no"}, remote.Auth},
		{[]string{"UserKnownHostsFile=" + other.KnownHosts()}, remote.HostKey},
		{[]string{"UserKnownHostsFile=/dev/null"}, remote.NewHost},
		{[]string{"NoSuchOption=1"}, remote.Config},
	} {
		tg := target(s)
		tg.Options = c.options
		t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
		_, err := shell.Open(background, tg, shell.Options{})
		var failed *remote.ConnectError
		if !errors.As(err, &failed) || failed.Reason != c.want || failed.Detail == "" || strings.Contains(failed.Detail, "\n") {
			t.Errorf("%v: %v", c.options, err)
		}
	}
	_, err = shell.Open(background, target(s), shell.Options{Options: ssh.Options{Env: []string{"PATH=" + t.TempDir()}}})
	var tool *remote.ToolError
	if !errors.As(err, &tool) || tool.Tool != "ssh" {
		t.Errorf("without ssh: %v", err)
	}
}

func TestNoShell(t *testing.T) {
	s := server(t, remotetest.Options{Lines: []string{`ForceCommand echo This account is not available; exit 1`}})
	_, err := shell.Open(background, target(s), shell.Options{})
	var failed *remote.ConnectError
	if !errors.As(err, &failed) || failed.Reason != remote.NoShell || !strings.Contains(failed.Detail, "not available") {
		t.Errorf("%v", err)
	}
}

func TestOpenIsCancelled(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer silent.Close()
	s := server(t, remotetest.Options{})
	tg := target(s)
	tg.Options = []string{"Port=" + strconv.Itoa(silent.Addr().(*net.TCPAddr).Port)}
	ctx, cancel := context.WithTimeout(background, 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := shell.Open(ctx, tg, shell.Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if d := time.Since(begin); d > 2*time.Second {
		t.Errorf("took %s", d)
	}
}

func TestLostConnection(t *testing.T) {
	s := server(t, remotetest.Options{})
	c := open(t, target(s), shell.Options{})
	s.Cut()
	var failed *remote.ConnectError
	if _, err := c.Run(background, "echo"); !errors.As(err, &failed) || failed.Reason != remote.Lost {
		t.Errorf("%v", err)
	}
	check(t, c.Close())
}
