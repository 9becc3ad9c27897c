package remotetest

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// The lines of sshd's log that are counted. A key that is only the first of two steps logs "Partial publickey".
var (
	connectionLine = regexp.MustCompile(`(?m)^Connection from 127\.0\.0\.1 port \d+`)
	acceptedLine   = regexp.MustCompile(`(?m)^Accepted \S+ for \S+ from \S+ port \d+`)
)

func (s *Server) count(line *regexp.Regexp) int { return len(line.FindAllString(s.Log(), -1)) }

// findSSHD looks where distributions and Homebrew put sshd; an ordinary user's PATH seldom holds sbin. The path
// is absolute: sshd wants to execute itself again.
func findSSHD() (string, error) {
	return findProgram("sshd", "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin", "/sbin")
}

func findProgram(name string, dirs ...string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return filepath.Abs(p)
	}
	for _, dir := range dirs {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p, nil
		}
	}
	return "", ErrNoSSHD
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// makeKeys makes the host's and the user's key. known_hosts and authorized_keys are made of them in writeFiles.
func (s *Server) makeKeys() error {
	for _, name := range []string{"host", "id"} {
		if _, err := os.Stat(s.file(name)); err == nil {
			continue // a second server in the same directory keeps the identity of the first
		}
		out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "usr-test", "-f", s.file(name)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ssh-keygen: %w: %s", err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// writeFiles writes everything that sshd and ssh read, and gives it to the server's user.
func (s *Server) writeFiles() error {
	host, err := os.ReadFile(s.file("host.pub"))
	if err != nil {
		return err
	}
	id, err := os.ReadFile(s.file("id.pub"))
	if err != nil {
		return err
	}
	files := map[string]string{
		"authorized_keys": string(id),
		"known_hosts":     fmt.Sprintf("%s,[127.0.0.1]:%d %s", Alias, s.port, host),
		"sshd_config":     s.sshdConfig(),
		"ssh_config":      s.clientConfig(s.port),
		"login":           s.loginScript(),
		"log":             "",
	}
	for name, text := range files {
		if err := os.WriteFile(s.file(name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := os.Chmod(s.file("login"), 0o755); err != nil {
		return err
	}
	return s.giveAway("host", "log", "home", "authorized_keys")
}

// giveAway makes the server's user the owner of what it has to read and to write.
func (s *Server) giveAway(names ...string) error {
	if s.options.User == nil {
		return nil
	}
	// Temporary directories of tests are their owner's alone.
	for dir := s.dir; strings.HasPrefix(dir, filepath.Clean(os.TempDir())+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := os.Chown(s.file(name), int(s.user.UID), int(s.user.GID)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) sshdConfig() string {
	lines := []string{
		"ListenAddress 127.0.0.1",
		fmt.Sprintf("Port %d", s.port),
		"HostKey " + configQuote(s.file("host")),
		"AuthorizedKeysFile " + configQuote(strings.ReplaceAll(s.file("authorized_keys"), "%", "%%")),
		"PidFile none",
		"LogLevel VERBOSE",
		"StrictModes no",
		"PermitRootLogin yes",
		"PasswordAuthentication no",
		"PermitUserRC no",
		"PrintMotd no",
		"UseDNS no",
		"Subsystem sftp internal-sftp",
		"SetEnv " + s.environment(),
	}
	lines = append(lines, s.pamLines()...)
	if s.wrapped() {
		lines = append(lines, "ForceCommand "+shellQuote(s.file("login")))
	}
	if s.options.MaxSessions != 0 {
		lines = append(lines, fmt.Sprintf("MaxSessions %d", s.options.MaxSessions))
	}
	if s.options.MaxStartups != "" {
		lines = append(lines, "MaxStartups "+s.options.MaxStartups)
	}
	return strings.Join(append(lines, s.options.Lines...), "\n") + "\n"
}

// environment is the one SetEnv line: sshd takes only the first.
func (s *Server) environment() string {
	env := map[string]string{"HOME": s.home}
	if s.wrapped() {
		// The account's own shell starts the wrapper and must not run the start-up files meant for Shell.
		env["HOME"] = s.file("nohome")
	}
	maps.Copy(env, s.options.Env)
	var words []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		words = append(words, configQuote(name+"="+env[name]))
	}
	return strings.Join(words, " ")
}

func (s *Server) wrapped() bool {
	return s.options.Shell != "" || s.options.Noise != "" || s.options.NoiseStderr != ""
}

// loginScript stands in for another login shell, which would need an entry in the password file.
func (s *Server) loginScript() string {
	shell := s.options.Shell
	if shell == "" {
		shell = s.user.Shell
	}
	if p, err := exec.LookPath(shell); err == nil {
		shell = p
	}
	home := s.home
	if h, given := s.options.Env["HOME"]; given {
		home = h
	}
	return strings.Join([]string{
		"#!/bin/sh",
		"HOME=" + shellQuote(home),
		"SHELL=" + shellQuote(shell),
		"export HOME SHELL",
		"unset SHLVL", // bash reads .bashrc under sshd only where it is the outermost shell
		"printf %s " + shellQuote(s.options.Noise),
		"printf %s " + shellQuote(s.options.NoiseStderr) + " >&2",
		`command=${SSH_ORIGINAL_COMMAND-}`,
		"unset SSH_ORIGINAL_COMMAND",
		`if [ -n "$command" ]; then exec "$SHELL" -c "$command"; fi`,
		`exec "$SHELL"`,
		"",
	}, "\n")
}

// WriteConfig writes a further ssh configuration for this server, reached on another port of 127.0.0.1 (a
// relay's; 0 is the server's own), with lines added to its Host block. It returns the path.
func (s *Server) WriteConfig(name string, port int, lines ...string) (string, error) {
	if port == 0 {
		port = s.port
	}
	text := s.clientConfig(port, lines...)
	return s.file(name), os.WriteFile(s.file(name), []byte(text), 0o644)
}

// clientConfig puts the caller's lines first: ssh takes the first value that it obtains.
func (s *Server) clientConfig(port int, lines ...string) string {
	text := "Host " + Alias + "\n"
	for _, line := range append(slices.Clone(lines),
		"HostName 127.0.0.1",
		fmt.Sprintf("Port %d", port),
		"User "+s.user.Name,
		"IdentityFile "+configQuote(strings.ReplaceAll(s.KeyFile(), "%", "%%")),
		"IdentitiesOnly yes",
		"IdentityAgent none",
		"HostKeyAlias "+Alias,
		"UserKnownHostsFile "+configQuote(strings.ReplaceAll(s.KnownHosts(), "%", "%%")),
		"GlobalKnownHostsFile /dev/null",
		"StrictHostKeyChecking yes",
	) {
		text += "    " + line + "\n"
	}
	return text
}

func configQuote(s string) string { return `"` + s + `"` }

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
