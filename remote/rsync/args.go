package rsync

import (
	"crypto/rand"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/dnadesign-maintainers/usr/remote"
)

const maxBasis = 20 // rsync's MAX_BASIS_DIRS

// PathError means that rsync or a shell would read a path as something else.
type PathError struct {
	Path string // as it is; escape before showing
	Why  string
}

func (e *PathError) Error() string { return fmt.Sprintf("cannot hand %q to rsync: %s", e.Path, e.Why) }

// rsync's HOST: and ssh's destination; nothing that either could read as an option or another host.
var hostPattern = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9._-]*@)?([A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])$`)

// newNonce makes the mark of our lines in rsync's output, which no file name can guess.
func newNonce() string { return rand.Text() }

// endpointArgs are the last arguments: how to reach the remote end, if any, and the two directories.
func endpointArgs(from, to remote.Endpoint, fromDir, toDir string) []string {
	far := from
	if far.Host == "" {
		far = to
	}
	var args []string
	if far.Host != "" {
		args = append(args, "--rsh="+shellOption(far.Shell))
		if far.RsyncPath != "" && far.RsyncPath != "rsync" {
			args = append(args, "--rsync-path="+far.RsyncPath)
		}
	}
	return append(args, "--", location(from, fromDir), location(to, toDir))
}

// location: absolute, so that a colon in a local path cannot be read as a host.
func location(e remote.Endpoint, dir string) string {
	dir = strings.TrimRight(dir, "/") + "/"
	if e.Host == "" {
		return dir
	}
	return e.Host + ":" + dir
}

// shellOption quotes argv the way rsync splits -e: at spaces; '…' and "…" hold anything, and a doubled quote inside them is
// the quote. There are no backslash escapes.
func shellOption(argv []string) string {
	words := make([]string, len(argv))
	for i, arg := range argv {
		words[i] = arg
		if arg == "" || strings.ContainsAny(arg, ` '"`) {
			words[i] = "'" + strings.ReplaceAll(arg, "'", "''") + "'"
		}
	}
	return strings.Join(words, " ")
}

func checkEnds(from, to remote.Endpoint, fromDir, toDir string) error {
	if from.Host != "" && to.Host != "" {
		return errors.New("cannot copy files: rsync does not copy between two remote hosts")
	}
	if err := checkDir(from, fromDir); err != nil {
		return err
	}
	return checkDir(to, toDir)
}

// checkDir refuses what rsync or a shell would read as something else. The remote rsync expands wildcards in its
// arguments even under -s.
func checkDir(e remote.Endpoint, dir string) error {
	switch {
	case !path.IsAbs(dir):
		return &PathError{Path: dir, Why: "it is not absolute"}
	case strings.ContainsRune(dir, 0):
		return &PathError{Path: dir, Why: "it holds a NUL byte"}
	case e.Host == "":
		return nil
	case !hostPattern.MatchString(e.Host):
		return &PathError{Path: e.Host, Why: "it is not a host name"}
	case len(e.Shell) == 0:
		return &PathError{Path: e.Host, Why: "there is no connection to ride on"}
	case strings.ContainsAny(dir, `*?[]\`):
		return &PathError{Path: dir, Why: `on a remote host rsync would expand it as a pattern (* ? [ ] \)`}
	case strings.ContainsFunc(dir, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return &PathError{Path: dir, Why: "it holds control characters"}
	}
	return nil
}

func checkFiles(names []string) error {
	for _, name := range names {
		if !filepath.IsLocal(name) || path.Clean(name) != name || strings.ContainsRune(name, 0) {
			return &PathError{Path: name, Why: "it is not a plain relative path"}
		}
	}
	return nil
}
