package remote

import (
	"context"
	"strings"
)

// Sharing says whether a connection is there that a command would reuse.
type Sharing struct {
	Socket string // of the live one
	Live   bool
	Detail string // what ssh says of the master, escaped
}

// Check looks for a connection that can be reused, without making one: the user's own master first, then one that
// an earlier command kept. It proves that a master runs, not that the network behind it works.
func Check(ctx context.Context, t Target, o Options) (Sharing, error) {
	ssh, err := findSSH(o.Env)
	if err != nil {
		return Sharing{}, err
	}
	c := &Conn{target: t, o: o, ssh: ssh}
	ways, err := c.findWays(ctx)
	if err != nil {
		return Sharing{}, err
	}
	for _, w := range ways {
		if !w.reuse {
			break
		}
		said, err := c.master(ctx, w.socket)
		if err == nil {
			return Sharing{Socket: w.socket, Live: true, Detail: said}, nil
		}
	}
	return Sharing{}, nil
}

// master asks a master for its process id, which it tells on stderr.
func (c *Conn) master(ctx context.Context, socket string) (string, error) {
	args := append([]string{"-O", "check"}, c.target.riderArgs(socket)...)
	cmd := c.command(append(args, "--", c.target.Host), false)
	said := &tail{}
	err := runFor(ctx, cmd, said)
	return escape(strings.TrimSpace(said.String())), err
}
