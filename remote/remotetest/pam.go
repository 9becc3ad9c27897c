package remotetest

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// needsPAM says whether the server must go through PAM: to ask a question, or because sshd as root, without PAM,
// refuses accounts whose password is locked, as root's is on many machines.
func (s *Server) needsPAM() bool {
	return s.options.Question != nil || (s.user.UID == 0 && passwordLocked(s.user.Name))
}

func passwordLocked(name string) bool {
	text, _ := os.ReadFile("/etc/shadow")
	return regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `:!`).Match(text)
}

func (s *Server) pamLines() []string {
	if !s.needsPAM() {
		return []string{"UsePAM no", "AuthenticationMethods publickey"}
	}
	lines := []string{"UsePAM yes"}
	if sshdVersion() >= 908 {
		lines = append(lines, "PAMServiceName "+s.serviceName())
	}
	if s.options.Question == nil {
		return append(lines, "AuthenticationMethods publickey")
	}
	return append(lines, "KbdInteractiveAuthentication yes", "AuthenticationMethods publickey,keyboard-interactive")
}

// serviceName is the name of the PAM service, private to this server. Before OpenSSH 9.8 sshd takes its own file
// name for it, so the program is started through a link.
func (s *Server) serviceName() string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s.dir))
	return fmt.Sprintf("usr-test-sshd-%d-%08x", os.Getpid(), h.Sum32())
}

// preparePAM writes the service, to be removed by Stop, and returns the path by which to start sshd.
func (s *Server) preparePAM(program string) (string, error) {
	if !s.needsPAM() {
		return program, nil
	}
	if s.user.UID != 0 {
		return "", errors.New("only root can make sshd ask a question")
	}
	service := filepath.Join("/etc/pam.d", s.serviceName())
	s.undo = append(s.undo, func() { _ = os.Remove(service) })
	text, err := s.pamService()
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(service, []byte(text), 0o644); err != nil {
		return "", err
	}
	link := s.file(s.serviceName())
	_ = os.Remove(link)
	return link, os.Symlink(program, link)
}

func (s *Server) pamService() (string, error) {
	auth := "auth required pam_permit.so\n"
	if q := s.options.Question; q != nil {
		check := "#!/bin/sh\n[ \"$(tr -d '\\000')\" = " + shellQuote(q.Answer) + " ]\n"
		if err := os.WriteFile(s.file("answer"), []byte(check), 0o700); err != nil {
			return "", err
		}
		if err := os.WriteFile(s.file("question"), []byte(q.Text+"\n"), 0o644); err != nil {
			return "", err
		}
		// pam_permit stays behind the question: without a module that sets credentials PAM lets nobody in.
		auth = fmt.Sprintf("auth optional pam_echo.so file=%s\nauth required pam_exec.so quiet expose_authtok %s\n%s",
			s.file("question"), s.file("answer"), auth)
	}
	return auth + "account required pam_permit.so\nsession required pam_permit.so\n", nil
}

// sshdVersion is OpenSSH's version as 100*major+minor, 0 if unknown. Old versions take -V for a mistake, but print
// it all the same.
func sshdVersion() int {
	program, err := findSSHD()
	if err != nil {
		return 0
	}
	out, _ := exec.Command(program, "-V").CombinedOutput()
	m := regexp.MustCompile(`OpenSSH_(\d+)\.(\d+)`).FindStringSubmatch(string(out))
	if m == nil {
		return 0
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(strings.TrimSpace(m[2]))
	return 100*major + minor
}
