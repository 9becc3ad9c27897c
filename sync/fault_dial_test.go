package sync_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/rsync"
	"github.com/dnadesign-maintainers/usr/sync"
)

// TestFaultDialRefused: a line is lost and the next dials are refused. All pauses are used; then it is an interruption.
func TestFaultDialRefused(t *testing.T) {
	t.Parallel()
	r := emptyRig(t, sync.Pull)
	relay := r.overRelay(0)
	r.write(r.src(), 1)
	r.observe = func(e sync.Event) {
		if ended, ok := e.(sync.StepEnded); ok && ended.Step == sync.StepCopy {
			relay.Close()
		}
	}
	var interrupted *sync.InterruptedError
	var refused *remote.ConnectError
	if _, err := r.run(sync.Pull, modes()); !errors.As(err, &interrupted) || !errors.As(err, &refused) || refused.Reason != remote.Refused {
		t.Fatalf("%v", err)
	}
	if n := strings.Count(strings.Join(r.warnings, "\n"), "trying again in"); n != 3 {
		t.Errorf("%d pauses were said: %q", n, r.warnings)
	}
}

// TestFaultOpenrsync: the other program under rsync's name is named at once, and nothing is staged.
func TestFaultOpenrsync(t *testing.T) {
	for name, script := range map[string]string{
		"Apple's":   remotetest.OpenRsync(remotetest.Real("rsync")),
		"OpenBSD's": "echo 'openrsync: protocol version 29' >&2; echo 'rsync: unrecognized option' >&2; exit 1",
	} {
		t.Run(name, func(t *testing.T) {
			r := emptyRig(t, sync.Pull)
			r.overSSH(remotetest.Options{})
			r.write(r.src(), 1)
			bin := t.TempDir()
			r.must(remotetest.Shim(bin, "rsync", script))
			t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			_, err := r.run(sync.Pull, modes())
			var tool *remote.ToolError
			if !errors.As(err, &tool) || !strings.Contains(tool.Detail, "openrsync") || r.warned("trying again") {
				t.Errorf("%v %q", err, r.warnings)
			}
			if _, err := os.Stat(filepath.Join(r.local, ".usr-sync", "stage")); err == nil {
				t.Error("something was staged")
			}
		})
	}
}

// TestFaultMaxSessions: a host that allows one session a connection is told as that, at once.
func TestFaultMaxSessions(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d sync.Direction) {
		t.Parallel()
		r := emptyRig(t, d)
		r.overSSH(remotetest.Options{Lines: []string{"MaxSessions 1"}})
		r.write(r.src(), 1)
		began := time.Now()
		_, err := r.run(d, modes())
		var copying *rsync.Error
		if !errors.As(err, &copying) || !copying.NoSession() || r.warned("trying again") || time.Since(began) > 15*time.Second {
			t.Errorf("%v after %v: %q", err, time.Since(began), r.warnings)
		}
	})
}
