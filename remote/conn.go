package remote

import (
	"context"
	"errors"
	"io"
	"os"
	stdsync "sync"
	"sync/atomic"
	"time"
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
}

// Options say how a command uses a connection.
type Options struct {
	Interactive bool           // a person is at the terminal and can be asked by ssh itself
	Stderr      io.Writer      // gets what ssh says while it asks, with Interactive; nil: nothing
	Command     func([]string) // told every ssh command line before it runs; nil: nobody
	Env         []string       // environment of ssh, XDG_RUNTIME_DIR and PATH among it; nil: that of this process
	// Lazy lets Open return before the host has answered, so that the first request costs no round trip of its
	// own and the caller can work meanwhile. Errors of the connection then come from the first request, or Ready.
	Lazy bool
	// Noisy tolerates a login shell that prints on stdout: Noise has the text. Without it that is a *NoiseError.
	Noisy bool
	// Watchdog is how long the remote shell keeps a lock without a sign of life from here; 0: 45 s.
	Watchdog time.Duration
}

const defaultWatchdog = 45 * time.Second

// Conn is the one connection of a command to a host: one authentication, one remote shell (Session), and a socket
// that rsync's ssh rides on (Endpoint). Its methods may be called from several goroutines.
type Conn struct {
	target   Target
	o        Options
	ssh      string // path of the program
	hostname string // what ssh's configuration makes of the host's name
	ciphers  string // of a new master; "" leaves them to ssh
	dir      string // private directory of sockets, "" until it is needed
	count    atomic.Int64
	session  *Session

	mu     stdsync.Mutex // guards what follows
	ways   []way         // not tried yet
	link   *link
	closed bool

	bulk bulk
}

// Open starts the connection. Unless Options.Lazy is set it returns when the host has answered. Errors are
// *ConnectError, *ToolError (no ssh), *NoiseError, or the context's. ctx governs Open only; afterwards each request
// has its own, and Close ends everything.
func Open(ctx context.Context, t Target, o Options) (*Conn, error) {
	c, err := newConn(ctx, t, o)
	if err != nil {
		return nil, err
	}
	err = c.advance()
	if err == nil && (!o.Lazy || o.Interactive) {
		err = c.Ready(ctx)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func newConn(ctx context.Context, t Target, o Options) (*Conn, error) {
	c, err := bareConn(t, o)
	if err != nil {
		return nil, err
	}
	c.ways, err = c.findWays(ctx)
	return c, err
}

// bareConn is a Conn without ways to connect.
func bareConn(t Target, o Options) (*Conn, error) {
	if o.Watchdog == 0 {
		o.Watchdog = defaultWatchdog
	}
	ssh, err := findSSH(o.Env)
	if err != nil {
		return nil, err
	}
	c := &Conn{target: t, o: o, ssh: ssh}
	c.session = &Session{conn: c}
	return c, nil
}

// advance starts the next way of connecting; io.EOF if there is none left.
func (c *Conn) advance() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	if len(c.ways) == 0 {
		return io.EOF
	}
	w := c.ways[0]
	c.ways = c.ways[1:]
	if err := c.prepare(&w); err != nil {
		return err
	}
	token := newToken()
	l, err := c.start(w, c.target.Host, shellCommand(token, c.o.Watchdog))
	if err != nil {
		return err
	}
	l.token = token
	c.link = l
	// Where ssh has failed already the write fails as well; reading will tell why.
	l.write([]byte(bootstrap + script + "hello 0\n"))
	return nil
}

var errClosed = errors.New("the connection is closed")

func (c *Conn) current() *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link
}

// Ready waits until the host has answered. It is for callers that opened lazily, and costs nothing later on.
func (c *Conn) Ready(ctx context.Context) error {
	if c.session.ready.Load() {
		return nil
	}
	return c.session.wait(ctx)
}

// Session is the shell on the host.
func (c *Conn) Session() *Session { return c.session }

// Target is what was asked for.
func (c *Conn) Target() Target { return c.target }

// Hostname is what ssh's configuration makes of the host's name: all aliases of a host have the same.
func (c *Conn) Hostname() string { return c.hostname }

// Executions is how many ssh processes this command has started, those that callers report by Count included.
func (c *Conn) Executions() int { return int(c.count.Load()) + c.bulk.executions() }

// Count is told that rsync started an ssh of its own.
func (c *Conn) Count() { c.count.Add(1) }

// Reused says that no authentication was needed: the connection rides on a master that was there.
func (c *Conn) Reused() bool {
	l := c.current()
	return l != nil && l.way.reuse
}

// Endpoint is how rsync reaches the host, or the transfer host if the target has one: that one is dialled here,
// and EndpointError says how it went. It waits until the host has answered.
func (c *Conn) Endpoint() Endpoint {
	if _, other := c.target.Bulk(); other {
		return c.bulk.endpoint(c)
	}
	c.bulk.fail(c.Ready(context.Background()))
	return c.endpoint(c.target.Host, c.current())
}

// EndpointError is why the last Endpoint does not work; nil if nothing is known against it.
func (c *Conn) EndpointError() error {
	c.bulk.mu.Lock()
	defer c.bulk.mu.Unlock()
	return c.bulk.err
}

func (c *Conn) endpoint(host string, l *link) Endpoint {
	if c.target.User != "" {
		host = c.target.User + "@" + host
	}
	e := Endpoint{Host: host, RsyncPath: c.target.RsyncPath}
	if l != nil {
		e.Shell = append([]string{c.ssh}, c.target.riderArgs(l.way.socket)...)
	}
	return e
}

// Close ends the session, its locks and every process of the connection, except a master that is kept.
func (c *Conn) Close() error {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	l := c.link
	c.mu.Unlock()
	if closed {
		return nil
	}
	if l != nil {
		c.session.quit(l)
	}
	c.bulk.close()
	if c.dir != "" {
		return os.RemoveAll(c.dir)
	}
	return nil
}
