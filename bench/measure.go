package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// sample is what one run took.
type sample struct {
	wall        time.Duration
	here, there time.Duration // processor time of the commands on this end, and of sshd and what it started
	peak        int64         // bytes of memory of the first process, without those that it starts
	wire        int64         // bytes both ways; 0 if there was no relay to count them
	connections int
	sessions    int // remote commands
	executions  int // of ssh
}

// counters are read before and after a run.
type counters struct {
	there                             time.Duration
	wire                              int64
	connections, sessions, executions int
}

func (b *bench) counters() counters {
	c := counters{
		there:       waitedTime(b.sshd),
		connections: b.server.Connections(),
		sessions:    strings.Count(b.server.Log(), "Starting session: "),
	}
	if text, err := os.ReadFile(b.path("executions")); err == nil {
		c.executions = len(text)
	}
	if b.relay != nil {
		up, down := b.relay.Bytes()
		c.wire = up + down
	}
	return c
}

// measure runs a command line. It fails if the command does.
func (b *bench) measure(argv []string) (sample, error) {
	before := b.counters()
	var said bytes.Buffer
	cmd := exec.CommandContext(b.ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = b.environment(), &said, &said
	cmd.WaitDelay = time.Second // a process that outlives the command may hold its output
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return sample{}, err
	}
	peak := watchMemory(cmd.Process.Pid)
	err := cmd.Wait()
	s := sample{wall: time.Since(start), peak: peak()}
	if err != nil {
		return s, fmt.Errorf("cannot measure %q: %w: %s", argv, err, lastLines(said.String(), 5))
	}
	waitIdle(b.sshd)
	s.here = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	s.add(before, b.counters())
	return s, nil
}

func (s *sample) add(before, after counters) {
	s.there = after.there - before.there
	s.wire = after.wire - before.wire
	s.connections = after.connections - before.connections
	s.sessions = after.sessions - before.sessions
	s.executions = after.executions - before.executions
}

// watchMemory follows the peak of a process until the function that it returns is called. The kernel's own account
// of a child that has ended (wait4) would count what this process had in memory when it forked.
func watchMemory(pid int) (peak func() int64) {
	stop, result := make(chan struct{}), make(chan int64)
	go func() {
		var most int64
		for {
			most = max(most, memoryPeak(pid))
			select {
			case <-stop:
				result <- most
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() int64 { close(stop); return <-result }
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
