package rsync

import (
	"context"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
)

// Preview asks rsync what making To's directory equal to From's would change. It writes nothing.
type Preview struct {
	From, To       remote.Endpoint
	FromDir, ToDir string              // absolute; ToDir need not exist
	Exclude        []string            // rsync patterns, as ExcludePath gives them; what they match is neither sent nor deleted
	Stall          time.Duration       // as in Transfer; the file list comes without a sign of progress
	Itemize        func(line string)   // gets each change as rsync -i prints it; nil is allowed
	Command        func(argv []string) // gets the command line before it runs; nil is allowed
}

// previewOptions: modes, owners and groups are not compared since they are not synchronized, nanoseconds are.
var previewOptions = []string{"-n", "-r", "-t", "-s", "--delete", "--modify-window=-1", "--no-l", "--no-D", "--no-o",
	"--no-g", "--no-p", "--no-h", "--outbuf=L"}

// Args returns rsync's arguments, without the program's name.
func (p Preview) Args(nonce string) []string {
	args := append([]string{}, previewOptions...)
	args = append(args, "--out-format="+outFormat(nonce))
	for _, pattern := range p.Exclude {
		args = append(args, "--exclude="+pattern)
	}
	return append(args, endpointArgs(p.From, p.To, p.FromDir, p.ToDir)...)
}

// Run returns the changes in rsync's order. With an error (as of Transfer.Run) they are what was seen so far.
func (p Preview) Run(ctx context.Context) ([]Item, error) {
	if err := checkEnds(p.From, p.To, p.FromDir, p.ToDir); err != nil {
		return nil, err
	}
	for _, pattern := range p.Exclude {
		if strings.ContainsRune(pattern, 0) {
			return nil, &PathError{Path: pattern, Why: "a pattern cannot hold a NUL byte"}
		}
	}
	var items []Item
	nonce := newNonce()
	out := &output{nonce: nonce, item: func(it Item, line string) {
		items = append(items, it)
		if p.Itemize != nil {
			p.Itemize(itemized(line, nonce))
		}
	}}
	run := process{what: "preview changes", args: p.Args(nonce), most: 4 << 30, stall: p.Stall, command: p.Command}
	return items, run.run(ctx, out)
}

// ExcludePath returns the rsync pattern that matches exactly this path, relative to the top of the transfer, and
// what is below it. A trailing slash keeps to directories.
func ExcludePath(path string) string {
	if !strings.ContainsAny(path, "*?[") {
		return "/" + path // rsync takes backslashes literally in a pattern without wildcards
	}
	return "/" + wildcards.Replace(path)
}

var wildcards = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)
