package ssh

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	stdsync "sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
)

// helloTimeout is how long a host may take to answer if nobody is asked anything; reuseTimeout is the same for a master,
// which may be left over from a dead network.
const (
	helloTimeout = 90 * time.Second
	reuseTimeout = 10 * time.Second
)

// Line is one running ssh whose standard input and output are the conversation. The pipes are our own: they have
// deadlines, and nothing waits for a kept master that holds their other ends open.
type Line struct {
	// Out is the host's output.
	Out *bufio.Reader

	name, host string // for errors
	cmd        *exec.Cmd
	way        way
	ask        bool // ssh may ask a person
	in         *os.File
	raw        *os.File // beneath Out
	said       *tail    // on stderr
	done       chan struct{}
	wmu        stdsync.Mutex
	killed     atomic.Bool
	silence    atomic.Int64 // as Silence was told, ns
}

// start runs ssh the given way, with a command for the host.
func (c *Conn) start(w way, command string) (*Line, error) {
	ask := !w.reuse && (c.o.Interactive || !c.target.BatchMode)
	args := c.riderArgs(w.socket)
	if !w.reuse {
		args = append(slices.Clone(c.overrides), c.target.masterArgs(w, ask)...)
		if c.ciphers != "" {
			args = append(args, "-o", "Ciphers="+c.ciphers)
		}
	}
	l := &Line{name: c.target.Name, host: c.target.Host, way: w, ask: ask, said: &tail{}, done: make(chan struct{})}
	if c.o.Interactive && !w.reuse {
		l.said.also = &asides{w: c.o.Stderr}
	}
	l.cmd = c.command(append(args, "--", c.target.Host, command), ask)
	if err := l.run(); err != nil {
		return nil, &remote.ToolError{Tool: "ssh", Where: "this host", Detail: err.Error()}
	}
	return l, nil
}

// command builds an ssh process that Ctrl-C does not reach: the engine decides what is interrupted when. An ssh that may
// ask must stay in our process group to read the terminal, so it ignores the signal instead.
func (c *Conn) command(args []string, ask bool) *exec.Cmd {
	argv := append([]string{c.ssh}, args...)
	c.count.Add(1)
	if c.o.Command != nil {
		c.o.Command(argv)
	}
	if !ask {
		return &exec.Cmd{Path: c.ssh, Args: argv, Env: c.o.Env, SysProcAttr: &syscall.SysProcAttr{Setpgid: true}}
	}
	argv = append([]string{"sh", "-c", `trap "" INT; exec "$@"`, "sh"}, argv...)
	return &exec.Cmd{Path: "/bin/sh", Args: argv, Env: c.o.Env}
}

func (l *Line) run() error {
	var theirs [3]*os.File
	var ours [3]*os.File
	var err error
	for i := range theirs {
		r, w, perr := os.Pipe()
		err = errors.Join(err, perr)
		theirs[i], ours[i] = w, r
		if i == 0 {
			theirs[i], ours[i] = r, w
		}
	}
	if err == nil {
		l.cmd.Stdin, l.cmd.Stdout, l.cmd.Stderr = theirs[0], theirs[1], theirs[2]
		err = l.cmd.Start()
	}
	for i := range theirs {
		theirs[i].Close()
		if err != nil {
			ours[i].Close()
		}
	}
	if err != nil {
		return err
	}
	l.in, l.raw, l.Out = ours[0], ours[1], bufio.NewReaderSize(listener{l}, 64<<10)
	running.Store(l, nil)
	go l.wait(ours[2])
	return nil
}

// mostSaid is how much ssh and the host may write on stderr before the line is given up.
const mostSaid = 64 << 20

// wait reaps ssh. It reads the last of its stderr before it closes done, for at most a moment.
func (l *Line) wait(stderr *os.File) {
	read := make(chan struct{})
	go func() {
		defer close(read)
		if n, _ := io.CopyN(l.said, stderr, mostSaid); n == mostSaid {
			l.cmd.Process.Signal(syscall.SIGTERM)
			io.Copy(io.Discard, stderr)
		}
	}()
	l.cmd.Wait()
	running.Delete(l)
	stderr.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	<-read
	stderr.Close()
	close(l.done)
}

// Write sends to the host.
func (l *Line) Write(b []byte) error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	for part := range slices.Chunk(b, 32<<10) {
		l.bound(l.in.SetWriteDeadline)
		if _, err := l.in.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// Silence bounds from now on how long the host may say nothing, or take nothing, before reading from it or writing to it
// fails with os.ErrDeadlineExceeded.
func (l *Line) Silence(d time.Duration) { l.silence.Store(int64(d)) }

// bound sets a deadline anew, but for a line that was killed.
func (l *Line) bound(set func(time.Time) error) {
	if d := time.Duration(l.silence.Load()); d > 0 {
		set(time.Now().Add(d))
	}
	if l.killed.Load() {
		set(time.Now())
	}
}

// listener reads what the host says.
type listener struct{ l *Line }

func (r listener) Read(b []byte) (int, error) {
	r.l.bound(r.l.raw.SetReadDeadline)
	return r.l.raw.Read(b)
}

// Reused reports whether the line rides on an existing master.
func (l *Line) Reused() bool { return l.way.reuse }

// Done is closed when ssh has ended.
func (l *Line) Done() <-chan struct{} { return l.done }

// Await sets the deadline for the host's first words. There is none if a person is asked.
func (l *Line) Await() {
	switch {
	case l.way.reuse && !l.way.proved:
		l.raw.SetReadDeadline(time.Now().Add(reuseTimeout))
	case !l.ask:
		l.raw.SetReadDeadline(time.Now().Add(helloTimeout))
	}
}

// Answered ends the deadline of Await, and stops showing ssh's own words to a person.
func (l *Line) Answered() {
	l.raw.SetReadDeadline(time.Time{})
	l.said.hush()
}

// Kill ends ssh at once and unblocks readers and writers. SIGTERM comes first: it lets ssh restore the terminal that it
// asks on, and remove its socket.
func (l *Line) Kill() {
	l.cmd.Process.Signal(syscall.SIGTERM)
	l.killed.Store(true)
	now := time.Now()
	l.raw.SetReadDeadline(now)
	l.in.SetWriteDeadline(now)
	go l.reap(2 * time.Second)
}

// reap waits for ssh to end by itself for a while, then ends it.
func (l *Line) reap(patience time.Duration) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		select {
		case <-l.done:
			return
		case <-time.After(patience):
			l.cmd.Process.Signal(sig)
			patience = time.Second
		}
	}
	<-l.done
}

// Close ends the conversation; the process is gone when it returns.
func (l *Line) Close(patience time.Duration) {
	l.in.Close()
	l.reap(patience)
	l.raw.Close()
}

// Failure returns why the conversation ended, after ssh has had a moment to say so.
func (l *Line) Failure(otherwise remote.Reason) *remote.ConnectError {
	select {
	case <-l.done:
	case <-time.After(time.Second):
		l.Kill()
	}
	e := &remote.ConnectError{Target: l.name, Host: l.host, Status: -1}
	e.Reason, e.Detail = classify(l.said.String(), otherwise)
	select {
	case <-l.done:
		e.Status = l.cmd.ProcessState.ExitCode()
	default:
	}
	return e
}

// output runs ssh and returns what it prints; for -G alone.
func (c *Conn) output(ctx context.Context, args []string) (string, error) {
	cmd := c.command(args, false)
	var out strings.Builder
	cmd.Stdout = &out
	said := &tail{}
	err := runFor(ctx, cmd, said)
	if cause := context.Cause(ctx); cause != nil {
		return "", cause
	}
	if err != nil {
		e := &remote.ConnectError{Target: c.target.Name, Host: c.target.Host, Status: cmd.ProcessState.ExitCode()}
		e.Reason, e.Detail = classify(said.String(), remote.Config)
		return "", e
	}
	return out.String(), nil
}

// runFor runs an ssh that answers at once without the network, until it ends or the context does.
func runFor(ctx context.Context, cmd *exec.Cmd, said *tail) error {
	cmd.Stderr, cmd.WaitDelay = said, time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, func() { cmd.Process.Kill() })()
	return cmd.Wait()
}

// tail keeps the last few kilobytes of what ssh says.
type tail struct {
	mu   stdsync.Mutex
	kept []byte
	also *asides // while ssh asks
}

const tailBytes = 16 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.also != nil {
		t.also.add(b)
	}
	t.kept = append(t.kept, b...)
	if n := len(t.kept) - tailBytes; n > 0 {
		t.kept = append(t.kept[:0], t.kept[n:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}

// hush stops showing anything to a person: the host has answered.
func (t *tail) hush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.also = nil
}

// asides shows a person what belongs to a question, line by line. It leaves out that ssh failed and the explanations that
// follow: the error says that.
type asides struct {
	w    io.Writer
	part string
	over bool
}

func (a *asides) add(b []byte) {
	a.part += string(b)
	for {
		line, rest, whole := strings.Cut(a.part, "\n")
		if !whole {
			return
		}
		a.part = rest
		if reason, _ := classify(line, ""); reason != "" || strings.HasPrefix(line, "@@@") {
			a.over = true
		}
		if !a.over && a.w != nil {
			io.WriteString(a.w, "| "+remote.Escape(strings.TrimRight(line, "\r"))+"\n") // no line of ours looks like that
		}
	}
}
