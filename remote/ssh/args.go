package ssh

import (
	"strconv"
	"strings"
	"time"
)

// way is one way to connect.
type way struct {
	socket string        // of the master
	reuse  bool          // the master exists: never connect, never ask
	keep   time.Duration // how long a new master outlives the command
	proved bool          // it has answered in this command
}

// riderArgs make ssh ride on the master behind a socket. "ProxyCommand=false" makes it fail instead of connecting: a new
// connection could ask the user again.
func (t Target) riderArgs(socket string) []string {
	args := []string{"-S", escapeSocket(socket), "-o", "ControlMaster=no", "-o", "ProxyCommand=false", "-o", "BatchMode=yes"}
	return append(args, t.commonArgs()...)
}

// masterArgs make ssh the master behind a socket. ssh takes the first value of an option, so what connection sharing needs
// comes first, then the user's options, then our defaults.
func (t Target) masterArgs(w way, ask bool) []string {
	keep := "no"
	if w.keep > 0 {
		keep = strconv.Itoa(max(1, int(w.keep/time.Second)))
	}
	args := []string{"-M", "-S", escapeSocket(w.socket), "-o", "ControlPersist=" + keep}
	args = append(args, t.commonArgs()...)
	args = append(args, t.placeArgs()...)
	if !ask {
		args = append(args, "-o", "BatchMode=yes")
	}
	return append(args, "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4")
}

// commonArgs ask for no terminal, no forwarding, and no command from the user's configuration in place of ours.
func (t Target) commonArgs() []string {
	args := []string{"-T", "-x", "-a", "-o", "RemoteCommand=none", "-o", "ClearAllForwardings=yes"}
	if t.ConfigFile != "" {
		args = append(args, "-F", t.ConfigFile)
	}
	return args
}

// placeArgs say where and as whom to connect.
func (t Target) placeArgs() []string {
	var args []string
	for _, o := range t.Options {
		args = append(args, "-o", o)
	}
	if t.Port != 0 {
		args = append(args, "-p", strconv.Itoa(t.Port))
	}
	if t.KeyPath != "" {
		args = append(args, "-i", t.KeyPath, "-o", "IdentitiesOnly=yes")
	}
	if t.User != "" {
		args = append(args, "-l", t.User)
	}
	return args
}

// questionArgs ask ssh (-G) for its effective configuration.
func (t Target) questionArgs() []string {
	args := []string{"-G"}
	if t.ConfigFile != "" {
		args = append(args, "-F", t.ConfigFile)
	}
	return append(append(args, t.placeArgs()...), "--", t.Host)
}

// LoginArgs returns the command line with which a person logs in to the same host.
func (t Target) LoginArgs(options ...string) []string {
	args := append([]string{"ssh"}, options...)
	if t.ConfigFile != "" {
		args = append(args, "-F", t.ConfigFile)
	}
	return append(append(args, t.placeArgs()...), t.Host)
}

// escapeSocket: ssh expands % in a control path.
func escapeSocket(path string) string { return strings.ReplaceAll(path, "%", "%%") }
