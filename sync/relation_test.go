package sync

import (
	"slices"
	"strings"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/sync/history"
	"github.com/dnadesign-maintainers/usr/sync/local"
	"github.com/dnadesign-maintainers/usr/verify"
)

// treeOf makes a side of words "path=content".
func treeOf(t *testing.T, words string) *snapshot {
	t.Helper()
	classes, err := verify.NewClassifier(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &snapshot{side: local.New("there", "/there", nil), survey: &remote.Survey{}}
	for _, word := range strings.Fields(words) {
		path, content, _ := strings.Cut(word, "=")
		e := verify.Entry{Path: path, Class: classes.Class(path), Size: int64(len(content))}
		e.Digest = digestOf(content)
		s.files = append(s.files, e)
	}
	sorted(s.files)
	return s
}

func digestOf(content string) (d verify.Digest) {
	copy(d[:], content+"digest")
	return d
}

// TestRelateWithoutBase is the contract's "Without a base", word by word.
func TestRelateWithoutBase(t *testing.T) {
	const (
		d = "_derived/mine"
		s = "_snapshots/a"
	)
	m := Modes{Primary: ByHash, Sidecars: true, ContentHashes: true}
	whole := &history.Base{Classes: synced, Files: treeOf(t, "records.parquet=1 "+d+"=1 "+s+"=1").files}
	some := &history.Base{Classes: []verify.Class{verify.Primary, verify.Snapshots}, Files: treeOf(t, "records.parquet=1 "+s+"=1").files}
	for _, c := range []struct {
		name          string
		base          *history.Base
		logs          history.LogOrder
		local, remote string
		want          Relation
		pull, push    bool // are allowed
	}{
		{"equal", nil, history.LogsEqual, d + "=1", d + "=1", InSync, true, true},
		{"only the remote has it", nil, history.LogsEqual, "", d + "=1", Unrelated, true, false},
		{"only local has it", nil, history.LogsEqual, d + "=1", "", Unrelated, false, true},
		{"each has one", nil, history.LogsEqual, d + "=1", s + "=1", Unrelated, false, false},
		{"other content", nil, history.LogsEqual, d + "=1", d + "=2", Unrelated, true, true},
		{"other content, the remote's log is longer", nil, history.LogsLocalShorter, d + "=1", d + "=2", LocalBehind, true, false},
		{"other content, the local log is longer", nil, history.LogsRemoteShorter, d + "=1", d + "=2", LocalAhead, false, true},
		{"other content, logs forked", nil, history.LogsForked, d + "=1", d + "=2", Diverged, false, false},
		{"local's own, the remote's log is longer", nil, history.LogsLocalShorter, d + "=1", "", Diverged, false, false},
		{"the remote's own, the local log is longer", nil, history.LogsRemoteShorter, "", d + "=1", Diverged, false, false},
		{"the remote's own and its log is longer", nil, history.LogsLocalShorter, "", d + "=1", LocalBehind, true, false},
		{"the base had it", whole, history.LogsEqual, d + "=1 " + s + "=1", s + "=1", LocalBehind, true, false},
		{"the base had it, the remote's log is longer", whole, history.LogsLocalShorter, d + "=1 " + s + "=1", s + "=1", LocalBehind, true, false},
		{"its class is not covered", some, history.LogsLocalShorter, d + "=1 " + s + "=1", s + "=1", Diverged, false, false},
		{"its class is not covered, logs equal", some, history.LogsEqual, d + "=1 " + s + "=1", s + "=1", Unrelated, false, true},
		{"another class is", some, history.LogsLocalShorter, s + "=1", "", LocalBehind, true, false},
	} {
		log := map[history.LogOrder][2]string{history.LogsEqual: {"ab", "ab"}, history.LogsLocalShorter: {"a", "ab"}, history.LogsRemoteShorter: {"ab", "a"}, history.LogsForked: {"ab", "ac"}}[c.logs]
		v := view{local: treeOf(t, "records.parquet=1 .events.log="+log[0]+" "+c.local), remote: treeOf(t, "records.parquet=1 .events.log="+log[1]+" "+c.remote)}
		h := history.Relate(v.local.files, v.remote.files, c.base, c.logs, m.levels(), m.inScope, method{}.light)
		v.how.modes = m
		pull, push := planCopy(v, Pull, h).allowed(), planCopy(v, Push, h).allowed()
		if h.Relation != c.want || (pull == nil) != c.pull || (push == nil) != c.push {
			t.Errorf("%s: %s, want %s; pull: %v, push: %v", c.name, h.Relation, c.want, pull, push)
		}
	}
}

// TestRelateStub: a directory without a primary is no dataset, and what it holds is nobody's to delete.
func TestRelateStub(t *testing.T) {
	m := Modes{Primary: ByHash, Sidecars: true, ContentHashes: true}
	v := view{local: treeOf(t, "_derived/mine=1 meta.md=1"), remote: treeOf(t, "records.parquet=1 meta.md=2")}
	for b, want := range map[*history.Base]bool{nil: false, {Classes: synced, Files: v.local.files}: true} {
		h := history.Relate(v.local.files, v.remote.files, b, history.LogsEqual, m.levels(), m.inScope, method{}.light)
		v.how.modes = m
		if err := planCopy(v, Pull, h).allowed(); h.Relation != RemoteOnly || (err == nil) != want {
			t.Errorf("base %v: %s, %v", b, h.Relation, err)
		}
	}
}

// TestBounds: a class of ten files is not emptied unasked, and a limit of deletions holds.
func TestBounds(t *testing.T) {
	files := func(class string, n int) string {
		var words []string
		for i := range n {
			words = append(words, class+"/"+strings.Repeat("x", i+1)+"=1")
		}
		return strings.Join(words, " ")
	}
	limit := func(s string) (l DeleteLimit) {
		if err := l.UnmarshalText([]byte(s)); err != nil {
			t.Fatal(err)
		}
		return l
	}
	for _, c := range []struct {
		name     string
		src, dst string
		modes    Modes
		emptied  []verify.Class
		refused  bool
	}{
		{"nine", "", files("_derived", 9), Modes{}, nil, false},
		{"ten", "", files("_derived", 10), Modes{}, []verify.Class{verify.Derived}, true},
		{"one of ten is left", files("_derived", 1), files("_derived", 10), Modes{}, nil, false},
		{"all others", files("_derived/y", 1), files("_derived", 10), Modes{}, nil, false},
		{"two classes", "", files("_derived", 10) + " " + files("_snapshots", 11), Modes{}, []verify.Class{verify.Snapshots, verify.Derived}, true},
		{"out of scope", "", files("_snapshots", 10), Modes{SkipSnapshots: true}, nil, false},
		{"forced", "", files("_derived", 10), Modes{Force: true}, nil, false},
		{"at the limit", files("_derived", 2), files("_derived", 5), Modes{MaxDelete: limit("3")}, nil, false},
		{"beyond it", files("_derived", 2), files("_derived", 5), Modes{MaxDelete: limit("2")}, nil, true},
		{"none at all", files("_derived", 4), files("_derived", 5), Modes{MaxDelete: limit("0")}, nil, true},
		{"nothing goes", files("_derived", 5), files("_derived", 4), Modes{MaxDelete: limit("0%")}, nil, false},
		{"half of six", files("_derived", 2), files("_derived", 5), Modes{MaxDelete: limit("50%")}, nil, false},
		{"less than half", files("_derived", 2), files("_derived", 5), Modes{MaxDelete: limit("49%")}, nil, true},
		{"the limit, forced", files("_derived", 2), files("_derived", 5), Modes{MaxDelete: limit("0"), Force: true}, nil, false},
	} {
		v := view{local: treeOf(t, "records.parquet=1 "+c.dst), remote: treeOf(t, "records.parquet=1 "+c.src)}
		v.how.modes = c.modes
		err := planCopy(v, Pull, history.Standing{Relation: LocalBehind}).allowed()
		e, refused := err.(*DeletionError)
		if refused != c.refused || (err != nil) != c.refused || (refused && !slices.Equal(e.Emptied, c.emptied)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, bad := range []string{"", "x", "-1", "101%", "%", "1.5%", "5 %"} {
		if err := new(DeleteLimit).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
