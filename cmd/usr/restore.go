package main

import (
	"context"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dnadesign-maintainers/usr/sync"
)

type restoreCmd struct {
	Dataset string   `arg:"" help:"Id or dataset directory."`
	Remote  string   `arg:"" optional:"" help:"Restore there; without it here."`
	Path    []string `required:"" sep:"none" placeholder:"GLOB" help:"Files, relative to the dataset; a name alone means it at any depth, a directory all below. May be repeated."`
	From    string   `placeholder:"GENERATION" help:"Take them from this generation ('usr generations'), not from the newest that has something else."`
	Yes     bool     `short:"y" help:"Do not ask."`
	DryRun  bool     `short:"n" help:"Show what would come back; change nothing."`
	backFlags
}

// Run is called by kong.
func (c *restoreCmd) Run(ctx context.Context, a *app) error {
	m := sync.Modes{DryRun: c.DryRun}
	if !c.Yes {
		m.Confirm = func(r *sync.Report) error { return a.confirm(ctx, r) }
	}
	return c.goBack(ctx, a, "restore", sidesArgs{c.Dataset, c.Remote}, m,
		func(p *sync.Pair, id string, m sync.Modes) (*sync.Report, error) {
			return p.Restore(ctx, id, c.Path, c.From, m)
		})
}

// restoreCommand returns the command that brings back what a transfer replaced and what exists nowhere else.
func (a *app) restoreCommand(r *sync.Report) string {
	line := []string{"restore", r.Dataset}
	if remote := undoneOn(r); remote != "" {
		line = append(append(line, remote), words("--base-dir", a.doing.flags.BaseDir)...)
	}
	for _, glob := range restoreGlobs(r.Unique) {
		line = append(line, "--path", glob)
	}
	return a.command(append(line, "--from", r.Generation)...)
}

// mostRestored is how many files a command line names one by one.
const mostRestored = 8

// restoreGlobs names files, or their directories if there are many.
func restoreGlobs(paths []string) (globs []string) {
	for _, path := range paths {
		if len(paths) > mostRestored {
			path = topDirectory(path)
		}
		if path = pasteable(path); !slices.Contains(globs, path) {
			globs = append(globs, path)
		}
	}
	return globs
}

// pasteable replaces each unprintable character with the wildcard "?".
func pasteable(path string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, path)
}

func topDirectory(path string) string {
	for i := range len(path) {
		if path[i] == '/' {
			return path[:i] + "/**"
		}
	}
	return path
}
