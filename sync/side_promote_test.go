package sync

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync/local"
)

// oldDataset makes a live tree of every class that matters to a promotion.
func (d *bed) oldDataset() {
	d.Helper()
	d.write(d.live+"/records.parquet", "old")
	d.write(d.live+"/.events.log", "one\n")
	d.write(d.live+"/meta.md", "meta")
	d.write(d.live+"/_artifacts/plot", "plot")
	d.write(d.live+"/_derived/same", "same")
	d.write(d.live+"/_derived/.DS_Store", "mine")
	d.write(d.live+"/_gone/.DS_Store", "mine too")
	d.write(d.live+"/_artifacts/going", "going")
	d.write(d.live+"/.usr.lock", "")
}

// changed are what the staged tree does to oldDataset's.
var changed = []remote.Change{{Kind: 'A', Path: "_derived/new/part"}, {Kind: 'M', Path: "records.parquet"}, {Kind: 'D', Path: "_artifacts/going"}}

// staged claims, locks and stages a new tree for what oldDataset made: a new primary, one file gone and one more, the
// others linked, and copies of what writers change in place; for a switch in place only what is new.
func (d *bed) staged(run string, inPlace bool) {
	d.Helper()
	d.must(d.s.Claim(d.Context(), d.key, 0))
	d.lock()
	d.restage(run, inPlace)
}

func (d *bed) restage(run string, inPlace bool) {
	d.Helper()
	way, err := d.s.Stage(d.Context(), d.key, run, d.live, !inPlace)
	d.must(err)
	if way.Exchange == inPlace {
		d.Errorf("the way is %+v", way)
	}
	d.write(d.run(run, "tree", "records.parquet"), "new "+run)
	d.write(d.run(run, "tree", "_derived/new/part"), "new part")
	if inPlace {
		d.must(d.s.Flush(d.Context(), d.run(run), nil))
		return
	}
	var keep, copies []string
	for _, p := range []string{".events.log", "meta.md", "_artifacts/plot", "_derived/same"} {
		if d.inode(d.live+"/"+p) == 0 {
			continue
		}
		keep = append(keep, p)
		if p != "_derived/same" {
			copies = append(copies, p)
		}
	}
	d.must(d.s.Link(d.Context(), d.live, d.run(run, "tree"), keep, false))
	d.must(d.s.Copy(d.Context(), d.live, d.run(run, "copies"), copies))
	d.must(d.s.Flush(d.Context(), d.run(run), nil))
}

// promoted stages and promotes.
func (d *bed) promoted(run string, p remote.Promotion) {
	d.Helper()
	d.staged(run, p.InPlace)
	p.Key, p.Run, p.Live, p.Changes = d.key, run, d.live, changed
	_, err := d.s.Promote(d.Context(), p)
	d.must(err)
}

var carried = []string{".usr.lock", "_derived/.DS_Store", "_gone/.DS_Store", "vanished/.usr.lease.1"}

var promoteBehaviours = []behaviour{
	{"promote by exchange", func(d *bed) { promotes(d, remote.Promotion{Keep: true}) }},
	{"promote in place", func(d *bed) { promotes(d, remote.Promotion{Keep: true, InPlace: true}) }},
	{"promote without keeping", func(d *bed) { promotes(d, remote.Promotion{}) }},
	{"promote in place without keeping", func(d *bed) { promotes(d, remote.Promotion{InPlace: true}) }},
	{"promote creates", func(d *bed) {
		d.live = filepath.Join(d.root, "fresh", "dataset") // its parent does not exist
		d.must(d.s.Claim(d.Context(), d.key, 0))
		d.restage(run1, false)
		d.must(second(d.s.Promote(d.Context(), remote.Promotion{Key: d.key, Run: run1, Live: d.live, Keep: true})))
		d.is(d.live+"/records.parquet", "new "+run1)
		d.absent(d.run(run1))
		d.absent(d.generation(run1))
		d.must(d.s.Settle(d.Context(), d.key, 1))
		if d.survey().Journal {
			d.Error("the journal stands after Settle")
		}
	}},
	{"promote does not create over what appeared", func(d *bed) {
		d.must(d.s.Claim(d.Context(), d.key, 0))
		d.restage(run1, false)
		d.write(d.live+"/records.parquet", "theirs")
		_, err := d.s.Promote(d.Context(), remote.Promotion{Key: d.key, Run: run1, Live: d.live})
		d.wantErr(err, "live appeared")
		d.is(d.live+"/records.parquet", "theirs")
		d.is(d.run(run1, "tree", "records.parquet"), "new "+run1)
		if r, err := d.s.Recover(d.Context(), d.key); err != nil || r.Forward {
			d.Errorf("%+v, %v", r, err)
		}
		d.is(d.live+"/records.parquet", "theirs")
	}},
	{"promote needs the lock", func(d *bed) {
		d.oldDataset()
		d.staged(run1, false)
		d.must(d.s.Unlock(d.Context()))
		p := remote.Promotion{Key: d.key, Run: run1, Live: d.live, Carry: carried}
		d.wantErr(second(d.s.Promote(d.Context(), p)), "not locked")
		d.lock()
		d.must(os.Remove(d.live + "/.usr.lock"))
		d.write(d.live+"/.usr.lock", "")
		d.wantErr(second(d.s.Promote(d.Context(), p)), "another lock file")
		d.is(d.live+"/records.parquet", "old")
		d.absent(d.generation(run1))
	}},
	{"generations are pruned", func(d *bed) {
		d.oldDataset()
		d.staged(run0, false)
		d.must(d.s.Remove(d.Context(), d.run(run0)))
		for _, run := range []string{run1, run2, run3} {
			d.restage(run, false)
			d.must(second(d.s.Promote(d.Context(), remote.Promotion{Key: d.key, Run: run, Live: d.live, Carry: carried, Keep: true, Info: `{"r":"` + run + `"}`})))
			d.must(d.s.Settle(d.Context(), d.key, 2))
		}
		g, err := d.s.Generations(d.Context(), d.key)
		d.must(err)
		if len(g) != 2 || g[0] != (remote.Generation{Run: run3, Tree: d.generation(run3, "tree"), Info: `{"r":"` + run3 + `"}`, Whole: true}) || g[1].Run != run2 {
			d.Errorf("%+v", g)
		}
		d.is(g[0].Tree+"/records.parquet", "new "+run2)
		d.must(d.s.Settle(d.Context(), d.key, 0))
		d.absent(d.state("generations", d.key))
		d.absent(d.state("stage", d.key))
		if g, err := d.s.Generations(d.Context(), d.key); len(g) > 0 || err != nil {
			d.Errorf("%+v, %v", g, err)
		}
	}},
	{"a generation is thinned", func(d *bed) {
		d.oldDataset()
		d.staged(run1, false)
		d.write(d.live+"/-odd \\ dir/mine\n", "only here")
		d.write(d.live+"/late", "late")
		p := remote.Promotion{Key: d.key, Run: run1, Live: d.live, Carry: carried, Keep: true, Info: `{"r":1}`,
			Unique: []string{"-odd \\ dir/mine\n", "gone"}, Sums: "sums \x00\n\\"}
		_, err := d.s.Promote(d.Context(), p)
		d.must(err)
		d.is(d.generation(run1, "unique"), "-odd \\ dir/mine\n\x00gone\x00")
		d.is(d.generation(run1, "sums"), p.Sums)
		d.must(d.s.KeepLate(d.Context(), d.key, run1, []string{"late"}))
		d.write(d.generation(run1, "theirs"), "a person's")
		d.must(d.s.Thin(d.Context(), d.key, run1))
		d.must(d.s.Thin(d.Context(), d.key, run1))
		g, err := d.s.Generations(d.Context(), d.key)
		d.must(err)
		if len(g) != 1 || g[0] != (remote.Generation{Run: run1, Tree: d.generation(run1, "only"), Info: p.Info, Unique: 2, Late: 1}) {
			d.Fatalf("%+v", g)
		}
		d.is(g[0].Tree+"/-odd \\ dir/mine\n", "only here")
		d.is(g[0].Tree+"/late", "late")
		d.absent(g[0].Tree + "/records.parquet")
		d.absent(d.generation(run1, "tree"))
		d.absent(d.generation(run1, "gone"))
		d.must(d.s.Settle(d.Context(), d.key, 0, run1))
		d.is(g[0].Tree+"/late", "late")
		d.must(d.s.Settle(d.Context(), d.key, 0))
		d.is(d.generation(run1, "theirs"), "a person's")
		d.absent(d.generation(run1, "only"))
	}},
	{"a generation of a switch in place is thinned", func(d *bed) {
		d.oldDataset()
		d.promoted(run1, remote.Promotion{InPlace: true, Carry: carried, Keep: true, Unique: []string{"_artifacts/going"}})
		d.write(d.generation(run1, "late.1", "records.parquet"), "later")
		d.must(d.s.KeepLate(d.Context(), d.key, run1, []string{"records.parquet"}))
		d.must(d.s.Thin(d.Context(), d.key, run1))
		g, err := d.s.Generations(d.Context(), d.key)
		d.must(err)
		if len(g) != 1 || g[0] != (remote.Generation{Run: run1, Tree: d.generation(run1, "only"), Unique: 1, Late: 1}) {
			d.Fatalf("%+v", g)
		}
		d.is(g[0].Tree+"/_artifacts/going", "going")
		d.is(g[0].Tree+"/records.parquet", "old")
		d.is(d.generation(run1, "late.1", "records.parquet"), "later")
		d.must(d.s.Settle(d.Context(), d.key, 0))
		d.absent(d.generation(run1))
	}},
	{"a generation is thinned through no link", func(d *bed) {
		d.oldDataset()
		d.staged(run1, false)
		d.write(d.live+"/mine/x", "only here")
		_, err := d.s.Promote(d.Context(), remote.Promotion{Key: d.key, Run: run1, Live: d.live, Carry: carried, Keep: true, Unique: []string{"mine/x"}})
		d.must(err)
		home := d.TempDir()
		d.write(home+"/x", "theirs")
		d.rename(d.generation(run1, "tree", "mine"), d.generation(run1, "tree", "was"))
		d.must(os.Symlink(home, d.generation(run1, "tree", "mine")))
		d.wantErr(d.s.Thin(d.Context(), d.key, run1), "symbolic link")
		d.is(home+"/x", "theirs")
		d.is(d.generation(run1, "tree", "was", "x"), "only here")
		d.absent(d.generation(run1, "only", "mine", "x"))
	}},
}

func second[T any](_ T, err error) error { return err }

func promotes(d *bed, p remote.Promotion) {
	d.oldDataset()
	d.must(os.Chmod(d.live, 0o775|fs.ModeSetgid))
	d.must(os.Chmod(d.live+"/_gone", 0o750))
	lock, events := d.inode(d.live+"/.usr.lock"), d.inode(d.live+"/.events.log")
	writer, err := os.OpenFile(d.live+"/.events.log", os.O_APPEND|os.O_WRONLY, 0)
	d.must(err)
	defer writer.Close()
	p.Carry, p.Info = carried, `{"a":"b = c"}`
	d.promoted(run1, p)

	d.modeIs(d.live, 0o2775)
	var st unix.Stat_t
	if err := unix.Lstat(d.live+"/_gone", &st); err != nil || uint32(st.Mode)&0o777 != 0o750 { // setgid may come from above
		d.Errorf("a carried directory: mode %o, %v", st.Mode, err)
	}
	d.is(d.live+"/records.parquet", "new "+run1)
	d.is(d.live+"/_derived/same", "same")
	d.is(d.live+"/_derived/new/part", "new part")
	d.absent(d.live + "/_artifacts/going")
	d.is(d.live+"/_gone/.DS_Store", "mine too")
	if d.inode(d.live+"/.usr.lock") != lock || d.inode(d.live+"/.events.log") != events {
		d.Error("live lost an inode that others hold on to")
	}
	d.must(d.s.Locked(d.Context()))
	if !d.excluded() {
		d.Error("the lock does not exclude after the promotion")
	}
	writer.WriteString("two\n")
	d.is(d.live+"/.events.log", "one\ntwo\n")
	d.absent(d.run(run1))
	if !d.survey().Journal {
		d.Error("the journal is gone before Settle")
	}
	switch {
	case p.Keep && p.InPlace:
		d.keptReplaced(run1)
	case p.Keep:
		d.keptOld(run1)
	default:
		d.absent(d.generation(run1))
	}
	if r, err := d.s.Recover(d.Context(), d.key); r != (remote.Recovered{Run: run1, Forward: true}) || err != nil {
		d.Errorf("Recover after Promote: %+v, %v", r, err)
	}
	d.must(d.s.Settle(d.Context(), d.key, 1))
	d.must(d.s.Settle(d.Context(), d.key, 1))
	if v := d.survey(); v.Journal || len(v.Stages) > 0 {
		d.Errorf("after Settle: %+v", v)
	}
}

// keptOld: the generation is the old tree, and no writer can change it.
func (d *bed) keptOld(run string) {
	d.Helper()
	tree := d.generation(run, "tree")
	d.is(tree+"/records.parquet", "old")
	d.is(tree+"/.events.log", "one\n")
	d.is(tree+"/_derived/same", "same")
	for _, p := range []string{".events.log", "meta.md", "_artifacts/plot"} {
		if d.inode(tree+"/"+p) == d.inode(d.live+"/"+p) {
			d.Errorf("the generation shares %s with live", p)
		}
	}
	d.absent(d.generation(run, "copies"))
}

// keptReplaced: the generation holds what was replaced and deleted, and no more.
func (d *bed) keptReplaced(run string) {
	d.Helper()
	var have []string
	d.must(filepath.WalkDir(d.generation(run, "tree"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			have = append(have, strings.TrimPrefix(path, d.generation(run, "tree")+"/"))
		}
		return err
	}))
	if !slices.Equal(have, []string{"_artifacts/going", "records.parquet"}) {
		d.Errorf("kept: %q", have)
	}
	d.is(d.generation(run, "tree/records.parquet"), "old")
	d.is(d.generation(run, "tree/_artifacts/going"), "going")
	d.is(d.generation(run, "changes"), "A _derived/new/part\x00M records.parquet\x00D _artifacts/going\x00")
	d.absent(d.generation(run, "copies"))
	d.absent(d.generation(run, "dirs"))
}

// rewind is a hand-made state: what a promotion by run1 leaves if it is killed at some moment. It begins with
// a promotion that was finished and kept, but not settled.
type rewind struct {
	name    string
	make    func(d *bed)
	forward bool
}

// unkeep puts the run directory back as it was before step 5.
func unkeep(d *bed) { d.rename(d.generation(run1), d.run(run1)) }

// uncopy puts the copies and the lock back as they were before step 4.
func uncopy(d *bed) {
	unkeep(d)
	if tree := d.run(run1, "tree"); d.inode(d.live+"/.usr.lock") != 0 {
		d.must(os.Remove(tree + "/.usr.lock"))
		d.must(os.Link(d.live+"/.usr.lock", tree+"/.usr.lock"))
	}
	for _, p := range []string{".events.log", "meta.md", "_artifacts/plot"} {
		d.rename(d.run(run1, "tree", p), d.run(run1, "copies", p))
		d.must(os.Link(d.live+"/"+p, d.run(run1, "tree", p)))
	}
}

// renamed is the state of two renames after the second, halfway that after the first.
func renamed(d *bed) { uncopy(d); d.rename(d.run(run1, "tree"), d.run(run1, "old")) }
func halfway(d *bed) { renamed(d); d.rename(d.live, d.run(run1, "tree")) }
func begun(d *bed)   { halfway(d); d.rename(d.run(run1, "old"), d.live) }

var rewinds = []rewind{
	{"journal written", begun, false},
	{"first of two renames", halfway, true},
	{"both renames", renamed, true},
	{"exchanged", uncopy, true},
	{"one copy moved", func(d *bed) {
		uncopy(d)
		d.rename(d.run(run1, "copies", ".events.log"), d.run(run1, "tree", ".events.log"))
	}, true},
	{"copies moved", func(d *bed) { unkeep(d); d.must(os.MkdirAll(d.run(run1, "copies"), 0o755)) }, true},
	{"copies gone", unkeep, true},
	{"kept", func(*bed) {}, true},
}

var recoverBehaviours = recoveries()

func recoveries() (all []behaviour) {
	for _, w := range rewinds {
		all = append(all, behaviour{"recover when " + w.name, func(d *bed) { recovers(d, w, d.s) }})
	}
	return append(all,
		behaviour{"recover without a journal", func(d *bed) {
			d.must(d.s.Claim(d.Context(), d.key, 0))
			if r, err := d.s.Recover(d.Context(), d.key); r != (remote.Recovered{}) || err != nil {
				d.Errorf("%+v, %v", r, err)
			}
		}},
		behaviour{"recover a creation begun", func(d *bed) {
			d.created()
			d.rename(d.live, d.run(run1, "tree"))
			d.recoverTwice(remote.Recovered{Run: run1, Forward: false}, remote.Recovered{})
			d.absent(d.live)
		}},
		behaviour{"recover a creation done", func(d *bed) {
			d.created()
			d.must(os.MkdirAll(d.run(run1, "copies"), 0o755))
			d.recoverTwice(remote.Recovered{Run: run1, Forward: true}, remote.Recovered{Run: run1, Forward: true})
			d.is(d.live+"/records.parquet", "new "+run1)
			d.absent(d.run(run1))
		}},
		behaviour{"recover when live was deleted", func(d *bed) {
			d.oldDataset()
			d.promoted(run1, remote.Promotion{Keep: true, Carry: carried})
			begun(d)
			d.must(os.RemoveAll(d.live))
			d.recoverTwice(remote.Recovered{Run: run1, Forward: true}, remote.Recovered{Run: run1, Forward: true})
			d.is(d.live+"/records.parquet", "new "+run1)
			d.must(d.s.Settle(d.Context(), d.key, 1))
			if g, err := d.s.Generations(d.Context(), d.key); len(g) > 0 || err != nil { // of nothing but the copies
				d.Errorf("%+v, %v", g, err)
			}
		}},
		behaviour{"recover when another made live", func(d *bed) {
			d.oldDataset()
			d.promoted(run1, remote.Promotion{Keep: true, Carry: carried})
			halfway(d)
			d.write(d.live+"/records.parquet", "theirs")
			d.recoverTwice(remote.Recovered{Run: run1, Forward: false}, remote.Recovered{})
			d.is(d.live+"/records.parquet", "theirs")
			d.is(d.generation(run1, "tree", "records.parquet"), "old") // nothing anyone wrote is gone
		}},
	)
}

func (d *bed) created() {
	d.Helper()
	d.must(d.s.Claim(d.Context(), d.key, 0))
	d.restage(run1, false)
	d.must(second(d.s.Promote(d.Context(), remote.Promotion{Key: d.key, Run: run1, Live: d.live, Keep: true})))
}

func (d *bed) recoverTwice(first, second remote.Recovered) {
	d.Helper()
	for _, want := range []remote.Recovered{first, second} {
		if r, err := d.s.Recover(d.Context(), d.key); r != want || err != nil {
			d.Errorf("Recover: %+v, %v, want %+v", r, err, want)
		}
	}
}

func recovers(d *bed, w rewind, by side) {
	d.oldDataset()
	d.promoted(run1, remote.Promotion{Keep: true, Carry: carried, Info: "{}"})
	d.must(d.s.Unlock(d.Context())) // the run was killed, and with it went its locks
	d.must(d.s.Release(d.Context()))
	lock := d.state("journal", d.key+".lock")
	before := d.inode(lock)
	w.make(d)
	d.s = by
	d.must(d.s.Claim(d.Context(), d.key, 0))
	if w.forward {
		d.recoverTwice(remote.Recovered{Run: run1, Forward: true}, remote.Recovered{Run: run1, Forward: true})
		d.is(d.live+"/records.parquet", "new "+run1)
		d.keptOld(run1)
		d.absent(d.run(run1))
		d.must(d.s.Settle(d.Context(), d.key, 1))
	} else {
		d.recoverTwice(remote.Recovered{Run: run1, Forward: false}, remote.Recovered{})
		d.is(d.live+"/records.parquet", "old")
		d.absent(d.generation(run1))
	}
	if d.survey().Journal {
		d.Error("the journal stands")
	}
	if d.inode(lock) != before {
		d.Error("the run lock is another inode")
	}
	d.lock() // the lock file came through
}

// TestSidesRecoverEachOther: a root may be one run's remote and another's own.
func TestSidesRecoverEachOther(t *testing.T) {
	root := t.TempDir()
	far, _ := connectSide(t, root, remotetest.Options{})
	near := local.New("near", root, nil)
	for _, sides := range [][2]side{{far, near}, {near, far}} {
		for _, w := range rewinds {
			t.Run(sides[1].Name()+"/"+w.name, func(t *testing.T) {
				id := strings.ReplaceAll(t.Name(), "/", "-")
				d := &bed{T: t, s: sides[0], root: root, id: id, key: stateKey(id), live: filepath.Join(root, id)}
				recovers(d, w, sides[1])
				d.must(d.s.Unlock(t.Context()))
				d.must(d.s.Release(t.Context()))
			})
		}
	}
}
