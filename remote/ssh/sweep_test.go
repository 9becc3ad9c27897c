package ssh

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSweep(t *testing.T) {
	base, err := os.MkdirTemp("", "s") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(base)
	old := time.Now().Add(-2 * sweepAge)
	for _, name := range []string{"usr-1", "usr-2", "usr-3", "usr-4", "other-5"} {
		dir := filepath.Join(base, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if name == "usr-2" || name == "usr-3" { // a living and a dead one
			l, err := net.Listen("unix", dir+"/m")
			if err != nil {
				t.Fatal(err)
			}
			if name == "usr-3" {
				l.(*net.UnixListener).SetUnlinkOnClose(false)
				l.Close()
			} else {
				defer l.Close()
			}
		}
		if name != "usr-4" { // that one is young
			os.Chtimes(dir, old, old)
		}
	}
	sweep(base, time.Now())
	for name, stays := range map[string]bool{"usr-1": false, "usr-2": true, "usr-3": false, "usr-4": true, "other-5": true} {
		if _, err := os.Lstat(filepath.Join(base, name)); (err == nil) != stays {
			t.Errorf("%s: %v", name, err)
		}
	}
}
