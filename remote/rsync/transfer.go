// Package rsync runs the system's rsync: its arguments, output, versions and errors.
package rsync

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
)

// Transfer copies exactly the listed files from one directory into another with the system's rsync. At least one end is
// this host. ToDir should be a fresh directory: rsync never links anything into it (-I), so it cannot touch another tree.
type Transfer struct {
	From, To       remote.Endpoint
	FromDir, ToDir string        // absolute; ToDir exists (its last component may be missing)
	Files          []string      // relative paths, any bytes but NUL; directories are made, not descended into
	List           string        // absolute path of a file on To's host, which is another, that holds Files, a NUL after each; "" for none
	Basis          []string      // absolute directories on To's host, at most 20, for rsync to take unchanged blocks from
	PartialDir     string        // name of a directory beside a file that holds its interrupted copy, to be resumed; "" for none
	TrustSender    bool          // a pull into a private stage whose content is proved afterwards; rsync 3.2.5 or newer here
	Small          bool          // progress by whole files suffices, so rsync reports none
	Largest        int64         // bytes of the largest file: a pull cuts off one that is far larger; 0: no bound
	Bwlimit        string        // as rsync's --bwlimit takes it; "" for none
	Stall          time.Duration // ends the transfer after this time without any progress; 0: never

	// Done gets each regular file whose data has been transferred. On a pull the file is then in place; on a push and
	// between two local directories it may not be until Run returns. A file whose checksum failed is sent, and reported,
	// twice. All callbacks come from one goroutine, may block, and may be nil.
	Done func(Item)
	// Progress gets the bytes of file contents done so far, about once a second.
	Progress func(bytes int64)
	// Command gets the command line before it runs.
	Command func(argv []string)
}

// Stats are the bytes on the wire as seen from this host, including rsync's own protocol. If a failure kept rsync from
// printing them they are the sum over the finished files.
type Stats struct {
	Sent, Received int64
}

// copyOptions: every one is known to rsync 3.1.3. Times are kept because manifests compare them; modes are what
// creating the file in place would have given. -I sends every listed file, and so --link-dest gives blocks and
// never links; -d makes listed directories; -s hides paths from the remote shell.
var copyOptions = []string{"-t", "-I", "-d", "-s", "-O", "--no-l", "--no-D", "--no-o", "--no-g", "--no-p",
	"--chmod=ugo=rwX", "--no-h", "--from0"}

// mostGrowth is by how much a file may grow after it was listed, besides doubling.
const mostGrowth = 64 << 20

// Args returns rsync's arguments, without the program's name. The list of files goes to rsync's standard input (see Run),
// which a sender reads byte by byte, with two system calls each; a list that the far side has comes to it in blocks. nonce
// marks the lines that parseItem reads.
func (t Transfer) Args(nonce string) []string {
	args := append([]string{}, copyOptions...)
	outbuf, info := "--outbuf=L", "--info=progress2,stats2"
	if t.Small { // a block of lines is a moment's work, and one write per line would cost more than the file
		outbuf, info = "--outbuf=B", "--info=stats2"
	}
	list := "--files-from=-"
	if t.List != "" {
		list = "--files-from=:" + t.List
	}
	args = append(args, list, outbuf, info, "--out-format="+outFormat(nonce))
	if t.TrustSender && t.From.Host != "" {
		// Else the receiver compares each name that it gets with each one that it asked for: n*n comparisons.
		args = append(args, "--trust-sender")
	}
	for _, dir := range t.Basis {
		args = append(args, "--link-dest="+dir)
	}
	if t.PartialDir != "" {
		args = append(args, "--partial-dir="+t.PartialDir)
	}
	if t.Bwlimit != "" {
		args = append(args, "--bwlimit="+t.Bwlimit)
	}
	return append(args, endpointArgs(t.From, t.To, t.FromDir, t.ToDir)...)
}

// Run copies. If rsync cannot put a file together from a partial file or a basis, Run copies it again without them; a
// partial file may be left behind. The error is a *PathError before anything ran, else an *Error. A cancelled context ends
// rsync and its children and lets the receiver save its partial file; the error then is also ctx.Err().
func (t Transfer) Run(ctx context.Context) (Stats, error) {
	if err := t.check(); err != nil {
		return Stats{}, err
	}
	if len(t.Files) == 0 {
		return Stats{}, nil
	}
	stats, err := t.run(ctx)
	var failed *Error
	if !errors.As(err, &failed) || !failed.Unverified() || t.PartialDir == "" && len(t.Basis) == 0 {
		return stats, err
	}
	t.PartialDir, t.Basis = "", nil
	again, err := t.run(ctx)
	return Stats{Sent: stats.Sent + again.Sent, Received: stats.Received + again.Received}, err
}

func (t Transfer) run(ctx context.Context) (Stats, error) {
	nonce := newNonce()
	out := &output{nonce: nonce, progress: t.Progress}
	finish := t.tellDone(out)
	err := t.process(nonce).run(ctx, out)
	finish(err)
	return t.stats(out), err
}

// mostOutput is how much rsync may print beside its lines about files.
const mostOutput, outputPerFile = 4 << 20, 1 << 11

func (t Transfer) process(nonce string) *process {
	var largest int64
	if t.From.Host != "" && t.Largest > 0 {
		largest = 2*t.Largest + mostGrowth
	}
	p := &process{what: "copy files", args: t.Args(nonce), stdin: t.writeList, stall: t.Stall, command: t.Command,
		most: mostOutput + int64(len(t.Files))*outputPerFile, largest: largest}
	if t.List != "" {
		p.stdin = nil
	}
	return p
}

// tellDone makes out call t.Done. rsync prints a received file just before it renames it into place, and receives one file
// at a time. So on a pull it reports a file when the next one is printed, and the last one at the end.
func (t Transfer) tellDone(out *output) (finish func(error)) {
	if t.Done == nil {
		return func(error) {}
	}
	var last *Item
	var bytes int64
	out.item = func(it Item, _ string) {
		if !it.moved() {
			return
		}
		if bytes += it.Size; t.Small && t.Progress != nil {
			t.Progress(bytes)
		}
		if t.From.Host == "" {
			t.Done(it)
			return
		}
		if last != nil {
			t.Done(*last)
		}
		last = &it
	}
	return func(err error) {
		if last != nil && err == nil {
			t.Done(*last)
		}
	}
}

// stats prefers rsync's own numbers.
func (t Transfer) stats(out *output) Stats {
	if out.stats != nil {
		return *out.stats
	}
	if t.From.Host != "" {
		return Stats{Received: out.wire}
	}
	return Stats{Sent: out.wire}
}

func (t Transfer) check() error {
	if err := checkEnds(t.From, t.To, t.FromDir, t.ToDir); err != nil {
		return err
	}
	if len(t.Basis) > maxBasis {
		return &PathError{Path: t.Basis[maxBasis], Why: "rsync takes at most " + strconv.Itoa(maxBasis) + " basis directories"}
	}
	if strings.Contains(t.PartialDir, "/") {
		return &PathError{Path: t.PartialDir, Why: "rsync's receivers 3.4.0 to 3.4.3 cannot go on with a file that is elsewhere"}
	}
	if t.List != "" && t.To.Host == "" {
		return &PathError{Path: t.List, Why: "there is no other host to have it"}
	}
	for _, dir := range slices.Concat(t.Basis, []string{cmp.Or(t.List, t.ToDir)}) {
		if err := checkDir(t.To, dir); err != nil {
			return err
		}
	}
	return checkFiles(t.Files)
}
