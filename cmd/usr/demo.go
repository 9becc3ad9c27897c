package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
)

// demoData is a small dataset (bootstrap) and what two later writers do to it: whole files, but only the new lines of
// .events.log.
//
//go:embed all:demodata
var demoData embed.FS

const (
	demoDataset = "densegen/demo"
	demoRemote  = "demo-cluster"
)

// demoCmd plays the operator's loop with this program, between two roots below a temporary directory. It leaves nothing
// behind, however it ends.
type demoCmd struct{}

// Run is called by kong.
func (demoCmd) Run(ctx context.Context, a *app) (err error) {
	dir, err := os.MkdirTemp("", "usr-demo-")
	if err != nil {
		return fmt.Errorf("cannot make a directory for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return fmt.Errorf("cannot make a directory for the demo: %w", err)
	}
	d := &demo{app: a, dir: dir, local: filepath.Join(dir, "local"), cluster: filepath.Join(dir, "cluster")}
	stop, err := d.prepare()
	if err != nil {
		return fmt.Errorf("cannot prepare the demo: %w", err)
	}
	defer stop()
	if err := d.play(ctx); err != nil {
		return err
	}
	if a.format == jsonFormat {
		return a.show(demoResult{d})
	}
	d.tell("\nThat was the loop: doctor, diff, pull or push, diff again. Everything it made is removed now.")
	return nil
}

// demo is one play.
type demo struct {
	app            *app
	dir            string
	local, cluster string // the two USR roots
	transport      string // "ssh" or "local"
	played         []demoPlayed
}

// demoPlayed is a step in JSON.
type demoPlayed struct {
	Command string          `json:"command"`
	Code    int             `json:"exit_code"`
	Output  json.RawMessage `json:"output"`
}

// prepare makes the two roots, the cluster that one of them is on, and the remotes file.
func (d *demo) prepare() (stop func(), err error) {
	for _, dir := range []string{d.local, d.cluster, filepath.Join(d.dir, "home")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
	}
	if err := demoWrite(d.cluster, "bootstrap"); err != nil {
		return nil, err
	}
	server, serr := remotetest.Start(filepath.Join(d.dir, "sshd"), remotetest.Options{})
	stop, profile := func() {}, fmt.Sprintf("    type: local\n    base_dir: %q\n", d.cluster)
	d.transport = "local"
	if serr == nil {
		stop, d.transport = server.Stop, "ssh"
		profile = fmt.Sprintf("    type: ssh\n    host: %s\n    base_dir: %q\n    ssh_config: %q\n", remotetest.Alias, d.cluster, server.ConfigFile())
	}
	if err := os.WriteFile(d.remotesFile(), []byte("remotes:\n  "+demoRemote+":\n"+profile), 0o600); err != nil {
		stop()
		return nil, err
	}
	d.introduce(serr)
	return stop, nil
}

func (d *demo) remotesFile() string { return filepath.Join(d.dir, "remotes.yaml") }

// introduce says what plays the cluster, and what an operator would have set.
func (d *demo) introduce(noServer error) {
	if noServer == nil {
		d.tell("The cluster of this demo is a private sshd on this machine's loopback interface.")
	} else {
		d.tell("There is no ssh in this demo (%s): the cluster is a second directory.", safe(noServer.Error()))
	}
	d.tell("All of it lies in %s until the demo ends. Say we have typed:\n", shown(d.dir))
	d.tell("$ %s", remote.CommandLine([]string{"export", "DNADESIGN_USR_ROOT=" + d.local}))
	d.tell("$ %s", remote.CommandLine([]string{"export", "USR_REMOTES_PATH=" + d.remotesFile()}))
}

// tell prints a line for people.
func (d *demo) tell(format string, args ...any) {
	if d.app.format != jsonFormat {
		fmt.Fprintf(d.app.env.stdout, format+"\n", args...)
	}
}

// play goes through the steps and stops at the first one that does not do what it should.
func (d *demo) play(ctx context.Context) error {
	for _, s := range demoSteps() {
		d.tell("\n# %s", s.say)
		if s.write != nil {
			if err := s.write(d); err != nil {
				return fmt.Errorf("cannot play the demo: %w", err)
			}
		}
		if s.command == "" {
			continue
		}
		err := d.run(ctx, s)
		if err == nil && s.check != nil {
			err = s.check(d)
		}
		if err != nil {
			return &demoError{command: s.line(), err: err}
		}
	}
	return nil
}

// run runs one command line as the operator's shell would, and checks its output.
func (d *demo) run(ctx context.Context, s demoStep) error {
	d.tell("$ %s", s.line())
	var said bytes.Buffer
	out := io.MultiWriter(d.app.env.stdout, &said)
	if d.app.format == jsonFormat {
		out = &said
	}
	code := run(ctx, append(strings.Fields(s.command), d.flags()...), d.env(ctx, out))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	d.played = append(d.played, demoPlayed{Command: s.line(), Code: code, Output: said.Bytes()})
	if code != s.code {
		return fmt.Errorf("exit code %d in place of %d", code, s.code)
	}
	for _, word := range s.says {
		if !strings.Contains(said.String(), word) {
			return fmt.Errorf("its output does not say %s", word)
		}
	}
	return nil
}

// flags hands the demo's own global flags on.
func (d *demo) flags() []string {
	c := &d.app.cli
	flags := []string{"--format=" + c.Format, "--color=" + c.Color}
	for name, set := range map[string]bool{"--verbose": c.Verbose, "--quiet": c.Quiet, "--print-commands": c.PrintCommands} {
		if set {
			flags = append(flags, name)
		}
	}
	return flags
}

// env is this process's environment with the demo's own settings. Nobody is asked anything.
func (d *demo) env(ctx context.Context, out io.Writer) env {
	e, real := d.app.env, d.app.env
	own := map[string]string{
		"HOME": filepath.Join(d.dir, "home"), "XDG_CONFIG_HOME": "", "DNADESIGN_USR_ROOT": d.local,
		"USR_REMOTES_PATH": d.remotesFile(), "DNADESIGN_REPO_ROOT": "", "USR_SYNC_STRICT_BOOTSTRAP_ID": "",
	}
	e.getenv = func(name string) string {
		if value, ok := own[name]; ok {
			return value
		}
		return real.getenv(name)
	}
	e.stdin, e.stdout, e.stderr, e.dir = strings.NewReader(""), out, &untilDone{ctx, real.stderr}, d.dir
	stream := func(s any) any {
		switch s {
		case e.stdout:
			return real.stdout
		case e.stderr:
			return real.stderr
		}
		return s
	}
	e.isTerminal = func(s any) bool { return real.isTerminal(stream(s)) }
	e.width = func(s any) int { return real.width(stream(s)) }
	return e
}

// untilDone drops all output once the user has stopped the demo: that is reported once, at its end.
type untilDone struct {
	ctx context.Context
	w   io.Writer
}

func (u *untilDone) Write(b []byte) (int, error) {
	if u.ctx.Err() != nil {
		return len(b), nil
	}
	return u.w.Write(b)
}

// demoError names the command line at which the demo ended.
type demoError struct {
	command string
	err     error
}

func (e *demoError) Error() string {
	return fmt.Sprintf("cannot finish the demo: `%s`: %v", e.command, e.err)
}

// Unwrap returns what went wrong.
func (e *demoError) Unwrap() error { return e.err }

// demoResult is the whole play in JSON.
type demoResult struct{ *demo }

func (d demoResult) data() any {
	return struct {
		Action    string       `json:"action"`
		Transport string       `json:"transport"`
		Steps     []demoPlayed `json:"steps"`
	}{"demo", d.transport, d.played}
}

func (d demoResult) text(*page, opt) {} // people have read it as it went
