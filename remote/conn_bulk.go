package remote

import (
	"bufio"
	"path/filepath"
	stdsync "sync"
	"time"
)

// bulk is the second master, to a host that is for transfers alone.
type bulk struct {
	once stdsync.Once
	link *link
	mu   stdsync.Mutex
	err  error
}

func (b *bulk) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

// endpoint connects at first use: a command that moves nothing does not ask for a second authentication. rsync says
// what is wrong with an endpoint that has no connection behind it; err knows better.
func (b *bulk) endpoint(c *Conn) Endpoint {
	b.once.Do(func() { b.fail(b.dial(c)) })
	return c.endpoint(c.target.TransferHost, b.link)
}

func (b *bulk) dial(c *Conn) error {
	if err := c.makeDir(); err != nil {
		return err
	}
	token := newToken()
	l, err := c.start(way{socket: filepath.Join(c.dir, "t")}, c.target.TransferHost, "echo "+token+"; exec cat")
	if err != nil {
		return err
	}
	b.link = l
	if !c.o.Interactive && c.target.BatchMode {
		l.raw.SetReadDeadline(time.Now().Add(helloTimeout))
	}
	lines := bufio.NewScanner(l.out)
	for lines.Scan() {
		if lines.Text() == token {
			l.raw.SetReadDeadline(time.Time{})
			return nil
		}
	}
	return l.failure(c.target, c.target.TransferHost, Other)
}

func (b *bulk) close() {
	if b.link != nil {
		b.link.close(2 * time.Second)
	}
}
