package rsync

import "syscall"

// group puts rsync into a process group of its own. If this program is killed, rsync finishes its transfer into a
// stage that nobody will promote.
func group() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
