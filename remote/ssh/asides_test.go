package ssh

import (
	"strings"
	"testing"
)

// TestAsidesAreNotOurs: what a host says while ssh asks cannot look like a line of this program.
func TestAsidesAreNotOurs(t *testing.T) {
	var shown strings.Builder
	a := &asides{w: &shown}
	a.add([]byte("Welcome\r\nusr: error: all is lost\n\x1b[1Ausr: hint: call me\n"))
	for line := range strings.Lines(shown.String()) {
		if !strings.HasPrefix(line, "| ") || strings.ContainsRune(line, 0x1b) {
			t.Errorf("shown: %q", line)
		}
	}
}
