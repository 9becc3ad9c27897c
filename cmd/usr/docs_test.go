package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

// tree is the command tree of the program.
func tree(t *testing.T) *kong.Kong {
	t.Helper()
	b := newBench(t)
	parser, _, err := newParser(newApp(b.env(), nil))
	must(t, err)
	return parser
}

func doc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs", name))
	must(t, err)
	return string(text)
}

// section is the text below a heading.
func section(t *testing.T, text, heading string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, "\n## "+heading+"\n")
	if !found {
		t.Fatalf("there is no heading %q", heading)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	return rest
}

// firstCells are the first cells of the tables in a text.
func firstCells(text string) (cells []string) {
	for _, m := range regexp.MustCompile(`(?m)^\| (.*?[^\\]) \| `).FindAllStringSubmatch(text, -1) {
		cells = append(cells, m[1])
	}
	return cells
}

var flagPattern = regexp.MustCompile("`(?:-., )?(--[a-z\\[][a-z\\[\\]-]*)")

// flagsIn lists the flags that a text names, --[no-]x as such.
func flagsIn(text string) (flags []string) {
	for _, m := range flagPattern.FindAllStringSubmatch(text, -1) {
		flags = append(flags, m[1])
	}
	slices.Sort(flags)
	return slices.Compact(flags)
}

func longFlags(flags ...*kong.Flag) (names []string) {
	for _, f := range flags {
		if !f.Hidden {
			name := flagUsage(f)
			name, _, _ = strings.Cut(name[strings.Index(name, "--"):], "=")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func leafFlags(t *testing.T, command string) []*kong.Flag {
	for _, leaf := range leaves(tree(t).Model.Node) {
		if strings.HasPrefix(usageLine(leaf)+" ", "usr "+command+" ") {
			return leaf.Flags
		}
	}
	t.Fatalf("no command %s", command)
	return nil
}

func same(t *testing.T, what string, inDocs, inProgram []string) {
	t.Helper()
	if d := cmp.Diff(inProgram, inDocs); d != "" {
		t.Errorf("%s (-program +docs/reference.md):\n%s", what, d)
	}
}

// TestReference: docs/reference.md lists every command, flag, exit code and variable of the program, and no others.
func TestReference(t *testing.T) {
	text := doc(t, "reference.md")
	var commands, all []string
	root := tree(t).Model.Node
	all = append(all, longFlags(root.Flags...)...)
	for _, leaf := range leaves(root) {
		commands = append(commands, strings.ReplaceAll(usageLine(leaf), "|", `\|`))
		all = append(all, longFlags(leaf.Flags...)...)
	}
	var listed []string
	for _, cell := range firstCells(section(t, text, "Commands")) {
		if strings.HasPrefix(cell, "`usr ") {
			listed = append(listed, strings.ReplaceAll(strings.Trim(cell, "`"), "--remote NAME", "NAME"))
		}
	}
	commands = slices.DeleteFunc(commands, func(c string) bool { return c == "usr doctor [NAME]" }) // told beside remotes doctor
	for i, c := range commands {
		if strings.HasPrefix(c, "usr remotes") && c != "usr remotes wizard [NAME]" {
			commands[i] = strings.ReplaceAll(c, "[NAME]", "NAME")
		}
	}
	same(t, "commands", sorted(listed), sorted(commands))
	slices.Sort(all)
	same(t, "flags", withoutHalves(flagsIn(text)), slices.Compact(all))
	same(t, "global flags", flagsIn(section(t, text, "Global flags")), longFlags(root.Flags...))
	testTransferFlags(t, section(t, text, "Flags of diff, pull, push and sync"))
	var codes []gloss
	for _, m := range regexp.MustCompile(`(?m)^\| ([0-9]+) \| (.*) \|$`).FindAllStringSubmatch(section(t, text, "Exit codes"), -1) {
		codes = append(codes, gloss{m[1], m[2]})
	}
	if d := cmp.Diff(exitCodes, codes, cmp.AllowUnexported(gloss{})); d != "" {
		t.Errorf("exit codes (-program +docs/reference.md):\n%s", d)
	}
	var names []string
	for _, v := range variables {
		names = append(names, v.word)
	}
	same(t, "variables", trimmed(firstCells(section(t, text, "Environment"))), names)
}

// testTransferFlags: which flag is whose.
func testTransferFlags(t *testing.T, text string) {
	common, rest, _ := strings.Cut(text, "`diff` also:")
	ofDiff, ofChange, _ := strings.Cut(rest, "`pull`, `push` and `sync` also:")
	ofChange, _, _ = strings.Cut(ofChange, "\n`--verify-sidecars` contradicts")
	with := func(more string) []string { return sorted(append(flagsIn(common), flagsIn(more)...)) }
	same(t, "flags of diff", with(tableOf(ofDiff)), longFlags(leafFlags(t, "diff")...))
	ofChange, ofMerge, _ := strings.Cut(ofChange, "`sync` and `pull --merge` also:")
	onlyPull := regexp.MustCompile("(?m)^.*`pull` only.*$")
	notPull := func(text string) string { return onlyPull.ReplaceAllString(tableOf(text), "") }
	same(t, "flags of pull", with(tableOf(ofChange)+"\n"+tableOf(ofMerge)), longFlags(leafFlags(t, "pull")...))
	same(t, "flags of push", with(notPull(ofChange)), longFlags(leafFlags(t, "push")...))
	same(t, "flags of sync", with(notPull(ofChange)+"\n"+notPull(ofMerge)), longFlags(leafFlags(t, "sync")...))
}

// tableOf is the first cells, one a line, where what a cell says beside it matters only for "only".
func tableOf(text string) string {
	var rows []string
	for _, line := range strings.Split(text, "\n") {
		if cells := firstCells(line + " "); len(cells) > 0 {
			row := cells[0]
			if strings.Contains(line, "`pull` only") {
				row += " `pull` only"
			}
			rows = append(rows, row)
		}
	}
	return strings.Join(rows, "\n")
}

func sorted(list []string) []string { slices.Sort(list); return slices.Compact(list) }

// withoutHalves drops --x and --no-x where --[no-]x is there, too.
func withoutHalves(flags []string) []string {
	return slices.DeleteFunc(slices.Clone(flags), func(f string) bool {
		return slices.Contains(flags, "--[no-]"+strings.TrimPrefix(strings.TrimPrefix(f, "--"), "no-"))
	})
}

func trimmed(cells []string) (words []string) {
	for _, c := range cells {
		if strings.HasPrefix(c, "`") {
			words = append(words, strings.Trim(c, "`"))
		}
	}
	return words
}

// TestExitCodesAreListed: each constant of errors.go has a row.
func TestExitCodesAreListed(t *testing.T) {
	text, err := os.ReadFile("errors.go")
	must(t, err)
	var inCode, listed []string
	for _, m := range regexp.MustCompile(`(?m)^\tcode\w+ += ([0-9]+)`).FindAllStringSubmatch(string(text), -1) {
		inCode = append(inCode, m[1])
	}
	for _, c := range exitCodes {
		listed = append(listed, c.word)
	}
	if d := cmp.Diff(inCode, listed); d != "" {
		t.Error(d)
	}
}

// TestDocumentedCommandsParse: every usr command line in a code block of the documents, and those of the operator's
// runbook, is one that the program takes.
func TestDocumentedCommandsParse(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	must(t, err)
	seen := 0
	for _, file := range append(files, "../../README.md", "testdata/runbook.txt") {
		text, err := os.ReadFile(file)
		must(t, err)
		for _, line := range commandLines(string(text), strings.HasSuffix(file, ".txt")) {
			seen++
			parses(t, filepath.Base(file), line)
		}
	}
	if seen < 40 {
		t.Errorf("only %d command lines found", seen)
	}
}

var commandPattern = regexp.MustCompile(`^(?:\$ |[A-Z_]+=\S+ )*usr (.*)$`)

// commandLines are those in fenced blocks, cut before what the shell would take for its own.
func commandLines(text string, fenced bool) (lines []string) {
	text = strings.ReplaceAll(text, "\\\n", " ")
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		} else if m := commandPattern.FindStringSubmatch(strings.TrimSpace(line)); fenced && m != nil {
			lines = append(lines, m[1])
		}
	}
	return lines
}

func parses(t *testing.T, file, line string) {
	t.Helper()
	args := shellWords(line)
	if slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, "…") || strings.ToUpper(a) == a && len(a) > 2 }) {
		return // a pattern of a command line
	}
	b := newBench(t)
	a := newApp(b.env(), nil)
	parser, done, err := newParser(a)
	must(t, err)
	parser.Stdout = io.Discard
	if _, err := parser.Parse(args); err != nil && !done.asked {
		t.Errorf("%s: usr %s: %v", file, line, err)
	}
}

// shellWords splits a command line as a shell does: quotes, comments; it ends at what is the shell's.
func shellWords(line string) (words []string) {
	for _, m := range regexp.MustCompile(`'([^']*)'|"([^"]*)"|([^\s'"]+)`).FindAllStringSubmatch(line, -1) {
		word := m[1] + m[2] + m[3]
		if m[3] != "" && strings.ContainsAny(m[3][:1], "#|>&;") {
			break
		}
		words = append(words, word)
	}
	return words
}

// TestDocumentedPathsExist: a file of this repository that a page names is there.
func TestDocumentedPathsExist(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	must(t, err)
	for _, page := range pages {
		for _, m := range regexp.MustCompile("`((?:bench|cmd|docs|profiles|remote|scripts|sync|verify)/[\\w/.-]+)`").FindAllStringSubmatch(doc(t, filepath.Base(page)), -1) {
			if !exists(filepath.Join("../..", m[1])) {
				t.Errorf("%s names %s", filepath.Base(page), m[1])
			}
		}
	}
}

// TestManPage: groff finds nothing wrong with it, and it names every command and flag.
func TestManPage(t *testing.T) {
	stdout, _ := newBench(t).run(0, "man")
	for _, leaf := range leaves(tree(t).Model.Node) {
		wants(t, stdout, ".SS "+strings.ReplaceAll(usageLine(leaf), "-", `\-`)+"\n")
		for _, f := range leaf.Flags {
			if !f.Hidden {
				wants(t, stdout, strings.ReplaceAll(flagUsage(f), "-", `\-`))
			}
		}
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		return // what the program prints is held above; not every machine has a formatter
	}
	cmd := exec.Command(groff, "-man", "-ww", "-z")
	cmd.Stdin = strings.NewReader(stdout)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("groff: %v\n%s", err, out)
	}
}

// TestEveryKindIsDocumented: the kinds of errors that scripts may decide on.
func TestEveryKindIsDocumented(t *testing.T) {
	text, err := os.ReadFile("errors.go")
	must(t, err)
	kinds := regexp.MustCompile(`return code\w+, "([a-z-]+)"`).FindAllStringSubmatch(string(text), -1)
	if len(kinds) < 20 {
		t.Fatalf("only %d kinds were found in errors.go", len(kinds))
	}
	for _, m := range kinds {
		wants(t, doc(t, "scripting.md"), "`"+m[1]+"`")
	}
}
