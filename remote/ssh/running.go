package ssh

import (
	stdsync "sync"
	"syscall"
	"time"
)

// running are the lines whose ssh has not ended.
var running stdsync.Map // *Line to nothing

// Abandon ends every ssh of a conversation when the program is about to end at once: they would stay behind in process
// groups of their own. A kept master is another process by then, and stays.
func Abandon() {
	signal := func(s syscall.Signal) {
		running.Range(func(l, _ any) bool {
			l.(*Line).cmd.Process.Signal(s)
			return true
		})
	}
	signal(syscall.SIGTERM) // lets ssh restore a terminal, and remove its socket
	deadline := time.After(500 * time.Millisecond)
	running.Range(func(l, _ any) bool {
		select {
		case <-l.(*Line).done:
		case <-deadline:
			signal(syscall.SIGKILL)
			return false
		}
		return true
	})
}
