package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/dnadesign-maintainers/usr/sync"
)

// completeCommand is what the completion scripts call: `usr __complete WORD… LAST` prints one candidate a line.
const completeCommand = "__complete"

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"${enum}"`
}

var completionScripts = map[string]string{
	"bash": `# usr completion for bash: source <(usr completion bash)
_usr() {
    local IFS=$'\n' cur="${COMP_WORDS[COMP_CWORD]}"
    COMPREPLY=($(usr __complete "${COMP_WORDS[@]:1:COMP_CWORD-1}" "$cur" 2>/dev/null))
}
complete -o default -F _usr usr
`,
	"zsh": `#compdef usr
# usr completion for zsh: source <(usr completion zsh)
_usr() {
    local -a candidates
    candidates=("${(@f)$(usr __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    [[ -n "${candidates[1]}" ]] && compadd -Q -- "${candidates[@]}" || _files
}
if [[ $funcstack[1] == _usr ]]; then _usr; else compdef _usr usr; fi
`,
	"fish": `# usr completion for fish: usr completion fish | source
function __usr_complete
    set -l words (commandline -opc) (commandline -ct)
    usr __complete $words[2..-1] 2>/dev/null
end
complete -c usr -a '(__usr_complete)'
`,
}

// Run is called by kong.
func (c *completionCmd) Run(_ context.Context, a *app) error {
	_, err := fmt.Fprint(a.env.stdout, completionScripts[c.Shell])
	return err
}

// complete prints the candidates for the last word. It never fails and never dials: a shell waits for it.
func complete(ctx context.Context, words []string, e env) int {
	a := newApp(e, nil)
	parser, _, err := newParser(a)
	if err != nil || len(words) == 0 {
		return 0
	}
	last := words[len(words)-1]
	for _, candidate := range a.candidates(ctx, parser.Model.Node, words[:len(words)-1], last) {
		if strings.HasPrefix(candidate, last) && printable(candidate) {
			fmt.Fprintln(e.stdout, candidate)
		}
	}
	return 0
}

// candidates walks the command tree along the words before the last one.
func (a *app) candidates(ctx context.Context, node *kong.Node, before []string, last string) []string {
	flags := append([]*kong.Flag(nil), node.Flags...)
	var positional []string
	for i := 0; i < len(before); i++ {
		word := before[i]
		if strings.HasPrefix(word, "-") {
			f := findFlag(flags, word)
			if f != nil && f.Name == "prune" && i == len(before)-1 && !strings.HasPrefix(last, "-") {
				return a.keptWords(ctx, positional, false)
			}
			if f != nil && !f.IsBool() && !strings.Contains(word, "=") {
				if i++; i == len(before) {
					return a.flagValues(ctx, f, positional)
				}
				a.takeFlag(f, before[i])
			}
			continue
		}
		if child := findChild(node, word); child != nil {
			node = child
			flags = append(flags, node.Flags...)
		} else {
			positional = append(positional, word)
		}
	}
	if strings.HasPrefix(last, "-") {
		return flagNames(flags)
	}
	if len(node.Children) > 0 {
		return childNames(node)
	}
	return a.positionValues(ctx, node, len(positional))
}

// takeFlag notes root and remotes file, which decide what else can be completed.
func (a *app) takeFlag(f *kong.Flag, value string) {
	switch f.Name {
	case "root":
		a.cli.Root = value
	case "remotes-config":
		a.cli.RemotesConfig = value
	}
}

func findFlag(flags []*kong.Flag, word string) *kong.Flag {
	name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
	for _, f := range flags {
		if f.Name == name || (f.Short != 0 && string(f.Short) == name) {
			return f
		}
	}
	return nil
}

func findChild(node *kong.Node, word string) *kong.Node {
	for _, child := range node.Children {
		if child.Name == word {
			return child
		}
		for _, alias := range child.Aliases {
			if alias == word {
				return child
			}
		}
	}
	return nil
}

func childNames(node *kong.Node) []string {
	var names []string
	for _, child := range node.Children {
		if !child.Hidden {
			names = append(names, child.Name)
		}
	}
	return names
}

func flagNames(flags []*kong.Flag) []string {
	names := []string{"--help"}
	for _, f := range flags {
		if f.Hidden || f.Name == "help" {
			continue
		}
		names = append(names, "--"+f.Name)
		if f.Tag.Negatable != "" {
			names = append(names, "--no-"+f.Name)
		}
	}
	return names
}

// flagValues returns the values of an enumeration, names of remotes or generations, or paths in these. If it returns
// nothing the shell completes files.
func (a *app) flagValues(ctx context.Context, f *kong.Flag, positional []string) []string {
	switch {
	case f.Name == "remote":
		return a.remoteNames()
	case f.Name == "from", f.Name == "path":
		return a.keptWords(ctx, positional, f.Name == "path")
	}
	if f.Enum != "" {
		return strings.Split(f.Enum, ",")
	}
	return nil
}

func (a *app) positionValues(ctx context.Context, node *kong.Node, position int) []string {
	if position >= len(node.Positional) {
		return nil
	}
	switch arg := node.Positional[position]; {
	case arg.Name == "dataset":
		return a.localIDs(ctx)
	case arg.Name == "remote", arg.Name == "name" && node.Name != "add" && node.Name != "wizard":
		return a.remoteNames()
	case arg.Enum != "":
		return strings.Split(arg.Enum, ",")
	}
	return nil
}

func (a *app) remoteNames() []string {
	f, err := a.remotesFile()
	if err != nil {
		return nil
	}
	return f.Names()
}

func (a *app) localIDs(ctx context.Context) []string {
	root, err := a.root()
	if err != nil {
		return nil
	}
	p, err := sync.Open(ctx, sync.Options{Root: root}, nil, sync.Reach{})
	if err != nil {
		return nil
	}
	defer p.Close()
	ids, _ := p.IDs(ctx, false)
	return ids
}
