package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// manCmd prints the man page. Commands, arguments and flags come from the same tree as the help. The generators that exist
// for kong leave out arguments and --no- flags.
type manCmd struct{}

// Run is called by kong.
func (manCmd) Run(_ context.Context, a *app) error {
	parser, _, err := newParser(newApp(a.env, nil))
	if err != nil {
		return err
	}
	_, err = a.env.stdout.Write([]byte(manPage(parser.Model.Node)))
	return err
}

// exitCodes is the whole list; a test compares it with docs/reference.md.
var exitCodes = []gloss{
	{"0", "done, or nothing to do"},
	{"1", "`diff --exit-code` or `verify` found a difference"},
	{"2", "usage, configuration, bad id"},
	{"3", "remote unreachable: connection, authentication, a missing or too old tool"},
	{"4", "lock not obtained in time"},
	{"5", "verification failed: nothing was promoted"},
	{"6", "refused: diverged history, unpushed or unpulled changes, too many deletions, nothing there to transfer, unsafe entry"},
	{"7", "transfer interrupted: run the same command again"},
	{"8", "declined"},
	{"9", "anything else (disk full, permission, a bug)"},
	{"130", "interrupted by the user"},
}

// variables are the environment variables that the program reads.
var variables = []gloss{
	{"DNADESIGN_USR_ROOT", "the local root, unless --root is given"},
	{"USR_REMOTES_PATH", "the remotes file, unless --remotes-config is given"},
	{"XDG_CONFIG_HOME", "where the remotes file is by default: dnadesign/usr-remotes.yaml in it, else in ~/.config"},
	{"DNADESIGN_REPO_ROOT", "the local repository that remote paths of single files are relative to"},
	{"USR_SYNC_STRICT_BOOTSTRAP_ID", "1 is --strict-bootstrap-id"},
	{"NO_COLOR", "no colour"},
	{"TERM", "dumb: no colour"},
	{"PATH", "where ssh, rsync and the other tools are looked for"},
	{"XDG_RUNTIME_DIR", "where sockets that outlive a command lie (control_persist); else /tmp/usr-UID"},
	{"TMPDIR", "where sockets of one command lie"},
	{"USR_NO_EXCHANGE", "1: behave as on a file system that cannot exchange two directories"},
}

// gloss is a word and what it means.
type gloss struct{ word, meaning string }

// manPage is usr(1) as groff -man takes it.
func manPage(root *kong.Node) string {
	var m roff
	m.line(`.TH USR 1 "" "usr ` + programVersion() + `" "User Commands"`)
	m.section("NAME", "usr - keep datasets in step between this machine and a cluster")
	m.section("SYNOPSIS", "usr [global options] command [arguments] [options]")
	m.section("DESCRIPTION", manDescription)
	m.section("COMMANDS")
	for _, leaf := range leaves(root) {
		m.command(leaf)
	}
	m.section("GLOBAL OPTIONS", "Before or after the command.")
	m.flags(root.Flags)
	m.terms("EXIT STATUS", exitCodes)
	m.terms("ENVIRONMENT", variables)
	m.section("SEE ALSO")
	m.line(`.BR rsync (1), " ssh" (1), " flock" (1)`)
	return m.String()
}

const manDescription = "usr moves datasets over the user's own rsync and ssh. It takes the locks that the writers take, " +
	"shows what would change, proves every file by a hash, switches the whole dataset in one step, and keeps the old tree " +
	"for usr undo. DATASET is an id such as densegen/my_dataset, a quoted glob over ids, a dataset directory, or a single file."

// leaves lists the commands without subcommands, in the order of the help.
func leaves(n *kong.Node) []*kong.Node {
	if len(n.Children) == 0 {
		return []*kong.Node{n}
	}
	var out []*kong.Node
	for _, child := range n.Children {
		if !child.Hidden {
			out = append(out, leaves(child)...)
		}
	}
	return out
}

// roff collects a page.
type roff struct{ strings.Builder }

func (m *roff) line(text string) { m.WriteString(text + "\n") }

// text writes prose, which must not be taken for a request.
func (m *roff) text(s string) {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "`", "").Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	m.line(s)
}

func (m *roff) section(title string, prose ...string) {
	m.line(".SH " + title)
	for _, p := range prose {
		m.text(p)
	}
}

func (m *roff) terms(title string, terms []gloss) {
	m.section(title)
	for _, t := range terms {
		m.tagged(t.word, t.meaning)
	}
}

func (m *roff) tagged(tag, text string) {
	m.line(".TP")
	m.WriteString(".B ")
	m.text(tag)
	m.text(text)
}

func (m *roff) command(n *kong.Node) {
	m.line(".SS " + strings.ReplaceAll(usageLine(n), "-", `\-`))
	m.text(n.Help)
	for _, alias := range n.Aliases {
		m.text(fmt.Sprintf("usr %s is the same.", alias))
	}
	for _, arg := range n.Positional {
		m.tagged(strings.ToUpper(arg.Name), arg.Help)
	}
	m.flags(n.Flags)
}

func (m *roff) flags(flags []*kong.Flag) {
	for _, f := range flags {
		if !f.Hidden {
			m.tagged(flagUsage(f), f.Help)
		}
	}
}

// usageLine is a command with its arguments.
func usageLine(n *kong.Node) string {
	words := []string{n.Name}
	for p := n.Parent; p != nil; p = p.Parent {
		words = append([]string{p.Name}, words...)
	}
	for _, arg := range n.Positional {
		word := strings.ToUpper(arg.Name)
		if arg.Enum != "" {
			word = strings.ReplaceAll(arg.Enum, ",", "|")
		}
		if !arg.Required {
			word = "[" + word + "]"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// flagUsage is a flag with its value.
func flagUsage(f *kong.Flag) string {
	s := "--" + f.Name
	if f.Tag.Negatable != "" {
		s = "--[no-]" + f.Name
	}
	if f.Short != 0 {
		s = "-" + string(f.Short) + ", " + s
	}
	switch {
	case f.IsBool():
		return s
	case f.Enum != "":
		return s + "=" + strings.ReplaceAll(f.Enum, ",", "|")
	}
	return s + "=" + strings.Trim(f.FormatPlaceHolder(), `"`)
}
