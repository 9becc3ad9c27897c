package shell

import (
	"context"
	stdsync "sync"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
)

// bulk is the connection to a host that is for transfers alone: like the other one it rides on a master that is there,
// or makes one.
type bulk struct {
	once    stdsync.Once
	mu      stdsync.Mutex // guards what follows
	session *Session
	err     error
}

func (b *bulk) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

// Endpoint is how rsync reaches the host, or the transfer host if the target has one: that one is dialled here,
// and EndpointError says how it went. It waits until the host has answered.
func (s *Session) Endpoint() remote.Endpoint {
	if t, other := s.conn.Target().Bulk(); other {
		return s.bulk.endpoint(t, s.o)
	}
	s.bulk.fail(s.Ready(context.Background()))
	return s.conn.Endpoint()
}

// EndpointError is why the last Endpoint does not work; nil if nothing is known against it.
func (s *Session) EndpointError() error {
	s.bulk.mu.Lock()
	defer s.bulk.mu.Unlock()
	return s.bulk.err
}

// endpoint connects at first use: a command that moves nothing does not ask for a second authentication. rsync says
// what is wrong with an endpoint that has no connection behind it; err knows better.
func (b *bulk) endpoint(t ssh.Target, o Options) remote.Endpoint {
	b.once.Do(func() {
		o.Lazy = false
		session, err := Open(context.Background(), t, o)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.session, b.err = session, err
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.session == nil {
		return t.Endpoint()
	}
	return b.session.Endpoint()
}

// executions are the ssh processes of this connection.
func (b *bulk) executions() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.session == nil {
		return 0
	}
	return b.session.Executions()
}

func (b *bulk) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.session != nil {
		b.session.Close()
	}
}
