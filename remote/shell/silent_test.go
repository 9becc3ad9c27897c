package shell_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/shell"
	"github.com/dnadesign-maintainers/usr/verify"
)

// silentAfter fails unless an error is that of a host that says nothing, and comes in time.
func silentAfter(t *testing.T, begin time.Time, err error) {
	t.Helper()
	var conn *remote.ConnectError
	if !errors.As(err, &conn) || conn.Reason != remote.Silent {
		t.Errorf("a host that says nothing: %v", err)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

// shimmed is a host with a script in the place of a program.
func shimmed(t *testing.T, program, script string) *remotetest.Server {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "bin")
	check(t, remotetest.HidePath(bin))
	check(t, remotetest.Shim(bin, program, script))
	return server(t, remotetest.Options{Env: map[string]string{"PATH": bin}})
}

// TestSilentHost: no request waits without end on a host that answers nothing although the line is up: a program that hangs,
// as on a dead file system, or a shell that was stopped, whether it is listened to or spoken to.
func TestSilentHost(t *testing.T) {
	t.Run("a program hangs", func(t *testing.T) {
		t.Parallel()
		s := shimmed(t, "find", "case $1 in /) exec "+remotetest.Real("find")+` "$@";; esac; exec sleep 1000`)
		c := open(t, target(s), shell.Options{Silence: time.Second})
		_, live := dataset(t)
		begin := time.Now()
		silentAfter(t, begin, c.Walk(background, live, func(verify.Entry) {}))
		if err := c.Ping(background); err == nil {
			t.Error("it goes on on a line that is out of step")
		}
	})
	for name, payload := range map[string]int{"the shell is stopped": 0, "the shell is stopped, and spoken to at length": 20_000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := server(t, remotetest.Options{})
			c := open(t, target(s), shell.Options{Silence: time.Second})
			out, err := c.Run(background, "echo $$")
			check(t, err)
			pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
			check(t, err)
			check(t, syscall.Kill(pid, syscall.SIGSTOP))
			t.Cleanup(func() { syscall.Kill(pid, syscall.SIGKILL) })
			begin := time.Now()
			_, err = c.Run(background, "true", strings.Split(strings.Repeat("a word,", payload), ",")...)
			silentAfter(t, begin, err)
		})
	}
}

// TestSlowHost: what is slow and goes on is waited for, and so is what has much to read before it can say anything.
func TestSlowHost(t *testing.T) {
	t.Parallel()
	s := shimmed(t, "find", `case $1 in /) exec `+remotetest.Real("find")+` "$@";; esac
`+remotetest.Real("find")+` "$@" | perl -e '$| = 1; $/ = "\0"; while (<STDIN>) { select undef, undef, undef, 0.4; print }' `)
	c := open(t, target(s), shell.Options{Silence: 2 * time.Second})
	_, live := dataset(t)
	for _, name := range strings.Fields("a b c d e f g h") {
		write(t, filepath.Join(live, name), name)
	}
	n := 0
	check(t, c.Walk(background, live, func(verify.Entry) { n++ }))
	if n < 8 {
		t.Errorf("%d names", n)
	}
}

// TestSlowHash: a large file is hashed without a word in between.
func TestSlowHash(t *testing.T) {
	t.Parallel()
	s := shimmed(t, "b3sum", "sleep 3; exec "+remotetest.Real("b3sum")+` "$@"`)
	c := open(t, target(s), shell.Options{Silence: 2 * time.Second})
	_, live := dataset(t)
	file := filepath.Join(live, "large")
	write(t, file, "")
	check(t, os.Truncate(file, 20<<20))
	e, err := verify.StatEntry(file)
	check(t, err)
	e.Path = "large"
	check(t, c.Hash(background, live, "blake3", []*verify.Entry{&e}, func(_ string, _ verify.Digest, err error) { check(t, err) }))
}
