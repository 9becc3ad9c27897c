package rsync

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

func heard(code int, stderr string) *Error {
	var m messages
	m.read(strings.NewReader(stderr))
	return &Error{Code: code, Stderr: m.String(), seen: m}
}

func TestError(t *testing.T) {
	for _, c := range []struct {
		name string
		e    *Error
		says string // of transient, vanished, space, read-only, permission, missing, noise
		text string
	}{
		{"dropped", heard(12, "rsync: connection unexpectedly closed (0 bytes received so far) [Receiver]\nrsync error: error in rsync protocol data stream (code 12) at io.c(232) [Receiver=3.5.0]\n"), "transient", "unexpectedly closed"},
		{"refused", heard(255, "ssh: connect to host x port 22: Connection refused\nrsync: connection unexpectedly closed (0 bytes received so far) [Receiver]\nrsync error: unexplained error (code 255) at io.c(232)\n"), "transient",
			"cannot copy files: ssh: connect to host x port 22: Connection refused (rsync exit code 255)"},
		{"login", heard(255, "me@x: Permission denied (publickey).\n"), "permission", ""},
		{"key", heard(255, "Host key verification failed.\n"), "", ""},
		{"full", heard(11, "rsync: [receiver] write failed on \"/x/y\": No space left on device (28)\nrsync error: error in file IO (code 11) at receiver.c(381)\n"), "space", "No space left"},
		{"quota", heard(12, "rsync: write failed on \"/x\": Disk quota exceeded (122)\n"), "space", ""},
		{"ro", heard(23, "rsync: [generator] recv_generator: mkdir \"/x\" failed: Read-only file system (30)\n"), "read-only", ""},
		{"24", heard(24, "file has vanished: \"/x\"\nrsync warning: some files vanished before they could be transferred (code 24) at main.c(1)\n"), "vanished", `file has vanished: "/x"`},
		{"23 gone", heard(23, strings.Repeat("rsync: [sender] link_stat \"/x\" failed: No such file or directory (2)\n", 9)+"rsync error: some files/attrs were not transferred (see previous errors) (code 23)\n"), "vanished", ""},
		{"23 mixed", heard(23, "rsync: link_stat \"/x\" failed: No such file or directory (2)\nrsync: [sender] send_files failed to open \"/y\": Permission denied (13)\n"), "permission", ""},
		{"no rsync", heard(12, "bash: line 1: rsync: command not found\nrsync error: error in rsync protocol data stream (code 12)\n"), "missing", ""},
		{"127", heard(127, ""), "missing", "rsync exit code 127 (rsync not found)"},
		{"noise", heard(2, "protocol version mismatch -- is your shell clean?\n(see the rsync manpage for an explanation)\nrsync error: protocol incompatibility (code 2)\n"), "noise", ""},
		{"cancelled", &Error{Code: 20, err: context.Canceled}, "", "context canceled"},
		{"killed by others", heard(20, "rsync error: received SIGINT, SIGTERM, or SIGHUP (code 20) at rsync.c(716)\n"), "transient", ""},
		{"given", &Error{Code: 11, Stderr: "No space left on device"}, "space", ""},
	} {
		var says []string
		for i, f := range []func() bool{c.e.Transient, c.e.Vanished, c.e.NoSpace, c.e.ReadOnly, c.e.Permission, c.e.ToolMissing, c.e.Noise} {
			if f() {
				says = append(says, strings.Fields("transient vanished space read-only permission missing noise")[i])
			}
		}
		if got := strings.Join(says, " "); got != c.says || !strings.Contains(c.e.Error(), c.text) {
			t.Errorf("%s: %q, %v", c.name, got, c.e)
		}
	}
}

// TestMessagesAreBounded: whatever a host says, what is kept is short, printable, and its kind is not lost.
func TestMessagesAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "rsync: line %d \x1b[31m %s\n", i, strings.Repeat("x", 600))
		if i == 500 {
			b.WriteString("rsync: No space left on device (28)\n")
		}
	}
	b.WriteString(strings.Repeat("y", 1<<20))
	e := heard(11, b.String())
	if len(e.Stderr) > 4*keptBytes+100 || strings.ContainsAny(e.Stderr, "\x1b\n") || !e.NoSpace() {
		t.Errorf("%d bytes kept, no space: %v", len(e.Stderr), e.NoSpace())
	}
}
