package main

import (
	"context"
	"time"

	"github.com/dnadesign-maintainers/usr/profiles"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
)

type remotesStatusCmd struct {
	remoteName
	jsonFlag
}

// jsonFlag is that of the earlier Python tool.
type jsonFlag struct {
	JSON bool `name:"json" help:"As --format json, with the keys of the earlier tool at the top as well."`
}

// Run is called by kong.
func (c *remotesStatusCmd) Run(ctx context.Context, a *app) error {
	p, err := c.profile(a)
	if err != nil {
		return err
	}
	s := sharing{profile: p}
	err = a.eachHost(p, func(t ssh.Target) error {
		found, err := ssh.Check(ctx, t, a.reachOptions())
		s.hosts = append(s.hosts, hostSharing{t.Host, found})
		return err
	})
	if err != nil {
		return err
	}
	return a.showSharing(s, c.JSON)
}

func (a *app) showSharing(s sharing, flat bool) (err error) {
	if s.config, err = a.remotesPath(); err != nil {
		return err
	}
	s.now, s.next = a.env.now(), a.nextForSharing(s)
	if !flat {
		return a.show(s)
	}
	doc := s.earlier()
	doc["usr_output_version"], doc["data"] = outputVersion, s.data()
	return writeJSON(a.env.stdout, doc)
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
	warm := []string{"remotes", "warm-auth", "--remote", s.profile.Name}
	switch {
	case s.profile.Type == profiles.Local:
		return "nothing to open: it is a directory of this host"
	case !s.live():
		return "open one with `" + a.command(warm...) + "`, or let each command authenticate by itself"
	case s.ours():
		return "commands use it without asking; close it with `" + a.command(append(warm, "--stop")...) + "`"
	}
	return "commands use it without asking; close it with `" + a.login(s.hosts[0].host, "-O", "exit") + "`"
}

// sharing is the result about the connections that commands on a remote would reuse.
type sharing struct {
	profile profiles.Remote
	config  string // the remotes file
	hosts   []hostSharing
	now     time.Time
	done    string // what the command did, "" for nothing
	opened  bool   // the command opened a connection
	next    string
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
	all := s.earlier()
	all["connections"], all["next"] = rows, s.next
	if s.done != "" {
		all["done"] = s.done
	}
	return all
}

// earlier are the keys of the earlier Python tool.
func (s sharing) earlier() map[string]any {
	p, socket, there := s.profile, "", false
	if len(s.hosts) > 0 {
		socket = s.hosts[0].Socket
		there = exists(socket)
	}
	m := map[string]any{
		"remote": p.Name, "remotes_config": s.config, "ssh_target": target(p), "host": text(p.Host), "user": text(p.User),
		"base_dir": p.BaseDir, "batch_mode": p.BatchMode, "control_master": "auto", "control_path": text(socket),
		"control_persist": span(p.ControlPersist), "multiplex_enabled": socket != "", "socket_exists": there,
		"socket_live": s.live(), "live": s.live(), "recommendation": s.next,
	}
	if s.done != "" {
		m["bootstrap_state"] = "existing"
		if s.opened {
			m["bootstrap_state"] = "started"
		}
	}
	return m
}

func (s sharing) text(p *page, _ opt) {
	p.fact("remote", shown(s.profile.Name))
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
