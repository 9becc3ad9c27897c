package shell

import (
	"crypto/rand"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

//go:embed coprocess*.sh job.sh
var scripts embed.FS

// script is what the remote shell is to be: no comments, they need not travel.
var script = StripComments(part("coprocess.sh") + part("coprocess_read.sh") + part("coprocess_change.sh") + part("coprocess_place.sh") + "serve\n")

// Functions is script without its loop, for callers that run them elsewhere.
func Functions() string { return strings.TrimSuffix(script, "serve\n") }

func part(name string) string {
	b, err := scripts.ReadFile(name)
	if err != nil {
		panic(err) // it is in the program
	}
	return string(b)
}

// bootstrap finds out how to read exactly n bytes, quickly if it can be done, and reads the script that way.
var bootstrap = fmt.Sprintf(`take() { dd bs=1 "count=$1" 2>/dev/null; }
case $(printf abcdefgh | { head -c 4 >/dev/null; head -c 4; } 2>/dev/null) in efgh) take() { head -c "$1"; };; esac
eval "$(take %d)"
`, len(script))

// StripComments takes out what need not travel.
func StripComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if trimmed := strings.TrimSpace(line); trimmed != "" && !strings.HasPrefix(trimmed, "#") {
			b.WriteString(trimmed)
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// shellCommand is the remote command line, safe for sh, csh and fish alike: the login shell is replaced by a POSIX
// shell that runs what it is to do first and reads the bootstrap, and nothing beyond it, from its standard input.
func shellCommand(first, token string, watchdog time.Duration) string {
	return fmt.Sprintf(`exec sh -c '%s%s' usr %s %d %s`, first, evaluate(len(bootstrap)), token, int((watchdog+time.Second-1)/time.Second), whoami())
}

// evaluate is the code that runs the next n bytes of standard input, and reads no more.
func evaluate(n int) string { return fmt.Sprintf(`eval "$(dd bs=1 count=%d 2>/dev/null)"`, n) }

// whoami is what the next one who finds a lock held will see among the arguments of our remote shell.
func whoami() string {
	host, _ := os.Hostname()
	name := os.Getenv("USER") + "@" + host + ":" + strconv.Itoa(os.Getpid())
	return strings.Map(func(r rune) rune {
		if r < 0x80 && strings.ContainsRune("@:._-", r) || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, name)
}

func newToken() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
