package verify

import (
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

// Classifier sorts the paths of a dataset into classes. It is immutable and safe for concurrent use.
type Classifier struct{ ignore, rebuildable patterns }

// patterns are those of one key of a profile.
type patterns struct {
	names []func(name string) bool // tried on every path component
	paths []string                 // doublestar patterns, tried on the whole path
}

// PatternError says which pattern of the profile cannot be used, and why.
type PatternError struct {
	Key     string // of the profile: "ignore" or "rebuildable"
	Pattern string
	Why     string
}

func (e *PatternError) Error() string {
	return "cannot use " + e.Key + " pattern " + strconv.Quote(e.Pattern) + ": " + e.Why
}

// NewClassifier makes a classifier with ignore patterns beside the built-in ones. A pattern without a slash is
// matched against every component of a path, one with a slash (a leading one anchors) against the whole path and
// every leading directory of it; what is below an ignored directory is ignored. *, ?, [a-z], {a,b} and \ are as in
// a shell, ** spans directories. A trailing slash is dropped: files and directories are not told apart. Errors are
// *PatternError; a pattern that would ignore the primary or the event log is one, since no dataset would be left.
func NewClassifier(ignore []string) (*Classifier, error) {
	of, err := compile("ignore", "ignore", ignore)
	return &Classifier{ignore: of}, err
}

// WithRebuildable makes a classifier that also recognizes the files that a program can make again. Its patterns are
// written like those of NewClassifier.
func (c *Classifier) WithRebuildable(rebuildable []string) (*Classifier, error) {
	of, err := compile("rebuildable", "make light of", rebuildable)
	return &Classifier{ignore: c.ignore, rebuildable: of}, err
}

// Rebuildable reports whether a program can make the file again. What SQLite keeps beside such a database counts too.
func (c *Classifier) Rebuildable(path string) bool {
	return c.rebuildable.match(path) || c.rebuildable.match(Database(path))
}

func compile(key, verb string, texts []string) (of patterns, err error) {
	for _, pattern := range texts {
		why := of.add(pattern)
		for _, needed := range []string{primaryName, eventsName} {
			if why == "" && of.match(needed) {
				why = "it would " + verb + " " + needed
			}
		}
		if why != "" {
			return of, &PatternError{Key: key, Pattern: pattern, Why: why}
		}
	}
	return of, nil
}

func (c *patterns) add(pattern string) (why string) {
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

// compileName handles the forms that nearly every pattern has without the general matcher, which is slower.
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

// Class returns the class of a slash-separated path relative to the dataset. A directory has the class of the files it
// is there for: _derived and all directories below it are Derived.
func (c *Classifier) Class(path string) Class {
	if inUse(path) {
		return Runtime
	}
	if dropped(path) || c.ignore.match(path) {
		return Ignored
	}
	top, _, nested := strings.Cut(path, "/")
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

// inUse recognizes the locks and leases of running programs, wherever they are.
func inUse(path string) bool {
	for name := range strings.SplitSeq(path, "/") {
		switch name {
		case ".usr.lock", ".events.lock", ".usr.transfer.lock", ".sidecar.lock":
			return true
		}
		if strings.HasPrefix(name, leasePrefix) {
			return true
		}
	}
	return sharedMemory(path)
}

func (c *patterns) match(path string) bool {
	for rest, more := path, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, "/")
		if c.matchName(name) {
			return true
		}
	}
	for _, pattern := range c.paths {
		if doublestar.MatchUnvalidated(pattern, path) {
			return true
		}
	}
	return false
}

func (c *patterns) matchName(name string) bool {
	for _, match := range c.names {
		if match(name) {
			return true
		}
	}
	return false
}

// dropped reports whether a path, or a directory above it, is something that hosts leave behind.
func dropped(path string) bool {
	for name := range strings.SplitSeq(path, "/") {
		if droppedByHost(name) {
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
