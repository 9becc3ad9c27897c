package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/dnadesign-maintainers/usr/profiles"
)

type remotesWizardCmd struct {
	Name string `arg:"" optional:"" help:"Name of the new remote (default: the preset's)."`
	remoteFlags
	Yes bool `short:"y" help:"Write without asking once more."`
}

// Run is called by kong. What flags give is not asked.
func (c *remotesWizardCmd) Run(ctx context.Context, a *app) error {
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

// unattended does what add does, if the flags say enough.
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
	return w.app.addRemote(r, preset, false)
}

func (w wizard) attended() error {
	c := w.cmd
	if c.Preset == "" {
		if err := w.askPreset(); err != nil {
			return err
		}
	}
	r, preset, err := c.remote(c.Name)
	if err != nil {
		return err
	}
	if err := w.complete(&r, preset); err != nil {
		return err
	}
	f, err := w.app.editRemotes()
	if err != nil {
		return err
	}
	fmt.Fprintf(w.app.env.stderr, "\n%s\n", safeLines(f.Render(r)))
	if err := w.approve(f.Path()); err != nil {
		return err
	}
	return w.app.addRemote(r, preset, false)
}

func (w wizard) askPreset() error {
	for _, p := range profiles.Presets() {
		fmt.Fprintf(w.app.env.stderr, "  %-10s %s\n", p.Name, p.Title)
	}
	return w.ask("preset", "generic", &w.cmd.Preset)
}

// complete asks for what is not known yet.
func (w wizard) complete(r *profiles.Remote, preset profiles.Preset) error {
	for _, note := range preset.Notes {
		fmt.Fprintf(w.app.env.stderr, "note: %s\n", note)
	}
	c := w.cmd
	if c.Name == "" {
		if err := w.ask("name of the remote", r.Name, &r.Name); err != nil {
			return err
		}
	}
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

// need asks again where nothing is said: there is no profile without it.
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

// ask offers a value to be taken with Enter.
func (w wizard) ask(what, offered string, to *string) error {
	question := what
	if offered != "" {
		question += " [" + offered + "]"
	}
	answer, err := w.app.ask(w.ctx, question+": ")
	*to = orElse(answer, offered)
	return err
}

func (w wizard) approve(path string) error {
	if w.cmd.Yes {
		return nil
	}
	answer, err := w.app.ask(w.ctx, "Write this to "+shown(path)+"? [Y/n] ")
	if err == nil && strings.HasPrefix(strings.ToLower(answer), "n") {
		return &declinedError{action: "add a remote", asked: true}
	}
	return err
}
