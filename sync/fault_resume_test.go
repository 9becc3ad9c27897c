package sync_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// TestFaultResumeUnverified: an interrupted large file arrives with an rsync that cannot go on with a partial file in an
// absolute directory, and it goes on; with one that cannot use a partial file at all it comes anew, in the same run.
func TestFaultResumeUnverified(t *testing.T) {
	for name, any := range map[string]bool{"absolute": false, "any": true} {
		t.Run(name, func(t *testing.T) {
			const size = 20 << 20
			r := emptyRig(t, sync.Pull)
			relay := r.overRelay(0)
			r.write(r.src(), 1)
			r.noise("_derived/big.parquet", size)
			_, down := relay.Bytes()
			cmd, _ := r.child(job{})
			for now := down; now-down < size/2; _, now = relay.Bytes() {
				time.Sleep(time.Millisecond)
			}
			killTree(cmd.Process.Pid)
			cmd.Wait()
			bin, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
			r.must(remotetest.Shim(bin, "rsync", remotetest.Unverified(remotetest.Real("rsync"), filepath.Join(r.local, ".usr-sync/stage"), log, any)))
			t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			_, down = relay.Bytes()
			r.transferred()
			_, now := relay.Bytes()
			if !any && now-down > size*3/4 {
				t.Errorf("%d of %d bytes after half of them", now-down, size)
			}
			if _, err := os.Stat(log); any != (err == nil) {
				t.Errorf("did it fail to go on? %v", err)
			}
			r.same()
			r.clean()
			if _, err := os.Lstat(filepath.Join(r.dst(), "_derived", ".usr-partial")); err == nil {
				t.Error("a partial directory was promoted")
			}
		})
	}
}
