// Package ssh makes and finds the one connection of a command to a host: its ways, masters and sockets.
package ssh

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	stdsync "sync"
	"sync/atomic"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
)

// Target is a host and how to reach it. Host and User are valid names: they begin with a letter, digit or "_".
type Target struct {
	Name           string // how messages call it
	Host           string // a name, an address, or an alias of the user's ssh configuration
	User           string // "" leaves it to ssh
	Port           int    // 0 leaves it to ssh
	TransferHost   string // bulk data goes through this host; "" or Host itself: through Host
	KeyPath        string
	ConfigFile     string   // ssh -F
	Options        []string // each given as ssh -o, before our own
	BatchMode      bool
	ControlPersist time.Duration // how long the connection is kept after the command; 0: it ends with it
	RsyncPath      string
	BaseDir        string
	MaxFiles       int // a longer listing counts as a fault of the host; 0: no bound
}

// Bulk returns the transfer host as a target of its own; other reports whether there is one.
func (t Target) Bulk() (bulk Target, other bool) {
	other = t.TransferHost != "" && t.TransferHost != t.Host
	if other {
		t.Host = t.TransferHost
		t.Name = "the transfer host " + t.Host + " of " + t.Name
	}
	t.TransferHost = ""
	return t, other
}

// Endpoint is how rsync reaches the target, without the connection.
func (t Target) Endpoint() remote.Endpoint {
	host := t.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if t.User != "" {
		host = t.User + "@" + host
	}
	return remote.Endpoint{Host: host, RsyncPath: t.RsyncPath}
}

// Options control how a command uses a connection.
type Options struct {
	Interactive bool           // a person is at the terminal and can be asked by ssh itself
	Shared      bool           // only an existing connection is used; without one Advance returns io.EOF at once
	Stderr      io.Writer      // with Interactive, shows what ssh says while it asks; may be nil
	Command     func([]string) // sees every ssh command line before it runs; may be nil
	Env         []string       // environment of ssh, with XDG_RUNTIME_DIR and PATH; nil: that of this process
}

// Conn is the one connection of a command to a host: one authentication, one Line at a time, and a socket that rsync's
// ssh rides on (Endpoint). Its methods may be called from several goroutines.
type Conn struct {
	target    Target
	o         Options
	ssh       string   // path of the program
	hostname  string   // the host's name in ssh's effective configuration
	ciphers   string   // of a new master; "" leaves them to ssh
	overrides []string // options that undo settings of the user with which no conversation is possible
	dir       string   // private directory of sockets, "" until it is needed
	count     atomic.Int64

	mu     stdsync.Mutex // guards what follows
	ways   []way         // not tried yet
	line   *Line
	closed bool
}

// New finds the ways to connect. Errors are *remote.ToolError (no ssh), *remote.ConnectError, or the context's.
func New(ctx context.Context, t Target, o Options) (*Conn, error) {
	c, err := bareConn(t, o)
	if err != nil {
		return nil, err
	}
	c.ways, err = c.findWays(ctx)
	return c, err
}

// Beside is a Conn that rides on the same master, which must have answered, and never makes one.
func (c *Conn) Beside() *Conn {
	return &Conn{target: c.target, o: c.o, ssh: c.ssh, hostname: c.hostname, overrides: c.overrides,
		ways: []way{{socket: c.Current().way.socket, reuse: true, proved: true}}}
}

// bareConn is a Conn without ways to connect.
func bareConn(t Target, o Options) (*Conn, error) {
	ssh, err := Find(o.Env)
	if err != nil {
		return nil, err
	}
	return &Conn{target: t, o: o, ssh: ssh}, nil
}

// Advance starts the next way of connecting, with a command for the host and its first input. It returns io.EOF if no way
// is left.
func (c *Conn) Advance(command string, first []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	if len(c.ways) == 0 {
		return io.EOF
	}
	w := c.ways[0]
	c.ways = c.ways[1:]
	if err := c.prepare(&w); err != nil {
		return err
	}
	l, err := c.start(w, command)
	if err != nil {
		return err
	}
	c.line = l
	// If ssh has already failed the write fails too; reading will show why.
	l.Write(first)
	return nil
}

// ErrClosed is the error of a connection after Close.
var ErrClosed = errors.New("the connection is closed")

// Current returns the line that was started last; nil before Advance.
func (c *Conn) Current() *Line {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.line
}

// Hostname returns the host's name in ssh's effective configuration: the same for all aliases of a host.
func (c *Conn) Hostname() string { return c.hostname }

// Target returns what was asked for.
func (c *Conn) Target() Target { return c.target }

// Executions returns how many ssh processes this command has started, including those reported with Count.
func (c *Conn) Executions() int { return int(c.count.Load()) }

// Count records that rsync started an ssh of its own.
func (c *Conn) Count() { c.count.Add(1) }

// Reused reports whether the connection rides on an existing master, without an authentication of its own.
func (c *Conn) Reused() bool {
	l := c.Current()
	return l != nil && l.way.reuse
}

// Master returns the socket that the connection rides on, and whether usr keeps it.
func (c *Conn) Master() (socket string, kept bool) {
	socket = c.Current().way.socket
	ours, _ := c.target.keptSocket(c.env("XDG_RUNTIME_DIR"))
	return socket, socket == ours
}

// Said returns the end of what ssh wrote on stderr.
func (c *Conn) Said() string { return c.Current().said.String() }

// Endpoint returns how rsync reaches the host, over the line that was started last.
func (c *Conn) Endpoint() remote.Endpoint {
	e := c.target.Endpoint()
	if l := c.Current(); l != nil {
		e.Shell = append([]string{c.ssh}, c.riderArgs(l.way.socket)...)
	}
	return e
}

// Close lets end finish the conversation, if there is one, and removes what the connection has made. A kept master stays.
func (c *Conn) Close(end func(*Line)) error {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	l := c.line
	c.mu.Unlock()
	if closed {
		return nil
	}
	if l != nil {
		end(l)
	}
	if c.dir != "" {
		return os.RemoveAll(c.dir)
	}
	return nil
}
