package main

import (
	"bufio"
	"context"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/profiles"
	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/sync"
)

// app is one run of the program: its environment, its flags and how it speaks.
type app struct {
	env      env
	cli      cli
	format   format
	progress *progress
	audits   []*auditFile // where else the result is written
	doing    doing
	listed   []sync.Change // the changes that the last question listed
	answers  *bufio.Reader // of the user, made by the first question
	partial  any           // what was done before the command failed, for JSON
	code     int           // exit code of a command that succeeded; 1 if it found a difference
}

// doing is what the command is about, for hints.
type doing struct {
	action, dataset, remote string
	root                    string // of the log, once the command is about to change something
	forced                  bool
	file                    bool         // the dataset is a single file
	flags                   compareFlags // which of them are kept in hints: onward
	nearest                 string       // the id that was probably meant, "" if none
}

// format is how results are printed.
type format int

const (
	plainFormat format = iota
	richFormat
	jsonFormat
)

// newApp makes an app that can report errors of the command line itself, before kong has read it.
func newApp(e env, args []string) *app {
	a := &app{env: e}
	if asksJSON(args) {
		a.format = jsonFormat
	}
	a.progress = newProgress(e, progressOptions{})
	return a
}

// asksJSON looks for --format json in a command line that may not parse.
func asksJSON(args []string) bool {
	for i, arg := range args {
		if arg == "--format=json" || arg == "--json" || (arg == "--format" && i+1 < len(args) && args[i+1] == "json") {
			return true
		}
		if arg == "--" {
			break
		}
	}
	return false
}

// configure applies the global flags.
func (a *app) configure() error {
	switch {
	case a.cli.Format == "json":
		a.format = jsonFormat
	case a.cli.NoRich:
		a.format = plainFormat
	case a.cli.Format == "rich" || (a.cli.Format == "auto" && a.env.isTerminal(a.env.stdout)):
		a.format = richFormat
	default:
		a.format = plainFormat
	}
	a.progress = newProgress(a.env, progressOptions{
		quiet: a.cli.Quiet, commands: a.cli.PrintCommands, page: a.page(a.env.stderr),
	})
	return nil
}

// finish ends the command, reports its error and returns the exit code.
func (a *app) finish(err error) int {
	a.progress.stop()
	if err != nil {
		return a.fail(err)
	}
	return a.code
}

// page makes a page in the style that fits a stream.
func (a *app) page(w io.Writer) *page {
	rich := a.format == richFormat
	p := newPage(w, rich, rich && a.coloured(w))
	if rich {
		p.width = a.env.width(w)
	}
	if rich && p.width == 0 {
		p.width = defaultWidth
	}
	return p
}

const defaultWidth = 80

// coloured decides about colour: --color, else NO_COLOR (no-color.org), else whether the stream is a terminal that
// can show it.
func (a *app) coloured(w io.Writer) bool {
	switch a.cli.Color {
	case "always":
		return true
	case "never":
		return false
	}
	return a.env.getenv("NO_COLOR") == "" && a.env.getenv("TERM") != "dumb" && a.env.isTerminal(w)
}

// result is what a command has to say on standard output.
type result interface {
	data() any       // for JSON
	text(*page, opt) // for people
}

// outcome is a result that --quiet does not print if all went well. Lists are not outcomes: they were asked for.
type outcome interface {
	result
	isOutcome()
}

// opt is how much of a result is wanted.
type opt struct{ verbose bool }

// show prints a result. Nothing else writes to standard output.
func (a *app) show(r result) error {
	a.progress.stop()
	for _, f := range a.audits {
		if err := f.write(document{Data: r.data()}); err != nil {
			return err
		}
	}
	if a.format == jsonFormat {
		return writeJSON(a.env.stdout, document{Data: r.data()})
	}
	if _, is := r.(outcome); is && a.cli.Quiet && a.code == codeDone {
		return nil
	}
	p := a.page(a.env.stdout)
	r.text(p, opt{verbose: a.cli.Verbose})
	return p.flush()
}

// remotesFile loads the remotes file.
func (a *app) remotesPath() (string, error) {
	if a.cli.RemotesConfig != "" {
		return a.abs(a.cli.RemotesConfig), nil
	}
	path, err := profiles.DefaultPath(a.env.getenv)
	return a.abs(path), err
}

func (a *app) remotesFile() (*profiles.File, error) {
	path, err := a.remotesPath()
	if err != nil {
		return nil, err
	}
	return profiles.Load(path)
}

func (a *app) profile(name string) (profiles.Remote, error) {
	f, err := a.remotesFile()
	if err != nil {
		return profiles.Remote{}, err
	}
	p, err := f.Remote(name)
	if err != nil || a.doing.flags.BaseDir == "" {
		return p, err
	}
	p.BaseDir = a.doing.flags.BaseDir
	err = p.Check()
	p.BaseDir = path.Clean(p.BaseDir)
	return p, err
}

// open connects the local root with a remote; "" is none.
func (a *app) open(ctx context.Context, root, name string) (*sync.Pair, error) {
	if name == "" {
		return a.connect(ctx, root, nil)
	}
	p, err := a.profile(name)
	if err != nil {
		return nil, err
	}
	return a.connect(ctx, root, &p)
}

func (a *app) connect(ctx context.Context, root string, p *profiles.Remote) (*sync.Pair, error) {
	if p != nil {
		a.doing.remote = p.Name
	}
	a.progress.start()
	var pauses []time.Duration
	if a.doing.action == "follow" { // it redials by itself
		pauses = []time.Duration{}
	}
	return sync.Open(ctx, sync.Options{
		Root: root, RetryPauses: pauses, Observe: a.progress.observe, KeepGenerations: 1, LockTimeout: profiles.Default("").LockTimeout,
		Streams: 1, NoExchange: a.env.getenv("USR_NO_EXCHANGE") == "1", Now: a.env.now,
	}, p, sync.Reach{Getenv: a.env.getenv, Interactive: a.env.canAsk(), Stderr: a.env.stderr})
}

// command returns a command line of this program that can be pasted into the same shell.
func (a *app) command(line ...string) string {
	argv := append([]string{"usr"}, words("--root", a.cli.Root, "--remotes-config", a.cli.RemotesConfig)...)
	return remote.CommandLine(append(argv, line...))
}

// alike is command with the output flags of this run.
func (a *app) alike(line ...string) string {
	argv := slices.Clone(line)
	if a.cli.Format != "auto" {
		argv = append(argv, words("--format", a.cli.Format)...)
	}
	if a.cli.Color != "auto" {
		argv = append(argv, words("--color", a.cli.Color)...)
	}
	for _, f := range []struct {
		given bool
		flag  string
	}{{a.cli.NoRich, "--no-rich"}, {a.cli.Verbose, "-v"}, {a.cli.Quiet, "-q"}, {a.cli.PrintCommands, "--print-commands"}} {
		if f.given && !slices.Contains(line, f.flag) {
			argv = append(argv, f.flag)
		}
	}
	return a.command(argv...)
}

// truthy reads a switch from the environment.
func truthy(value string) bool {
	switch strings.ToLower(value) {
	case "", "0", "false", "no", "off":
		return false
	}
	return true
}
