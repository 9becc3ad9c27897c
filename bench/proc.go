package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// What /proc tells (proc(5)). Where there is none, the figures are zero.

// tick is the unit of times in /proc/PID/stat; USER_HZ is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// statFields are the fields of /proc/PID/stat after the command's name: number 3 of proc(5) is the first.
func statFields(pid int) (name string, fields []string) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return "", nil
	}
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return "", nil
	}
	return string(text[open+1 : end]), strings.Fields(string(text[end+1:]))
}

// waitedTime is the processor time of the children that a process has waited for, and of theirs.
func waitedTime(pid int) time.Duration {
	_, fields := statFields(pid)
	if len(fields) < 15 {
		return 0
	}
	user, _ := strconv.Atoi(fields[13])
	system, _ := strconv.Atoi(fields[14])
	return time.Duration(user+system) * tick
}

// children are the processes whose parent is pid.
func children(pid int) []int {
	var found []int
	paths, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range paths {
		child, _ := strconv.Atoi(filepath.Base(p))
		if _, fields := statFields(child); len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			found = append(found, child)
		}
	}
	return found
}

// childNamed finds a child of this process.
func childNamed(name string) int {
	for _, pid := range children(os.Getpid()) {
		if n, _ := statFields(pid); n == name {
			return pid
		}
	}
	return 0
}

// waitIdle waits until a server has no connection, for at most two seconds: only then is all that it did accounted.
func waitIdle(pid int) {
	for deadline := time.Now().Add(2 * time.Second); pid != 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if len(children(pid)) == 0 {
			return
		}
	}
}

// memoryPeak is the largest resident size of a process so far, in bytes.
func memoryPeak(pid int) int64 {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	_, rest, found := strings.Cut(string(text), "VmHWM:")
	if !found {
		return 0
	}
	kilobytes, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	return kilobytes << 10
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	_, rest, _ := strings.Cut(string(text), "model name")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(strings.TrimLeft(line, "\t :"))
}

// fileSystem is the type of the file system that holds dir.
func fileSystem(dir string) string {
	full, err := filepath.Abs(dir)
	if err != nil {
		return "unknown"
	}
	text, _ := os.ReadFile("/proc/self/mounts")
	longest, kind := "", "unknown"
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		inside := len(f) > 2 && strings.HasPrefix(full+"/", strings.TrimSuffix(f[1], "/")+"/")
		if inside && len(f[1]) >= len(longest) {
			longest, kind = f[1], f[2]
		}
	}
	return kind
}

// hostLoad is what was seen of the processes on a login node and in a job.
type hostLoad struct {
	busiest     time.Duration // the most processor time that one on the login node spent itself
	name        string        // of that
	login, node int64         // bytes of memory of the largest on either
}

// watchHost looks at the processes below an sshd, and below Slurm's, until the function that it returns is called.
func watchHost(sshd int) func() hostLoad {
	stop, result := make(chan struct{}), make(chan hostLoad)
	go func() {
		var load hostLoad
		for {
			load.look(sshd)
			select {
			case <-stop:
				result <- load
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return func() hostLoad { close(stop); return <-result }
}

func (l *hostLoad) look(sshd int) {
	type process struct {
		parent int
		name   string
		spent  time.Duration
	}
	all := map[int]process{}
	paths, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range paths {
		pid, _ := strconv.Atoi(filepath.Base(p))
		if name, fields := statFields(pid); len(fields) > 12 {
			parent, _ := strconv.Atoi(fields[1])
			user, _ := strconv.Atoi(fields[11])
			system, _ := strconv.Atoi(fields[12])
			all[pid] = process{parent, name, time.Duration(user+system) * tick}
		}
	}
	for pid, p := range all {
		for above := p.parent; above > 1; above = all[above].parent {
			if above == sshd {
				l.login = max(l.login, memoryPeak(pid))
				if p.spent > l.busiest {
					l.busiest, l.name = p.spent, p.name
				}
			} else if all[above].name == "slurmstepd" {
				l.node = max(l.node, memoryPeak(pid))
			}
		}
	}
}
