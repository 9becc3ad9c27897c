package sync_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	stdsync "sync"
	"syscall"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/profiles"
	"github.com/dnadesign-maintainers/usr/sync"
)

const jobVariable = "USR_FAULT_JOB"

// job is what a child does.
type job struct {
	Root       string
	Profile    profiles.Remote
	ID         string
	Direction  sync.Direction
	Undo       bool // instead of a transfer
	Force      bool
	Sync       bool // likewise
	NoExchange bool
	Keep       int  // generations; 0: as by default
	SpareFrom  int  // likewise
	Once       bool // a lost line is not dialled again
	Wordy      bool // warnings and what was copied are printed as well
	Timeout    time.Duration
	DieAt      int // dies when it is told of the step event of this number, counted from 1; 0: never
}

func TestMain(m *testing.M) {
	if text := os.Getenv(jobVariable); text != "" {
		os.Exit(work(text))
	}
	if spec := os.Getenv(writerVariable); spec != "" {
		os.Exit(writer(spec))
	}
	os.Exit(m.Run())
}

// work prints the step events, one a line, and what came of the transfer.
func work(text string) int {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		panic(err)
	}
	var mu stdsync.Mutex
	events := 0
	tell := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		events++
		fmt.Printf(format+"\n", args...)
		if events == j.DieAt {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	o := sync.Options{Root: j.Root, NoExchange: j.NoExchange, Observe: func(e sync.Event) {
		switch e := e.(type) {
		case sync.StepBegan:
			tell("began %s", e.Step)
		case sync.StepEnded:
			tell("ended %s", e.Step)
		case sync.Warned:
			if j.Wordy {
				fmt.Println("warning:", e.Text)
			}
		}
	}}
	if j.Once {
		o.RetryPauses = []time.Duration{}
	}
	ctx := context.Background()
	profile := &j.Profile
	if j.Undo && j.Direction == sync.Pull { // the local side's own
		profile, o.KeepGenerations = nil, max(1, j.Keep)
	}
	p, err := sync.Open(ctx, o, profile, sync.Reach{Getenv: os.Getenv, Stderr: os.Stderr})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer p.Close()
	if j.SpareFrom > 0 {
		p.SetSpareFrom(j.SpareFrom)
	}
	m := modes()
	m.LockTimeout, m.Force = j.Timeout, j.Force
	var r *sync.Report
	switch {
	case j.Undo:
		r, err = p.Undo(ctx, j.ID, m)
	case j.Sync:
		r, err = p.Sync(ctx, j.ID, m)
	default:
		r, err = p.Transfer(ctx, j.ID, j.Direction, m)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%T: %v\n", err, err)
		return 1
	}
	fmt.Println(r.State)
	if j.Wordy {
		fmt.Printf("copied %d files, %d bytes\n", r.Copied.Files, r.Copied.Bytes)
	}
	return 0
}

// child starts a transfer in another process, which leads a process group.
func (r *rig) child(j job) (*exec.Cmd, *strings.Builder) {
	r.Helper()
	cmd := r.command(os.Args[0], j)
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = time.Second // an orphaned ssh may hold the pipe for a moment
	r.must(cmd.Start())
	return cmd, out
}

func (r *rig) command(program string, j job) *exec.Cmd {
	r.Helper()
	j.Root, j.Profile, j.ID, j.SpareFrom = r.local, r.profile, faultID, r.spareFrom
	if j.Direction == "" {
		j.Direction = r.direction
	}
	text, err := json.Marshal(j)
	r.must(err)
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), jobVariable+"="+string(text))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// killTree kills a process, its group and all its descendants, with their groups.
func killTree(pid int) {
	for _, p := range slices.Backward(append([]int{pid}, descendants(pid)...)) {
		syscall.Kill(p, syscall.SIGKILL)
		syscall.Kill(-p, syscall.SIGKILL)
	}
}

func descendants(pid int) []int {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		panic(err)
	}
	children := map[int][]int{}
	for line := range strings.Lines(string(out)) {
		var p, parent int
		fmt.Sscan(line, &p, &parent)
		children[parent] = append(children[parent], p)
	}
	var found []int
	todo := children[pid]
	for len(todo) > 0 {
		p := todo[0]
		todo = append(todo[1:], children[p]...)
		found = append(found, p)
	}
	return found
}
