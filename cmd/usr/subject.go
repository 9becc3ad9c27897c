package main

import (
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/dnadesign-maintainers/usr/sync"
)

// subject is what the DATASET argument means: exactly one of id, pattern and file is set.
type subject struct {
	id      string
	pattern string // over ids
	file    string // absolute
	root    string // may be "" for a file
}

// subject reads a DATASET argument. It reports errors before anything looks at the remote.
func (a *app) subject(arg string) (subject, error) {
	a.doing.dataset = arg
	switch {
	case a.isFile(arg):
		root, _ := a.root() // a file needs none
		return subject{file: a.abs(arg), root: root}, nil
	case strings.ContainsAny(arg, "*?["):
		return a.patternSubject(arg)
	case a.isDirectoryPath(arg):
		return a.directorySubject(arg)
	}
	return a.idSubject(arg)
}

// dataset reads a DATASET argument of a command that takes a single dataset.
func (a *app) dataset(arg string) (subject, error) {
	a.doing.dataset = arg
	if a.isDirectoryPath(arg) {
		return a.directorySubject(arg)
	}
	return a.idSubject(arg)
}

// isFile reports whether an argument ends in .parquet or names an existing file.
func (a *app) isFile(arg string) bool {
	if arg == "" || strings.HasSuffix(arg, "/") {
		return false
	}
	path := a.abs(arg)
	return (strings.HasSuffix(arg, ".parquet") && !isDir(path)) || isRegular(path)
}

// isDirectoryPath reports whether an argument is written as a path (absolute, ./, ../, a slash at the end, or longer than
// an id) and names a directory.
func (a *app) isDirectoryPath(arg string) bool {
	if arg == "" || !isDir(a.abs(arg)) {
		return false
	}
	if filepath.IsAbs(arg) || arg == "." || arg == ".." || strings.HasPrefix(arg, "./") || strings.HasPrefix(arg, "../") {
		return true
	}
	dotted := strings.Contains("/"+arg+"/", "/./") || strings.Contains("/"+arg+"/", "/../")
	return !dotted && (strings.HasSuffix(arg, "/") || strings.Count(arg, "/") > 1)
}

// directorySubject finds the id of a dataset directory: below the root, else below the nearest ancestor that is a root.
func (a *app) directorySubject(arg string) (subject, error) {
	dir := filepath.Clean(a.abs(arg))
	var roots []string
	if root, err := a.root(); err == nil {
		roots = append(roots, root)
	}
	if root := registryAbove(filepath.Dir(dir)); root != "" {
		roots = append(roots, root)
	}
	for _, root := range roots {
		if id := below(root, dir); id != "" {
			return subject{id: id, root: root}, sync.CheckID(id)
		}
	}
	return subject{}, &usageError{
		why:  "cannot use the directory " + shown(arg) + " as a dataset: it is neither below the USR root nor below a directory that holds registry.yaml",
		hint: "name the dataset by its id, or give its root, as in `usr --root DIR …`",
	}
}

// idSubject takes the argument for an id. If the root has none of the name, a directory of that name below the working
// directory stands for its id: what the shell completes should work.
func (a *app) idSubject(id string) (subject, error) {
	if err := sync.CheckID(id); err != nil {
		return subject{}, err
	}
	root, err := a.root()
	if err != nil {
		return subject{}, err
	}
	if !isDir(filepath.Join(root, id)) && isDir(a.abs(id)) {
		if rel := below(root, a.abs(id)); rel != "" {
			return subject{id: rel, root: root}, sync.CheckID(rel)
		}
	}
	return subject{id: id, root: root}, nil
}

// patternSubject checks a glob like an id: one that can match no legal id is refused.
func (a *app) patternSubject(pattern string) (subject, error) {
	plain := strings.Map(func(r rune) rune {
		if strings.ContainsRune(`*?[]{},!^`, r) {
			return 'x'
		}
		return r
	}, strings.ReplaceAll(pattern, "**/", "")) // "**/" may match nothing
	if err := sync.CheckID(plain); err != nil {
		if e, ok := err.(*sync.IDError); ok {
			err = &sync.IDError{ID: pattern, Why: e.Why}
		}
		return subject{}, err
	}
	if !doublestar.ValidatePattern(pattern) {
		return subject{}, &sync.IDError{ID: pattern, Why: "it is not a valid glob"}
	}
	root, err := a.root()
	return subject{pattern: pattern, root: root}, err
}

// matching returns the ids that match a pattern. Archived datasets never do.
func matching(pattern string, ids []string) []string {
	var out []string
	for _, id := range ids {
		if doublestar.MatchUnvalidated(pattern, id) && sync.CheckID(id) == nil {
			out = append(out, id)
		}
	}
	return out
}
