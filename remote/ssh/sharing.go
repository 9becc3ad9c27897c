package ssh

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"
)

// Sharing describes the connection that a command would reuse, if there is one.
type Sharing struct {
	Socket string    // of the live one; else where a kept one would be
	Live   bool      // the host has answered over it just now
	Ours   bool      // kept by an earlier command, not the master of the user's own ssh configuration
	Since  time.Time // when the live one was opened
	Dead   []string  // sockets with nobody behind them, or only a broken line
}

// Check looks for a connection that can be reused, and tries it, without making one: the user's own master first,
// then one that an earlier command kept.
func Check(ctx context.Context, t Target, o Options) (Sharing, error) {
	c, err := bareConn(t, o)
	if err != nil {
		return Sharing{}, err
	}
	return c.check(ctx)
}

// Renew prepares a connection that outlives its last use by the given time. If there is a live one, it returns that and no
// Conn.
func Renew(ctx context.Context, t Target, o Options, d time.Duration) (*Conn, Sharing, error) {
	t.ControlPersist = d
	c, err := bareConn(t, o)
	if err != nil {
		return nil, Sharing{}, err
	}
	s, err := c.check(ctx)
	if err != nil || s.Live {
		return nil, s, err
	}
	if err := c.stop(ctx, s.Socket); err != nil {
		return nil, s, err
	}
	c.ways = []way{{socket: s.Socket, keep: d}}
	return c, s, nil
}

// Opened returns the Sharing of a connection that Renew prepared and that is now open.
func (s Sharing) Opened() Sharing {
	s.Live, s.Ours, s.Since = true, true, opening(s.Socket)
	return s
}

// Stop closes the connection that an earlier command kept, with whatever still uses it. It leaves the user's own
// master alone.
func Stop(ctx context.Context, t Target, o Options) (stopped bool, err error) {
	c, err := bareConn(t, o)
	if err != nil {
		return false, err
	}
	socket, err := t.keptSocket(c.env("XDG_RUNTIME_DIR"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	stopped = alive(socket)
	if stopped {
		_ = c.control(ctx, socket, "exit") // stop removes what is left
	}
	return stopped, c.stop(ctx, socket)
}

func (c *Conn) check(ctx context.Context) (Sharing, error) {
	user, err := c.readConfiguration(ctx)
	if err != nil {
		return Sharing{}, err
	}
	kept, err := c.target.keptSocket(c.env("XDG_RUNTIME_DIR"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Sharing{}, err
	}
	s := Sharing{Socket: kept}
	for _, socket := range []string{user, kept} {
		if _, err := os.Lstat(socket); err != nil {
			continue
		}
		if alive(socket) && c.answers(ctx, socket) {
			s.Socket, s.Live, s.Ours, s.Since = socket, true, socket == kept, opening(socket)
			return s, nil
		}
		if err := context.Cause(ctx); err != nil {
			return s, err
		}
		s.Dead = append(s.Dead, socket)
	}
	return s, nil
}

// opening returns when a master made its socket.
func opening(socket string) time.Time {
	fi, err := os.Lstat(socket)
	if err != nil {
		return time.Time{}
	}
	return fi.ModTime()
}

// answers asks the host something over a master: a running master does not prove that the line works.
func (c *Conn) answers(ctx context.Context, socket string) bool {
	ctx, cancel := context.WithTimeout(ctx, reuseTimeout)
	defer cancel()
	token := rand.Text()
	cmd := c.command(append(c.riderArgs(socket), "--", c.target.Host, "echo "+token), false)
	var out strings.Builder
	cmd.Stdout = &out
	err := runFor(ctx, cmd, &tail{})
	return err == nil && strings.Contains(out.String(), token)
}

// control tells a master to do something, without the network.
func (c *Conn) control(ctx context.Context, socket, what string) error {
	args := append([]string{"-O", what}, c.riderArgs(socket)...)
	return runFor(ctx, c.command(append(args, "--", c.target.Host), false), &tail{})
}

// stop makes a master of ours refuse further sessions, while those that it has go on, and removes its socket. It removes a
// dead master's socket too: ssh would not replace it.
func (c *Conn) stop(ctx context.Context, socket string) error {
	if alive(socket) {
		_ = c.control(ctx, socket, "stop")
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
