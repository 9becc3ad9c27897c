package ssh

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// sweepAge is how old a directory of a control socket must be: a younger one may still be asking a person.
const sweepAge = time.Hour

// sweep removes directories of private control sockets that killed runs left below base: ours, old, and with nobody
// listening.
func sweep(base string, now time.Time) {
	dirs, _ := filepath.Glob(filepath.Join(base, "usr-[0-9]*"))
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || now.Sub(info.ModTime()) < sweepAge {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Getuid() {
			continue
		}
		socket := filepath.Join(dir, "m")
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			continue
		}
		os.Remove(socket)
		os.Remove(dir) // only if nothing else is in it: a directory of kept masters has sockets of other names
	}
}
