package remote

import (
	"strconv"
	"strings"
)

// Item is one line of rsync's itemized output.
type Item struct {
	Flags string // the 11 characters of rsync's %i, or "*deleting"
	Path  string // relative, as it is on disk, without a trailing slash
	Dir   bool   // it is a directory
	Size  int64  // bytes of the file; 0 for a deletion
	Wire  int64  // bytes that moved for it
}

// Change is what an Item says in one word.
type Change int

// The kinds of change.
const (
	New        Change = iota + 1 // a file that the destination does not have
	Content                      // a file that is sent again: size or time differ
	Attributes                   // the file's bytes stay
	Deleted                      // a file or directory that the source does not have
	Directory                    // a directory, new or touched
)

func (c Change) String() string {
	return [...]string{"", "new", "content", "attributes", "deleted", "directory"}[c]
}

const (
	deleting  = "*deleting"
	flagWidth = 11 // of %i: YXcstpoguax
)

// Change classifies the item by its flags.
func (it Item) Change() Change {
	switch {
	case it.Flags == deleting:
		return Deleted
	case it.Dir:
		return Directory
	case strings.HasSuffix(it.Flags, "+++++++++"):
		return New
	case strings.HasPrefix(it.Flags, "<"), strings.HasPrefix(it.Flags, ">"):
		return Content
	}
	return Attributes
}

// moved says that the bytes of a regular file were sent.
func (it Item) moved() bool {
	return len(it.Flags) == flagWidth && (it.Flags[0] == '<' || it.Flags[0] == '>') && it.Flags[1] == 'f'
}

// outFormat is the --out-format that ParseItem reads. %b makes rsync print a line after its file, not before.
// No relative name holds "//", so that ends the name whatever its bytes are, before the ambiguous " -> target".
func outFormat(nonce string) string { return nonce + " %i|%l|%b|%M|%n//%L" }

// ParseItem reads a line that rsync (3.1.3 to 3.5.0, LC_ALL=C, --no-h) printed in the format of a Transfer or
// Preview with this nonce; false for all other lines.
func ParseItem(line, nonce string) (Item, bool) {
	it, _, ok := parseItem(line, nonce)
	return it, ok
}

// parseItem also renders the line as rsync -i would have printed it.
func parseItem(line, nonce string) (it Item, itemized string, ok bool) {
	rest, found := strings.CutPrefix(line, nonce+" ")
	fields := strings.SplitN(rest, "|", 5)
	if !found || len(fields) != 5 || !validFlags(fields[0]) {
		return Item{}, "", false
	}
	size, err1 := strconv.ParseInt(fields[1], 10, 64)
	wire, err2 := strconv.ParseInt(fields[2], 10, 64)
	name, target, found := strings.Cut(fields[4], "//")
	if err1 != nil || err2 != nil || !found || name == "" {
		return Item{}, "", false
	}
	shown := name
	if strings.HasPrefix(target, "/") { // a directory's name ends in a slash: "dir///"
		shown, target = name+"/", target[1:]
	}
	it = Item{Flags: fields[0], Path: unescapeName(name), Size: size, Wire: wire, Dir: shown != name}
	if strings.HasPrefix(it.Flags, deleting) {
		it.Flags = deleting
	}
	return it, fields[0] + " " + shown + target, true
}

func validFlags(s string) bool {
	return s == deleting+"  " ||
		len(s) == flagWidth && strings.IndexByte("<>ch.", s[0]) >= 0 && strings.IndexByte("fdLDS", s[1]) >= 0
}

// unescapeName undoes rsync's \#ooo, which stands for every byte that C-locale output may not hold; rsync writes a
// backslash that is followed by such a pattern as \#134, so this loses nothing.
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
