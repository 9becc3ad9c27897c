package remotetest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a line of the process table.
type process struct {
	pid, parent int
	name        string
}

// processes reads the process table: /proc where there is one, for a container may lack ps, else ps.
func processes() []process {
	if table := procTable(); len(table) > 0 {
		return table
	}
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=,comm=").Output()
	if err != nil {
		return nil
	}
	var table []process
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		pid, _ := strconv.Atoi(f[0])
		parent, _ := strconv.Atoi(f[1])
		table = append(table, process{pid, parent, filepath.Base(f[2])})
	}
	return table
}

func procTable() []process {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var table []process
	for _, path := range stats {
		text, err := os.ReadFile(path)
		// The name stands in parentheses and may hold any character, parentheses too.
		open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
		if err != nil || open < 0 || end < open {
			continue
		}
		var state string
		p := process{name: string(text[open+1 : end])}
		_, _ = fmt.Sscan(string(text[:open]), &p.pid)
		_, _ = fmt.Sscan(string(text[end+1:]), &state, &p.parent)
		if state != "Z" {
			table = append(table, p)
		}
	}
	return table
}

// children lists all descendants of the listener.
func (s *Server) children() []process {
	table := processes()
	known := []int{s.cmd.Process.Pid}
	var found []process
	for i := 0; i < len(known); i++ {
		for _, p := range table {
			if p.parent == known[i] && p.pid != p.parent {
				known = append(known, p.pid)
				found = append(found, p)
			}
		}
	}
	return found
}

// connections lists the sshd processes of connections, without the commands that run in them: to those a cut or
// a stalled line looks as it does on a real host.
func (s *Server) connections() []process {
	return slices.DeleteFunc(s.children(), func(p process) bool { return !strings.Contains(p.name, "sshd") })
}

// Cut ends all connections at once, as a network that is gone for good does, and goes on listening. Remote
// commands are not killed: they find their ends closed.
func (s *Server) Cut() {
	victims := s.connections()
	signal(victims, syscall.SIGKILL)
	waitGone(victims, 2*time.Second)
}

// Freeze makes all present connections stall: they stay open and carry nothing. New ones work.
func (s *Server) Freeze() { signal(s.connections(), syscall.SIGSTOP) }

// Thaw ends what Freeze began.
func (s *Server) Thaw() { signal(s.connections(), syscall.SIGCONT) }

func signal(victims []process, sig syscall.Signal) {
	for _, p := range victims {
		_ = syscall.Kill(p.pid, sig)
	}
}

// Commands lists the processes that remote commands of this server left running, also those that outlived their
// connection. Linux only; elsewhere it is empty.
func (s *Server) Commands() []int { return commandsOf(s.port) }

// commandsOf finds processes by the SSH_CONNECTION in their environment. sshd itself has none.
func commandsOf(port int) []int {
	mine := regexp.MustCompile(fmt.Sprintf(`(^|\x00)SSH_CONNECTION=127\.0\.0\.1 \d+ 127\.0\.0\.1 %d\x00`, port))
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	var pids []int
	for _, path := range files {
		if text, err := os.ReadFile(path); err == nil && mine.Match(text) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// waitGone waits until none of the processes is left, for at most d.
func waitGone(victims []process, d time.Duration) {
	for deadline := time.Now().Add(d); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		table := processes()
		if !slices.ContainsFunc(victims, func(v process) bool {
			return slices.ContainsFunc(table, func(p process) bool { return p.pid == v.pid && p.name == v.name })
		}) {
			return
		}
	}
}

// guard ends a server whose test or demo was killed: it waits for the end of a pipe that only this process holds.
type guard struct {
	cmd  *exec.Cmd
	pipe io.Closer
}

func guardProcess(pid int) (*guard, error) {
	cmd := exec.Command("/bin/sh", "-c", `read -r x || kill -KILL "$1"`, "guard", strconv.Itoa(pid))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &guard{cmd, pipe}, cmd.Start()
}

func (g *guard) dismiss() {
	_ = g.cmd.Process.Kill()
	_ = g.pipe.Close()
	_ = g.cmd.Wait()
}
