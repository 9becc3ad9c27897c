package sync_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// sidePair opens the rig's pair for what acts on one side: the remote one, or the local one alone.
func (r *rig) sidePair(d sync.Direction) *sync.Pair {
	r.Helper()
	if d == sync.Push {
		return r.open()
	}
	o := sync.Options{Root: r.local, KeepGenerations: r.profile.KeepGenerations}
	if r.options != nil {
		r.options(&o)
	}
	p, err := sync.Open(context.Background(), o, nil, sync.Reach{})
	r.must(err)
	return p
}

func (r *rig) restore(from string, globs ...string) (*sync.Report, error) {
	r.Helper()
	p := r.sidePair(r.direction)
	defer p.Close()
	return p.Restore(context.Background(), faultID, globs, from, modes())
}

// restored brings a file back, which then is what is wanted.
func (r *rig) restored(path, want string) {
	r.Helper()
	_, err := r.restore("", path)
	r.must(err)
	if got := r.content(r.dst())[path]; got != want {
		r.Errorf("%s came back as %.40q, want %q", path, got, want)
	}
}

func (r *rig) kept() []sync.Kept {
	r.Helper()
	p := r.sidePair(r.direction)
	defer p.Close()
	rows, err := p.Kept(context.Background(), faultID, r.direction == sync.Push)
	r.must(err)
	return rows
}

// TestFaultRestore: what a forced transfer replaced comes back file by file, long after its tree was thinned; the rest stays,
// an undo takes it back, and the restored file is a change of its side.
func TestFaultRestore(t *testing.T) {
	everySwitch(t, func(t *testing.T, r *rig) {
		d := r.direction
		r.profile.KeepGenerations = 1
		rep, _ := r.forced()
		if got := strings.Join(rep.Unique, " "); got != "_derived/mine/part.parquet _views/view-1 meta.md" {
			t.Errorf("unique: %s", got)
		}
		for v := 3; v <= 4; v++ {
			r.write(r.src(), v)
			r.transferred()
		}
		before := r.content(r.dst())
		got, err := r.restore("", "meta.md", "_derived/mine/**")
		r.must(err)
		want := r.content(r.dst())
		if want["_derived/mine/part.parquet"] != "only here\n" || want["meta.md"] != tree(3)["meta.md"] {
			t.Errorf("%q", want) // meta.md of the newest generation that differs
		}
		if len(got.Changes) != 2 || got.Generation == "" {
			t.Errorf("%+v", got)
		}
		_, err = r.restore(rep.Generation, "meta.md")
		r.must(err)
		if now := r.content(r.dst()); now["meta.md"] != "mine\n" || now["records.parquet"] != before["records.parquet"] {
			t.Errorf("%q", now)
		}
		ahead := sync.LocalAhead
		if d == sync.Push {
			ahead = sync.LocalBehind
		}
		if rel := r.diff().Relation; rel != ahead {
			t.Errorf("relation %s, want %s", rel, ahead)
		}
		r.undone(modes())
		if now := r.content(r.dst()); !equalTrees(now, want) {
			t.Errorf("after an undo %q", now)
		}
		again, err := r.restore("", "_derived/mine/part.parquet")
		if err != nil || again.State != sync.NoOp {
			t.Errorf("what is there already: %+v, %v", again, err)
		}
		r.clean()
	})
}

// TestFaultRestoreBadInput is the table of what cannot be restored.
func TestFaultRestoreBadInput(t *testing.T) {
	everySwitch(t, func(t *testing.T, r *rig) {
		rep, _ := r.forced()
		run := rep.Generation
		for _, glob := range []string{"", "/etc/passwd", "../x", "a/../meta.md", "a//b"} {
			var bad *sync.GlobError
			if _, err := r.restore("", glob); !errors.As(err, &bad) {
				t.Errorf("%q: %v", glob, err)
			}
		}
		var none *sync.NoPathError
		if _, err := r.restore("", "no/such"); !errors.As(err, &none) {
			t.Error(err)
		}
		is := func(want sync.GenerationState, file, from, glob string) {
			t.Helper()
			var bad *sync.GenerationError
			if _, err := r.restore(from, glob); !errors.As(err, &bad) || bad.Is != want || bad.File != file {
				t.Errorf("%q of %q: %v", glob, from, err)
			}
		}
		is(sync.NoGeneration, "", "yesterday", "meta.md")
		is(sync.NoGeneration, "", "20260101T000000.000000Z-000000", "meta.md")
		kept := r.state("generations", faultKey, run, "tree")
		r.must(replaceFile(filepath.Join(kept, "meta.md"), "mind\n"))
		r.must(os.Remove(filepath.Join(kept, "_derived/mine/part.parquet")))
		is(sync.Damaged, "meta.md", run, "meta.md")
		is(sync.Damaged, "_derived/mine/part.parquet", run, "_derived")
		r.must(os.Rename(kept, filepath.Dir(kept)+"/gone"))
		is(sync.Going, "", run, "meta.md")
		r.is(r.dst(), 2)
		r.clean()
	})
}

// TestFaultUndoFrom: an undo goes back further than one step where the whole tree is kept, and names restore where it is not.
func TestFaultUndoFrom(t *testing.T) {
	everySwitch(t, func(t *testing.T, r *rig) {
		d := r.direction
		r.write(r.src(), 1)
		r.transferred()
		r.profile.KeepGenerations = 3
		for v := 2; v <= 5; v++ {
			r.write(r.src(), v)
			r.transferred()
		}
		from := func(run string) error {
			p := r.sidePair(d)
			defer p.Close()
			_, err := p.UndoFrom(context.Background(), faultID, run, modes())
			return err
		}
		whole := r.whole()
		var bad *sync.GenerationError
		if err := from(r.generations()[0]); !errors.As(err, &bad) || bad.Is != sync.Thinned {
			t.Errorf("of a thinned one: %v", err)
		}
		r.profile.KeepGenerations = 10
		r.must(from(whole[0]))
		r.is(r.dst(), 2)
		if rel := r.diff().Relation; rel == sync.LocalAhead && d == sync.Pull || rel == sync.LocalBehind && d == sync.Push {
			t.Errorf("what was undone is taken for a change: %s", rel)
		}
		r.transferred()
		r.is(r.dst(), 5)
		r.must(from(whole[1]))
		r.is(r.dst(), 3)
		r.undone(modes())
		r.is(r.dst(), 5)
		r.clean()
	})
}

// TestFaultGenerationsList: what is listed is what is there, and takes no more room than is said; a person's files stay.
func TestFaultGenerationsList(t *testing.T) {
	everySwitch(t, func(t *testing.T, r *rig) {
		d := r.direction
		r.profile.KeepGenerations = 1
		rep, _ := r.forced()
		r.write(r.src(), 3)
		r.transferred()
		r.write(r.src(), 4)
		r.transferred()
		dead := "20260101T000000.000000Z-abcdef"
		r.must(os.MkdirAll(r.state("stage", faultKey, dead, "tree"), 0o755))
		r.must(os.WriteFile(r.state("stage", faultKey, dead, "tree", "x"), make([]byte, 1000), 0o644))
		r.must(os.MkdirAll(r.state("generations", faultKey, "thesis"), 0o755))
		r.must(os.WriteFile(r.state("generations", faultKey, "thesis", "x"), nil, 0o644))
		var said int64
		for _, k := range r.kept() {
			said += k.Bytes
			switch {
			case k.Run == dead && (!k.Stage || k.Bytes != 1000), k.Run == rep.Generation && (k.Whole || k.Unique != 3 || !k.Forced || k.Action != string(d) || k.Until.IsZero()):
				t.Errorf("%+v", k)
			}
		}
		if is := r.spaceOf("generations") + r.spaceOf("stage"); is > said {
			t.Errorf("%d bytes are said, %d are taken", said, is)
		}
		p := r.sidePair(d)
		defer p.Close()
		r.must(p.Prune(context.Background(), faultID, d == sync.Push, sync.Pruning{}, time.Second))
		for _, k := range r.kept() {
			if k.Stage || k.Whole {
				t.Errorf("after pruning: %+v", k)
			}
		}
		r.keeps(rep.Generation, forcedWork)
		r.must(p.Prune(context.Background(), faultID, d == sync.Push, sync.Pruning{Run: rep.Generation}, time.Second))
		if _, err := r.restore("", "_derived/mine"); err == nil {
			t.Error("it is there still")
		}
		if _, err := os.Stat(r.state("generations", faultKey, "thesis", "x")); err != nil {
			t.Error(err)
		}
		r.is(r.dst(), 4)
	})
}

// TestFaultEarlierGenerations: a generation of an earlier version does not say what only it has. All of it counts as that, and
// stays for as long.
func TestFaultEarlierGenerations(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
		r := emptyRig(t, d)
		if ssh {
			r.overSSH(remotetest.Options{})
		}
		r.profile.KeepGenerations = 1
		rep, mine := r.forced()
		for _, name := range []string{"unique", "sums"} {
			r.must(os.Remove(r.state("generations", faultKey, rep.Generation, name)))
		}
		for v := 3; v <= 4; v++ {
			r.write(r.src(), v)
			r.transferred()
		}
		r.keeps(rep.Generation, mine)
		kept := r.kept()
		if k := kept[len(kept)-1]; k.Run != rep.Generation || k.Unique != k.Files || k.Files != len(mine) || k.Until.IsZero() {
			t.Errorf("%+v", k)
		}
		r.restored("_derived/mine/part.parquet", "only here\n")
		r.options = func(o *sync.Options) { o.Now = func() time.Time { return time.Now().Add(31 * 24 * time.Hour) } }
		r.write(r.src(), 5)
		_, err := r.run(d, sync.Modes{Primary: sync.ByHash, Sidecars: true, ContentHashes: true, Force: true})
		r.must(err)
		if _, err := os.Stat(r.state("generations", faultKey, rep.Generation)); err == nil {
			t.Error("after 31 days it is there")
		}
	})
}

// TestFaultSpaceNamesKept: where there is no room what only generations have stays, and is named with its size.
func TestFaultSpaceNamesKept(t *testing.T) {
	root(t)
	both(t, func(t *testing.T, d sync.Direction) {
		r := emptyRig(t, d)
		mount(t, strings.TrimSuffix(r.dst(), "/"+faultID), "size=4m")
		rep, mine := r.forced()
		r.noise("_derived/big.parquet", 5<<20)
		_, err := r.run(d, modes())
		var full *sync.SpaceError
		if !errors.As(err, &full) || len(full.Kept) != 1 || full.Kept[0].Run != rep.Generation || full.Kept[0].UniqueBytes == 0 {
			t.Errorf("%v, %+v", err, full)
		}
		r.keeps(rep.Generation, mine)
	})
}

// spaceOf is what a part of the state directory takes that live does not share.
func (r *rig) spaceOf(part string) (n int64) {
	live := map[string]bool{}
	inode := func(fi fs.FileInfo) string { return fmt.Sprint(fi.Sys()) }
	visit := func(root string, f func(fs.FileInfo)) {
		filepath.Walk(root, func(path string, fi fs.FileInfo, err error) error {
			if err == nil && fi.Mode().IsRegular() && !strings.Contains(path, "/thesis/") {
				f(fi)
			}
			return nil
		})
	}
	visit(r.dst(), func(fi fs.FileInfo) { live[inode(fi)] = true })
	visit(r.state(part, faultKey), func(fi fs.FileInfo) {
		if !live[inode(fi)] {
			n += fi.Size()
		}
		live[inode(fi)] = true
	})
	return n
}

// TestFaultNothingIsGone is the promise of generations, over random histories: whatever content was live on one side alone when
// something replaced it can be restored there.
func TestFaultNothingIsGone(t *testing.T) {
	t.Parallel()
	for over, seeds := range map[string]int{"local": shortOr(4, 40), "ssh": shortOr(1, 10)} {
		for seed := range uint64(seeds) {
			for _, inPlace := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %d in place %v", over, seed, inPlace), func(t *testing.T) {
					t.Parallel()
					r := wayRig(t, sync.Pull, over == "ssh")
					r.options = func(o *sync.Options) { o.NoExchange = inPlace }
					r.history(rand.New(rand.NewPCG(seed, 13)))
				})
			}
		}
	}
}

type content struct{ path, text string }

func (r *rig) history(dice *rand.Rand) {
	r.Helper()
	other := map[sync.Direction]sync.Direction{sync.Pull: sync.Push, sync.Push: sync.Pull}
	side := map[sync.Direction]string{sync.Pull: filepath.Join(r.local, faultID), sync.Push: filepath.Join(r.remote, faultID)}
	shared := map[content]bool{}                                              // was on both sides at once
	lost := map[sync.Direction]map[content]bool{sync.Pull: {}, sync.Push: {}} // was on this side alone, and we replaced it
	files := []string{"meta.md", "_derived/a/part", "_derived/b/part", "_registry/x.yaml", "records.parquet"}
	share := func() (l, rm map[string]string) {
		l, rm = r.content(side[sync.Pull]), r.content(side[sync.Push])
		for path, text := range l {
			if rm[path] == text {
				c := content{path, text}
				shared[c] = true
				for d := range lost { // an undo had put it back before it was transferred
					delete(lost[d], c)
				}
			}
		}
		return l, rm
	}
	replacing := func(do func()) {
		was := map[sync.Direction]map[string]string{}
		was[sync.Pull], was[sync.Push] = share()
		do()
		share()
		for d, dir := range side {
			is := r.content(dir)
			for path, text := range was[d] {
				if c := (content{path, text}); is[path] != text && !shared[c] {
					lost[d][c] = true
				}
			}
		}
	}
	for step := range 25 {
		share()
		d := []sync.Direction{sync.Pull, sync.Push}[dice.IntN(2)]
		name := files[dice.IntN(len(files))]
		edit := func(text string) { // a writer that replaces its own work does not count on us
			delete(lost[d], content{name, r.content(side[d])[name]})
			r.must(replaceFile(filepath.Join(side[d], name), text))
		}
		m := modes()
		switch dice.IntN(6) {
		case 0, 1:
			edit(fmt.Sprintf("step %d of %s\n", step, d))
		case 2: // a merge by hand
			edit(fmt.Sprintf("merged in step %d\n", step))
			m.Force = true
			replacing(func() { _, err := r.run(other[d], m); r.must(err) })
		case 3:
			replacing(func() { r.run(d, m) }) // it may be refused
		case 4:
			m.Force = true
			replacing(func() { _, err := r.run(d, m); r.must(err) })
		case 5:
			m.Force = true
			replacing(func() {
				p := r.sidePair(d)
				defer p.Close()
				var none *sync.NothingToUndoError
				if _, err := p.Undo(context.Background(), faultID, m); err != nil && !errors.As(err, &none) {
					r.Fatal(err)
				}
			})
		}
	}
	for d := range side {
		for c := range lost[d] {
			r.comesBack(d, side[d], c)
		}
	}
}

// comesBack restores a content of a side from whichever generation has it.
func (r *rig) comesBack(d sync.Direction, dir string, c content) {
	r.Helper()
	if r.content(dir)[c.path] == c.text {
		return
	}
	p := r.sidePair(d)
	defer p.Close()
	rows, err := p.Kept(context.Background(), faultID, d == sync.Push)
	r.must(err)
	for _, k := range rows {
		if _, err := p.Restore(context.Background(), faultID, []string{c.path}, k.Run, modes()); err == nil && r.content(dir)[c.path] == c.text {
			return
		}
	}
	r.Errorf("%s: %.40q of %s does not come back", d, c.text, c.path)
}

// TestFaultGenerationsSpace is the table of what many small increments take, with a forced one in the middle.
func TestFaultGenerationsSpace(t *testing.T) {
	t.Parallel()
	const parts, size = 100, 10_000
	r := emptyRig(t, sync.Pull)
	part := func(i, v int) string { return fmt.Sprintf("%0*d", size, i*1000+v) }
	for i := range parts {
		r.must(replaceFile(filepath.Join(r.src(), fmt.Sprintf("_derived/p/part-%d", i)), part(i, 0)))
	}
	r.must(replaceFile(filepath.Join(r.src(), "records.parquet"), "rows\n"))
	r.transferred()
	increments := shortOr(20, 100)
	for v := 1; v <= increments; v++ {
		r.must(replaceFile(filepath.Join(r.src(), fmt.Sprintf("_derived/p/part-%d", v%parts)), part(v%parts, v)))
		m := modes()
		if v == increments/2 {
			r.must(replaceFile(filepath.Join(r.dst(), "_derived/p/part-7"), part(7, 9999)))
			m.Force = true
		}
		_, err := r.run(sync.Pull, m)
		r.must(err)
		if v == 1 || v == increments/2 || v == increments/2+1 || v == increments {
			var said, unique int64
			for _, k := range r.kept() {
				said, unique = said+k.Bytes, unique+k.UniqueBytes
			}
			is := r.spaceOf("generations")
			t.Logf("after %3d increments of 1 %% of %d bytes: %7d bytes taken, %7d said, of these unique %6d", v, parts*size, is, said, unique)
			if is > said || is > 5*size {
				t.Errorf("%d bytes taken, %d said", is, said)
			}
		}
	}
	if _, err := r.restore("", "_derived/p/part-7"); err != nil || r.content(r.dst())["_derived/p/part-7"] != part(7, 9999) {
		t.Errorf("the forced work does not come back: %v", err)
	}
}
