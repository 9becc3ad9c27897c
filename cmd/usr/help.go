package main

import (
	"context"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// commandGroups are the headings of the help. A command names its group in cli.go.
var commandGroups = []kong.Group{
	{Key: "look", Title: "Look:"},
	{Key: "move", Title: "Move:"},
	{Key: "back", Title: "Go back:"},
	{Key: "remotes", Title: "Remotes:"},
	{Key: "more", Title: "More:"},
	{Key: "global", Title: "Global flags:"},
}

type helpCmd struct {
	Command []string `arg:"" optional:"" help:"A command, such as pull or remotes add; without it, all."`
}

// Run is called by kong.
func (c *helpCmd) Run(_ context.Context, a *app) error {
	parser, done, err := newParser(newApp(a.env, nil))
	if err != nil {
		return err
	}
	if _, err := parser.Parse(append(c.Command, "--help")); err != nil && !done.asked {
		return a.badCommandLine(err)
	}
	return nil
}

// noCommandError means that the command line names no command.
type noCommandError struct{}

func (noCommandError) Error() string { return "cannot tell what to do: no command is given" }

// withoutCommand prints the help on standard error.
func (a *app) withoutCommand() error {
	e := a.env
	e.stdout = e.stderr
	if a.format == jsonFormat {
		return noCommandError{}
	}
	parser, _, err := newParser(newApp(e, nil))
	if err == nil {
		_, _ = parser.Parse([]string{"--help"})
	}
	return noCommandError{}
}

// bothWays returns a flag that is given with and without "no-", or "".
func bothWays(flags []*kong.Flag, args []string) string {
	seen := map[string]bool{}
	for _, arg := range args {
		if arg == "--" {
			break
		}
		name, _, _ := strings.Cut(arg, "=")
		seen[name] = true
	}
	for _, f := range flags {
		if f.Tag.Negatable != "" && seen["--"+f.Name] && seen["--no-"+f.Name] {
			return f.Name
		}
	}
	return ""
}

// neverEmpty are flags that would do something else than meant if an unset variable of a script emptied them.
var neverEmpty = []string{"root", "remotes-config", "base-dir", "remote-path", "audit-json-out", "audit-dir", "from"}

// emptied returns a flag that is given without a value that it needs, or "".
func emptied(flags []*kong.Flag) string {
	for _, f := range flags {
		if f.Set && slices.Contains(neverEmpty, f.Name) && f.Target.IsZero() {
			return f.Name
		}
	}
	return ""
}
