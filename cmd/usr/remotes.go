package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/profiles"
)

type remotesListCmd struct{}

// Run is called by kong.
func (c *remotesListCmd) Run(_ context.Context, a *app) error {
	f, err := a.remotesFile()
	if err != nil {
		return err
	}
	list := remoteList{path: f.Path()}
	for _, name := range f.Names() {
		r, _ := f.Remote(name) // lists profiles with nulls too
		list.remotes = append(list.remotes, r)
	}
	return a.show(list)
}

type remoteList struct {
	path    string
	remotes []profiles.Remote
}

func (l remoteList) data() any {
	rows := make([]map[string]any, len(l.remotes))
	for i, r := range l.remotes {
		rows[i] = remoteData(r)
	}
	return map[string]any{"file": l.path, "remotes": rows}
}

func (l remoteList) text(p *page, _ opt) {
	if len(l.remotes) == 0 {
		p.line("no remotes in " + shown(l.path))
		return
	}
	g := columns("name", "type", "target", "base_dir")
	g.flex = []int{3}
	for _, r := range l.remotes {
		g.row(shown(r.Name), r.Type, target(r), shown(r.BaseDir))
	}
	p.table(g)
}

// target says where ssh connects to.
func target(r profiles.Remote) string {
	if r.Type == profiles.Local {
		return "this host"
	}
	t := orElse(r.Host, "?")
	if r.User != "" {
		t = r.User + "@" + t
	}
	if r.Port != 0 {
		t += ":" + strconv.Itoa(r.Port)
	}
	return t
}

type remotesShowCmd struct {
	Name string `arg:"" help:"Name of a remote."`
}

// Run is called by kong.
func (c *remotesShowCmd) Run(_ context.Context, a *app) error {
	a.doing.remote = c.Name
	f, err := a.remotesFile()
	if err != nil {
		return err
	}
	r, err := f.Remote(c.Name)
	if err != nil {
		return err
	}
	return a.show(remoteDetails{path: f.Path(), remote: r})
}

type remoteDetails struct {
	path   string
	remote profiles.Remote
}

func (d remoteDetails) data() any {
	return map[string]any{"file": d.path, "remote": remoteData(d.remote)}
}

func (d remoteDetails) text(p *page, _ opt) {
	p.fact("remote", shown(d.remote.Name))
	p.fact("file", shown(d.path))
	p.gap()
	for _, v := range remoteValues(d.remote) {
		p.line(padded(v.key+":") + v.text())
	}
}

// keyWidth fits the longest key and a space.
const keyWidth = 18

func padded(key string) string { return key + strings.Repeat(" ", max(1, keyWidth-len(key))) }

// remoteValue is a key of the remotes file with the value in effect; nil if something else decides.
type remoteValue struct {
	key    string
	value  any
	orElse string // what decides if there is no value
}

// remoteValues lists all keys in the order of the contract.
func remoteValues(r profiles.Remote) []remoteValue {
	const ssh, none = "(as ssh decides)", "(none)"
	return []remoteValue{
		{"type", r.Type, ""}, {"host", text(r.Host), none}, {"user", text(r.User), ssh}, {"base_dir", text(r.BaseDir), none},
		{"port", number(r.Port), ssh}, {"batch_mode", r.BatchMode, ""}, {"ssh_key_env", text(r.SSHKeyEnv), ssh},
		{"ssh_config", text(r.SSHConfig), ssh}, {"ssh_options", list(r.SSHOptions), none},
		{"transfer_host", text(r.TransferHost), "(the host)"}, {"rsync_path", r.RsyncPath, ""},
		{"repo_root", text(r.RepoRoot), none}, {"local_repo_root", text(r.LocalRepoRoot), none},
		{"bwlimit", text(r.Bwlimit), none}, {"streams", r.Streams, ""}, {"keep_generations", r.KeepGenerations, ""},
		{"max_files", r.MaxFiles, ""},
		{"compute", text(r.Compute), none}, {"compute_from", r.ComputeFrom.String(), ""}, {"compute_wait", span(r.ComputeWait), none},
		{"keep_unique", span(r.KeepUnique), none},
		{"lock_timeout", span(r.LockTimeout), none}, {"control_persist", span(r.ControlPersist), "(closed at the end)"},
		{"ignore", list(r.Ignore), none},
		{"rebuildable", list(r.Rebuildable), none},
	}
}

func (v remoteValue) text() string {
	switch value := v.value.(type) {
	case nil:
		return v.orElse
	case string:
		return shown(value)
	case int:
		return strconv.Itoa(value)
	case bool:
		return strconv.FormatBool(value)
	case []string:
		if len(value) == 0 {
			return v.orElse
		}
		words := make([]string, len(value))
		for i, w := range value {
			words[i] = strconv.Quote(w)
		}
		return strings.Join(words, ", ")
	}
	return ""
}

func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func number(n int) any {
	if n == 0 {
		return nil
	}
	return n
}

func span(d time.Duration) any {
	const day = 24 * time.Hour
	if d == 0 {
		return nil
	}
	if d > day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := strings.TrimSuffix(d.String(), "m0s")
	if s != d.String() {
		s += "m"
	}
	return strings.TrimSuffix(s, "h0m") + map[bool]string{true: "h"}[strings.HasSuffix(s, "h0m")]
}

func list(items []string) any { return orEmpty(items) }

// remoteData is a profile in JSON, under the keys of the remotes file.
func remoteData(r profiles.Remote) map[string]any {
	m := map[string]any{"name": r.Name}
	for _, v := range remoteValues(r) {
		m[v.key] = v.value
	}
	return m
}
