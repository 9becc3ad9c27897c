package sync_test

import (
	"os"
	"strings"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// TestFaultFileFlags: Homebrew's rsync and MacPorts' itemize twelve characters. A diff knows what they mean, and a transfer
// hashes and tells files as they arrive.
func TestFaultFileFlags(t *testing.T) {
	for _, d := range []sync.Direction{sync.Pull, sync.Push} {
		t.Run(string(d), func(t *testing.T) {
			r := emptyRig(t, d)
			r.overSSH(remotetest.Options{})
			r.write(r.src(), 1)
			bin := t.TempDir()
			r.must(remotetest.Shim(bin, "rsync", remotetest.FileFlags(remotetest.Real("rsync"))))
			t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			r.transferred()
			r.write(r.src(), 2)
			rep := r.diff()
			for _, ch := range rep.Changes {
				if width := len(ch.Flags); ch.Kind != sync.Deleted && width != 12 {
					t.Errorf("%s %s: %q", ch.Kind, ch.Path, ch.Flags)
				}
			}
			if len(rep.Silent) > 0 {
				t.Errorf("taken for what rsync does not see: %q", rep.Silent)
			}
			var told int64
			r.observe = func(e sync.Event) {
				if p, ok := e.(sync.Progressed); ok && !strings.HasPrefix(p.Phase, "hash") {
					told = max(told, p.Done)
				}
			}
			r.next(2)
			if told == 0 {
				t.Error("no progress was told")
			}
		})
	}
}
