package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/profiles"
)

// remoteFlags are the keys of a profile. A key without a flag keeps the preset's value, or the default.
type remoteFlags struct {
	Preset          string   `placeholder:"NAME" help:"Start from a preset, such as bu-scc."`
	TransferNode    bool     `help:"Take the preset's transfer node for the host."`
	Type            string   `placeholder:"TYPE" help:"ssh, or local (a directory that this host can see)."`
	Host            string   `placeholder:"HOST" help:"Host name, or alias of the ssh configuration."`
	User            string   `placeholder:"USER" help:"User there (default: as ssh decides)."`
	BaseDir         string   `placeholder:"DIR" help:"USR root there, absolute."`
	Port            int      `placeholder:"PORT" help:"Port (default: as ssh decides)."`
	BatchMode       *bool    `negatable:"" help:"Never let ssh ask (default yes)."`
	SSHKeyEnv       string   `name:"ssh-key-env" placeholder:"VARIABLE" help:"Name of a variable that holds a key path."`
	SSHConfig       string   `name:"ssh-config" placeholder:"FILE" help:"ssh configuration to use (ssh -F)."`
	SSHOption       []string `name:"ssh-option" aliases:"ssh-options" sep:"none" placeholder:"KEY=VALUE" help:"Given as ssh -o; may be repeated."`
	TransferHost    string   `placeholder:"HOST" help:"Send bulk data through this host."`
	RsyncPath       string   `placeholder:"PROGRAM" help:"rsync on the remote."`
	RepoRoot        string   `placeholder:"DIR" help:"FILE mode: repository on the remote."`
	LocalRepoRoot   string   `placeholder:"DIR" help:"FILE mode: repository here."`
	Bwlimit         rate     `placeholder:"RATE" help:"Limit of transfers."`
	Streams         int      `placeholder:"N" help:"Parallel rsync processes."`
	KeepGenerations *int     `placeholder:"N" help:"Earlier trees kept on each side."`
	KeepUnique      *age     `placeholder:"DUR" help:"How long files stay of which nothing else has the content, such as 30d."`
	LockTimeout     duration `placeholder:"DUR" help:"How long to wait for locks."`
	ControlPersist  duration `placeholder:"DUR" help:"Keep the connection open this long."`
	Ignore          []string `sep:"none" placeholder:"PATTERN" help:"Files that are no data; may be repeated."`
	Rebuildable     []string `sep:"none" placeholder:"PATTERN" help:"Files that programs can make again; may be repeated."`
}

// remote makes a profile from the flags. It also returns the preset, for its notes.
func (f remoteFlags) remote(name string) (profiles.Remote, profiles.Preset, error) {
	r := profiles.Default(name)
	var preset profiles.Preset
	if f.Preset != "" {
		var err error
		if preset, err = profiles.FindPreset(f.Preset); err != nil {
			return r, preset, err
		}
		r = preset.Remote(f.TransferNode)
		r.Name = orElse(name, r.Name)
	}
	if f.TransferNode && preset.TransferNode == "" {
		return r, preset, &usageError{
			why:  "cannot use --transfer-node: no preset that has one is given",
			hint: "add --preset bu-scc, or name the host with --host or --transfer-host",
		}
	}
	f.fill(&r)
	return r, preset, nil
}

func (f remoteFlags) fill(r *profiles.Remote) {
	for _, s := range []struct {
		to   *string
		from string
	}{
		{&r.Type, f.Type}, {&r.Host, f.Host}, {&r.User, f.User}, {&r.BaseDir, f.BaseDir}, {&r.SSHKeyEnv, f.SSHKeyEnv},
		{&r.SSHConfig, f.SSHConfig}, {&r.TransferHost, f.TransferHost}, {&r.RsyncPath, f.RsyncPath},
		{&r.RepoRoot, f.RepoRoot}, {&r.LocalRepoRoot, f.LocalRepoRoot}, {&r.Bwlimit, string(f.Bwlimit)},
	} {
		*s.to = orElse(s.from, *s.to)
	}
	if f.Port != 0 {
		r.Port = f.Port
	}
	if f.Streams != 0 {
		r.Streams = f.Streams
	}
	if f.BatchMode != nil {
		r.BatchMode = *f.BatchMode
	}
	if f.KeepGenerations != nil {
		r.KeepGenerations = *f.KeepGenerations
	}
	if f.KeepUnique != nil {
		r.KeepUnique = time.Duration(*f.KeepUnique)
	}
	if f.LockTimeout != 0 {
		r.LockTimeout = time.Duration(f.LockTimeout)
	}
	if f.ControlPersist != 0 {
		r.ControlPersist = time.Duration(f.ControlPersist)
	}
	r.SSHOptions = append(r.SSHOptions, f.SSHOption...)
	r.Ignore = append(r.Ignore, f.Ignore...)
	r.Rebuildable = append(r.Rebuildable, f.Rebuildable...)
}

type remotesAddCmd struct {
	Name string `arg:"" help:"Name of the remote."`
	remoteFlags
	Yes    bool `short:"y" help:"Replace a remote of this name without asking."`
	DryRun bool `short:"n" help:"Show the lines; write nothing."`
}

// Run is called by kong.
func (c *remotesAddCmd) Run(ctx context.Context, a *app) error {
	a.doing.remote = c.Name
	r, preset, err := c.remote(c.Name)
	if err != nil {
		return err
	}
	e, err := a.prepareEdit(r, preset)
	if err != nil {
		return err
	}
	if c.DryRun {
		e.action = "would " + e.verb()
		return a.show(e.remoteEdit)
	}
	if e.replaces() && !c.Yes {
		if err := a.approveEdit(ctx, e, false); err != nil {
			return err
		}
	}
	return a.carryOutEdit(e)
}

// pendingEdit is a remote that was added or replaced in a file, in memory.
type pendingEdit struct {
	remoteEdit
	file *profiles.File
	had  *profiles.ExistsError // set if a remote of that name existed
}

func (e pendingEdit) replaces() bool { return e.had != nil && len(e.differences) > 0 }

func (e pendingEdit) verb() string {
	switch {
	case e.had == nil:
		return "add"
	case e.replaces():
		return "replace"
	}
	return unchanged
}

const unchanged = "leave as it is"

// prepareEdit adds a profile to the remotes file, or replaces the one of its name, in memory.
func (a *app) prepareEdit(r profiles.Remote, preset profiles.Preset) (e pendingEdit, err error) {
	if e.file, err = a.editRemotes(); err != nil {
		return e, err
	}
	e.path, e.preset, e.next = e.file.Path(), preset, a.command("remotes", "doctor", "--remote", r.Name)
	e.lines = e.file.Render(r)
	if err = e.file.Add(r); errors.As(err, &e.had) {
		old, _ := e.file.Remote(r.Name) // works for one with nulls too
		e.lines, e.differences = "", profiles.Compare(old, r)
		err = e.file.Replace(r)
	}
	if err == nil {
		e.remote, err = e.file.Remote(r.Name)
	}
	return e, err
}

// approveEdit asks before a file is written. Without a person to ask it refuses to replace a remote.
func (a *app) approveEdit(ctx context.Context, e pendingEdit, offered bool) error {
	if !a.env.canAsk() {
		return &replaceError{e.had, e.differences}
	}
	p := a.page(a.env.stderr)
	e.printChange(p)
	if err := p.flush(); err != nil {
		return err
	}
	question, choice := "Add "+shown(e.remote.Name)+" to "+shown(e.path), "[y/N]"
	if e.had != nil {
		question = "Replace " + shown(e.remote.Name) + " in " + shown(e.path)
	}
	if offered {
		choice = "[Y/n]"
	}
	answer, err := a.ask(ctx, question+"? "+choice+" ")
	if err != nil {
		return err
	}
	answer = strings.ToLower(answer)
	if answer == "y" || answer == "yes" || (offered && answer == "") {
		return nil
	}
	return &declinedError{action: e.verb() + " a remote", asked: true}
}

// carryOutEdit writes the file and shows the result.
func (a *app) carryOutEdit(e pendingEdit) error {
	e.action = map[string]string{"add": "added", "replace": "replaced"}[e.verb()]
	if e.action == "" {
		e.action = "nothing to change about"
		return a.show(e.remoteEdit)
	}
	if err := e.file.Save(); err != nil {
		return err
	}
	return a.show(e.remoteEdit)
}

func (a *app) editRemotes() (*profiles.File, error) {
	path, err := a.remotesPath()
	if err != nil {
		return nil, err
	}
	return profiles.Edit(path)
}

// remoteEdit is what was done to the remotes file.
type remoteEdit struct {
	action      string
	path        string
	remote      profiles.Remote
	lines       string                // of a new remote
	differences []profiles.Difference // from the remote it replaces
	preset      profiles.Preset
	next        string
	said        bool // the questions have shown lines, differences and notes
}

func (e remoteEdit) data() any {
	type row struct {
		Key string  `json:"key"`
		Old *string `json:"old"`
		New *string `json:"new"`
	}
	rows := []row{}
	for _, d := range e.differences {
		rows = append(rows, row{d.Key, orNull(d.Old), orNull(d.New)})
	}
	return map[string]any{"action": e.action, "file": e.path, "remote": remoteData(e.remote), "differences": rows}
}

func (e remoteEdit) text(p *page, _ opt) {
	p.line(e.action + " " + shown(e.remote.Name) + " in " + shown(e.path))
	if !e.said {
		e.printChange(p)
		for _, note := range e.preset.Notes {
			p.fact("note", note)
		}
	}
	if ssh := e.preset.SSHConfig(e.remote); len(ssh) > 0 {
		p.gap()
		p.line("to share one connection, put this into ~/.ssh/config:")
		for _, l := range ssh {
			p.line("  " + safe(l))
		}
	}
	if e.next != "" {
		p.line("next: " + e.next)
	}
}

func (e remoteEdit) isOutcome() {}

// printChange shows the new lines, or key by key what changes.
func (e remoteEdit) printChange(p *page) {
	if e.lines != "" {
		p.line(safeLines(trimNewline(e.lines)))
	}
	for _, d := range e.differences {
		if d.Old != "" {
			p.line("  - " + d.Key + ": " + safe(d.Old))
		}
		if d.New != "" {
			p.line("  + " + d.Key + ": " + safe(d.New))
		}
	}
}

func trimNewline(s string) string {
	for len(s) > 0 && (s[len(s)-1] == '\n' || s[len(s)-1] == '\r') {
		s = s[:len(s)-1]
	}
	return s
}

type remotesRemoveCmd struct {
	Name string `arg:"" help:"Name of a remote."`
}

// Run is called by kong.
func (c *remotesRemoveCmd) Run(_ context.Context, a *app) error {
	a.doing.remote = c.Name
	f, err := a.remotesFile()
	if err != nil {
		return err
	}
	r, err := f.Remote(c.Name)
	if r.Name == "" { // a profile with nulls can be removed, a missing one cannot
		return err
	}
	if err := f.Remove(c.Name); err != nil {
		return err
	}
	if err := f.Save(); err != nil {
		return err
	}
	return a.show(remoteEdit{action: "removed", path: f.Path(), remote: r})
}
