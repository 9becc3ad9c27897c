package rsync

import (
	"strconv"
	"strings"
)

// Item is one line of rsync's itemized output.
type Item struct {
	Flags string // the 11 characters of rsync's %i, which Homebrew's and MacPorts' have more of, or "*deleting"
	Path  string // relative, as it is on disk, without a trailing slash
	Dir   bool   // it is a directory
	Size  int64  // bytes of the file; 0 for a deletion
	Wire  int64  // bytes that moved for it
}

const (
	deleting  = "*deleting"
	flagWidth = 11 // of %i at least: YXcstpoguax
)

// moved reports whether the bytes of a regular file were sent.
func (it Item) moved() bool {
	return len(it.Flags) >= flagWidth && (it.Flags[0] == '<' || it.Flags[0] == '>') && it.Flags[1] == 'f'
}

// outFormat is the --out-format that parseItem reads. %b makes rsync print a line after its file, not before.
// No relative name holds "//", so that ends the name whatever its bytes are, before the ambiguous " -> target".
func outFormat(nonce string) string { return nonce + " %i|%l|%b|%M|%n//%L" }

// parseItem reads a line that rsync (3.1.3 to 3.5.0, LC_ALL=C, --no-h) printed in the format of a Transfer or
// Preview with this nonce; false for all other lines.
func parseItem(line, nonce string) (it Item, ok bool) {
	l, ok := cutItem(line, nonce)
	if !ok || !validFlags(l.flags) || l.name == "" {
		return Item{}, false
	}
	it = Item{Flags: l.flags, Path: unescapeName(l.name), Dir: l.dir}
	var err1, err2 error
	it.Size, err1 = strconv.ParseInt(l.size, 10, 64)
	it.Wire, err2 = strconv.ParseInt(l.wire, 10, 64)
	if err1 != nil || err2 != nil {
		return Item{}, false
	}
	if strings.HasPrefix(it.Flags, deleting) {
		it.Flags = deleting
	}
	return it, true
}

// itemLine is a line of ours, split as outFormat says.
type itemLine struct {
	flags, size, wire, name, target string
	dir                             bool
}

func cutItem(line, nonce string) (l itemLine, ok bool) {
	rest, ok := strings.CutPrefix(line, nonce)
	if !ok || rest == "" || rest[0] != ' ' {
		return l, false
	}
	rest = rest[1:]
	for _, field := range []*string{&l.flags, &l.size, &l.wire, new(string)} { // the fourth is %M
		if *field, rest, ok = strings.Cut(rest, "|"); !ok {
			return l, false
		}
	}
	l.name, l.target, ok = strings.Cut(rest, "//")
	if strings.HasPrefix(l.target, "/") { // a directory's name ends in a slash: "dir///"
		l.dir, l.target = true, l.target[1:]
	}
	return l, ok
}

// itemized renders a parsed line as rsync -i would have printed it.
func itemized(line, nonce string) string {
	l, _ := cutItem(line, nonce)
	if l.dir {
		l.name += "/"
	}
	return l.flags + " " + l.name + l.target
}

func validFlags(s string) bool {
	return strings.TrimRight(s, " ") == deleting ||
		len(s) >= flagWidth && strings.IndexByte("<>ch.", s[0]) >= 0 && strings.IndexByte("fdLDS", s[1]) >= 0
}

// unescapeName undoes rsync's \#ooo for bytes that output in the C locale cannot hold. It loses nothing: rsync writes a
// backslash before such a pattern as \#134.
func unescapeName(s string) string {
	if !strings.Contains(s, `\#`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c, ok := octal(s[i:]); ok {
			b.WriteByte(c)
			i += 4
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(s string) (byte, bool) {
	if len(s) < 5 || s[:2] != `\#` {
		return 0, false
	}
	n, err := strconv.ParseUint(s[2:5], 8, 8)
	return byte(n), err == nil
}
