package sync

import (
	"context"
	"fmt"
	"path"
	"sync/atomic"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/rsync"
	"github.com/dnadesign-maintainers/usr/verify"
)

// Pair is a local USR root and, for most commands, one remote. It holds the connection of a command; Close ends it.
// A Pair serves one goroutine.
type Pair struct {
	local, remote side
	login         string                              // the remote's host as the profile has it; "" is this host
	dial          func(context.Context) (side, error) // reaches the remote anew after the line was lost
	o             Options
	classes       *verify.Classifier
	store         store
	localRsync    func(context.Context) (rsync.Version, error) // of this host; asked once
	executions    *atomic.Int64                                // ssh processes started, rsync's included
	place         *remote.Place                                // of the remote, where it is known beforehand
	ahead         ahead
	spareFrom     int // of tests; 0: see worthSpare
}

// Options is what all operations on a pair share.
type Options struct {
	Root            string // local USR root, absolute
	Observe         Observer
	Ignore          []string // further patterns of files that are not data
	Rebuildable     []string // patterns of files that programs can make again
	KeepGenerations int
	KeepUnique      time.Duration // of what a generation alone holds
	LockTimeout     time.Duration
	RetryPauses     []time.Duration // before a lost line is dialled again, one each; nil for the usual ones
	Bwlimit         string
	Streams         int
	NoExchange      bool             // behave as on a file system that cannot exchange directories
	Now             func() time.Time // the clock
}

// Modes says how closely a command looks and what it transfers.
type Modes struct {
	Primary       PrimaryMode
	Sidecars      bool // verify all classes, not the primary alone
	ContentHashes bool // of derived and auxiliary files
	PrimaryOnly   bool
	SkipSnapshots bool
	Rehash        bool // trust no cached digest
	Take          Takes
	Force         bool // overwrite what the other side does not know of
	MaxDelete     DeleteLimit
	DryRun        bool
	LockTimeout   time.Duration
	Bwlimit       string
	Itemize       bool // let rsync print its own preview
	Following     bool // nothing done is not worth a line of the log
	Confirm       func(*Report) error
	Agreed        *Report // a preview that the user has agreed to already
	noHashes      bool    // a host cannot hash: sizes and time stamps must do
}

// PrimaryMode is how the primary is verified.
type PrimaryMode string

// The primary verification modes.
const (
	ByHash    PrimaryMode = "hash"
	BySize    PrimaryMode = "size"
	ByParquet PrimaryMode = "parquet"
	Auto      PrimaryMode = "auto"
)

// levels says how closely each class is compared.
func (m Modes) levels() verify.Levels {
	var l verify.Levels
	if m.noHashes {
		return l
	}
	if m.Primary == ByHash {
		l[verify.Primary] = verify.Content
	}
	for _, c := range []verify.Class{verify.Meta, verify.Events, verify.Snapshots} {
		if m.Sidecars {
			l[c] = verify.Content
		}
	}
	for _, c := range []verify.Class{verify.Derived, verify.Auxiliary} {
		if m.Sidecars && m.ContentHashes {
			l[c] = verify.Content
		}
	}
	return l
}

// inScope reports whether a transfer in these modes touches the class.
func (m Modes) inScope(c verify.Class) bool {
	switch {
	case !c.Synced():
		return false
	case m.PrimaryOnly:
		return c == verify.Primary
	}
	return !m.SkipSnapshots || c != verify.Snapshots
}

// all reports whether every class is in scope.
func (m Modes) all() bool { return !m.PrimaryOnly && !m.SkipSnapshots }

// synced lists the classes that are compared, in the order in which reports name them.
var synced = []verify.Class{verify.Primary, verify.Meta, verify.Events, verify.Snapshots, verify.Derived, verify.Auxiliary}

// warn tells the user something that does not stop the command.
func (p *Pair) warn(format string, args ...any) {
	p.o.Observe(Warned{fmt.Sprintf(format, args...)})
}

// ranRsync is told each rsync that is started; over ssh it is an execution of ssh as well.
func (p *Pair) ranRsync(argv []string) {
	if p.remote != nil && p.remote.Far() {
		p.executions.Add(1)
	}
	p.o.Observe(Ran{argv})
}

// RemoteName is how messages call the remote, "" for none.
func (p *Pair) RemoteName() string { return p.remoteName() }

func (p *Pair) remoteName() string {
	if p.remote == nil {
		return ""
	}
	return p.remote.Name()
}

// Close releases locks and connections.
func (p *Pair) Close() error {
	err := p.local.Close()
	if p.remote != nil {
		if rerr := p.remote.Close(); err == nil {
			err = rerr
		}
	}
	return err
}

// algorithm is the best hash that both sides can compute.
func (p *Pair) algorithm(ctx context.Context) (string, error) {
	if p.remote == nil {
		return verify.BLAKE3, nil
	}
	theirs, err := p.remote.Algorithms(ctx)
	if err != nil {
		return "", err
	}
	for _, a := range theirs {
		if a == verify.BLAKE3 || a == verify.SHA256 {
			return a, nil
		}
	}
	return "", &NoHashError{Side: p.remote.Name()}
}

// NoHashError means that a host has none of the hash tools that usr knows.
type NoHashError struct{ Side string }

func (e *NoHashError) Error() string {
	return fmt.Sprintf("cannot hash files on %s: none of b3sum, openssl, sha256sum, shasum is there", e.Side)
}

// statePath is a path in a side's state directory.
func statePath(s side, elem ...string) string {
	return path.Join(append([]string{s.Root(), stateDir}, elem...)...)
}
