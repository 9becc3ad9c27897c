package remotetest

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// RelayServer is a TCP relay on 127.0.0.1 that stands for a network: it delays, it can be slow, stall or break.
// Its methods may be called from several goroutines.
type RelayServer struct {
	listener net.Listener
	to       string
	delay    time.Duration
	rate     int64

	up, down atomic.Int64
	made     atomic.Int64
	limit    atomic.Int64 // Cut once this many bytes went through, both ways together; 0 never
	refuse   atomic.Bool

	mu    sync.Mutex
	conns map[net.Conn]bool
	gate  chan struct{} // closed while traffic flows
}

// Relay listens on a free port and connects every connection on to addr. Each byte arrives delay later than it was
// sent (one way, so a round trip takes twice that), in order. bytesPerSecond limits each direction of each
// connection; 0 does not.
func Relay(addr string, delay time.Duration, bytesPerSecond int64) (*RelayServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("cannot start a relay: %w", err)
	}
	r := &RelayServer{listener: l, to: addr, delay: delay, rate: bytesPerSecond,
		conns: map[net.Conn]bool{}, gate: make(chan struct{})}
	close(r.gate)
	go r.accept()
	return r, nil
}

// Port is the relay's port on 127.0.0.1.
func (r *RelayServer) Port() int { return r.listener.Addr().(*net.TCPAddr).Port }

// Connections counts the connections that were accepted so far.
func (r *RelayServer) Connections() int { return int(r.made.Load()) }

// Bytes counts what was delivered so far, from clients to the server (up) and back (down).
func (r *RelayServer) Bytes() (up, down int64) { return r.up.Load(), r.down.Load() }

// Stall holds everything back, also of new connections, until Resume.
func (r *RelayServer) Stall() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.gate:
		r.gate = make(chan struct{})
	default:
	}
}

// Resume ends a Stall; nothing was lost.
func (r *RelayServer) Resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.gate:
	default:
		close(r.gate)
	}
}

// Cut resets all connections and goes on accepting new ones.
func (r *RelayServer) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		_ = c.Close()
	}
}

// CutAfter does a Cut, once, when n more bytes went through in both directions together.
func (r *RelayServer) CutAfter(n int64) { r.limit.Store(r.up.Load() + r.down.Load() + n) }

// Refuse makes new connections end at once, until it is told otherwise.
func (r *RelayServer) Refuse(on bool) { r.refuse.Store(on) }

// Close ends the relay and all connections.
func (r *RelayServer) Close() {
	_ = r.listener.Close()
	r.Cut()
	r.Resume()
}

func (r *RelayServer) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		if r.refuse.Load() {
			_ = client.Close()
			continue
		}
		r.made.Add(1)
		go r.connect(client)
	}
}

func (r *RelayServer) connect(client net.Conn) {
	server, err := net.Dial("tcp", r.to)
	if err != nil {
		_ = client.Close()
		return
	}
	r.hold(client, server)
	var both sync.WaitGroup
	both.Go(func() { r.pump(client, server, &r.up) })
	both.Go(func() { r.pump(server, client, &r.down) })
	both.Wait()
	r.drop(client, server)
}

func (r *RelayServer) hold(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		r.conns[c] = true
	}
}

func (r *RelayServer) drop(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		delete(r.conns, c)
		_ = c.Close()
	}
}

// chunk is what one read returned, with the time at which it is to arrive. An empty one is the end.
type chunk struct {
	data []byte
	due  time.Time
}

// pump reads ahead of what it writes, or the delay would limit throughput to one chunk a delay. The queue holds
// up to 64 MB, then the sender has to wait, as with a full network.
func (r *RelayServer) pump(from, to net.Conn, count *atomic.Int64) {
	queue := make(chan chunk, 1024)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.deliver(queue, to, count)
	}()
	r.read(from, queue, done)
	close(queue)
	<-done
}

func (r *RelayServer) read(from net.Conn, queue chan<- chunk, done <-chan struct{}) {
	for {
		buffer := make([]byte, 64<<10)
		n, err := from.Read(buffer)
		select {
		case queue <- chunk{buffer[:n], time.Now().Add(r.delay)}:
		case <-done:
			return
		}
		if err != nil {
			return
		}
	}
}

func (r *RelayServer) deliver(queue <-chan chunk, to net.Conn, count *atomic.Int64) {
	for c := range queue {
		time.Sleep(time.Until(c.due))
		r.wait()
		if len(c.data) == 0 {
			continue
		}
		if _, err := to.Write(c.data); err != nil {
			// The other direction may be blocked in a read of this end: there will be no more.
			_ = to.Close()
			return
		}
		r.account(count, int64(len(c.data)))
	}
	// The sender has finished, not the receiver: ssh and rsync depend on the difference.
	if t, ok := to.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
}

func (r *RelayServer) account(count *atomic.Int64, n int64) {
	count.Add(n)
	if limit := r.limit.Load(); limit > 0 && r.up.Load()+r.down.Load() >= limit && r.limit.CompareAndSwap(limit, 0) {
		r.Cut()
	}
	if r.rate > 0 {
		time.Sleep(time.Duration(n) * time.Second / time.Duration(r.rate))
	}
}

func (r *RelayServer) wait() {
	r.mu.Lock()
	gate := r.gate
	r.mu.Unlock()
	<-gate
}
