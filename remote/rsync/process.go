package rsync

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// termGrace is how long a signalled rsync has to put its partial file in place.
	termGrace = 3 * time.Second
	killGrace = time.Second
)

var (
	errStalled = errors.New("no progress")
	errFlooded = errors.New("it prints without end, and was stopped")
)

// process is one run of the local rsync, in a process group of its own: killing rsync's parent alone would leave
// its receiver writing on.
type process struct {
	what    string // "copy files"
	args    []string
	stdin   func(io.Writer) error // may be nil
	stall   time.Duration
	command func(argv []string)
	most    int64 // bytes that it may print
	largest int64 // bytes of the largest file that it may write; 0: no bound
}

// run returns an *Error, or nil.
func (p *process) run(ctx context.Context, out *output) error {
	program, err := find(packaged[runtime.GOOS])
	if err != nil {
		return &Error{what: p.what, Code: 127, err: err}
	}
	if err := ctx.Err(); err != nil {
		return &Error{what: p.what, err: err}
	}
	if p.command != nil {
		p.command(append([]string{"rsync"}, p.args...))
	}
	cmd := exec.Command(program, p.args...)
	if p.largest > 0 {
		script := `ulimit -f "$1" && shift && exec "$@"`
		blocks := strconv.FormatInt(p.largest/512+1, 10) // POSIX's
		cmd = exec.Command("/bin/sh", append([]string{"-c", script, "sh", blocks, program}, p.args...)...)
	}
	cmd.Env = environment(os.Environ())
	cmd.SysProcAttr = group()
	runtime.LockOSThread() // see group
	defer runtime.UnlockOSThread()
	return p.finish(ctx, out, cmd)
}

func (p *process) finish(ctx context.Context, out *output, cmd *exec.Cmd) error {
	stopped, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var seen messages
	watch := &stallWatch{after: p.stall, bark: func() { stop(errStalled) }}
	flooded := func() { stop(errFlooded) }
	read, err := p.start(cmd, func(r io.Reader) { out.read(&bounded{watch.over(r), p.most, flooded}) },
		func(r io.Reader) { seen.read(&bounded{r, p.most, flooded}) })
	if err != nil {
		return &Error{what: p.what, err: err}
	}
	exited := make(chan struct{})
	go func() {
		cmd.Wait() // the state is in cmd.ProcessState
		close(exited)
	}()
	endGroup(stopped, cmd, exited, read)
	return p.result(ctx, stopped, cmd.ProcessState, out, seen)
}

// start starts cmd, feeds it, and reads both its outputs to their end; read.done is closed after that, when no process
// that inherited them is left.
func (p *process) start(cmd *exec.Cmd, stdout, stderr func(io.Reader)) (read *pipeReaders, err error) {
	read = &pipeReaders{done: make(chan struct{})}
	outEnd, err := read.pipe(&cmd.Stdout)
	if err != nil {
		return nil, err
	}
	defer outEnd.Close()
	errEnd, err := read.pipe(&cmd.Stderr)
	if err != nil {
		read.close()
		return nil, err
	}
	defer errEnd.Close()
	if err := p.feed(cmd); err != nil {
		read.close()
		return nil, err
	}
	read.all(stdout, stderr)
	return read, nil
}

// feed starts cmd and writes its input. It ignores errors of the writer, which rsync reports.
func (p *process) feed(cmd *exec.Cmd) error {
	if p.stdin == nil {
		return cmd.Start()
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		_ = p.stdin(in)
		_ = in.Close()
	}()
	return nil
}

// endGroup returns when every process of the group is gone. When stopped it sends SIGTERM to all, so that a receiver can
// save its partial file, then SIGKILL to those that stay.
func endGroup(stopped context.Context, cmd *exec.Cmd, exited <-chan struct{}, read *pipeReaders) {
	group := -cmd.Process.Pid
	select {
	case <-read.done:
		<-exited
		return
	case <-exitedBySignal(cmd, exited): // such as out of memory: the others would go on
	case <-stopped.Done():
	}
	_ = syscall.Kill(group, syscall.SIGTERM)
	if !doneWithin(termGrace, read.done) {
		_ = syscall.Kill(group, syscall.SIGKILL)
		if !doneWithin(killGrace, read.done) {
			read.close() // a process that left the group holds our pipes
		}
	}
	<-exited
	<-read.done
}

func exitedBySignal(cmd *exec.Cmd, exited <-chan struct{}) <-chan struct{} {
	killed := make(chan struct{})
	go func() {
		<-exited
		if signalOf(cmd.ProcessState) != 0 {
			close(killed)
		}
	}()
	return killed
}

func doneWithin(d time.Duration, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-time.After(d):
		return false
	}
}

func (p *process) result(ctx, stopped context.Context, state *os.ProcessState, out *output, seen messages) error {
	code := state.ExitCode()
	if sig := signalOf(state); sig != 0 {
		code = 128 + int(sig)
	}
	if code == 0 && !out.ioError {
		return nil
	}
	e := &Error{what: p.what, Code: code, Stderr: seen.String(), Incomplete: out.ioError, seen: seen, err: ctx.Err()}
	if cause := context.Cause(stopped); e.err == nil && errors.Is(cause, errFlooded) {
		e.err = cause
	}
	e.Stalled = e.err == nil && errors.Is(context.Cause(stopped), errStalled)
	return e
}

func signalOf(state *os.ProcessState) syscall.Signal {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return ws.Signal()
	}
	return 0
}

// environment fixes the locale, since the output is parsed. It drops RSYNC_*, and a HOME with a .popt: both could change
// options, even the remote shell. ssh finds the user's home without HOME.
func environment(environ []string) []string {
	env := []string{"LC_ALL=C", "TZ=UTC"}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		if name != "LC_ALL" && name != "TZ" && !strings.HasPrefix(name, "RSYNC_") {
			env = append(env, v)
		}
		if name == "HOME" && exists(filepath.Join(value, ".popt")) {
			env = append(env, "HOME="+os.DevNull)
		}
	}
	return env
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// writeList writes the names, a NUL after each. The "./" keeps rsync from reading a name with # or ; as a comment.
func (t Transfer) writeList(w io.Writer) error {
	buf := bufio.NewWriterSize(w, 1<<16)
	for _, name := range t.Files {
		for _, s := range []string{"./", name, "\x00"} {
			if _, err := buf.WriteString(s); err != nil {
				return err
			}
		}
	}
	return buf.Flush()
}
