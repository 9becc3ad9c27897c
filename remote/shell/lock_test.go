package shell_test

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/shell"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
)

func TestLocks(t *testing.T) {
	s, session := connect(t)
	root, live := dataset(t)
	for _, lock := range []func() error{
		func() error { _, err := session.Lock(background, live, time.Second, false); return err },
		func() error { return session.At(root).Claim(background, "k", time.Second) },
	} {
		check(t, lock())
		if lock() == nil {
			t.Error("locked twice")
		}
	}
	files := []string{live + "/.usr.lock", root + "/.usr-sync/journal/k.lock"}
	for _, f := range files {
		if free(t, f) {
			t.Errorf("%s is free", f)
		}
	}
	check(t, session.Locked(background))
	check(t, session.Unlock(background))
	if !free(t, files[0]) || free(t, files[1]) {
		t.Error("Unlock and the claim are not two things")
	}
	check(t, session.Release(background))
	if !free(t, files[1]) {
		t.Error("the claim is held after Release")
	}
	within(t, time.Second, "the watchdog sleeps no more", func() bool { return len(s.Commands()) == 1 })
}

// free asks flock(1) and Python.
func free(t *testing.T, file string) bool {
	t.Helper()
	byFlock := unlocked(file)
	byPython := exec.Command("/usr/bin/python3", "-c", `import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)`, file).Run() == nil
	if byFlock != byPython {
		t.Errorf("%s: flock says %v, Python %v", file, byFlock, byPython)
	}
	return byFlock
}

func unlocked(file string) bool { return exec.Command("flock", "-n", file, "true").Run() == nil }

func TestLockHolder(t *testing.T) {
	s, session := connect(t)
	_, live := dataset(t)
	for _, argv := range [][]string{
		{"flock", live + "/.usr.lock", "sh", "-c", "echo; read x"},
		{"sh", "-c", `exec 7>>"$0"; flock 7; echo; read x`, live + "/.usr.lock"}, // the kernel knows only flock(1), which has ended
	} {
		cmd := exec.Command(argv[0], argv[1:]...)
		in, err := cmd.StdinPipe()
		check(t, err)
		out, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		bufio.NewReader(out).ReadString('\n')
		begin := time.Now()
		_, err = session.Lock(background, live, 1200*time.Millisecond, false)
		var locked *remote.LockError
		if !errors.As(err, &locked) || !strings.Contains(locked.Holder, ".usr.lock") || !strings.Contains(locked.Holder, "root") {
			t.Errorf("%v", err)
		}
		if d := time.Since(begin); d < 1200*time.Millisecond || d > 3*time.Second {
			t.Errorf("waited %s", d)
		}
		in.Close()
		io.Copy(io.Discard, out)
		cmd.Wait()
	}
	_, err := session.Lock(background, live, 0, false)
	check(t, err)
	other := open(t, target(s), shell.Options{})
	_, err = other.Lock(background, live, 0, false)
	var locked *remote.LockError
	if !errors.As(err, &locked) || !strings.HasPrefix(locked.Holder, "usr of ") {
		t.Errorf("held by ourselves: %v", err)
	}
}

func TestLockOutlivesBeats(t *testing.T) {
	s := server(t, remotetest.Options{})
	session := open(t, target(s), shell.Options{Watchdog: time.Second})
	_, live := dataset(t)
	_, err := session.Lock(background, live, 0, false)
	check(t, err)
	_, err = session.Run(background, "sleep 2.5")
	check(t, err)
	check(t, session.Locked(background))
}

// TestWatchdog: a line that is there and carries nothing.
func TestWatchdog(t *testing.T) {
	s := server(t, remotetest.Options{})
	c := open(t, target(s), shell.Options{Watchdog: time.Second})
	root, live := dataset(t)
	check(t, c.At(root).Claim(background, "k", 0))
	_, err := c.Lock(background, live, 0, false)
	check(t, err)
	go c.Run(background, "sleep 30") // what is under way must not keep the lock
	time.Sleep(100 * time.Millisecond)
	s.Freeze()
	defer s.Thaw()
	within(t, 3*time.Second, "the locks are free", func() bool {
		return unlocked(live+"/.usr.lock") && unlocked(root+"/.usr-sync/journal/k.lock")
	})
	gone(t, s)
	begin := time.Now()
	c.Close()
	if d := time.Since(begin); d > 4*time.Second {
		t.Errorf("Close took %s on a dead line", d)
	}
}

// TestHold is the process that TestClientDies kills; alone it does nothing.
func TestHold(t *testing.T) {
	config := os.Getenv("HOLD_CONFIG")
	if config == "" {
		return
	}
	c, err := shell.Open(background, ssh.Target{Name: "scc", Host: remotetest.Alias, ConfigFile: config, BatchMode: true}, shell.Options{})
	check(t, err)
	_, err = c.Lock(background, os.Getenv("HOLD_LIVE"), 0, false)
	check(t, err)
	go c.Run(background, "sleep 60")
	time.Sleep(100 * time.Millisecond)
	os.Stdout.WriteString("held\n")
	time.Sleep(time.Minute)
}

func TestClientDies(t *testing.T) {
	s := server(t, remotetest.Options{})
	_, live := dataset(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestHold$", "-test.v")
	cmd.Env = append(os.Environ(), "HOLD_CONFIG="+s.ConfigFile(), "HOLD_LIVE="+live, "XDG_RUNTIME_DIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "held"; {
	}
	if free(t, filepath.Join(live, ".usr.lock")) {
		t.Error("it was never locked")
	}
	check(t, cmd.Process.Kill())
	begin := time.Now()
	within(t, 2*time.Second, "the lock is free", func() bool { return unlocked(live + "/.usr.lock") })
	t.Logf("free after %s", time.Since(begin))
	gone(t, s)
	cmd.Wait()
}

func isPermission(err error) bool { return errors.Is(err, fs.ErrPermission) }

func TestWithoutFlock(t *testing.T) {
	bin := t.TempDir()
	check(t, remotetest.HidePath(bin, "flock"))
	s := server(t, remotetest.Options{Env: map[string]string{"PATH": bin}})
	session := open(t, target(s), shell.Options{})
	root, live := dataset(t)
	var tool *remote.ToolError
	if _, err := session.Lock(background, live, 0, true); !errors.As(err, &tool) || tool.Tool != "flock" || tool.Where == "" {
		t.Errorf("%v", err)
	}
	if err := session.At(root).Claim(background, "k", 0); !errors.As(err, &tool) {
		t.Errorf("%v", err)
	}
}
