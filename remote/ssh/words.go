package ssh

import (
	"strings"

	"github.com/dnadesign-maintainers/usr/remote"
)

// sshWords maps ssh's messages to reasons. The order matters: after a changed host key comes a line about permission, and
// after most others a closed connection.
var sshWords = []struct {
	words  string
	reason remote.Reason
}{
	{"Bad configuration option", remote.Config},
	{"terminating, ", remote.Config},
	{"Can't open user config file", remote.Config},
	{"Could not resolve hostname", remote.UnknownHost},
	{"REMOTE HOST IDENTIFICATION HAS CHANGED", remote.HostKey},
	{"host key is known for", remote.NewHost},
	{"Host key verification failed", remote.NewHost}, // a changed one is announced before
	{"Connection refused", remote.Refused},
	{"No route to host", remote.Unreachable},
	{"Network is unreachable", remote.Unreachable},
	{"timed out", remote.Timeout},
	{"Permission denied (", remote.Auth},
	{"Too many authentication failures", remote.Auth},
	{"Authentication failed", remote.Auth},
	{"Session open refused by peer", remote.Sessions},
	{"administratively prohibited", remote.Sessions},
	{"not responding", remote.Lost},
	{"Connection closed", remote.Lost},
	{"Connection reset", remote.Lost},
	{"closed by remote host", remote.Lost},
	{"Broken pipe", remote.Lost},
}

// classify finds the reason in what ssh wrote on stderr, and the line that states it.
func classify(stderr string, otherwise remote.Reason) (remote.Reason, string) {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	for _, known := range sshWords {
		for _, line := range lines {
			if strings.Contains(line, known.words) {
				return known.reason, remote.Escape(strings.Trim(line, " @\t\r"))
			}
		}
	}
	return otherwise, remote.Escape(strings.TrimSpace(lines[len(lines)-1]))
}
