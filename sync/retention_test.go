package sync

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/sync/history"
	"github.com/dnadesign-maintainers/usr/verify"
)

// TestUniqueFiles is the table of what only a generation has. A letter is a content; "?" one that is not known, "" no file.
func TestUniqueFiles(t *testing.T) {
	classes, _ := verify.NewClassifier(nil)
	entry := func(path, text string) verify.Manifest {
		if text == "" {
			return nil
		}
		e := verify.Entry{Path: path, Kind: verify.File, Class: classes.Class(path), Size: 1, Mtime: int64(text[0])}
		if text != "?" {
			e.Digest[0] = text[0]
		}
		return verify.Manifest{e}
	}
	for _, c := range []struct {
		path, base, old, next string
		unique                bool
	}{
		{"meta.md", "a", "a", "a", false},
		{"meta.md", "a", "a", "b", false}, // the other side had it
		{"meta.md", "a", "b", "c", true},  // forced
		{"meta.md", "a", "b", "b", false},
		{"meta.md", "", "b", "c", true},
		{"meta.md", "a", "?", "c", true},
		{"meta.md", "?", "?", "c", false}, // size and time speak
		{"meta.md", "", "", "c", false},
		{"_derived/p", "a", "a", "", true}, // deleted
		{"_derived/p", "", "a", "", true},
		{"_snapshots/s", "a", "a", "", false}, // pruned
		{"_snapshots/s", "", "a", "", true},
		{"_snapshots/s", "a", "b", "", true},
		{".events.log", "a", "b", "c", true},
	} {
		p := &plan{dst: &snapshot{files: entry(c.path, c.old)}, base: &history.Base{Classes: synced, Files: entry(c.path, c.base)}}
		if got := uniqueFiles(p, entry(c.path, c.next)); len(got) == 1 != c.unique {
			t.Errorf("%+v: %q", c, got)
		}
	}
	p := &plan{direction: Pull, dst: &snapshot{files: entry(eventsPath, "b")}, history: history.Standing{Remote: []string{eventsPath}}}
	if got := uniqueFiles(p, entry(eventsPath, "c")); got != nil {
		t.Errorf("a log that goes on in the new one: %q", got)
	}
}

// TestFates is the table of what becomes of generations, newest first: w whole, t thinned; the number is that of unique
// files, - that of an earlier version; o is old.
func TestFates(t *testing.T) {
	now := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		kept string
		keep int
		want string
	}{
		{"w0 w0 w0", 1, "s g g"},
		{"w0 w2 w0", 1, "s t g"},
		{"w2 t1 w0", 1, "s s g"},
		{"w2 w0", 0, "t g"},
		{"w2o w2o t1o w-o", 1, "s g g g"},
		{"w0 w- w-o", 1, "s s g"},
		{"w0 w0 w0", 2, "s s g"},
	} {
		var kept []remote.Generation
		for _, word := range strings.Fields(c.kept) {
			run := "20260130T000000.000000Z-abcdef"
			if strings.HasSuffix(word, "o") {
				run = "20251201T000000.000000Z-abcdef"
			}
			g := remote.Generation{Run: run, Whole: word[0] == 'w', Unique: int(word[1] - '0')}
			if word[1] == '-' {
				g.Unique = -1
			}
			kept = append(kept, g)
		}
		var got []string
		for _, f := range fates(kept, c.keep, func(generationInfo) time.Duration { return 30 * 24 * time.Hour }, now) {
			got = append(got, map[fate]string{stays: "s", thins: "t", goes: "g"}[f])
		}
		if is := strings.Join(got, " "); is != c.want {
			t.Errorf("%s, keep %d: %s, want %s", c.kept, c.keep, is, c.want)
		}
	}
}

// TestChain is the table of what it takes to go back to an older generation. Each word is a generation, newest first: the tree
// that it puts back, the one that replaced it, and p where it is a part, t where it was thinned.
func TestChain(t *testing.T) {
	for _, c := range []struct{ kept, to, want string }{
		{"34p 23p 12p", "1", "3 2 1"},
		{"34p 23p 12p", "2", "3 2"},
		{"34p 23 12p", "1", "2 1"},
		{"34p 23p 12", "1", "1"},
		{"34p 23t 12p", "1", "none"},
		{"34p 23pt 12p", "1", "none"},
		{"34p 12p", "1", "none"},
		{"34p 23p 12t", "1", "none"},
		{"42p 12p", "1", "1"},        // the one between was undone
		{"14p 34p 23p", "2", "3 2"},  // undone and done again
		{"?4p 3?p 23p", "2", "none"}, // a tree that was not read
		{"34p 23p 12p", "5", "none"},
	} {
		var kept []remote.Generation
		for _, w := range strings.Fields(c.kept) {
			print := func(b byte) string { return strings.Trim(string(b), "?") }
			info, _ := json.Marshal(generationInfo{Before: print(w[0]), After: print(w[1]), Partial: strings.Contains(w, "p"), Time: time.Unix(1, 0)})
			kept = append(kept, remote.Generation{Run: w[:1], Info: string(info), Whole: !strings.HasSuffix(w, "t")})
		}
		var runs []string
		for _, g := range chainTo(kept, c.to) {
			runs = append(runs, g.Run)
		}
		if is := cmp.Or(strings.Join(runs, " "), "none"); is != c.want {
			t.Errorf("%s to %s: %s, want %s", c.kept, c.to, is, c.want)
		}
	}
}

// TestComposed: each part puts back what its switch replaced or deleted, and takes away what it added.
func TestComposed(t *testing.T) {
	files := func(words string) (m verify.Manifest) {
		for _, w := range strings.Fields(words) {
			m = append(m, verify.Entry{Path: w[:1], Size: int64(w[1] - '0')})
		}
		return m
	}
	live := &snapshot{files: files("a1 b3 d1 e1")}
	old := &snapshot{survey: &remote.Survey{}, parts: []*keptPart{
		{tree: "/new", files: files("b2 c1"), added: map[string]bool{"d": true}},
		{tree: "/old", files: files("b1"), added: map[string]bool{"c": true}},
	}}
	got := old.composed(live)
	if want := files("a1 b1 e1"); !slices.EqualFunc(got.files, want, func(a, b verify.Entry) bool { return a.Path == b.Path && a.Size == b.Size }) {
		t.Errorf("%+v", got.files)
	}
	if tree := got.treeOf("b"); tree != "/old" {
		t.Error(tree)
	}
}
