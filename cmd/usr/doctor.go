package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/charmbracelet/lipgloss"

	"github.com/dnadesign-maintainers/usr/profiles"
	"github.com/dnadesign-maintainers/usr/remote/doctor"
	"github.com/dnadesign-maintainers/usr/remote/shell"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
	"github.com/dnadesign-maintainers/usr/sync"
)

// remoteName names the remote of a command either way: as an argument or by --remote.
type remoteName struct {
	Name   string `arg:"" optional:"" help:"Name of a remote."`
	Remote string `placeholder:"NAME" help:"The same as the argument."`
}

// profile loads the named profile.
func (n remoteName) profile(a *app) (profiles.Remote, error) {
	name := orElse(n.Remote, n.Name)
	switch {
	case name == "":
		return profiles.Remote{}, &usageError{why: "cannot tell which remote is meant: none is named", hint: "name one with --remote NAME; list them with `" + a.command("remotes", "list") + "`"}
	case n.Name != "" && n.Name != name:
		return profiles.Remote{}, &usageError{why: "cannot tell which remote is meant: " + shown(n.Name) + " or " + shown(n.Remote), hint: "name one of them"}
	}
	a.doing.remote = name
	return a.profile(name)
}

type doctorCmd struct {
	remoteName
	baseFlag
	CheckBaseDir bool `negatable:"" default:"true" help:"Try what datasets need in the base directory (--no-check-base-dir leaves it alone)."`
}

// Run is called by kong. With a failed check the exit code is 3, and the rows are still printed.
func (c *doctorCmd) Run(ctx context.Context, a *app) error {
	a.doing.flags.baseFlag = c.baseFlag
	p, err := c.profile(a)
	if err != nil {
		return err
	}
	return a.examine(ctx, p, c.CheckBaseDir)
}

// examine runs the doctor on a remote and shows what it found.
func (a *app) examine(ctx context.Context, p profiles.Remote, base bool) error {
	t, err := a.reach(p)
	if err != nil {
		return err
	}
	root, err := a.root()
	if err != nil {
		root = "" // which is a finding
	}
	d := &doctor.Doctor{Target: t, Options: a.reachOptions(), Root: root, SkipBase: !base,
		Compute: shell.Compute{Command: p.Compute, Wait: p.ComputeWait}, Hint: func(err error) string { return a.explain(err).Hint }}
	found, err := d.Run(ctx)
	if err != nil {
		return fmt.Errorf("cannot finish the checks: %w", err)
	}
	r := checkup{remote: p.Name, found: found}
	if r.fails() > 0 {
		a.code = codeUnreachable
	}
	return a.show(r)
}

// reach returns how to reach a profile's host; for a remote on this host only the directory is set.
func (a *app) reach(p profiles.Remote) (ssh.Target, error) {
	if p.Type == profiles.Local {
		return ssh.Target{Name: p.Name, BaseDir: p.BaseDir}, nil
	}
	return sync.Target(p, a.env.getenv)
}

// reachOptions are the options of a connection that a command opens itself.
func (a *app) reachOptions() ssh.Options {
	return ssh.Options{Interactive: a.env.canAsk(), Stderr: a.env.stderr, Command: func(argv []string) { a.progress.observe(sync.Ran{Argv: argv}) }}
}

// checkup is what the doctor found.
type checkup struct {
	remote string
	found  []doctor.Finding
}

func (c checkup) fails() int { return c.count(doctor.Fail) }

func (c checkup) count(s doctor.State) (n int) {
	for _, f := range c.found {
		if f.State == s {
			n++
		}
	}
	return n
}

func (c checkup) data() any {
	type row struct {
		Name  string `json:"name"`
		State string `json:"state"`
		Saw   string `json:"saw"`
		Do    string `json:"do,omitempty"`
	}
	rows := make([]row, len(c.found))
	for i, f := range c.found {
		rows[i] = row{f.Name, string(f.State), safe(f.Saw), safe(f.Do)}
	}
	return map[string]any{"action": "doctor", "remote": c.remote, "ok": c.fails() == 0, "checks": rows}
}

var stateTones = map[doctor.State]tone{doctor.OK: good, doctor.Warn: notable, doctor.Fail: bad}

func (c checkup) text(p *page, _ opt) {
	g := columns("state", "check", "what was seen, and what to do")
	width := c.width(p)
	for _, f := range c.found {
		g.rows = append(g.rows, []cell{{string(f.State), stateTones[f.State]}, {text: f.Name}, {text: findingText(f, width)}})
	}
	p.table(g)
	p.gap()
	word, t := "ready", good
	switch {
	case c.fails() > 0:
		word, t = "not ready", bad
	case c.count(doctor.Warn) > 0:
		word, t = "ready, with warnings", notable
	}
	p.state(shown(c.remote), word, t, fmt.Sprintf("%s, %d warn, %d fail", p.count(int64(len(c.found)), "check"), c.count(doctor.Warn), c.fails()))
}

// width returns what the other two columns leave, 0 if the output has no fixed width.
func (c checkup) width(p *page) int {
	if !p.rich || p.width == 0 {
		return 0
	}
	const gaps = 4 // between three columns
	names := 0
	for _, f := range c.found {
		names = max(names, lipgloss.Width(f.Name))
	}
	return max(30, p.width-len("state")-names-gaps)
}

// findingText is one line, or, within a width, several, with the advice on lines of its own.
func findingText(f doctor.Finding, width int) string {
	saw, do := safe(f.Saw), safe(f.Do)
	if do != "" {
		do = "-> " + do
	}
	if width == 0 {
		return strings.TrimSpace(saw + " " + do)
	}
	lines := wrap(saw, width)
	if do != "" {
		lines = append(lines, wrap(do, width)...)
	}
	return strings.Join(lines, "\n")
}
