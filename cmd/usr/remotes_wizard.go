package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/dnadesign-maintainers/usr/profiles"
)

type remotesWizardCmd struct {
	NameArg string `arg:"" name:"name" optional:"" help:"Name of the remote (default: the preset's)."`
	Name    string `name:"name" placeholder:"NAME" help:"The same as the argument."`
	remoteFlags
	Yes bool `short:"y" help:"Write without asking once more."`
}

// Run is called by kong. It does not ask for what the flags give.
func (c *remotesWizardCmd) Run(ctx context.Context, a *app) error {
	if c.Name != "" && c.NameArg != "" && c.Name != c.NameArg {
		return &usageError{why: "cannot tell the name: " + shown(c.NameArg) + " or " + shown(c.Name), hint: "give one of them"}
	}
	c.Name = orElse(c.Name, c.NameArg)
	w := wizard{app: a, ctx: ctx, cmd: c}
	if !a.env.canAsk() {
		return w.unattended()
	}
	return w.attended()
}

type wizard struct {
	app *app
	ctx context.Context
	cmd *remotesWizardCmd
}

// unattended does what add does, if the flags suffice.
func (w wizard) unattended() error {
	c := w.cmd
	r, preset, err := c.remote(c.Name)
	if err != nil {
		return err
	}
	if r.Name == "" || r.BaseDir == "" || (r.Type == profiles.SSH && r.Host == "") {
		return &usageError{
			why:  "cannot ask for what is missing: there is no terminal to ask on",
			hint: "give NAME, --host and --base-dir (and --preset), or use `usr remotes add`",
		}
	}
	e, err := w.app.prepareEdit(r, preset)
	if err == nil && e.replaces() && !c.Yes {
		err = w.app.approveEdit(w.ctx, e, false)
	}
	if err != nil {
		return err
	}
	return w.app.carryOutEdit(e)
}

// attended asks, and says each thing once: notes before the questions, what it will write before the last one.
func (w wizard) attended() error {
	c := w.cmd
	known, isKnown := w.known(c.Name)
	if c.Preset == "" && !isKnown {
		if err := w.askPreset(); err != nil {
			return err
		}
	}
	r, preset, err := c.remote(c.Name)
	if err != nil {
		return err
	}
	for _, note := range preset.Notes {
		fmt.Fprintf(w.app.env.stderr, "note: %s\n", note)
	}
	if c.Name == "" {
		if err := w.ask("name of the remote", r.Name, &r.Name); err != nil {
			return err
		}
		known, isKnown = w.known(r.Name)
	}
	if isKnown {
		r = w.startFrom(known, r)
	}
	if err := w.complete(&r, preset); err != nil {
		return err
	}
	e, err := w.app.prepareEdit(r, preset)
	if err != nil {
		return err
	}
	if !c.Yes && e.verb() != unchanged {
		if err := w.app.approveEdit(w.ctx, e, true); err != nil {
			return err
		}
		e.said = true
	}
	return w.finish(e)
}

// known returns the existing remote of a name; its values stay unless somebody answers otherwise.
func (w wizard) known(name string) (profiles.Remote, bool) {
	f, err := w.app.editRemotes()
	if err != nil || name == "" {
		return profiles.Remote{}, false
	}
	r, _ := f.Remote(name)
	return r, r.Name != ""
}

// startFrom lets the flags override what is known. The host of a preset counts only if a preset was asked for.
func (w wizard) startFrom(known, r profiles.Remote) profiles.Remote {
	if w.cmd.Preset != "" {
		known.Host = orElse(r.Host, known.Host)
	}
	w.cmd.fill(&known)
	return known
}

// finish writes the profile, and offers to try it at once.
func (w wizard) finish(e pendingEdit) error {
	a := w.app
	offer := a.format != jsonFormat && !w.cmd.Yes
	if offer {
		e.next = ""
	}
	if err := a.carryOutEdit(e); err != nil || !offer {
		return err
	}
	answer, err := a.ask(w.ctx, "Try it now with the doctor, which connects? [y/N] ")
	if err != nil {
		return err
	}
	if answer = strings.ToLower(answer); answer != "y" && answer != "yes" {
		p := a.page(a.env.stderr)
		p.line("later: " + a.command("remotes", "doctor", "--remote", e.remote.Name))
		return p.flush()
	}
	a.doing.remote = e.remote.Name
	return a.examine(w.ctx, e.remote, true)
}

func (w wizard) askPreset() error {
	for _, p := range profiles.Presets() {
		fmt.Fprintf(w.app.env.stderr, "  %-10s %s\n", p.Name, p.Title)
	}
	return w.ask("preset", "generic", &w.cmd.Preset)
}

// complete asks for what is not yet known.
func (w wizard) complete(r *profiles.Remote, preset profiles.Preset) error {
	c := w.cmd
	if r.Type != profiles.Local && c.Host == "" && !c.TransferNode {
		if err := w.need("host", r.Host, &r.Host); err != nil {
			return err
		}
	}
	if r.Type != profiles.Local && c.User == "" {
		if err := w.ask("user (empty: as ssh decides)", r.User, &r.User); err != nil {
			return err
		}
	}
	if c.BaseDir != "" {
		return nil
	}
	if preset.BaseDirHint != "" {
		fmt.Fprintf(w.app.env.stderr, "(the datasets' root there, such as %s)\n", preset.BaseDirHint)
	}
	return w.need("base_dir", r.BaseDir, &r.BaseDir)
}

// need asks again if there is no answer: the profile needs one.
func (w wizard) need(what, offered string, to *string) error {
	const patience = 3
	for range patience {
		if err := w.ask(what, offered, to); err != nil || *to != "" {
			return err
		}
		fmt.Fprintf(w.app.env.stderr, "(%s is needed; Ctrl-C stops)\n", what)
	}
	return &usageError{why: "cannot add a remote: no " + what + " was given", hint: "run `usr remotes wizard` again, or give everything with `usr remotes add`"}
}

// ask asks for a value and offers one that Enter accepts.
func (w wizard) ask(what, offered string, to *string) error {
	question := what
	if offered != "" {
		question += " [" + offered + "]"
	}
	answer, err := w.app.ask(w.ctx, question+": ")
	*to = orElse(answer, offered)
	return err
}
