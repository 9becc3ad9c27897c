package remote

import (
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCommandLineIsPasteable(t *testing.T) {
	argv := []string{"printf", "%s\\0", "", "a b", "it's", "$HOME", "~", "#x", "a=b", "*", "new\nline", "esc\x1b[31m'\\", "bad\xff", "caf\u00e9", "!x"}
	line := CommandLine(argv)
	if strings.ContainsAny(line, "\n\x1b") || !utf8.ValidString(line) {
		t.Errorf("control characters in %q", line)
	}
	out, err := exec.Command("bash", "-c", line).Output()
	if want := strings.Join(argv[2:], "\x00") + "\x00"; err != nil || string(out) != want {
		t.Errorf("%s\ngave %q, not %q (%v)", line, out, want, err)
	}
}
