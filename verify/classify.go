package verify

import (
	"slices"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// The names that the dataset contract gives a meaning, at the top level of a dataset only.
const (
	primaryName   = "records.parquet"
	metaName      = "meta.md"
	eventsName    = ".events.log"
	snapshotsName = "_snapshots"
	derivedName   = "_derived"
	leasePrefix   = ".usr.lease."
)

// Classifier sorts the paths of a dataset into classes. It does not change once made; many may use it at once.
type Classifier struct {
	names []func(name string) bool // tried on every path component
	paths []string                 // doublestar patterns, tried on the whole path
}

// PatternError says which ignore pattern cannot be used, and why.
type PatternError struct{ Pattern, Why string }

func (e *PatternError) Error() string {
	return "cannot use ignore pattern " + strconv.Quote(e.Pattern) + ": " + e.Why
}

// NewClassifier makes a classifier with ignore patterns beside the built-in ones. A pattern without a slash is
// matched against every component of a path, one with a slash (a leading one anchors) against the whole path and
// every leading directory of it; what is below an ignored directory is ignored. *, ?, [a-z], {a,b} and \ are as in
// a shell, ** spans directories. A trailing slash is dropped: files and directories are not told apart. Errors are
// *PatternError; a pattern that would ignore the primary or the event log is one, since no dataset would be left.
func NewClassifier(ignore []string) (*Classifier, error) {
	c := &Classifier{}
	for _, pattern := range ignore {
		if why := c.add(pattern); why != "" {
			return nil, &PatternError{Pattern: pattern, Why: why}
		}
	}
	return c, nil
}

func (c *Classifier) add(pattern string) (why string) {
	if why := c.compile(pattern); why != "" {
		return why
	}
	for _, needed := range []string{primaryName, eventsName} {
		if c.ignored(needed) {
			return "it would ignore " + needed
		}
	}
	return ""
}

// compile takes one more pattern.
func (c *Classifier) compile(pattern string) (why string) {
	body := strings.TrimRight(pattern, "/")
	anchored := strings.Contains(body, "/")
	body = strings.TrimPrefix(body, "/")
	if why := refusePattern(body); why != "" {
		return why
	}
	if anchored {
		c.paths = append(c.paths, body+"/**") // which matches body itself, too
	} else {
		c.names = append(c.names, compileName(body))
	}
	return ""
}

func refusePattern(body string) (why string) {
	if body == "" {
		return "it is empty"
	}
	if body[0] == '!' {
		return "exceptions (!) are not supported"
	}
	for segment := range strings.SplitSeq(body, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return "no path has a segment " + strconv.Quote(segment)
		}
	}
	if !doublestar.ValidatePattern(body) {
		return "syntax error in pattern"
	}
	return ""
}

// compileName spares the general matcher the forms that nearly every pattern has.
func compileName(pattern string) func(string) bool {
	special := func(s string) bool { return strings.ContainsAny(s, `*?[]{}\`) }
	switch last := len(pattern) - 1; {
	case !special(pattern):
		return func(name string) bool { return name == pattern }
	case pattern[0] == '*' && !special(pattern[1:]):
		return func(name string) bool { return strings.HasSuffix(name, pattern[1:]) }
	case pattern[last] == '*' && !special(pattern[:last]):
		return func(name string) bool { return strings.HasPrefix(name, pattern[:last]) }
	}
	return func(name string) bool { return doublestar.MatchUnvalidated(pattern, name) }
}

// Class gives the class of a path relative to the dataset, slash-separated. Given a directory it is the class
// of the files that it is there for: that of _derived and of all directories below it is Derived.
func (c *Classifier) Class(path string) Class {
	top, _, nested := strings.Cut(path, "/")
	if runtimeName(top) {
		return Runtime
	}
	if c.ignored(path) {
		return Ignored
	}
	switch {
	case top == derivedName:
		return Derived
	case top == snapshotsName:
		return Snapshots
	case nested:
		return Auxiliary
	case top == primaryName:
		return Primary
	case top == metaName:
		return Meta
	case top == eventsName:
		return Events
	}
	return Auxiliary
}

func runtimeName(top string) bool {
	switch top {
	case ".usr.lock", ".events.lock", ".usr.transfer.lock":
		return true
	}
	return strings.HasPrefix(top, leasePrefix)
}

// ignored reports whether a path is one that hosts drop, or that a pattern means.
func (c *Classifier) ignored(path string) bool {
	return anyName(path, droppedByHost) || c.matches(path)
}

// matches reports whether a pattern means the path or a directory above it.
func (c *Classifier) matches(path string) bool {
	named := func(name string) bool {
		return slices.ContainsFunc(c.names, func(match func(string) bool) bool { return match(name) })
	}
	return anyName(path, named) || slices.ContainsFunc(c.paths, func(pattern string) bool {
		return doublestar.MatchUnvalidated(pattern, path)
	})
}

// anyName reports whether a component of a path is such a name.
func anyName(path string, such func(string) bool) bool {
	for rest, more := path, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, "/")
		if such(name) {
			return true
		}
	}
	return false
}

// droppedByHost recognizes what operating systems, file systems and notebooks leave behind.
func droppedByHost(name string) bool {
	if name == "" || name[0] != '.' {
		return name == "Thumbs.db"
	}
	switch name {
	case ".DS_Store", ".ipynb_checkpoints":
		return true
	}
	return strings.HasPrefix(name, "._") || strings.HasPrefix(name, ".nfs") || strings.HasPrefix(name, ".fuse_hidden")
}
