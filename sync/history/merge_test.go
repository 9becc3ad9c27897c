package history

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/dnadesign-maintainers/usr/verify"
)

var (
	every   = []verify.Class{verify.Primary, verify.Meta, verify.Events, verify.Snapshots, verify.Derived, verify.Auxiliary}
	classes = func() *verify.Classifier { c, _ := verify.NewClassifier(nil); return c }()
)

func exactly() (l verify.Levels) {
	for i := range l {
		l[i] = verify.Content
	}
	return l
}

// tree makes a manifest of words "path=content"; a "!" behind the content is damage: the time stamp stays.
func tree(words string) (m verify.Manifest) {
	for _, word := range strings.Fields(words) {
		path, content, _ := strings.Cut(word, "=")
		e := verify.Entry{Path: path, Kind: verify.File, Class: classes.Class(path), Size: 1, Mtime: int64(content[0]) + 1, Ctime: 1}
		if strings.HasSuffix(content, "!") {
			e.Mtime = int64('1') + 1
		}
		copy(e.Digest[:], content)
		m = append(m, e)
	}
	slices.SortFunc(m, verify.ComparePaths)
	return m
}

func whole(words string) *Base { return &Base{Classes: every, Files: tree(words), Meta: []byte("x")} }

func synced(c verify.Class) bool { return c.Synced() }

func undecided(string) (Choice, error) { return Conflict, nil }

// TestMerge: each rule of the merge by its name. A choice is l, r, inside or conflict, "" for no difference.
func TestMerge(t *testing.T) {
	const f = "_derived/f"
	for _, c := range []struct {
		name          string
		base          string // "-" is none
		logs          LogOrder
		local, remote string
		want          string
		here, there   Deed
	}{
		{"nothing", f + "=1", LogsEqual, f + "=1", f + "=1", "", "", ""},
		{"local modified", f + "=1", LogsEqual, f + "=2", f + "=1", "l", Modified, ""},
		{"remote modified", f + "=1", LogsEqual, f + "=1", f + "=2", "r", "", Modified},
		{"local added", "", LogsEqual, f + "=1", "", "l", Added, ""},
		{"remote added", "", LogsEqual, "", f + "=1", "r", "", Added},
		{"local deleted", f + "=1", LogsEqual, "", f + "=1", "l", Deleted, ""},
		{"remote deleted", f + "=1", LogsEqual, f + "=1", "", "r", "", Deleted},
		{"both modified alike", f + "=1", LogsForked, f + "=2", f + "=2", "", "", ""},
		{"both added alike", "", LogsForked, f + "=2", f + "=2", "", "", ""},
		{"both deleted", f + "=1", LogsForked, "", "", "", "", ""},
		{"both modified", f + "=1", LogsForked, f + "=2", f + "=3", "conflict", Modified, Modified},
		{"both added", "", LogsForked, f + "=2", f + "=3", "conflict", Added, Added},
		{"modified here, deleted there", f + "=1", LogsForked, f + "=2", "", "conflict", Modified, Deleted},
		{"deleted here, modified there", f + "=1", LogsForked, "", f + "=2", "conflict", Deleted, Modified},
		{"a longer log decides nothing with a base", f + "=1", LogsLocalShorter, f + "=2", f + "=3", "conflict", Modified, Modified},
		{"damaged here", f + "=1", LogsEqual, f + "=2!", f + "=1", "r", Modified, ""},
		{"damaged there", f + "=1", LogsEqual, f + "=1", f + "=2!", "l", "", Modified},
		{"damaged here, modified there", f + "=1", LogsEqual, f + "=2!", f + "=3", "r", Modified, Modified},
		{"damaged on both sides", f + "=1", LogsEqual, f + "=2!", f + "=3!", "conflict", Modified, Modified},
		{"no base, local alone", "-", LogsForked, f + "=1", "", "l", Added, ""},
		{"no base, remote alone", "-", LogsForked, "", f + "=1", "r", "", Added},
		{"no base, local alone, the remote's log is longer", "-", LogsLocalShorter, f + "=1", "", "l", Added, ""},
		{"no base, other content", "-", LogsEqual, f + "=1", f + "=2", "conflict", Modified, Modified},
		{"no base, other content, logs forked", "-", LogsForked, f + "=1", f + "=2", "conflict", Modified, Modified},
		{"no base, the remote's log is longer", "-", LogsLocalShorter, f + "=1", f + "=2", "r", "", Modified},
		{"no base, the local log is longer", "-", LogsRemoteShorter, f + "=1", f + "=2", "l", Modified, ""},
		{"meta, both modified", "meta.md=1", LogsForked, "meta.md=2", "meta.md=3", "inside", Modified, Modified},
		{"meta, modified and deleted", "meta.md=1", LogsForked, "meta.md=2", "", "conflict", Modified, Deleted},
		{"meta, no base", "-", LogsForked, "meta.md=2", "meta.md=3", "conflict", Modified, Modified},
		{"log forked", ".events.log=1", LogsForked, ".events.log=2", ".events.log=3", "inside", Modified, Modified},
		{"log forked, no base", "-", LogsForked, ".events.log=2", ".events.log=3", "inside", Modified, Modified},
		{"log, local is longer", ".events.log=1", LogsRemoteShorter, ".events.log=2", ".events.log=1", "l", Modified, ""},
		{"log, remote is longer", ".events.log=1", LogsLocalShorter, ".events.log=1", ".events.log=2", "r", "", Modified},
		{"log, none here", ".events.log=1", LogsLocalShorter, "", ".events.log=2", "r", "", Modified},
	} {
		var b *Base
		if c.base != "-" {
			b = whole("records.parquet=1 " + c.base)
		}
		rows := Merge(tree("records.parquet=1 "+c.local), tree("records.parquet=1 "+c.remote), b, c.logs, exactly(), synced)
		if err := Resolve(rows, nil, undecided); err != nil {
			t.Fatal(err)
		}
		got, here, there := "", Deed(""), Deed("")
		if len(rows) == 1 {
			got, here, there = rows[0].Choice.String(), rows[0].Here, rows[0].There
		}
		if len(rows) > 1 || got != c.want || here != c.here || there != c.there {
			t.Errorf("%s: %s (%s, %s), want %s (%s, %s)", c.name, got, here, there, c.want, c.here, c.there)
		}
	}
}

func (c Choice) String() string {
	return map[Choice]string{Conflict: "conflict", TakeLocal: "l", TakeRemote: "r", Inside: "inside"}[c]
}

// TestMergePartialBase: a class that the base does not cover is merged as without one, and what is out of scope is
// left alone.
func TestMergePartialBase(t *testing.T) {
	b := &Base{Classes: []verify.Class{verify.Primary, verify.Derived}, Files: tree("records.parquet=1 _derived/d=1")}
	inScope := func(c verify.Class) bool { return c != verify.Snapshots }
	rows := Merge(tree("records.parquet=1 _views/v=1 _snapshots/s=1"), tree("records.parquet=1 _derived/d=1"), b, LogsForked, exactly(), inScope)
	var got []string
	for _, r := range rows {
		got = append(got, r.Path+" "+r.Choice.String())
	}
	if want := []string{"_derived/d l", "_views/v l"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestResolve: a file against a directory is a conflict, which one choice for all of it decides.
func TestResolve(t *testing.T) {
	both := errors.New("both")
	choose := func(local, remote string) func(string) (Choice, error) {
		l, _ := verify.NewPatterns(strings.Fields(local))
		r, _ := verify.NewPatterns(strings.Fields(remote))
		return func(path string) (Choice, error) {
			switch mine, theirs := l.Match(path), r.Match(path); {
			case mine && theirs:
				return Conflict, both
			case mine:
				return TakeLocal, nil
			case theirs:
				return TakeRemote, nil
			}
			return Conflict, nil
		}
	}
	for _, c := range []struct {
		name                string
		base, local, remote string
		takeLocal           string
		takeRemote          string
		want                string
		err                 error
	}{
		{"a file here, a directory there", "", "v/a=1", "v/a/b=2 v/a/c=2", "", "", "v/a conflict, v/a/b conflict, v/a/c conflict", nil},
		{"a directory here, a file there", "", "v/a/b=2", "v/a=1", "", "", "v/a conflict, v/a/b conflict", nil},
		{"far above", "", "v=1", "v/a/b=2", "", "", "v conflict, v/a/b conflict", nil},
		{"a name between", "", "v/a=1", "v/a-=1 v/a/b=2", "", "", "v/a conflict, v/a- r, v/a/b conflict", nil},
		{"the file made room", "v/a=1", "v/a=1", "v/a/b=2", "", "", "v/a r, v/a/b r", nil},
		{"the file changed here, made room there", "v/a=1", "v/a=2", "v/a/b=2", "", "", "v/a conflict, v/a/b conflict", nil},
		{"local chosen", "", "v/a=1", "v/a/b=2", "v/a", "", "v/a l!, v/a/b l!", nil},
		{"remote chosen", "", "v/a=1", "v/a/b=2", "", "v", "v/a r!, v/a/b r!", nil},
		{"one each", "", "v/a=1", "v/a/b=2", "a", "b", "v/a conflict, v/a/b conflict", both},
		{"only what is below", "", "v/a=1", "v/a/b=2", "", "b", "v/a conflict, v/a/b conflict", nil},
		{"both for one path", "f=1", "f=2", "f=3", "f", "*", "", both},
		{"both for a path without conflict", "f=1", "f=2", "f=1", "f", "*", "f l", nil},
		{"folded: two names that are one", "", "v/A=1", "v/a=2", "", "", "v/A conflict, v/a conflict", nil},
		{"folded: directories", "", "v/A/x=1", "v/a/y=2 v/b=3", "", "", "v/A/x conflict, v/a/y conflict, v/b r", nil},
		{"folded: local chosen", "", "v/A=1", "v/a=2", "v/*", "", "v/A l!, v/a l!", nil},
		{"folded: one each that remains", "", "v/A=1", "v/a=2", "v/A", "v/a", "v/A conflict, v/a conflict", nil},
		{"folded: renamed there", "v/A=1", "v/A=1", "v/a=1", "", "", "v/A r, v/a r", nil},
		{"all by a star", "f=1 g=1", "f=2 g=2", "f=3 g=1", "", "*", "f r!, g l", nil},
	} {
		rows := Merge(tree(c.local), tree(c.remote), whole(c.base), LogsEqual, exactly(), synced)
		var together func([]string) [][2]string
		if strings.HasPrefix(c.name, "folded") {
			together = verify.Names{Case: true}.Together
		}
		err := Resolve(rows, together, choose(c.takeLocal, c.takeRemote))
		var got []string
		for _, r := range rows {
			word := r.Path + " " + r.Choice.String()
			if r.Decided {
				word += "!"
			}
			got = append(got, word)
		}
		if !errors.Is(err, c.err) && err != nil || err == nil && c.err == nil && strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %v (%v), want %s", c.name, got, err, c.want)
		}
	}
}

// TestMergeModel holds the merge against a model of a few lines, over random histories: what a path holds is a letter,
// "" for nothing.
func TestMergeModel(t *testing.T) {
	model := func(base, l, r string) (string, bool) {
		switch {
		case l == r, r == base:
			return l, true
		case l == base:
			return r, true
		}
		return "", false
	}
	r := rand.New(rand.NewPCG(1, 7))
	move := func(files map[string]string) map[string]string {
		out := maps.Clone(files)
		for range r.IntN(5) {
			path := fmt.Sprintf("_derived/%d", r.IntN(6))
			if out[path] = string(rune('1' + r.IntN(3))); r.IntN(3) == 0 {
				delete(out, path)
			}
		}
		return out
	}
	words := func(files map[string]string) string {
		var out []string
		for path, content := range files {
			out = append(out, path+"="+content)
		}
		return strings.Join(out, " ")
	}
	conflicts := 0
	for range 5000 {
		base := move(map[string]string{})
		l, m := move(base), move(base)
		rows := Merge(tree(words(l)), tree(words(m)), whole(words(base)), LogsForked, exactly(), synced)
		if err := Resolve(rows, nil, undecided); err != nil {
			t.Fatal(err)
		}
		got := maps.Clone(l)
		for _, row := range rows {
			want, ok := model(base[row.Path], l[row.Path], m[row.Path])
			if (row.Choice != Conflict) != ok {
				t.Fatalf("%s of %v, %v, %v: %v", row.Path, base, l, m, row.Choice)
			}
			if !ok {
				conflicts++
				continue
			}
			if delete(got, row.Path); row.Result() != nil {
				got[row.Path] = string(row.Result().Digest[:1])
			}
			if got[row.Path] != want {
				t.Fatalf("%s of %v, %v, %v: %q, want %q", row.Path, base, l, m, got[row.Path], want)
			}
		}
		for path := range base { // what has no row is the same on both sides
			if l[path] != m[path] && !slices.ContainsFunc(rows, func(r Row) bool { return r.Path == path }) {
				t.Fatalf("%s has no row", path)
			}
		}
	}
	if conflicts < 100 {
		t.Errorf("%d conflicts", conflicts)
	}
}

func TestMerged(t *testing.T) {
	for _, c := range []struct{ local, remote, head string }{
		{"", "r", ""}, {"l", "r", ""}, {"l", "r l", "l"}, {"l m", "r l m", "l m"}, {"l new", "r l later", "l"},
		{"new l", "r l", ""}, {"l m", "l r l m", "l m"},
	} {
		of := func(s string) []byte {
			if s == "" {
				return nil
			}
			return []byte(strings.ReplaceAll(s, " ", "\n") + "\n")
		}
		if got := Merged(of(c.local), of(c.remote)); got != len(of(c.head)) {
			t.Errorf("%q in %q: %d, want %q", c.local, c.remote, got, c.head)
		}
	}
}
