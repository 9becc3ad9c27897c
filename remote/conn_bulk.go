package remote

import (
	"context"
	stdsync "sync"
)

// bulk is the connection to a host that is for transfers alone: like the other one it rides on a master that is there,
// or makes one.
type bulk struct {
	once stdsync.Once
	mu   stdsync.Mutex // guards what follows
	conn *Conn
	err  error
}

// Bulk is the transfer host as a target of its own; other says that there is one.
func (t Target) Bulk() (bulk Target, other bool) {
	other = t.TransferHost != "" && t.TransferHost != t.Host
	if other {
		t.Host = t.TransferHost
	}
	t.TransferHost = ""
	return t, other
}

func (b *bulk) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

// endpoint connects at first use: a command that moves nothing does not ask for a second authentication. rsync says
// what is wrong with an endpoint that has no connection behind it; err knows better.
func (b *bulk) endpoint(c *Conn) Endpoint {
	b.once.Do(func() {
		t, _ := c.target.Bulk()
		o := c.o
		o.Lazy = false
		conn, err := Open(context.Background(), t, o)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.conn, b.err = conn, err
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn == nil {
		return c.endpoint(c.target.TransferHost, nil)
	}
	return b.conn.Endpoint()
}

// executions are the ssh processes of this connection.
func (b *bulk) executions() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn == nil {
		return 0
	}
	return b.conn.Executions()
}

func (b *bulk) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != nil {
		b.conn.Close()
	}
}
