package shell

import (
	"context"
	"path/filepath"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
)

// Options say how a session is held.
type Options struct {
	ssh.Options
	// Lazy lets Open return before the host has answered, so that the first request costs no round trip of its
	// own and the caller can work meanwhile. Errors of the connection then come from the first request, or Ready.
	Lazy bool
	// Noisy tolerates a login shell that prints on stdout: Noise has the text. Without it that is a *NoiseError.
	Noisy bool
	// Waiting is told while a lock is waited for; nil if nobody wants to know.
	Waiting func(remote.Waiting)
	// Watchdog is how long the remote shell keeps a lock without a sign of life from here; 0: 45 s.
	Watchdog time.Duration
	// Silence is how long the host may say nothing while a request is under way, beside the time that its work may take; 0: 2 min.
	Silence time.Duration
	// Compute is another pair of hands for hashing.
	Compute Compute
}

const (
	defaultWatchdog = 45 * time.Second
	defaultSilence  = 2 * time.Minute
)

// Open starts a session. Unless Options.Lazy is set it returns when the host has answered. Errors are
// *remote.ConnectError, *remote.ToolError (no ssh), *remote.NoiseError, or the context's. ctx governs Open only;
// afterwards each request has its own, and Close ends everything.
func Open(ctx context.Context, t ssh.Target, o Options) (*Session, error) {
	c, err := ssh.New(ctx, t, o.Options)
	if err != nil {
		return nil, err
	}
	return start(ctx, c, o)
}

// Keep opens a connection that outlives this program by a time after its last use, unless a live one is there.
// What it has to ask it asks, with Options.Interactive.
func Keep(ctx context.Context, t ssh.Target, o ssh.Options, d time.Duration) (s ssh.Sharing, opened bool, err error) {
	c, s, err := ssh.Renew(ctx, t, o, d)
	if c == nil {
		return s, false, err
	}
	session, err := start(ctx, c, Options{Options: o})
	if err != nil {
		return s, false, err
	}
	defer session.Close()
	return s.Opened(), true, nil
}

func start(ctx context.Context, c *ssh.Conn, o Options) (*Session, error) {
	if o.Watchdog == 0 {
		o.Watchdog = defaultWatchdog
	}
	if o.Silence == 0 {
		o.Silence = defaultSilence
	}
	s := &Session{conn: c, o: o, root: filepath.Clean(c.Target().BaseDir), bulk: &bulk{}, compute: &compute{}}
	err := s.advance()
	if err == nil && (!o.Lazy || o.Interactive) {
		err = s.Ready(ctx)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// advance starts the next way of connecting, with the remote shell at its end.
func (s *Session) advance() error {
	s.token = newToken()
	return s.conn.Advance(shellCommand("", s.token, s.o.Watchdog), []byte(bootstrap+script+"hello 0\n"))
}

// Close ends the session, its locks and every process of its connections, except a master that is kept.
func (s *Session) Close() error {
	if !s.beside {
		s.compute.close()
	}
	err := s.conn.Close(s.quit)
	if !s.beside {
		s.bulk.close()
	}
	return err
}
