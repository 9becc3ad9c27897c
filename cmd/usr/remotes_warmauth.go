package main

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/shell"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
)

// warmFor is how long a connection stays open if the profile has no control_persist: a working day.
const warmFor = 8 * time.Hour

type remotesWarmAuthCmd struct {
	remoteName
	jsonFlag
	Stop bool `help:"Close the connection that was kept."`
}

// Run is called by kong. ssh asks its questions now, and none for the commands that follow.
func (c *remotesWarmAuthCmd) Run(ctx context.Context, a *app) error {
	a.doing.action = "warm-auth"
	p, err := c.profile(a)
	if err != nil {
		return err
	}
	s := sharing{profile: p}
	keep := cmp.Or(p.ControlPersist, warmFor)
	var done []string
	err = a.eachHost(p, func(t ssh.Target) error {
		said, err := c.one(ctx, a, t, keep, &s)
		done = append(done, said)
		return err
	})
	if err != nil {
		return err
	}
	s.done = strings.Join(done, "; ")
	return a.showSharing(s, c.JSON)
}

// one opens or closes the connection to one host and says what it did.
func (c *remotesWarmAuthCmd) one(ctx context.Context, a *app, t ssh.Target, keep time.Duration, s *sharing) (string, error) {
	if c.Stop {
		stopped, err := ssh.Stop(ctx, t, a.reachOptions())
		if err != nil {
			return "", err
		}
		found, err := ssh.Check(ctx, t, a.reachOptions())
		s.hosts = append(s.hosts, hostSharing{t.Host, found})
		if stopped {
			return "closed", err
		}
		return "usr kept none open", err
	}
	found, opened, err := shell.Keep(ctx, t, a.reachOptions(), keep)
	s.hosts = append(s.hosts, hostSharing{t.Host, found})
	s.opened = s.opened || opened
	if opened {
		return "opened, and kept for " + spanText(keep) + " after its last use", err
	}
	return "it was open already", err
}

// spanText is a duration without its zeros.
func spanText(d time.Duration) string {
	text, _ := span(d).(string)
	return text
}
