package sync

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"iter"
	"path"
	"slices"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// The spare is a tree of links to live in which the next new tree is put together: of the generation that went last where
// there is one, and then in as many steps as there were changes since. What stays gets no other name, and keeps its change
// time. It is made while no dataset lock is held, so that under the locks only what moved since is left to do. rsync never
// writes into it: what has arrived is linked in at last. No undo needs it, and without it the files are linked anew.

// From how many files that stay on it is worth the requests that it takes, a dozen. Over a slow line they take longer.
const spareFrom, spareFromFar = 1000, 10_000

// From how many links on it pays to make them before the locks. Fewer take a third of a second, which is less than the two
// listings that such links need: where there is no spare yet, they are made as if there never were one.
const linksAheadFrom = 25_000

// worthSpare reports whether a side has so many files.
func (p *Pair) worthSpare(s side, files int) bool {
	from := spareFrom
	if s.Far() {
		from = spareFromFar
	}
	return files >= cmp.Or(p.spareFrom, from)
}

// prepare brings the spare to what stays of live, as the plan that was made without locks has it. Where none can be had
// the files are linked under the locks.
// It returns a later listing of live, if one was made.
func (st *stage) prepare(ctx context.Context) (later *snapshot, err error) {
	p := st.plan
	if st.inPlace || !p.dst.survey.Exists || !st.worthSpare(st.dst, len(p.kept())) {
		return nil, nil
	}
	dir := statePath(st.dst, "spare", st.key)
	later, err = st.mendBefore(ctx, dir)
	switch {
	case errors.Is(err, errNoSpare):
		return nil, nil
	case err != nil:
		st.dst.Remove(ctx, dir) // where that fails it is in nobody's way
		return later, ctx.Err()
	}
	st.spare = dir
	return later, nil
}

// errNoSpare means that there is none, and none is worth making.
var errNoSpare = errors.New("no spare")

// mendBefore mends the spare while writers may be at work. Where many files get another name their change times move, so
// live is listed right before and right after that: what kept size and time in between has the digest that it had.
func (st *stage) mendBefore(ctx context.Context, dir string) (later *snapshot, err error) {
	var found verify.Manifest
	err = st.dst.Names(ctx, dir, func(e verify.Entry) { found = append(found, e) })
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return nil, err
	}
	drop, link := lacks(parted(verify.InOrder(found)), st.plan)
	if missing {
		if len(link) < cmp.Or(st.spareFrom, linksAheadFrom) {
			return nil, errNoSpare
		}
		if err := st.dst.Spare(ctx, st.key); err != nil {
			return nil, err
		}
	}
	if !st.worthSpare(st.dst, len(link)) { // under the locks: then no change time moves before live is listed again
		st.unspared = link
		return nil, st.mend(ctx, dir, drop, nil)
	}
	before, err := st.lookAt(ctx, st.dst, st.id, st.plan.dst)
	if err == nil {
		err = st.mend(ctx, dir, drop, link)
	}
	if err != nil {
		return nil, err
	}
	letStampsAge(ctx, before.files)
	time.Sleep(2 * stampTick)
	later, err = st.lookAt(ctx, st.dst, st.id, before)
	if err != nil {
		return nil, err
	}
	slices.Sort(link)
	verify.Join(later.files, before.files, func(f, w *verify.Entry) {
		if f == nil || w == nil || f.Digest.Known() || !untouched(f, w) || !verify.Unique(w.Mtime, before.survey.Now) {
			return
		}
		if _, linked := slices.BinarySearch(link, f.Path); linked {
			f.Digest = w.Digest
		}
	})
	return later, nil
}

// stampTick is how coarse the stamps of a file are against its clock: what was touched so lately is not trusted.
const stampTick = 20 * time.Millisecond

// relist has a later listing of the destination stand for the one that the plan was made of.
func (p *plan) relist(dst *snapshot) {
	if p.local == p.dst {
		p.local = dst
	} else {
		p.remote = dst
	}
	p.dst = dst
}

// mend removes and links names of the spare.
func (st *stage) mend(ctx context.Context, dir string, drop, link []string) error {
	if len(drop) > 0 {
		if err := st.dst.Drop(ctx, dir, drop); err != nil {
			return err
		}
	}
	if len(link) == 0 {
		return nil
	}
	return st.dst.Link(ctx, st.plan.dst.survey.Live, dir, link, false)
}

// holding is what is in a spare: files in order of path, and directories.
type holding struct {
	files iter.Seq[*verify.Entry]
	dirs  map[string]bool
}

// parted is a listing as a holding.
func parted(listing verify.Manifest) holding {
	h := holding{dirs: map[string]bool{}}
	for i := range listing {
		if listing[i].Kind == verify.Directory {
			h.dirs[listing[i].Path] = true
		}
	}
	h.files = func(yield func(*verify.Entry) bool) {
		for i := range listing {
			if listing[i].Kind != verify.Directory && !yield(&listing[i]) {
				return
			}
		}
	}
	return h
}

// staying is what a spare holds that was mended by a plan, but for what was left to be linked.
func (p *plan) staying(unlinked []string) holding {
	h, lacks := holding{dirs: p.treeDirs()}, map[string]bool{}
	for _, path := range unlinked {
		lacks[path] = true
		delete(h.dirs, path)
	}
	h.files = func(yield func(*verify.Entry) bool) {
		for i := range p.items {
			if it := &p.items[i]; it.origin == keep && !lacks[it.Path] && !yield(it.Entry) {
				return
			}
		}
	}
	return h
}

// treeDirs are the directories of the new tree.
func (p *plan) treeDirs() map[string]bool {
	all := map[string]bool{}
	add := func(dir string) {
		for ; dir != "." && !all[dir]; dir = path.Dir(dir) {
			all[dir] = true
		}
	}
	for i := range p.items {
		add(path.Dir(p.items[i].Path))
	}
	for _, dirs := range [][]string{p.keptDirs, p.newDirs} {
		for _, dir := range dirs {
			add(dir)
		}
	}
	return all
}

// lacks tells what has to go from a spare, and which names of live have to be linked, for it to hold what stays of live.
// The directories of what is incoming may be there.
func lacks(h holding, p *plan) (drop, link []string) {
	i := 0
	upTo := func(path string, all bool) {
		for ; i < len(p.items) && (all || p.items[i].Path < path); i++ {
			if p.items[i].origin == keep {
				link = append(link, p.items[i].Path)
			}
		}
	}
	for e := range h.files {
		upTo(e.Path, false)
		if i < len(p.items) && p.items[i].Path == e.Path && p.items[i].origin == keep && e.Kind == verify.File && e.Ino == p.items[i].Ino {
			i++
			continue
		}
		drop = append(drop, e.Path)
	}
	upTo("", true)
	want := p.treeDirs()
	for dir := range h.dirs {
		if !want[dir] {
			drop = append(drop, dir)
		}
	}
	for _, dir := range p.keptDirs {
		if !h.dirs[dir] {
			link = append(link, dir)
		}
	}
	return drop, link
}

// takeSpare makes the spare the stage's tree: what moved since it was mended is mended, and what has arrived gets its name
// there once every stamp of it was seen to stand.
func (st *stage) takeSpare(ctx context.Context, p *plan) error {
	drop, link := lacks(st.plan.staying(st.unspared), p)
	if err := st.mend(ctx, st.spare, drop, link); err != nil {
		return err
	}
	st.touched = append(link, entriesPaths(st.files)...)
	if err := st.arrivedWhole(ctx, p); err != nil {
		return err
	}
	if err := st.dst.Link(ctx, st.tree, st.spare, append(entriesPaths(st.files), p.newDirs...), false); err != nil {
		return err
	}
	return st.dst.UseSpare(ctx, st.key, st.run)
}

// arrivedWhole holds what has arrived against what was proved of it. What a generation has may have lost a name in the
// spare since, which moves its change time.
func (st *stage) arrivedWhole(ctx context.Context, p *plan) error {
	seen := map[string]bool{}
	var wrong []string
	err := st.dst.Walk(ctx, st.tree, func(f verify.Entry) {
		e, it := st.files.Find(f.Path), p.incoming(f.Path)
		switch {
		case f.Kind == verify.Directory:
		case e != nil && it != nil && f.Kind == verify.File && untouched(&f, e) && (f.Ctime == e.Ctime || it.origin == restore):
			seen[f.Path] = true
		default:
			wrong = append(wrong, f.Path)
		}
	})
	for i := range st.files {
		if !seen[st.files[i].Path] {
			wrong = append(wrong, st.files[i].Path)
		}
	}
	if err == nil && len(wrong) > 0 {
		err = &MismatchError{Paths: wrong}
	}
	return err
}

// restamped is the new live tree with the stamps that it has now, where it was the spare: what neither arrived nor was
// linked nor lost a name since it was proved has those that it had.
func (c *command) restamped(ctx context.Context, t *proven) (*snapshot, error) {
	live, proved := t.plan.dst.survey.Live, t.plan.dst.survey.Now
	touched := map[string]bool{}
	for _, path := range t.stage.touched {
		touched[path] = true
	}
	var names []string
	for i := range t.files {
		e := &t.files[i]
		if touched[e.Path] = touched[e.Path] || e.Class.InPlace(); touched[e.Path] {
			names = append(names, path.Join(c.id, e.Path))
		} else if !verify.Past(e.Ctime, proved) {
			e.Digest = verify.Digest{}
		}
	}
	g, err := t.dst.Glance(ctx, names, false)
	if err != nil {
		return nil, err
	}
	for i := range t.files {
		e := &t.files[i]
		if !touched[e.Path] {
			continue
		}
		is, there := remote.ParseStamp(g.Stamps[path.Join(c.id, e.Path)])
		if is.Dev = e.Dev; !there || !untouched(&is, e) || !verify.Unique(e.Mtime, proved) {
			e.Digest = verify.Digest{}
		}
		e.Ctime = is.Ctime
	}
	return &snapshot{side: t.dst, survey: &remote.Survey{Live: live, Exists: true, Now: g.Now}, files: t.files}, nil
}
