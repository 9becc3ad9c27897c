package main

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// hostileNames try to write to the terminal, to end a line or a string, or to be read as something else.
var hostileNames = []string{
	"a\nb", "a\r", "\x1b[31mred", "\x1b]0;title\x07", "\x9b31m", "c1\u009b31m", "\xff", "\u202egnp", "\x7f", "\u2028", "tab\t",
	`quote"d`, `back\slash`, `\#012`, "arrow -> x", "-n", "$(id)", "`id`", "'", " lead", "trail ", "\u00a0", "a\u0000b"[:1] + "\x01",
}

// clean: nothing that a terminal would obey, and no byte that is not text.
func clean(t *testing.T, what, text string) {
	t.Helper()
	i := strings.IndexFunc(text, func(r rune) bool {
		return r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp))
	})
	if !utf8.ValidString(text) {
		t.Errorf("%s: not UTF-8", what)
	}
	if i >= 0 {
		t.Errorf("%s: %q", what, text[max(0, i-20):min(i+20, len(text))])
	}
}

// TestHostileNames goes through everything that names files, in all formats.
func TestHostileNames(t *testing.T) {
	for _, format := range []string{"plain", "rich", "json"} {
		t.Run(format, func(t *testing.T) {
			b := newBench(t)
			b.dataset("cluster", "densegen/x")
			put := func(root, text string) {
				for _, name := range hostileNames {
					b.write(filepath.Join(root, "densegen/x", name), text)
					b.write(filepath.Join(root, "densegen/x/_derived", name, name), text)
				}
			}
			put("cluster", "1")
			step := func(code int, args ...string) string {
				t.Helper()
				stdout, stderr := b.run(code, append([]string{"--format", format, "-v", "--print-commands"}, args...)...)
				clean(t, strings.Join(args, " "), stdout)
				clean(t, strings.Join(args, " "), stderr)
				if format == "json" && !json.Valid([]byte(stdout)) {
					t.Errorf("%q: not JSON:\n%s", args, stdout)
				}
				return stdout
			}
			step(0, "diff", "densegen/x", "cluster", "--itemize")
			step(0, "pull", "densegen/x", "cluster", "-y")
			put("local", "2")
			put("cluster", "3")
			step(0, "diff", "densegen/x", "cluster", "--itemize")
			step(6, "pull", "densegen/x", "cluster", "-y")
			step(1, "verify", "densegen/x", "cluster")
			b.terminal, b.stdin = true, "n\n"
			step(8, "push", "densegen/x", "cluster", "--force", "--color", "never")
			b.terminal = false
			step(0, "push", "densegen/x", "cluster", "--force", "-y")
			step(0, "undo", "densegen/x", "cluster")
			step(0, "log")
			must(t, os.Symlink("x", b.path("cluster/densegen/x/\x1b[5mlink\n")))
			step(6, "pull", "densegen/x", "cluster", "-y")
			b.write("cluster/densegen/x/.events.log", "\x1b[2J no \xff event\n")
			step(0, "datasets", "cluster")
			step(2, "diff", "dense\x1b[2Jgen", "cluster")
			step(2, "diff", "densegen/x", "clus\x1b[2Jter\xff")
			step(2, "diff", "x.parquet", "cluster", "--remote-path", "/a\x1b[2J\n")
			step(2, "--\x1b[2J", "x")
		})
	}
}

// TestNamesInJSON: every name can be had back from the audit, byte for byte.
func TestNamesInJSON(t *testing.T) {
	b := newBench(t)
	b.dataset("cluster", "densegen/x")
	b.dataset("local", "densegen/x")
	want := map[string]bool{}
	for _, name := range hostileNames {
		b.write(filepath.Join("cluster/densegen/x", name), "x")
		want[name] = true
	}
	stdout, _ := b.run(0, "diff", "densegen/x", "cluster", "--format", "json")
	var got struct {
		Data struct {
			Changes []struct {
				Path  string `json:"path"`
				Bytes string `json:"path_b64"`
			} `json:"changes"`
		} `json:"data"`
	}
	must(t, json.Unmarshal([]byte(stdout), &got))
	for _, c := range got.Data.Changes {
		name := c.Path
		if c.Bytes != "" {
			raw, err := base64.StdEncoding.DecodeString(c.Bytes)
			must(t, err)
			name = string(raw)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("not in the audit: %q", slices.Collect(maps.Keys(want)))
	}
}
