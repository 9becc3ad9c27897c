package profiles

import (
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// A key is one key of a remote. Reading, checking and writing all go by this
// table; its order is the order of writing.
type key struct {
	name  string
	field func(*Remote) any // pointer to the value in a Remote
	// check returns a text (or one item of a list) as it is to be kept, and
	// what is wrong with it, or "".
	check    func(string) (kept, wrong string)
	min, max int  // of a number
	number   bool // a text that may be written as a number
	unit     bool // a duration in which a number alone would be days to one and seconds to another
}

var keys = []key{
	{name: "type", field: func(r *Remote) any { return &r.Type }, check: isType},
	{name: "host", field: func(r *Remote) any { return &r.Host }, check: isHost},
	{name: "user", field: func(r *Remote) any { return &r.User }, check: isName},
	{name: "base_dir", field: func(r *Remote) any { return &r.BaseDir }, check: isDirectory},
	{name: "port", field: func(r *Remote) any { return &r.Port }, min: 1, max: 65535},
	{name: "batch_mode", field: func(r *Remote) any { return &r.BatchMode }},
	{name: "ssh_key_env", field: func(r *Remote) any { return &r.SSHKeyEnv }, check: isVariable},
	{name: "ssh_config", field: func(r *Remote) any { return &r.SSHConfig }, check: isLocalPath},
	{name: "ssh_options", field: func(r *Remote) any { return &r.SSHOptions }, check: isOption},
	{name: "transfer_host", field: func(r *Remote) any { return &r.TransferHost }, check: isHost},
	{name: "rsync_path", field: func(r *Remote) any { return &r.RsyncPath }, check: isProgram},
	{name: "repo_root", field: func(r *Remote) any { return &r.RepoRoot }, check: isDirectory},
	{name: "local_repo_root", field: func(r *Remote) any { return &r.LocalRepoRoot }, check: isLocalPath},
	{name: "bwlimit", field: func(r *Remote) any { return &r.Bwlimit }, check: isRate, number: true},
	{name: "streams", field: func(r *Remote) any { return &r.Streams }, min: 1, max: maxNumber},
	{name: "keep_generations", field: func(r *Remote) any { return &r.KeepGenerations }, max: maxNumber},
	{name: "rebuildable", field: func(r *Remote) any { return &r.Rebuildable }, check: isPattern},
	{name: "max_files", field: func(r *Remote) any { return &r.MaxFiles }, min: 1, max: maxEntries},
	{name: "compute", field: func(r *Remote) any { return &r.Compute }, check: isProgram},
	{name: "compute_from", field: func(r *Remote) any { return &r.ComputeFrom }},
	{name: "compute_wait", field: func(r *Remote) any { return &r.ComputeWait }},
	{name: "keep_unique", field: func(r *Remote) any { return &r.KeepUnique }, unit: true},
	{name: "lock_timeout", field: func(r *Remote) any { return &r.LockTimeout }},
	{name: "control_persist", field: func(r *Remote) any { return &r.ControlPersist }},
	{name: "ignore", field: func(r *Remote) any { return &r.Ignore }, check: isPattern},
}

const (
	maxNumber  = 1_000_000
	maxEntries = 1_000_000_000
)

func keyNames() []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return names
}

func findKey(name string) (key, bool) {
	i := slices.IndexFunc(keys, func(k key) bool { return k.name == name })
	if i < 0 {
		return key{}, false
	}
	return keys[i], true
}

var (
	namePattern     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)
	variablePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	optionPattern   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*([ \t]*=[ \t]*|[ \t]+)[^ \t].*$`)
	ratePattern     = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?[KkMmGg]?[Bb]?$`)
)

func isType(s string) (string, string) {
	if s != SSH && s != Local {
		return s, "must be ssh or local"
	}
	return s, ""
}

func isName(s string) (string, string) {
	if !namePattern.MatchString(s) {
		return s, "must be letters, digits, '.', '_' and '-', and not begin with '.' or '-'"
	}
	return s, ""
}

// isHost accepts a literal IPv6 address too.
func isHost(s string) (string, string) {
	if a, err := netip.ParseAddr(s); err == nil && a.Is6() && a.Zone() == "" {
		return s, ""
	}
	return isName(s)
}

// isDirectory checks directories that a remote shell and rsync will see: what
// either could expand is refused rather than quoted.
func isDirectory(s string) (string, string) {
	switch {
	case !path.IsAbs(s):
		return s, "must be an absolute path"
	case hasControl(s):
		return s, "must not hold control characters"
	case strings.ContainsAny(s, `*?[]\`):
		return s, `must not hold any of * ? [ ] \`
	case hasDots(s):
		return s, "must not hold . or .. segments"
	}
	return path.Clean(s), ""
}

func hasDots(s string) bool {
	return slices.ContainsFunc(strings.Split(s, "/"), func(segment string) bool {
		return segment == "." || segment == ".."
	})
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, unicode.IsControl)
}

func isLocalPath(s string) (string, string) {
	switch {
	case hasControl(s):
		return s, "must not hold control characters"
	case !path.IsAbs(s) && !strings.HasPrefix(s, "~/"):
		return s, `must be an absolute path or begin with "~/"`
	}
	return s, ""
}

func isVariable(s string) (string, string) {
	if !variablePattern.MatchString(s) {
		return s, "must be the name of an environment variable (which holds the path), letters, digits and '_'"
	}
	return s, ""
}

func isOption(s string) (string, string) {
	if !optionPattern.MatchString(s) || hasControl(s) {
		return s, `must be an ssh option as in "Key=Value" or "Key Value"`
	}
	return s, ""
}

func isProgram(s string) (string, string) {
	switch {
	case hasControl(s):
		return s, "must not hold control characters"
	case strings.HasPrefix(s, "-"):
		return s, "must not begin with '-'"
	}
	return s, ""
}

func isRate(s string) (string, string) {
	if !ratePattern.MatchString(s) {
		return s, `must be a rate as rsync takes it, such as 500 (KiB a second) or "1.5M"`
	}
	return s, ""
}

func isPattern(s string) (string, string) {
	if s == "" || hasControl(s) {
		return s, "must be a pattern without control characters"
	}
	return s, ""
}

const notDuration = `must be a duration such as 5m, 90s or 30d, or whole seconds`

// Duration reads a Go duration, days such as 30d, or whole seconds.
func Duration(s string) (time.Duration, bool) {
	if seconds, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if days, whole := strings.CutSuffix(s, "d"); whole {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * day, err == nil
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && d >= 0
}

// NoUnit reports whether a duration is a number alone, but for 0.
func NoUnit(s string) bool {
	n, err := strconv.ParseUint(s, 10, 31)
	return err == nil && n > 0
}

// Bytes is a number of bytes. Text has it with a K, M, G or T of 1024 each.
type Bytes int64

const notBytes = `must be a number of bytes such as 20G or 500M`

func bytesOf(s string) (Bytes, bool) {
	digits := strings.TrimRight(strings.ToUpper(s), "B")
	shift := 0
	if i := strings.IndexAny(digits, "KMGT"); i >= 0 && i == len(digits)-1 {
		shift = 10 * (1 + strings.IndexByte("KMGT", digits[i]))
		digits = digits[:i]
	}
	n, err := strconv.ParseUint(digits, 10, 63-shift)
	return Bytes(n << shift), err == nil
}

// String is what a file has.
func (b Bytes) String() string {
	unit := ""
	for _, u := range "KMGT" {
		if b == 0 || b%1024 != 0 {
			break
		}
		b, unit = b/1024, string(u)
	}
	return strconv.FormatInt(int64(b), 10) + unit
}

const day = 24 * time.Hour

// durationText writes a duration as people do: 5m rather than 5m0s, 30d rather than 720h0m0s.
func durationText(d time.Duration) string {
	if d > day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
