package rsync

import (
	"strings"
	"testing"
)

func TestParseItem(t *testing.T) {
	for _, c := range []struct {
		line, flags, path string
		dir               bool
		itemized          string
	}{
		{`N >f+++++++++|12|40|2026/11/23-14:00:00|a b//`, ">f+++++++++", "a b", false, ">f+++++++++ a b"},
		{`N <f.st......|12|40|2026/11/23-14:00:00|x/y//`, "<f.st......", "x/y", false, "<f.st...... x/y"},
		{`N .f...p.....|12|0|2026/11/23-14:00:00|x//`, ".f...p.....", "x", false, ".f...p..... x"},
		{`N cd+++++++++|4096|0|2026/11/23-14:00:00|d///`, "cd+++++++++", "d", true, "cd+++++++++ d/"},
		{`N cd..t......|4096|0|2026/11/23-14:00:00|.///`, "cd..t......", ".", true, "cd..t...... ./"},
		{`N >f+++++++++ |12|40|2026/11/23-14:00:00|a//`, ">f+++++++++ ", "a", false, ">f+++++++++  a"},
		{`N <f.st.......|12|40|2026/11/23-14:00:00|x/y//`, "<f.st.......", "x/y", false, "<f.st....... x/y"},
		{`N *deleting   |0|0|1970/01/01-00:00:00|old//`, "*deleting", "old", false, "*deleting    old"},
		{`N *deleting  |0|0|1970/01/01-00:00:00|old//`, "*deleting", "old", false, "*deleting   old"},
		{`N *deleting  |0|0|1970/01/01-00:00:00|old///`, "*deleting", "old", true, "*deleting   old/"},
		{`N cL+++++++++|3|0|2026/11/23-14:00:00|l// -> a//b`, "cL+++++++++", "l", false, "cL+++++++++ l -> a//b"},
		{`N >f+++++++++|1|1|2026/11/23-14:00:00|a -> b//`, ">f+++++++++", "a -> b", false, ">f+++++++++ a -> b"},
		{`N >f+++++++++|1|1|2026/11/23-14:00:00|a|b//`, ">f+++++++++", "a|b", false, ">f+++++++++ a|b"},
		{`N >f+++++++++|1|1|2026/11/23-14:00:00|\#377\#012\#134#012\#999\#//`, ">f+++++++++", "\xff\n\\#012\\#999\\#", false,
			`>f+++++++++ \#377\#012\#134#012\#999\#`},
	} {
		it, ok := parseItem(c.line, "N")
		if !ok || it.Flags != c.flags || it.Path != c.path || it.Dir != c.dir {
			t.Errorf("%q: %+v %v", c.line, it, ok)
		}
		if itemized := itemized(c.line, "N"); c.itemized != "" && itemized != c.itemized {
			t.Errorf("%q: rendered %q", c.line, itemized)
		}
	}
}

func TestParseItemRefuses(t *testing.T) {
	for _, line := range []string{"", "N", "N ", "created directory x", "N >f+++++++++|1|1|d|name", "N >f+++++++++|1|1|d|//",
		"N >f+++++++++|x|1|d|a//", "N >f+++++++++|1,000|1|d|a//", "N >f++++++|1|1|d|a//", "N Xf+++++++++|1|1|d|a//",
		"M >f+++++++++|1|1|d|a//", " N >f+++++++++|1|1|d|a//", "skipping non-regular file \"N >f+++++++++|1|1|d|a//\""} {
		if it, ok := parseItem(line, "N"); ok {
			t.Errorf("%q gave %+v", line, it)
		}
	}
}

// hostileNames are file names that some layer between two file systems may get wrong.
var hostileNames = []string{"plain", "a b", " lead", "trail ", "-dash", "--delete", "#hash", ";semi", "!bang", "+ plus", "- minus", "'", `"`, `'"'"`,
	"new\nline", "\n", "cr\rlf", "tab\tx", "bell\a", "esc\x1b[31m", "del\x7f", "caf\u00e9", "bad\xff\xfe", "\x80", "*", "?", "[a]", "[", "]", "a*b?c[d]",
	`back\slash`, `\`, `\\`, `\*`, `\[x]\?`, `\#012`, `\#`, `\#134`, `\#134#012`, `a\#999`, "a -> b", "a => b", "x|y|z//"[:5], "host:path", ":", "$HOME", "`id`", "$(id)", "{a,b}",
	"~", "~root", "...", "..x", ".x", "%i", "%", "N >f+++++++++", "100%  1B/s", strings.Repeat("n", 255), strings.Repeat("\n", 255), strings.Repeat("\xff", 255)}

// rsyncName writes a name as rsync does under LC_ALL=C (log.c: filtered_fwrite).
func rsyncName(name string) string {
	var b strings.Builder
	digit := func(i int) bool { return i < len(name) && name[i] >= '0' && name[i] <= '9' }
	for i := 0; i < len(name); i++ {
		c := name[i]
		literal := c == '\\' && strings.HasPrefix(name[i:], `\#`) && digit(i+2) && digit(i+3) && digit(i+4)
		if literal || c < ' ' && c != '\t' || c >= 0x7f {
			b.WriteString(`\#` + string([]byte{'0' + c>>6, '0' + c>>3&7, '0' + c&7}))
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

func FuzzParseItem(f *testing.F) {
	for _, name := range hostileNames {
		f.Add(name)
	}
	f.Add("N >f+++++++++|1|1|d|name//")
	f.Fuzz(func(t *testing.T, name string) {
		parseItem(name, "N") // must not panic
		if name == "" || strings.ContainsAny(name, "/\x00") {
			return
		}
		line := "N >f+++++++++|1|2|2026/11/23-14:00:00|" + rsyncName(name) + "//"
		if it, ok := parseItem(line, "N"); !ok || it.Path != name || it.Size != 1 || it.Wire != 2 {
			t.Errorf("%q came back as %+v", name, it)
		}
	})
}

func BenchmarkParseItem(b *testing.B) {
	line := `NONCE >f+++++++++|123456|123500|2026/11/23-14:00:00|_derived/part-00012-caf\#303\#251.parquet//`
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := parseItem(line, "NONCE"); !ok {
			b.Fatal("not read")
		}
	}
}
