package sync

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dnadesign-maintainers/usr/sync/history"
	"github.com/dnadesign-maintainers/usr/verify"
)

// whole is the mode of a transfer of all classes.
var whole = Modes{Primary: ByHash, Sidecars: true, ContentHashes: true}

// originsOf describes a plan: an origin a file, then what changes.
func originsOf(p *plan) string {
	names := map[origin]string{keep: "keep", fetch: "fetch", reuse: "reuse", merge: "merge", restore: "restore"}
	var words []string
	for _, it := range p.items {
		words = append(words, names[it.origin]+":"+it.Path)
	}
	for _, ch := range p.changes {
		words = append(words, map[ChangeKind]string{Added: "+", Modified: "~", Deleted: "-"}[ch.Kind]+ch.Path)
	}
	return strings.Join(words, " ")
}

// TestPlanCopy: each class and each mode, by what only the source has, what differs, what is equal and what only the
// destination has.
func TestPlanCopy(t *testing.T) {
	primaryOnly, noSnapshots, sizes := whole, whole, whole
	primaryOnly.PrimaryOnly, noSnapshots.SkipSnapshots, sizes.ContentHashes = true, true, false
	for _, c := range []struct {
		name     string
		modes    Modes
		src, dst string
		want     string
	}{
		{"nothing there", whole, "records.parquet=1 meta.md=m", "", "fetch:meta.md fetch:records.parquet +meta.md +records.parquet"},
		{"equal", whole, "records.parquet=1 meta.md=m", "records.parquet=1 meta.md=m", "keep:meta.md keep:records.parquet"},
		{"primary", whole, "records.parquet=2", "records.parquet=1", "fetch:records.parquet ~records.parquet"},
		{"meta", whole, "meta.md=2 records.parquet=1", "meta.md=1 records.parquet=1", "fetch:meta.md keep:records.parquet ~meta.md"},
		{"events", whole, ".events.log=ab records.parquet=1", ".events.log=a records.parquet=1", "fetch:.events.log keep:records.parquet ~.events.log"},
		{"snapshot pruned", whole, "_snapshots/b=1 records.parquet=1", "_snapshots/a=1 _snapshots/b=1 records.parquet=1", "keep:_snapshots/b keep:records.parquet -_snapshots/a"},
		{"overlay added", whole, "_derived/x=1 records.parquet=1", "records.parquet=1", "fetch:_derived/x keep:records.parquet +_derived/x"},
		{"auxiliary deleted", whole, "records.parquet=1", "_views/x=1 records.parquet=1", "keep:records.parquet -_views/x"},
		{"the primary alone", primaryOnly, "_views/x=2 records.parquet=2", "_derived/y=1 _views/x=1 records.parquet=1",
			"keep:_derived/y keep:_views/x fetch:records.parquet ~records.parquet"},
		{"without snapshots", noSnapshots, "_snapshots/b=1 records.parquet=2", "_snapshots/a=1 records.parquet=1",
			"keep:_snapshots/a fetch:records.parquet ~records.parquet"},
		{"sizes alone", sizes, "_derived/x=2 records.parquet=1", "_derived/x=1 records.parquet=1", "keep:_derived/x keep:records.parquet"},
	} {
		v := view{local: treeOf(t, c.dst), remote: treeOf(t, c.src), how: method{modes: c.modes}}
		if got := originsOf(planCopy(v, Pull, history.Standing{})); got != c.want {
			t.Errorf("%s: pull\n got %s\nwant %s", c.name, got, c.want)
		}
		v.local, v.remote = v.remote, v.local
		if got := originsOf(planCopy(v, Push, history.Standing{})); got != c.want {
			t.Errorf("%s: push\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// TestPlanFinds: items are found by path, kept ones and incoming ones apart.
func TestPlanFinds(t *testing.T) {
	v := view{local: treeOf(t, "a=1 b=1 records.parquet=1"), remote: treeOf(t, "a=1 b=2 c=1 records.parquet=1"), how: method{modes: whole}}
	p := planCopy(v, Pull, history.Standing{})
	if p.find("a") == nil || p.incoming("a") != nil || p.incoming("b") == nil || p.find("none") != nil || p.incoming("c").origin != fetch {
		t.Error(originsOf(p))
	}
	if got := fmt.Sprint(p.kept(), len(p.arriving()), p.bytes(), p.keepsNothing()); got != "[a records.parquet] 2 2 false" {
		t.Error(got)
	}
}

// TestUndecided: a digest is wanted where the other side or the base has a file of that size, known differences included.
func TestUndecided(t *testing.T) {
	for _, c := range []struct{ name, local, remote, base, want string }{
		{"alone", "x=1", "", "", ""},
		{"alone, the base had that size", "x=1", "", "x=2", "x |"},
		{"same size", "x=1", "x=2", "", "x | x"},
		{"other sizes, no base", "x=1", "x=22", "", ""},
		{"other sizes, one of them the base's", "x=1", "x=22", "x=2", "x |"},
		{"other sizes, neither the base's", "x=1", "x=22", "x=333", ""},
	} {
		v := view{local: treeOf(t, c.local), remote: treeOf(t, c.remote), how: method{modes: whole}}
		var b *history.Base
		if c.base != "" {
			b = &history.Base{Classes: synced, Files: treeOf(t, c.base).files}
		}
		for _, s := range []*snapshot{v.local, v.remote} {
			for i := range s.files {
				s.files[i].Digest = verify.Digest{}
			}
		}
		local, remote := undecided(v, b)
		got := strings.TrimSpace(strings.Join(slices.Concat(pathsOf(local), []string{"|"}, pathsOf(remote)), " "))
		if want := c.want; got != want && (want != "" || got != "|") {
			t.Errorf("%s: %q, want %q", c.name, got, want)
		}
	}
}

// TestConsent: an answer covers what was shown, whatever is added beside it.
func TestConsent(t *testing.T) {
	a := &consent{lost: map[string]ChangeKind{"m": Modified, "d": Deleted}}
	for _, c := range []struct {
		changes []Change
		want    bool
	}{
		{nil, true},
		{[]Change{{Path: "m", Kind: Modified}, {Path: "d", Kind: Deleted}}, true},
		{[]Change{{Path: "new", Kind: Added}}, true},
		{[]Change{{Path: "m", Kind: Deleted}}, false},
		{[]Change{{Path: "other", Kind: Modified}}, false},
	} {
		if a.covers(c.changes) != c.want {
			t.Errorf("%v: %v", c.changes, !c.want)
		}
	}
	if (*consent)(nil).covers(nil) {
		t.Error("nobody was asked, and yet")
	}
}
