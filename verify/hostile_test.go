package verify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// hostileNames are file names that break programs which trust the output format of some tool.
var hostileNames = []string{
	"line\nbreak", "bad\xff\xfeutf8", strings.Repeat("n", 255), "a -> b", `\#012`, "-rf", " ", "  two  ", `back\slash`,
	`"quoted"`, "'", "tab\tcr\r", "\x1b[31mred", "\u2028", "\ufffd", "…", "$(touch x)", "*?[x]{a,b}", "end 3 -", "\x7f", "a:b",
}

func write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
