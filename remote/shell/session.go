// Package shell is the conversation with the one shell on a host that carries out everything but rsync.
package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	stdsync "sync"
	"sync/atomic"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
)

// Session is the one shell on the host that carries out everything but rsync, for the datasets below the root that is
// the target's BaseDir. Requests are carried out one at a time, in the order of the calls. A context that ends during
// a request ends the connection, for the shell cannot be interrupted: locks are free then and whatever was under way
// is undone by the next run. Its methods may be called from several goroutines.
type Session struct {
	conn *ssh.Conn
	o    Options
	root string

	mu      stdsync.Mutex // one request at a time; guards what follows
	token   string        // marks the answers of the current line
	greeted bool
	ready   atomic.Bool // greeted in good order
	noise   string
	facts   Facts
	err     error // why there is no session any more

	heart    stdsync.Mutex // guards beats
	beats    chan struct{} // closed to stop the heart
	claimFor string        // path of the claim's lock file
	live     string        // path of the dataset's lock file

	listed atomic.Int64 // the most names that an answer had so far

	bulk    *bulk
	compute *compute
	locking atomic.Bool // a lock of a dataset is asked for or held: no queue is waited in
	beside  bool        // another session has the connection, and told the facts
}

// Beside is a session of its own over the same connection, which must have answered. It begins with the first request that
// needs it, and must be closed before this one.
func (s *Session) Beside(waiting func(remote.Waiting)) *Session {
	b := &Session{conn: s.conn.Beside(), o: s.o, root: s.root, facts: s.facts, bulk: s.bulk, compute: s.compute, beside: true}
	b.o.Waiting = waiting
	return b
}

// Conn is the connection beneath.
func (s *Session) Conn() *ssh.Conn { return s.conn }

// Name is how messages call the host: the remote's name.
func (s *Session) Name() string { return s.conn.Target().Name }

// Root is the root of the datasets.
func (s *Session) Root() string { return s.root }

// Ready waits until the host has answered. It is for callers that opened lazily, and costs nothing later on.
func (s *Session) Ready(ctx context.Context) error {
	if s.ready.Load() {
		return nil
	}
	return s.do(ctx, request{}, "connect", nil)
}

// Executions is how many ssh processes were started, those that callers report by Count included.
func (s *Session) Executions() int { return s.conn.Executions() + s.bulk.executions() }

// Count records that rsync started an ssh of its own.
func (s *Session) Count() { s.conn.Count() }

// Facts is what the host said of itself in its first answer.
type Facts struct {
	Host, System, Machine string        // as uname -n, -s, -m
	Lister                string        // "find" (GNU) or "stat" (BSD)
	Hash                  []string      // hash tools that are there: b3sum, openssl, sha256sum, shasum
	Flock                 string        // what locks: flock(1), or perl in its place; "" for nothing
	Watchdog              time.Duration // how long a lock survives a dead network
}

// Algorithms are the hash algorithms that the host can compute, best first.
func (s *Session) Algorithms(ctx context.Context) ([]string, error) {
	f, err := s.Facts(ctx)
	return f.algorithms(), err
}

func (f Facts) algorithms() []string {
	var found []string
	for _, tool := range f.Hash {
		name := "sha256"
		if tool == "b3sum" {
			name = "blake3"
		}
		if len(found) == 0 || found[len(found)-1] != name {
			found = append(found, name)
		}
	}
	return found
}

// Ping is a round trip.
func (s *Session) Ping(ctx context.Context) error {
	return s.do(ctx, request{verb: "run"}, "reach the host", nil)
}

// Facts are the host's.
func (s *Session) Facts(ctx context.Context) (Facts, error) {
	if s.beside {
		return s.facts, nil
	}
	if err := s.Ready(ctx); err != nil {
		return Facts{}, err
	}
	return s.facts, nil // never changed once the host has answered
}

// Noise is what the login shell printed before our shell began; "" is as it should be.
func (s *Session) Noise() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.noise
}

// Run has the remote shell evaluate a script, with $1... set to args, and returns what it prints. The script runs
// beside the lock and cannot reach it. A status other than 0 is an *remote.Error.
func (s *Session) Run(ctx context.Context, script string, args ...string) ([]byte, error) {
	var out bytes.Buffer
	err := s.do(ctx, request{verb: "run", args: args, payload: appendEscaped(nil, script)}, "run a command", func(r io.Reader) error {
		_, err := out.ReadFrom(r)
		return err
	})
	return out.Bytes(), err
}

// do sends a request and hands its answer to body; what names the deed for messages.
func (s *Session) do(ctx context.Context, r request, what string, body func(io.Reader) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exchange(ctx, r, what, body)
}

// exchange is do under the lock. A request without verb only waits for the greeting.
func (s *Session) exchange(ctx context.Context, r request, what string, body func(io.Reader) error) error {
	if s.err != nil {
		return s.err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		if l := s.conn.Current(); l != nil {
			l.Kill()
		}
	})
	defer stop()
	err := s.send(ctx, r)
	if err == nil && r.verb != "" {
		err = s.receive(s.conn.Current(), what, body)
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		s.err = fmt.Errorf("cannot %s: %w", what, cause)
		return s.err
	}
	return err
}

func (s *Session) send(ctx context.Context, r request) error {
	var raw []byte
	if r.verb != "" {
		raw = r.encode()
	}
	if s.conn.Current() == nil {
		if s.err = s.advance(); s.err != nil {
			return s.err
		}
		if ctx.Err() != nil { // whoever ended it found nothing to kill
			s.conn.Current().Kill()
		}
	}
	if !s.greeted {
		if err := s.greet(ctx, raw); err != nil {
			return err
		}
		s.conn.Current().Silence(r.silence(s.o.Silence))
		return nil
	}
	l := s.conn.Current()
	l.Silence(r.silence(s.o.Silence))
	if err := l.Write(raw); err != nil {
		return s.lost(l, err)
	}
	return nil
}

// receive reads one answer. After an error of body the rest is read all the same, to stay in step.
func (s *Session) receive(l *ssh.Line, what string, body func(io.Reader) error) error {
	a := newAnswer(l.Out, s.token)
	var berr error
	if body != nil {
		berr = body(a)
	}
	var flood *floodError
	if !errors.As(berr, &flood) {
		_, err := io.Copy(io.Discard, a)
		if err != nil && !errors.As(err, &flood) {
			return s.lost(l, err)
		}
	}
	if flood != nil {
		l.Kill()
		s.err = &remote.FloodError{Target: s.Name(), Do: what, More: flood.more}
		return s.err
	}
	if a.status != 0 {
		return s.refusal(a, what)
	}
	return berr
}

// The statuses by which the script tells a caller more than that it failed.
const (
	statusBusy       = 40
	statusUnlockable = 41
	statusNoFlock    = 42
	statusPlanted    = 43 // the words are a path, a colon, and what is there
	statusFenced     = 44 // busy as well, by a transfer of the earlier tool
	statusNoLink     = 45 // a file can have no second name
)

func (s *Session) refusal(a *answer, what string) error {
	if a.status == statusNoFlock {
		return &remote.ToolError{Tool: "flock", Where: s.facts.Host, Detail: "not found on PATH"}
	}
	words := a.words()
	if i := strings.LastIndex(words, ": "); a.status == statusPlanted && i >= 0 {
		return &remote.PlantedError{Path: words[:i], Is: words[i+2:]}
	}
	return &remote.Error{Do: what, Detail: words, Status: a.status}
}

// hasStatus tells one failed request from another.
func hasStatus(err error, status int) bool {
	var e *remote.Error
	return errors.As(err, &e) && e.Status == status
}

// lost is the end of the session.
func (s *Session) lost(l *ssh.Line, err error) error {
	if s.err == nil {
		reason := remote.Lost
		if errors.Is(err, os.ErrDeadlineExceeded) {
			l.Kill()
			reason = remote.Silent
		}
		s.err = l.Failure(reason)
	}
	return s.err
}

// greet waits for the host, with the first request already on its way. Where a master that was there turns out to
// be of no use, the next way is tried.
func (s *Session) greet(ctx context.Context, first []byte) error {
	for {
		l := s.conn.Current()
		err := l.Write(first)
		if err == nil {
			err = s.hello(l)
		}
		if err == nil {
			s.greeted = true
			l.Answered()
			err = s.checkNoise()
			s.ready.Store(err == nil)
			return err
		}
		if ctx.Err() != nil {
			return err
		}
		hung := errors.Is(err, os.ErrDeadlineExceeded)
		err = s.unreached(l, hung)
		if hung && l.Reused() && !s.beside {
			s.conn.Retire(ctx)
		}
		if !l.Reused() || s.advance() != nil {
			s.err = err
			return err
		}
		l.Close(0)
	}
}

func (s *Session) unreached(l *ssh.Line, hung bool) error {
	otherwise := remote.Other
	if hung {
		otherwise = remote.Timeout
	}
	e := l.Failure(otherwise)
	if e.Reason == remote.Other && e.Status >= 0 && e.Status != 255 {
		e.Reason = remote.NoShell
		if e.Detail == "" {
			e.Detail = s.noise
		}
	}
	return e
}

func (s *Session) checkNoise() error {
	if s.noise == "" || s.o.Noisy {
		return nil
	}
	s.err = &remote.NoiseError{Target: s.Name(), Text: s.noise}
	return s.err
}

// hello reads the two answers that come unasked: an empty one, before which there is only noise, and the facts.
func (s *Session) hello(l *ssh.Line) error {
	l.Await()
	if err := s.begun(l); err != nil {
		return err
	}
	return s.introduced(l)
}

// begun reads an empty answer, before which there is only noise.
func (s *Session) begun(l *ssh.Line) error {
	noise := &head{}
	greeting := newAnswer(l.Out, s.token)
	greeting.left = mostNoise
	_, err := io.Copy(noise, greeting)
	s.noise = noise.String()
	return err
}

// introduced reads the facts.
func (s *Session) introduced(l *ssh.Line) error {
	var facts bytes.Buffer
	if _, err := facts.ReadFrom(newAnswer(l.Out, s.token)); err != nil {
		return err
	}
	if !s.beside { // who reads them does not wait
		s.facts = parseFacts(facts.String())
	}
	return nil
}

// mostNoise is how much a login shell may print before ours begins.
const mostNoise = 4 << 20

// head keeps the beginning of what is written to it.
type head struct{ kept []byte }

func (h *head) Write(b []byte) (int, error) {
	h.kept = append(h.kept, b[:min(len(b), 1000-len(h.kept))]...)
	return len(b), nil
}

func (h *head) String() string { return remote.Escape(string(h.kept)) }

func parseFacts(text string) Facts {
	var f Facts
	for _, field := range strings.Split(text, "\x00") {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "host":
			f.Host = remote.Escape(value)
		case "system":
			f.System = remote.Escape(value)
		case "machine":
			f.Machine = remote.Escape(value)
		case "lister":
			f.Lister = value
		case "flock":
			f.Flock = value
		case "hash":
			f.Hash = append(f.Hash, remote.Escape(value))
		case "watchdog":
			n, _ := strconv.Atoi(value)
			f.Watchdog = time.Duration(n) * time.Second
		}
	}
	return f
}

// quit ends the session in good order if there is time, and in any case.
func (s *Session) quit(l *ssh.Line) {
	s.stopHeart()
	if s.mu.TryLock() {
		defer s.mu.Unlock()
		if s.err == nil && s.greeted {
			l.Write([]byte("quit 0\n"))
			s.err = ssh.ErrClosed
			l.Close(2 * time.Second)
			return
		}
	}
	l.Kill()
	l.Close(0)
}
