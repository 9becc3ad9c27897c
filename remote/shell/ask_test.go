package shell_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	stdsync "sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/shell"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
)

// TestOnTerminal is the process that the tests below run on a terminal; alone it does nothing.
func TestOnTerminal(t *testing.T) {
	config := os.Getenv("ASK_CONFIG")
	if config == "" {
		return
	}
	signal.Notify(make(chan os.Signal, 1), os.Interrupt) // as the command does
	tg := ssh.Target{Name: "scc", Host: remotetest.Alias, ConfigFile: config, BatchMode: true}
	c, err := shell.Open(background, tg, shell.Options{Options: ssh.Options{Interactive: true, Stderr: os.Stderr}})
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString("connected\n")
	// Ctrl-C reaches the whole process group; the conversation must survive it.
	exec.Command("sh", "-c", `trap "" INT; kill -INT 0`).Run()
	time.Sleep(200 * time.Millisecond)
	check(t, c.Ping(background))
	os.Stdout.WriteString("survived\n")
	check(t, c.Close())
}

// terminal runs TestOnTerminal and answers.
type terminal struct {
	mu  stdsync.Mutex
	out bytes.Buffer
	tty *os.File
	cmd *exec.Cmd
}

func onTerminal(t *testing.T, s *remotetest.Server) *terminal {
	t.Helper()
	x := &terminal{cmd: exec.Command(os.Args[0], "-test.run=^TestOnTerminal$", "-test.v")}
	x.cmd.Env = append(os.Environ(), "ASK_CONFIG="+s.ConfigFile(), "XDG_RUNTIME_DIR="+t.TempDir())
	tty, err := pty.Start(x.cmd)
	check(t, err)
	x.tty = tty
	go io.Copy(x, tty)
	t.Cleanup(func() { x.cmd.Process.Kill(); x.cmd.Wait(); tty.Close() })
	return x
}

func (x *terminal) Write(b []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.out.Write(b)
}

func (x *terminal) text() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.out.String()
}

func (x *terminal) shows(t *testing.T, text string) {
	t.Helper()
	for begin := time.Now(); !strings.Contains(x.text(), text); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("the terminal does not show %q but %q", text, x.text())
		}
	}
}

func TestAsksOnce(t *testing.T) {
	s := server(t, remotetest.Options{Question: &remotetest.Question{Text: "Duo push or passcode", Answer: "123456"}})
	x := onTerminal(t, s)
	x.shows(t, "Password: ")
	io.WriteString(x.tty, "123456\n")
	x.shows(t, "connected")
	x.shows(t, "survived")
	check(t, x.cmd.Wait())
	if n := s.Authentications(); n != 1 {
		t.Errorf("%d authentications", n)
	}
	gone(t, s)
}

// TestAsksNobody: without a terminal it fails at once.
func TestAsksNobody(t *testing.T) {
	s := server(t, remotetest.Options{Question: &remotetest.Question{Text: "Duo", Answer: "1"}})
	_, err := shell.Open(background, target(s), shell.Options{})
	if failed, ok := err.(*remote.ConnectError); !ok || failed.Reason != remote.Auth {
		t.Errorf("%v", err)
	}
}

func TestOrdinaryUser(t *testing.T) {
	u, err := remotetest.OrdinaryUser()
	check(t, err)
	s := server(t, remotetest.Options{User: &u})
	session := open(t, target(s), shell.Options{})
	root := filepath.Join(s.Home(), "root")
	write(t, filepath.Join(root, "ds", "records.parquet"), "x")
	write(t, filepath.Join(root, "ds", "secret", "x"), "x")
	write(t, filepath.Join(root, "closed", "ds", "records.parquet"), "x")
	check(t, os.Chmod(filepath.Join(root, "ds", "secret"), 0o700))
	check(t, os.Chmod(filepath.Join(root, "closed"), 0o700))
	for _, id := range []string{"ds", "closed/ds", "closed/other"} {
		if v, err := surveyOf(session, root, id, "k"); !isPermission(err) {
			t.Errorf("%s: %+v, %v", id, v, err)
		}
	}
	if err := session.At(root).Claim(background, "k", 0); !isPermission(err) {
		t.Errorf("Claim: %v", err)
	}
	locked, err := session.Lock(background, filepath.Join(root, "ds"), 0, true)
	if locked || err != nil {
		t.Errorf("a lock that cannot be made: %v, %v", locked, err)
	}
	if _, err := session.Lock(background, filepath.Join(root, "ds"), 0, false); !isPermission(err) {
		t.Errorf("%v", err)
	}
	write(t, filepath.Join(root, "ds", ".usr.lock"), "") // another user's, readable
	locked, err = session.Lock(background, filepath.Join(root, "ds"), 0, true)
	if !locked || err != nil || free(t, filepath.Join(root, "ds", ".usr.lock")) {
		t.Errorf("a lock file of another: %v, %v", locked, err)
	}
}
