package profiles

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// An Error means that the remotes file, or a remote in it, cannot be used: the
// user's configuration is wrong, not the program or the network.
type Error struct {
	Path     string    // of the file; "" where no file is concerned
	Problems []Problem // every mistake, in the order of the file; never empty
	doing    string
	err      error
}

// A Problem is one mistake.
type Problem struct {
	Line    int    // 1 is the first; 0: not at a line
	Key     string // as in "remotes.bu-scc.host"; "": the file as a whole
	What    string // what is wrong, one line, safe to print
	Nearest string // the known key or value that was probably meant; or ""
}

func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", p.Line)
	}
	if p.Key != "" {
		fmt.Fprintf(&b, "%s: ", p.Key)
	}
	b.WriteString(p.What)
	if p.Nearest != "" {
		fmt.Fprintf(&b, "; the nearest known one is %q", p.Nearest)
	}
	return b.String()
}

// maxShown keeps the message short for a file that is something else altogether.
const maxShown = 20

// Error names all problems: a single one on the same line, several on lines of their own.
func (e *Error) Error() string {
	head := "cannot " + e.doing + ": "
	if len(e.Problems) == 1 {
		return head + e.Problems[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%d mistakes", head, len(e.Problems))
	for i, p := range e.Problems {
		if i == maxShown {
			fmt.Fprintf(&b, "\n  and %d more", len(e.Problems)-maxShown)
			break
		}
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}

// Unwrap returns the operating system's error, if there was one: a missing file
// is fs.ErrNotExist.
func (e *Error) Unwrap() error { return e.err }

// An UnknownError means that there is no remote, or no preset, of this name.
type UnknownError struct {
	What    string // "remote" or "preset"
	Name    string
	Path    string   // of the remotes file; "" for a preset
	Known   []string // the names there are, in their order
	Nearest string   // the one that was probably meant; or ""
}

func (e *UnknownError) Error() string {
	known := "there is none"
	if e.Path != "" {
		known = shown(e.Path) + " has no remotes"
	}
	if len(e.Known) > 0 {
		known = "known are " + strings.Join(e.Known, ", ")
	}
	if e.Nearest != "" {
		known += fmt.Sprintf("; the nearest known one is %q", e.Nearest)
	}
	return fmt.Sprintf("cannot find %s %q: %s", e.What, e.Name, known)
}

// An ExistsError means that the file already has a remote of this name.
type ExistsError struct {
	Name, Path string
	Line       int
}

func (e *ExistsError) Error() string {
	return fmt.Sprintf("cannot add remote %s: %s has it already (line %d)", e.Name, shown(e.Path), e.Line)
}

var plain = regexp.MustCompile(`^[\w./~@%+,=-]+$`)

// shown returns s safe to print: quoted and escaped unless it is harmless.
func shown(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return strconv.Quote(s)
}
