package sync_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/rsync"
	"github.com/dnadesign-maintainers/usr/sync"
)

// farRig is a rig over ssh whose host has scripts in the place of programs.
func farRig(t *testing.T, scripts map[string]string) *rig {
	t.Helper()
	bin := t.TempDir()
	r := emptyRig(t, sync.Pull)
	for name, script := range scripts {
		r.must(remotetest.Shim(bin, name, script))
	}
	r.overSSH(remotetest.Options{Env: map[string]string{"PATH": bin + ":" + os.Getenv("PATH")}})
	r.write(r.src(), 1)
	return r
}

// within runs a transfer that has to end by itself.
func (r *rig) within(patience time.Duration) error {
	r.Helper()
	done := make(chan error, 1)
	go func() {
		p, err := sync.Open(context.Background(), sync.Options{Root: r.local, RetryPauses: []time.Duration{time.Millisecond}}, &r.profile, sync.Reach{Getenv: os.Getenv})
		if err == nil {
			defer p.Close()
			_, err = p.Transfer(context.Background(), faultID, r.direction, modes())
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		r.Fatal("it does not end")
		return nil
	}
}

// TestFaultEndlessListing: a listing of more than max_files is cut off; so is one whose only name does not end.
func TestFaultEndlessListing(t *testing.T) {
	t.Parallel()
	real := remotetest.Real("find")
	r := farRig(t, map[string]string{"find": `case "$*" in *ignore_readdir_race*) while :; do printf 'f 1 1.0 1.0 1 1 644 0 x%s\0' 1 2 3 4 5 6 7 8 9; done;; *) exec ` + real + ` "$@";; esac`})
	r.profile.MaxFiles = 20_000
	var flood *remote.FloodError
	if err := r.within(30 * time.Second); !errors.As(err, &flood) {
		t.Errorf("%v", err)
	}
	r = farRig(t, map[string]string{"find": `case "$*" in *ignore_readdir_race*) printf 'f 1 1.0 1.0 1 1 644 0 x'; head -c 1000000 /dev/zero | tr '\0' x; sleep 1;; *) exec ` + real + ` "$@";; esac`})
	if err := r.within(30 * time.Second); err == nil {
		t.Error("a name of a megabyte was taken")
	}
}

// TestFaultFarMoreBytes: of a file that was listed as small far more comes: it is cut off.
func TestFaultFarMoreBytes(t *testing.T) {
	t.Parallel()
	r := farRig(t, nil)
	big := filepath.Join(r.src(), "_derived", "same", "part-0.parquet")
	r.observe = func(e sync.Event) {
		if began, ok := e.(sync.StepBegan); ok && began.Step == sync.StepCopy {
			r.must(os.Truncate(big, 10<<30))
		}
	}
	_, err := r.run(sync.Pull, modes())
	var copying *rsync.Error
	if !errors.As(err, &copying) || !copying.TooLarge() {
		t.Errorf("%v", err)
	}
	r.observe = nil
	filepath.Walk(r.local, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Size() > 200<<20 {
			t.Errorf("%s has %d bytes", path, info.Size())
		}
		return nil
	})
}

// TestFaultEndlessWords: an rsync of the host that prints without end is given up.
func TestFaultEndlessWords(t *testing.T) {
	t.Parallel()
	real := remotetest.Real("rsync")
	for name, scripts := range map[string]map[string]string{
		"rsync, stderr": {"rsync": "yes 'all is well' >&2 & " + real + ` "$@"; wait`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := farRig(t, scripts)
			var copying *rsync.Error
			if err := r.within(100 * time.Second); !errors.As(err, &copying) || !copying.Flooded() {
				t.Errorf("%T %v", err, err)
			}
		})
	}
}
