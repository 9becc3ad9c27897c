package main

import (
	"context"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/rsync"
)

// version and commit are set by a release: -ldflags "-X main.version=1.2.3 -X main.commit=…".
var version, commit string

// programVersion returns the version of the build, else that of the module or of its revision.
func programVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// programCommit returns the commit that the program was built from, "unknown" if the build does not know.
func programCommit() string {
	if commit != "" {
		return commit
	}
	revision, modified := "", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				modified = ", with changes"
			}
		}
	}
	if revision == "" {
		return "unknown"
	}
	return revision + modified
}

type versionCmd struct{}

// Run is called by kong.
func (c *versionCmd) Run(ctx context.Context, a *app) error {
	v := versions{{"usr", programVersion()}, {"commit", programCommit()}, {"go", runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH}}
	v = append(v, tool{"ssh", firstLineOf(ctx, "ssh", "-V")}, tool{"rsync", rsyncVersion(ctx)},
		tool{"flock", firstLineOf(ctx, "flock", "--version")})
	return a.show(v)
}

type tool struct{ name, version string }

type versions []tool

const notFound = "not found"

func rsyncVersion(ctx context.Context) string {
	v, err := rsync.LocalVersion(ctx)
	if err != nil {
		return notFound
	}
	return v.String()
}

func firstLineOf(ctx context.Context, program string, args ...string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil || line == "" {
		return notFound
	}
	return safe(line)
}

func (v versions) data() any {
	m := map[string]any{}
	for _, t := range v {
		if m[t.name] = t.version; t.version == notFound {
			m[t.name] = nil
		}
	}
	return m
}

func (v versions) text(p *page, _ opt) {
	for _, t := range v {
		p.line(padded(t.name+":") + t.version)
	}
}
