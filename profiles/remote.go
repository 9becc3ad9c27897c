// Package profiles reads, checks and writes the remotes file: the YAML file
// that says where the remote copies of datasets are and how to get there.
package profiles

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The two types of remote.
const (
	SSH   = "ssh"   // a host reached through ssh
	Local = "local" // a directory that this host can see
)

// A Remote is one entry of the remotes file, its defaults filled in. Text
// fields that the file leaves out or sets to null are "".
type Remote struct {
	Name          string
	Type          string // SSH or Local
	Host          string // a name, or an alias in the user's ssh configuration
	User          string // "": ssh decides
	BaseDir       string // absolute, cleaned
	Port          int    // 0: ssh decides
	BatchMode     bool
	SSHKeyEnv     string // name of a variable that holds a key path, see KeyPath
	SSHConfig     string // as in the file, see ConfigPath
	SSHOptions    []string
	TransferHost  string // "": bulk data goes through Host
	RsyncPath     string
	RepoRoot      string // absolute, cleaned
	LocalRepoRoot string // as in the file, see LocalRepo
	Bwlimit       string // a RATE of rsync's --bwlimit
	Streams       int
	// KeepGenerations is the number of earlier generations kept on each side.
	KeepGenerations int
	MaxFiles        int           // a dataset with more entries counts as a fault of the far side
	KeepUnique      time.Duration // how long files of earlier generations that exist nowhere else are kept
	Compute         string        // a command to which a shell is appended, on a compute node, for hashing; "": none
	ComputeFrom     Bytes         // of a command, from how many on that shell is used
	ComputeWait     time.Duration // for a place in the queue
	LockTimeout     time.Duration
	ControlPersist  time.Duration // 0: the connection is closed at the end
	Ignore          []string
	Rebuildable     []string
}

// Default returns a remote with the defaults of the file format, without
// host, user and base directory.
func Default(name string) Remote {
	return Remote{
		Name: name, Type: SSH, BatchMode: true, RsyncPath: "rsync",
		Streams: 1, KeepGenerations: 1, KeepUnique: 30 * day, MaxFiles: 5_000_000, LockTimeout: 5 * time.Minute,
		ComputeFrom: 20 << 30, ComputeWait: 15 * time.Minute,
	}
}

// KeyPath returns the path of the ssh key that the variable named by SSHKeyEnv
// holds, or "" if the remote names none. An unset or empty variable is an
// *Error.
func (r Remote) KeyPath(getenv func(string) string) (string, error) {
	if r.SSHKeyEnv == "" {
		return "", nil
	}
	value := getenv(r.SSHKeyEnv)
	if value == "" {
		return "", r.wrong("ssh_key_env", "the variable "+r.SSHKeyEnv+" is not set")
	}
	return r.file("ssh_key_env", value, getenv)
}

// ConfigPath returns SSHConfig with a leading "~/" expanded.
func (r Remote) ConfigPath(getenv func(string) string) (string, error) {
	return r.file("ssh_config", r.SSHConfig, getenv)
}

// LocalRepo returns LocalRepoRoot with a leading "~/" expanded.
func (r Remote) LocalRepo(getenv func(string) string) (string, error) {
	return r.expand("local_repo_root", r.LocalRepoRoot, getenv)
}

// wrong makes the error for a value that turns out wrong when it is used.
func (r Remote) wrong(key, what string) error {
	return &Error{doing: "use remote " + shown(r.Name), Problems: []Problem{{Key: key, What: what}}}
}

// file is expand for a file that ssh reads. ssh would wait for ever on a fifo; it reports a missing file itself.
func (r Remote) file(key, path string, getenv func(string) string) (string, error) {
	path, err := r.expand(key, path, getenv)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && path != os.DevNull {
		return "", r.wrong(key, shown(path)+" is not a regular file")
	}
	return path, nil
}

func (r Remote) expand(key, path string, getenv func(string) string) (string, error) {
	expanded, ok := expandHome(path, getenv)
	if !ok {
		return "", r.wrong(key, "the variable HOME is not set, which "+shown(path)+" needs")
	}
	return expanded, nil
}

// expandHome returns false if path begins with "~/" and there is no HOME.
func expandHome(path string, getenv func(string) string) (string, bool) {
	rest, below := strings.CutPrefix(path, "~/")
	if !below {
		return path, true
	}
	home := getenv("HOME")
	return filepath.Join(home, rest), home != ""
}

// DefaultPath returns the path of the remotes file for this environment:
// $USR_REMOTES_PATH, else dnadesign/usr-remotes.yaml in $XDG_CONFIG_HOME, else
// in ~/.config. It is an *Error if none of the variables is set.
func DefaultPath(getenv func(string) string) (string, error) {
	if path, ok := expandHome(getenv("USR_REMOTES_PATH"), getenv); ok && path != "" {
		return path, nil
	}
	// The XDG specification wants a relative path here ignored.
	config := getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(config) {
		home := getenv("HOME")
		if home == "" {
			what := "none of the variables USR_REMOTES_PATH, XDG_CONFIG_HOME and HOME is set"
			return "", &Error{doing: "find the remotes file", Problems: []Problem{{What: what}}}
		}
		config = filepath.Join(home, ".config")
	}
	return filepath.Join(config, "dnadesign", "usr-remotes.yaml"), nil
}
