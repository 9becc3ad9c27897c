package rsync

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

// Version is which rsync a host has.
type Version struct {
	Openrsync           bool // the other implementation, of OpenBSD and macOS; the numbers are what it claims compatibility with
	Major, Minor, Patch int
}

func (v Version) String() string {
	name := "rsync"
	if v.Openrsync {
		name = "openrsync"
	}
	return fmt.Sprintf("%s %d.%d.%d", name, v.Major, v.Minor, v.Patch)
}

// Less compares the numbers.
func (v Version) Less(w Version) bool {
	if v.Major != w.Major {
		return v.Major < w.Major
	}
	if v.Minor != w.Minor {
		return v.Minor < w.Minor
	}
	return v.Patch < w.Patch
}

var versionPattern = regexp.MustCompile(`(?m)^rsync\s+version\s+v?(\d+)\.(\d+)(?:\.(\d+))?`)

// ParseVersion reads the output of rsync --version.
func ParseVersion(output string) (Version, error) {
	v := Version{Openrsync: strings.Contains(output, "openrsync")}
	m := versionPattern.FindStringSubmatch(output)
	if m == nil && !v.Openrsync {
		return Version{}, fmt.Errorf("cannot tell the version of rsync from %s", strconv.Quote(firstLine(output)))
	}
	if m != nil {
		v.Major, _ = strconv.Atoi(m[1])
		v.Minor, _ = strconv.Atoi(m[2])
		v.Patch, _ = strconv.Atoi(m[3])
	}
	return v, nil
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s[:min(len(s), keptBytes)]
}

// packaged is where the package managers of macOS put rsync. launchd and cron leave them out of the PATH.
var packaged = map[string][]string{"darwin": {"/opt/homebrew/bin", "/usr/local/bin", "/opt/local/bin"}}

// find looks for rsync on the PATH, and in further directories where there is none or only the system's own.
func find(further []string) (string, error) {
	program, err := exec.LookPath("rsync")
	if err == nil && program != "/usr/bin/rsync" {
		return program, nil
	}
	for _, dir := range further {
		if found, err := exec.LookPath(filepath.Join(dir, "rsync")); err == nil {
			return found, nil
		}
	}
	return program, err
}

// LocalVersion asks the rsync of this host. Without one the error is an *Error and exec.ErrNotFound.
func LocalVersion(ctx context.Context) (Version, error) {
	program, err := find(packaged[runtime.GOOS])
	if err != nil {
		return Version{}, &Error{what: "run rsync", Code: 127, err: err}
	}
	cmd := exec.CommandContext(ctx, program, "--version")
	cmd.Env = environment(os.Environ())
	out, err := cmd.CombinedOutput() // openrsync speaks on stderr, and fails
	if err != nil && !strings.Contains(string(out), "openrsync") {
		return Version{}, fmt.Errorf("cannot run rsync --version: %w", err)
	}
	return ParseVersion(string(out))
}
