package rsync

import "syscall"

// group puts rsync into a process group of its own, and ends it if this program is killed: it would go on for
// hours. The kernel means the death of the starting thread, so the caller keeps that thread.
func group() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
