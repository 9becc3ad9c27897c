package history

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestMergeText(t *testing.T) {
	for _, c := range []struct{ name, base, local, remote, want string }{
		{"nothing", "a b", "a b", "a b", "a b"},
		{"one side", "a b c", "a B c", "a b c", "a B c"},
		{"the other side", "a b c", "a b c", "a B c", "a B c"},
		{"far apart", "a b c", "A b c", "a b C", "A b C"},
		{"adjacent", "a b c", "A b c", "a B c", "conflict"},
		{"the same line", "a b c", "a X c", "a Y c", "conflict"},
		{"the same change", "a b c", "a X c", "a X c", "a X c"},
		{"deleted and kept", "a b c", "a c", "a b c", "a c"},
		{"deleted and changed", "a b c", "a c", "a X c", "conflict"},
		{"both append", "a b", "a b l", "a b r", "a b r l"},
		{"both append several", "a", "a l m", "a r s", "a r s l m"},
		{"both append, one changes above", "a b c", "A b c l", "a b c r", "A b c r l"},
		{"both append, one changes the last line", "a b", "a B l", "a b r", "conflict"},
		{"both insert at the beginning", "a", "l a", "r a", "conflict"},
		{"from nothing", "", "l", "r", "r l"},
		{"appended and merged before", "a", "a l", "a r l", "a r l"},
		{"emptied and unchanged", "a b", "", "a b", ""},
	} {
		of := func(s string) []byte { return []byte(strings.ReplaceAll(s, " ", "\n")) }
		got, ok := MergeText(of(c.base), of(c.local), of(c.remote))
		text := strings.Join(strings.Fields(string(got)), " ")
		if !ok {
			text = "conflict"
		}
		if text != c.want {
			t.Errorf("%s: %q, want %q", c.name, text, c.want)
		}
	}
}

// TestMergeTextLikeDiff3 holds the merge against diff3 -m -E (which takes the same change on both sides), but for what both append.
func TestMergeTextLikeDiff3(t *testing.T) {
	dir, r := t.TempDir(), rand.New(rand.NewPCG(17, 3))
	write := func(name string, words []string) string {
		file := filepath.Join(dir, name)
		text := strings.Join(append(words, "end"), "\n") + "\n"
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	edit := func(words []string) (out []string) {
		for _, w := range words {
			switch r.IntN(8) {
			case 0:
			case 1:
				out = append(out, w, string(rune('A'+r.IntN(26))))
			case 2:
				out = append(out, string(rune('A'+r.IntN(26))))
			default:
				out = append(out, w)
			}
		}
		return out
	}
	conflicts := 0
	for range 300 {
		var base []string // unique lines, so that there is one way to match them
		for i := range r.IntN(12) {
			base = append(base, strings.Repeat("x", i+1))
		}
		l, m := edit(base), edit(base)
		bf, lf, rf := write("base", base), write("local", l), write("remote", m)
		want, err := exec.Command("diff3", "-m", "-E", lf, bf, rf).Output()
		read := func(f string) []byte { b, _ := os.ReadFile(f); return b }
		got, ok := MergeText(read(bf), read(lf), read(rf))
		if ok != (err == nil) || ok && string(got) != string(want) {
			t.Fatalf("base %q local %q remote %q: %q %v, diff3 %q %v", base, l, m, got, ok, want, err)
		}
		if !ok {
			conflicts++
		}
	}
	if conflicts == 0 || conflicts == 300 {
		t.Errorf("%d of 300 conflict", conflicts)
	}
}
