package sync

import (
	"slices"
	"strings"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/sync/history"
	"github.com/dnadesign-maintainers/usr/verify"
)

// sizedTree is a tree in which "path=2x" is a file of 2 MiB (0: of a byte) with the content and the time stamp x.
func sizedTree(t *testing.T, words string) *snapshot {
	t.Helper()
	s := treeOf(t, words)
	s.survey = &remote.Survey{Live: "/live"}
	for i := range s.files {
		e := &s.files[i]
		e.Size, e.Mtime = max(1, int64(e.Digest[0]-'0')<<20), int64(e.Digest[1])
	}
	return s
}

// TestPlanReuse: what has the same content as something at the destination, or as something that is fetched, is not
// fetched.
func TestPlanReuse(t *testing.T) {
	for _, c := range []struct{ name, src, dst, want string }{
		{"renamed", "_views/new=1a records.parquet=2b", "_views/old=1a records.parquet=2b", "_views/new from /live/_views/old"},
		{"renamed, and small", "_views/new=0a records.parquet=2b", "_views/old=0a records.parquet=2b", "_views/new"},
		{"the snapshot is the old primary", "_snapshots/s=2a records.parquet=2b", "records.parquet=2a", "_snapshots/s from /live/records.parquet, records.parquet"},
		{"the snapshot is the new primary", "_snapshots/s=2b records.parquet=2b", "records.parquet=2a", "_snapshots/s with records.parquet, records.parquet"},
		{"nothing there", "_snapshots/s=2b records.parquet=2b", "", "_snapshots/s with records.parquet, records.parquet"},
		{"one that has a basis is fetched", "_views/a=2b _views/b=2b records.parquet=1p", "_views/b=3c records.parquet=1p", "_views/a with _views/b, _views/b"},
		{"three, the primary last", "_views/a=2b _views/b=2b records.parquet=2b", "", "_views/a with records.parquet, _views/b with records.parquet, records.parquet"},
		{"equal sizes", "_views/new=1a records.parquet=2b", "_views/old=1c records.parquet=2b", "_views/new"},
		{"the log is nobody's copy", ".events.log=1a records.parquet=2b", "_views/old=1a records.parquet=2b", ".events.log"},
	} {
		p := planCopy(view{local: sizedTree(t, c.dst), remote: sizedTree(t, c.src), how: method{modes: whole}}, Pull, history.Standing{})
		p.reuse(p.dst)
		var words []string
		for _, it := range p.arriving() {
			switch {
			case it.from != "":
				words = append(words, it.Path+" from "+it.from)
			case it.twin != "":
				words = append(words, it.Path+" with "+it.twin)
			default:
				words = append(words, it.Path)
			}
		}
		if got := strings.Join(words, ", "); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// TestAlike: only what may be the same is read before it is fetched.
func TestAlike(t *testing.T) {
	for _, c := range []struct{ name, src, dst, want string }{
		{"other sizes", "_views/a=1a records.parquet=2b", "_views/b=3c", "|"},
		{"of a size", "_views/a=1a records.parquet=2b", "_views/b=1c", "_views/a | _views/b"},
		{"two that are fetched", "_views/a=1a _views/b=1c records.parquet=2b", "", "_views/a _views/b |"},
		{"many of a size", "a=1a b=1b c=1c d=1d e=1e f=1f g=1g h=1h i=1i records.parquet=2b", "", "|"},
		{"many of a size, two of a time", "a=1a b=1b c=1c d=1d e=1e f=1f g=1g h=1a i=1i records.parquet=2b", "x=1x", "a h |"},
		{"many of a size and a time", "a=1a b=1a c=1a d=1a e=1a f=1a g=1a h=1a i=1a records.parquet=2b", "", "|"},
		{"many of a size and a time, one of them there", "a=1a b=1a c=1a d=1a e=1a f=1a g=1a h=1a i=1a records.parquet=2b", "x=1a", "a b c d e f g h i | x"},
	} {
		p := planCopy(view{local: sizedTree(t, c.dst), remote: sizedTree(t, c.src), how: method{modes: whole}}, Pull, history.Standing{})
		fetched, there := p.alike(p.dst)
		paths := func(entries []*verify.Entry) []string { return slices.Sorted(slices.Values(pathsOf(entries))) }
		if got := strings.TrimSpace(strings.Join(slices.Concat(paths(fetched), []string{"|"}, paths(there)), " ")); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestBasisOf: a new snapshot is a delta of the one before it, else of the next, else of the primary, which comes first
// where it is new too.
func TestBasisOf(t *testing.T) {
	for _, c := range []struct{ name, src, dst, want, second string }{
		{"the one before", "_snapshots/s4=1d records.parquet=2b", "_snapshots/s3=1c _snapshots/s5=1e records.parquet=2a", "_snapshots/s3", ""},
		{"the next", "_snapshots/s2=1d records.parquet=2b", "_derived/x=1x _snapshots/s3=1c records.parquet=2a", "_snapshots/s3", ""},
		{"the primary", "_snapshots/s2=1d records.parquet=2b", "_derived/x=1x _views/y=1c records.parquet=2a", "records.parquet", ""},
		{"none", "_snapshots/s1=8c _snapshots/s2=8d records.parquet=8b", "", "", "_snapshots/s1 _snapshots/s2"},
		{"none, and little", "_snapshots/s1=1c _snapshots/s2=1d records.parquet=1b", "", "", ""},
		{"it is there", "_snapshots/s2=1d records.parquet=2b", "_snapshots/s2=1e records.parquet=2a", "", ""},
		{"no snapshot", "_derived/s2=1d records.parquet=2b", "_derived/s1=1e records.parquet=2b", "", ""},
	} {
		p := planCopy(view{local: sizedTree(t, c.dst), remote: sizedTree(t, c.src), how: method{modes: whole}}, Pull, history.Standing{})
		want := entriesOf(p.arriving())
		if got := strings.TrimPrefix(p.basisOf(want[0]), "/live/"); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if _, second := p.inTurns(want); strings.Join(pathsOf(second), " ") != c.second {
			t.Errorf("%s: %v, want %s", c.name, pathsOf(second), c.second)
		}
	}
}
