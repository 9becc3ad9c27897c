// Package remotetest is a test bed of real programs: a private sshd on the loopback interface, a relay that is a
// slow or broken network, and wrappers that break rsync, ssh and other tools on purpose. It imports nothing of
// package testing, because `usr demo` plays its loop against the same server.
package remotetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Alias is the name by which the ssh configuration of a Server knows it.
const Alias = "cluster"

// ErrNoSSHD is returned by Start where this machine has no sshd.
var ErrNoSSHD = errors.New("no sshd found on PATH or in the usual places")

// Options shape a Server. The zero value is a plain host: the user's own login shell, an empty home directory.
type Options struct {
	// Env is set for every remote command. HOME is an empty directory unless it is given here; no value may hold
	// a double quote or a newline.
	Env map[string]string
	// Shell runs the remote commands in place of the account's login shell (bash, dash, zsh, fish, tcsh; a name on
	// PATH or a path). Remote commands then find SHELL set to it.
	Shell string
	// Noise and NoiseStderr are printed before every remote command, as a chatty start-up file does.
	Noise, NoiseStderr string
	// MaxSessions and MaxStartups are sshd's own; 0 and "" leave its defaults.
	MaxSessions int
	MaxStartups string
	// Lines are added to sshd_config.
	Lines []string
	// User runs the whole server as another user; only root can. Nil is the caller. The directories above the
	// server's, up to the temporary directory, become searchable for everybody.
	User *User
	// Question makes every new connection answer a question after its key was accepted, as Duo does. It needs
	// root and PAM: the service file in /etc/pam.d is the server's own and goes with Stop.
	Question *Question
}

// Question is what a server asks by keyboard-interactive.
type Question struct {
	Text   string // shown before the prompt, which is "Password: "
	Answer string // the one answer that is accepted
}

// Server is a running private sshd. Its methods may be called from several goroutines.
type Server struct {
	dir     string
	user    User
	port    int
	home    string
	options Options

	cmd   *exec.Cmd
	ended chan struct{} // closed when the listener was reaped
	guard *guard
	undo  []func()
	stop  sync.Once
}

// Start starts a server whose keys, configuration, log and home directory are made in dir, which is created if it
// does not exist and is left to the caller. The error is ErrNoSSHD where there is no sshd.
func Start(dir string, o Options) (*Server, error) {
	s, err := start(dir, o)
	if err != nil {
		return nil, fmt.Errorf("cannot start a private sshd: %w", err)
	}
	return s, nil
}

func start(dir string, o Options) (*Server, error) {
	program, err := findSSHD()
	if err != nil {
		return nil, err
	}
	s, err := prepare(dir, o)
	if err != nil {
		return nil, err
	}
	if program, err = s.preparePAM(program); err == nil {
		err = s.listen(program)
	}
	if err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// prepare makes everything but the configuration, which needs the port.
func prepare(dir string, o Options) (*Server, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(dir, "\"\n\\") {
		return nil, fmt.Errorf("sshd cannot be told the path %q", dir)
	}
	s := &Server{dir: dir, home: filepath.Join(dir, "home"), options: o}
	if s.user, err = accountOf(o.User); err != nil {
		return nil, err
	}
	for _, d := range []string{s.home, s.file("nohome")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	return s, s.makeKeys()
}

// listen starts sshd on a free port. Between finding the port and binding it somebody else may take it, so a few
// ports are tried.
func (s *Server) listen(program string) error {
	var err error
	for range 5 {
		if s.port, err = freePort(); err != nil {
			return err
		}
		if err = s.writeFiles(); err != nil {
			return err
		}
		if err = s.run(program); err == nil || !strings.Contains(err.Error(), "already in use") {
			return err
		}
	}
	return err
}

func (s *Server) run(program string) error {
	if s.user.UID == 0 {
		// sshd refuses to start as root without it, and nothing but a boot script makes it.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return err
		}
	}
	s.cmd = exec.Command(program, "-D", "-f", s.file("sshd_config"), "-E", s.file("log"))
	s.cmd.Dir = s.dir
	s.cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	s.cmd.SysProcAttr = s.user.attributes()
	// A file and not a buffer: the commands of connections would hold a pipe open, and Wait would wait for them.
	said, err := os.Create(s.file("stderr"))
	if err != nil {
		return err
	}
	defer said.Close()
	s.cmd.Stderr = said
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.ended = make(chan struct{})
	go func() {
		_ = s.cmd.Wait()
		close(s.ended)
	}()
	return s.ready()
}

// ready waits until sshd says that it listens. Dialling it would be quicker to write, but would count as a
// connection.
func (s *Server) ready() (err error) {
	deadline := time.Now().Add(20 * time.Second)
	for !strings.Contains(s.Log(), fmt.Sprintf("Server listening on 127.0.0.1 port %d.", s.port)) {
		select {
		case <-s.ended:
			said, _ := os.ReadFile(s.file("stderr"))
			return fmt.Errorf("%s ended: %s", s.cmd.Path, strings.TrimSpace(string(said)+s.Log()))
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not listen after 20 s: %s", s.cmd.Path, s.Log())
		}
	}
	s.guard, err = guardProcess(s.cmd.Process.Pid)
	return err
}

// Stop ends the server, its connections and the remote commands that it knows of. It may be called twice.
func (s *Server) Stop() {
	s.stop.Do(func() {
		if s.guard != nil {
			s.guard.dismiss()
		}
		if s.ended != nil {
			s.kill()
		}
		for _, undo := range s.undo {
			undo()
		}
	})
}

func (s *Server) kill() {
	children := s.children()
	_ = s.cmd.Process.Kill()
	<-s.ended
	for _, p := range children {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
	// A command whose connection was cut earlier is nobody's child any more, but its environment names the port.
	for _, pid := range commandsOf(s.port) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	waitGone(children, 2*time.Second)
}

// Port is the TCP port on 127.0.0.1.
func (s *Server) Port() int { return s.port }

// Home is the home directory that remote commands see, where a test may put start-up files.
func (s *Server) Home() string { return s.home }

// KeyFile is the private key that the server accepts.
func (s *Server) KeyFile() string { return s.file("id") }

// KnownHosts is a known_hosts file with the server's key, under Alias and under its address.
func (s *Server) KnownHosts() string { return s.file("known_hosts") }

// ConfigFile is an ssh configuration (ssh -F) in which Alias is this server and nothing of the user's own
// configuration, keys or agent counts.
func (s *Server) ConfigFile() string { return s.file("ssh_config") }

// Log is what sshd has logged so far, at LogLevel VERBOSE.
func (s *Server) Log() string {
	text, _ := os.ReadFile(s.file("log"))
	return string(text)
}

// Connections counts the TCP connections so far, whatever became of them.
func (s *Server) Connections() int { return s.count(connectionLine) }

// Authentications counts the connections that were let in so far.
func (s *Server) Authentications() int { return s.count(acceptedLine) }

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }
