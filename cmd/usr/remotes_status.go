package main

import (
	"context"
	"time"

	"github.com/dnadesign-maintainers/usr/profiles"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
)

type remotesStatusCmd struct{ remoteName }

// Run is called by kong.
func (c *remotesStatusCmd) Run(ctx context.Context, a *app) error {
	p, err := c.profile(a)
	if err != nil {
		return err
	}
	s := sharing{remote: p.Name, here: p.Type == profiles.Local}
	err = a.eachHost(p, func(t ssh.Target) error {
		found, err := ssh.Check(ctx, t, a.reachOptions())
		s.hosts = append(s.hosts, hostSharing{t.Host, found})
		return err
	})
	if err != nil {
		return err
	}
	s.now, s.next = a.env.now(), a.nextForSharing(s)
	return a.show(s)
}

// eachHost calls f for the host of a profile and for its transfer host, if it is another one.
func (a *app) eachHost(p profiles.Remote, f func(ssh.Target) error) error {
	if p.Type == profiles.Local {
		return nil
	}
	t, err := a.reach(p)
	if err != nil {
		return err
	}
	bulk, other := t.Bulk()
	t.TransferHost = ""
	if err = f(t); err == nil && other {
		err = f(bulk)
	}
	return err
}

func (a *app) nextForSharing(s sharing) string {
	warm := []string{"remotes", "warm-auth", "--remote", s.remote}
	switch {
	case s.here:
		return "nothing to open: it is a directory of this host"
	case !s.live():
		return "open one with `" + a.command(warm...) + "`, or let each command authenticate by itself"
	case s.ours():
		return "commands use it without asking; close it with `" + a.command(append(warm, "--stop")...) + "`"
	}
	return "commands use it without asking; close it with `" + a.login(s.hosts[0].host, "-O", "exit") + "`"
}

// sharing tells of the connections that commands on a remote would reuse.
type sharing struct {
	remote string
	here   bool // there is no host
	hosts  []hostSharing
	now    time.Time
	done   string // what the command did, "" for nothing
	next   string
}

type hostSharing struct {
	host string
	ssh.Sharing
}

func (s sharing) live() bool {
	for _, h := range s.hosts {
		if !h.Live {
			return false
		}
	}
	return len(s.hosts) > 0
}

func (s sharing) ours() bool { return s.live() && s.hosts[0].Ours }

func (s sharing) data() any {
	type row struct {
		Host   string     `json:"host"`
		Live   bool       `json:"live"`
		Socket string     `json:"socket"`
		Owner  string     `json:"owner,omitempty"`
		Since  *time.Time `json:"since,omitempty"`
		Dead   []string   `json:"dead,omitempty"`
	}
	rows := []row{}
	for _, h := range s.hosts {
		r := row{Host: h.host, Live: h.Live, Socket: h.Socket, Dead: h.Dead}
		if h.Live {
			since := h.Since.UTC().Truncate(time.Second)
			r.Since, r.Owner = &since, "ssh"
			if h.Ours {
				r.Owner = "usr"
			}
		}
		rows = append(rows, r)
	}
	all := map[string]any{"remote": s.remote, "live": s.live(), "connections": rows, "next": s.next}
	if s.done != "" {
		all["done"] = s.done
	}
	return all
}

func (s sharing) text(p *page, _ opt) {
	p.fact("remote", shown(s.remote))
	for _, h := range s.hosts {
		s.connection(p, h)
	}
	if s.done != "" {
		p.fact("done", s.done)
	}
	p.fact("next", s.next)
}

func (s sharing) connection(p *page, h hostSharing) {
	p.fact("host", shown(h.host))
	for _, socket := range h.Dead {
		p.state("connection", "dead", notable, "nobody answers behind "+shown(socket))
	}
	if !h.Live {
		p.state("connection", "none", notable, "a kept one would be at "+shown(h.Socket))
		return
	}
	owner := "of your ssh configuration"
	if h.Ours {
		owner = "kept by usr"
	}
	p.state("connection", "live", good, owner+", since "+h.Since.Local().Format(time.DateTime)+" ("+s.now.Sub(h.Since).Round(time.Second).String()+")")
	p.fact("socket", shown(h.Socket))
}
