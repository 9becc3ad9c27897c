package sync

import (
	"slices"
	"testing"

	"github.com/dnadesign-maintainers/usr/sync/history"
	"github.com/dnadesign-maintainers/usr/verify"
)

// TestRelateRebuildable: files that can be rebuilt have no say in the history, and what a push leaves depends on who changed
// them.
func TestRelateRebuildable(t *testing.T) {
	const (
		x = "_artifacts/x.db"
		d = "_derived/mine"
	)
	m := Modes{Primary: ByHash, Sidecars: true, ContentHashes: true}
	b := &history.Base{Classes: synced, Files: treeOf(t, "records.parquet=1 "+x+"=1 "+d+"=1").files}
	for _, c := range []struct {
		name          string
		base          *history.Base
		local, remote string
		want          Relation
		left          bool // by a push
	}{
		{"the remote's changed", b, x + "=1 " + d + "=1", x + "=2 " + d + "=1", LocalBehind, true},
		{"ours changed", b, x + "=2 " + d + "=1", x + "=1 " + d + "=1", LocalBehind, false},
		{"both changed", b, x + "=2 " + d + "=1", x + "=3 " + d + "=1", LocalBehind, true},
		{"ours changed, and more of ours", b, x + "=2 " + d + "=2", x + "=1 " + d + "=1", LocalAhead, false},
		{"the remote's changed, and more of ours", b, x + "=1 " + d + "=2", x + "=2 " + d + "=1", LocalAhead, true},
		{"the remote removed it", b, x + "=1 " + d + "=1", d + "=1", LocalBehind, true},
		{"its log is new there", b, x + "=1 " + d + "=1", x + "=1 " + x + "-wal=1 " + d + "=1", LocalBehind, true},
		{"no base", nil, x + "=1", x + "=2", LocalBehind, true},
		{"no base, only ours", nil, x + "=1", "", LocalBehind, false},
	} {
		v := view{local: treeOf(t, "records.parquet=1 "+c.local), remote: treeOf(t, "records.parquet=1 "+c.remote)}
		v.how = method{modes: m, rebuildable: func(path string) bool { return verify.Database(path) == x }}
		h := history.Relate(v.local.files, v.remote.files, c.base, history.LogsEqual, m.levels(), m.inScope, v.how.light)
		pull, push := planCopy(v, Pull, h), planCopy(v, Push, h)
		push.base = c.base
		push.leaveRebuilt()
		if h.Relation != c.want || (len(push.left) > 0) != c.left || push.allowed() != nil || (h.Relation == LocalBehind) != (pull.allowed() == nil) {
			t.Errorf("%s: %s, want %s; left: %v; pull: %v, push: %v", c.name, h.Relation, c.want, push.left, pull.allowed(), push.allowed())
		}
		if has := v.remote.files.Find(x); c.left && has != nil && (push.find(x) == nil || push.find(x).Digest != has.Digest) {
			t.Errorf("%s: the remote's does not stay", c.name)
		}
	}
}

// TestUnits: a database and its log come together, and what lies beside one that goes is not carried along.
func TestUnits(t *testing.T) {
	v := view{local: treeOf(t, "records.parquet=1 a/x=1 a/x-wal=1 a/y=1"), remote: treeOf(t, "records.parquet=1 a/x=1 a/x-wal=2 a/y=1")}
	v.how.modes = Modes{Primary: ByHash, Sidecars: true, ContentHashes: true}
	v.local.carry = []string{".usr.lock", ".usr.transfer.lock", "a/x-shm", "a/y-shm", "b/z.db-shm"}
	p := planCopy(v, Pull, history.Standing{Relation: LocalBehind})
	if p.find("a/x").origin != fetch || p.find("a/x-wal").origin != fetch || p.find("a/y").origin != keep || len(p.changes) != 1 {
		t.Errorf("%+v, changes %v", p.items, p.changes)
	}
	if got := p.carried(); !slices.Equal(got, []string{".usr.lock", "a/y-shm", "b/z.db-shm"}) {
		t.Error(got)
	}
}
