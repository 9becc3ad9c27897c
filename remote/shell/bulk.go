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
	dialling stdsync.Mutex // held while it is dialled
	mu       stdsync.Mutex // guards session
	session  *Session
}

// Far says that rsync reaches the side over a connection.
func (s *Session) Far() bool { return true }

// Endpoint is how rsync reaches the host, which has answered then, or the transfer host if the target has one: that one is
// dialled here.
func (s *Session) Endpoint(ctx context.Context) (remote.Endpoint, error) {
	if t, other := s.conn.Target().Bulk(); other {
		return s.bulk.endpoint(ctx, t, s.o)
	}
	if err := s.Ready(ctx); err != nil {
		return remote.Endpoint{}, err
	}
	return s.conn.Endpoint(), nil
}

// endpoint connects at first use: a command that moves nothing does not ask for a second authentication.
func (b *bulk) endpoint(ctx context.Context, t ssh.Target, o Options) (remote.Endpoint, error) {
	b.dialling.Lock()
	defer b.dialling.Unlock()
	if s := b.current(); s != nil {
		return s.Endpoint(ctx)
	}
	o.Lazy = false
	session, err := Open(ctx, t, o)
	if err != nil {
		return remote.Endpoint{}, err
	}
	b.mu.Lock()
	b.session = session
	b.mu.Unlock()
	return session.Endpoint(ctx)
}

func (b *bulk) current() *Session {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.session
}

// executions are the ssh processes of this connection.
func (b *bulk) executions() int {
	if s := b.current(); s != nil {
		return s.Executions()
	}
	return 0
}

func (b *bulk) close() {
	if s := b.current(); s != nil {
		s.Close()
	}
}
