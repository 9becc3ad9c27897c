package remotetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestQuestion(t *testing.T) {
	if os.Geteuid() != 0 {
		if _, err := Start(t.TempDir(), Options{Question: &Question{}}); err == nil {
			t.Error("an ordinary user got a server that asks")
		}
		return
	}
	s := server(t, Options{Question: &Question{Text: "Duo two-factor login", Answer: "push it's me"}})
	if out, err := answering(t, s, "wrong").CombinedOutput(); err == nil {
		t.Errorf("a wrong answer was let in: %s", out)
	}
	if s.Authentications() != 0 {
		t.Errorf("%d authentications\n%s", s.Authentications(), s.Log())
	}
	if out, err := answering(t, s, "push it's me").CombinedOutput(); err != nil {
		t.Errorf("%v: %s\n%s", err, out, s.Log())
	}
	if s.Authentications() != 1 {
		t.Errorf("%d authentications\n%s", s.Authentications(), s.Log())
	}
	if ssh(s, Alias, "true").Run() == nil {
		t.Error("let in without an answer")
	}
	s.Stop()
	if left, _ := filepath.Glob("/etc/pam.d/" + s.serviceName()); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// answering is an ssh that answers every prompt.
func answering(t *testing.T, s *Server, answer string) *exec.Cmd {
	t.Helper()
	ask := shim(t, "ask", "printf '%s\\n' "+shellQuote(answer))
	cmd := exec.Command("ssh", "-F", s.ConfigFile(), "-o", "NumberOfPasswordPrompts=1", Alias, "true")
	cmd.Env = append(os.Environ(), "SSH_ASKPASS="+ask, "SSH_ASKPASS_REQUIRE=force", "DISPLAY=:0")
	return cmd
}
