package main

import (
	"fmt"
	"regexp"
	"time"

	"github.com/dnadesign-maintainers/usr/profiles"
	"github.com/dnadesign-maintainers/usr/sync"
)

// sidesArgs are the two ends of a transfer.
type sidesArgs struct {
	Dataset string `arg:"" help:"Id, glob over ids in quotes, dataset directory, or file."`
	Remote  string `arg:"" help:"Name of a remote ('usr remotes list')."`
}

// compareFlags are common to diff, pull and push.
type compareFlags struct {
	Verify        string `enum:"hash,auto,size,parquet" default:"hash" placeholder:"MODE" help:"How the primary is compared: ${enum} (default ${default})."`
	PrimaryOnly   bool   `help:"Leave all classes but the primary alone."`
	SkipSnapshots bool   `help:"Leave _snapshots alone."`
	Rehash        bool   `help:"Trust no hash cache; read the files again."`
	auditFlags
	placeFlags
}

// auditFlags say where else the audit goes.
type auditFlags struct {
	AuditJSONOut string `name:"audit-json-out" placeholder:"FILE" help:"Write the audit as JSON to FILE as well."`
	AuditDir     string `placeholder:"DIR" help:"Write it to a file of its own in DIR as well, named by time and dataset."`
}

// placeFlags say where datasets, or a single file, are on the remote.
type placeFlags struct {
	baseFlag
	RepoRoot   string `placeholder:"DIR" help:"FILE: local repository that remote paths are relative to."`
	RemotePath string `placeholder:"PATH" help:"FILE: absolute path on the remote."`
}

// baseFlag overrides the profile's base directory.
type baseFlag struct {
	BaseDir string `placeholder:"DIR" help:"Another base directory on the same remote, for this command."`
}

// given returns the flags that name the place, as words of a command line.
func (f placeFlags) given() []string {
	return words("--base-dir", f.BaseDir, "--repo-root", f.RepoRoot, "--remote-path", f.RemotePath)
}

// given returns the flags that a further command on the same dataset needs too.
func (f compareFlags) given() []string {
	var flags []string
	if f.Verify != defaultVerify {
		flags = words("--verify", f.Verify) // empty for a command without that flag
	}
	if f.PrimaryOnly {
		flags = append(flags, "--primary-only")
	}
	if f.SkipSnapshots {
		flags = append(flags, "--skip-snapshots")
	}
	return append(flags, f.placeFlags.given()...)
}

const defaultVerify = "hash"

// words takes pairs of a flag and a value, and returns those whose value is not empty.
func words(pairs ...string) (flags []string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			flags = append(flags, pairs[i], pairs[i+1])
		}
	}
	return flags
}

// changeFlags are common to pull and push.
type changeFlags struct {
	Yes                 bool  `short:"y" help:"Do not ask."`
	DryRun              bool  `short:"n" help:"Show what would be done; change nothing."`
	VerifySidecars      *bool `negatable:"" help:"Verify all classes, not the primary alone (default yes)."`
	VerifyDerivedHashes *bool `negatable:"" help:"Compare contents of _derived and auxiliary files, not paths and sizes alone (default yes)."`
	Force               bool  `help:"Overwrite or delete what the other side does not know of; 'usr undo' brings it back."`
	limitFlag
	LockTimeout duration `placeholder:"DUR" help:"How long to wait for locks (default 5m, or the profile's)."`
	Bwlimit     rate     `placeholder:"RATE" help:"Limit of the transfer as rsync takes it: 500 (KiB a second), 1.5M."`
}

// limitFlag is common to all commands that change a side.
type limitFlag struct {
	MaxDelete sync.DeleteLimit `name:"max-delete" placeholder:"N|P%" help:"Refuse to delete more than N files, or P% of those at the destination (default no limit)."`
}

// modes turns flags into a request to the engine. It fails if flags contradict each other.
func (f compareFlags) modes() (sync.Modes, error) {
	return sync.Modes{
		Primary:  sync.PrimaryMode(f.Verify),
		Sidecars: !f.PrimaryOnly, ContentHashes: !f.PrimaryOnly,
		PrimaryOnly: f.PrimaryOnly, SkipSnapshots: f.SkipSnapshots, Rehash: f.Rehash,
	}, nil
}

// apply adds the flags of a transfer to the modes of a comparison.
func (f changeFlags) apply(m *sync.Modes) error {
	sidecars, hashes := given(f.VerifySidecars), given(f.VerifyDerivedHashes)
	switch {
	case sidecars == yes && m.PrimaryOnly:
		return contradiction("--verify-sidecars", "--primary-only")
	case sidecars == yes && m.SkipSnapshots:
		return contradiction("--verify-sidecars", "--skip-snapshots")
	case hashes == yes && m.PrimaryOnly:
		return contradiction("--verify-derived-hashes", "--primary-only")
	case hashes == yes && sidecars == no:
		return contradiction("--verify-derived-hashes", "--no-verify-sidecars")
	}
	m.Sidecars = m.Sidecars && sidecars != no
	m.ContentHashes = m.Sidecars && hashes != no
	m.Force, m.DryRun, m.MaxDelete = f.Force, f.DryRun, f.MaxDelete
	m.LockTimeout, m.Bwlimit = time.Duration(f.LockTimeout), string(f.Bwlimit)
	return nil
}

func contradiction(a, b string) error {
	return &usageError{why: "cannot use " + a + " with " + b + ": they contradict each other", hint: "leave one of them out"}
}

// datasetOnly returns a given flag that has no meaning for a single file, or "".
func (f compareFlags) datasetOnly() string {
	switch {
	case f.PrimaryOnly:
		return "--primary-only"
	case f.SkipSnapshots:
		return "--skip-snapshots"
	}
	return ""
}

func (f changeFlags) datasetOnly() string {
	switch {
	case f.VerifySidecars != nil:
		return "--[no-]verify-sidecars"
	case f.VerifyDerivedHashes != nil:
		return "--[no-]verify-derived-hashes"
	case f.MaxDelete != sync.DeleteLimit{}:
		return "--max-delete"
	}
	return ""
}

// tristate is a flag that may be left out, on or off.
type tristate int

const (
	unset tristate = iota
	yes
	no
)

func given(flag *bool) tristate {
	switch {
	case flag == nil:
		return unset
	case *flag:
		return yes
	}
	return no
}

// duration is a Go duration, days, or whole seconds.
type duration time.Duration

// UnmarshalText is called by kong.
func (d *duration) UnmarshalText(text []byte) error {
	parsed, ok := profiles.Duration(string(text))
	if !ok {
		return fmt.Errorf("%q is not a duration such as 5m, 90s or 30d", text)
	}
	*d = duration(parsed)
	return nil
}

// age is a duration that needs a unit: a number alone would be seconds, where days are meant, and what is kept would go.
type age time.Duration

// UnmarshalText is called by kong.
func (d *age) UnmarshalText(text []byte) error {
	if profiles.NoUnit(string(text)) {
		return fmt.Errorf("%q has no unit; give one, such as 60d or 12h", text)
	}
	return (*duration)(d).UnmarshalText(text)
}

// rate is a value of rsync's --bwlimit.
type rate string

var ratePattern = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?[KkMmGg]?[Bb]?$`)

// UnmarshalText is called by kong.
func (r *rate) UnmarshalText(text []byte) error {
	if !ratePattern.Match(text) {
		return fmt.Errorf("%q is not a rate such as 500 (KiB a second) or 1.5M", text)
	}
	*r = rate(text)
	return nil
}
