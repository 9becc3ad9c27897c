package rsync

import (
	"io"
	"slices"
	"strconv"
	"strings"
)

// messages summarizes a stderr of any length: counts, which texts occurred, and a few lines.
type messages struct {
	vanished, other int // lines about files that are gone, and about anything else that went wrong
	failed          int // those of other in which rsync itself failed at something, not the connection
	has             map[string]bool
	causes, effects []string // of each the first and the latest few
}

// tellingTexts are what the methods of Error look for, in lower case.
var tellingTexts = []string{"no space left on device", "disk quota exceeded", "disc quota exceeded", "read-only file system",
	"permission denied", "operation not permitted", "is your shell clean", "host key",
	unverifiedText, sessionText, tooLargeText}

const (
	unverifiedText = "failed verification -- update"
	sessionText    = "session open refused by peer"
	tooLargeText   = "file too large (27)"
)

// missingTexts are the shells' messages for a missing rsync, the last two for a path: sh, bash and zsh.
var missingTexts = []string{"command not found", "unknown command", "rsync: not found", "rsync: no such file or directory", "no such file or directory: /"}

func (m *messages) read(r io.Reader) { eachOutputLine(r, m.add) }

func (m *messages) add(line string) {
	lower := strings.ToLower(line)
	for _, text := range slices.Concat(tellingTexts, missingTexts) {
		if strings.Contains(lower, text) {
			if m.has == nil {
				m.has = map[string]bool{}
			}
			m.has[text] = true
		}
	}
	switch {
	case isEffect(line):
		m.effects = keepLine(m.effects, line)
		return
	case isVanished(line):
		m.vanished++
	default:
		m.other++
		if strings.HasPrefix(line, "rsync: ") && strings.Contains(line, `" failed: `) || strings.HasPrefix(line, "ERROR: ") {
			m.failed++
		}
	}
	m.causes = keepLine(m.causes, line)
}

// isEffect recognizes rsync's summary, and what one end prints because the other one ended.
func isEffect(line string) bool {
	for _, s := range []string{"connection unexpectedly closed", "Broken pipe", "Connection reset by peer", "Killed by signal", "Shared connection to"} {
		if strings.Contains(line, s) {
			return true
		}
	}
	return strings.HasPrefix(line, "rsync error: ") || strings.HasPrefix(line, "rsync warning: ")
}

func isVanished(line string) bool {
	return strings.HasPrefix(line, "file has vanished: ") ||
		strings.HasPrefix(line, "rsync: ") && strings.Contains(line, "link_stat ") && strings.HasSuffix(line, "No such file or directory (2)")
}

const keptLines, keptBytes = 4, 500

// keepLine keeps the first two lines and the latest two.
func keepLine(lines []string, line string) []string {
	line = escapeLine(line[:min(len(line), keptBytes)])
	for _, l := range lines {
		if l == line {
			return lines
		}
	}
	if len(lines) < keptLines {
		return append(lines, line)
	}
	return append(append(lines[:2:2], lines[3]), line)
}

// String returns the causes, or if there are none the effects.
func (m *messages) String() string {
	if len(m.causes) > 0 {
		return strings.Join(m.causes, "; ")
	}
	return strings.Join(m.effects, "; ")
}

// escapeLine shows the control characters and invalid bytes of one line, and nothing else, in Go's notation.
func escapeLine(s string) string {
	q := strconv.Quote(s)
	q = q[1 : len(q)-1]
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(q)
}
