package sync

import (
	"context"
	"slices"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// What need not be fetched, or not in full. Content that the destination has already, under another name, is copied there and not fetched. Sizes make candidates,
// digests decide, and the proof holds the copy against the digest as it does with all else.

const (
	// leastReused is how large a file is at least: copying a smaller one takes a host's shell longer than getting it.
	leastReused = 64 << 10
	// leastBySize is how large a file is at least that is a candidate by its size alone. Others have the time stamp in
	// common as well, as what is renamed has, or copied by the writers.
	leastBySize = 1 << 20
	// mostBySize is how many files may have a size that says anything by itself, or a size and a time stamp that do where
	// the destination has none of them: what was unpacked in one second is of one stamp.
	mostBySize = 8
	// worthAsking is how much is to be fetched before the kept trees are asked for it, which takes round trips.
	worthAsking = 4 << 20
	// mostAsked is how many kept trees are asked, the newest first.
	mostAsked = 3
)

// planned is what a deed decides on a view, with the origins that save fetching.
func (c *command) planned(ctx context.Context, d deed, v view) (*plan, error) {
	p, err := c.decided(ctx, d, v)
	if err != nil || len(p.changes) == 0 {
		return p, err
	}
	if err := c.hashAlike(ctx, p, p.dst); err != nil {
		return nil, err
	}
	p.reuse(p.dst)
	at := p.dst.side.Name()
	if _, asked := c.keptTrees[at]; !asked && totalSize(entriesOf(p.fetched())) >= worthAsking && p.dst.survey.Exists {
		c.keptTrees[at] = c.lookAtKept(ctx, p)
	}
	for _, kept := range c.keptTrees[at] {
		if err := c.hashAlike(ctx, p, kept); err != nil {
			return nil, err
		}
		p.reuse(kept)
	}
	return p, nil
}

// fetched lists what comes from the source and is large enough to be looked for elsewhere. The log is put together line
// by line, and is nobody's copy.
func (p *plan) fetched() (items []*item) {
	levels := p.how.modes.levels()
	for i := range p.items {
		it := &p.items[i]
		if it.origin == fetch && it.Size >= leastReused && it.Class != verify.Events && levels[it.Class] == verify.Content {
			items = append(items, it)
		}
	}
	return items
}

// alike lists the pairs of fetched files and others that may be the same: the fetched ones among each other, and those of
// a tree of the destination.
func (p *plan) alike(tree *snapshot) (fetched, there []*verify.Entry) {
	type group struct{ fetched, there []*verify.Entry }
	bySize := map[int64]*group{}
	for _, it := range p.fetched() {
		if bySize[it.Size] == nil {
			bySize[it.Size] = &group{}
		}
		bySize[it.Size].fetched = append(bySize[it.Size].fetched, it.Entry)
	}
	for i := range tree.files {
		e := &tree.files[i]
		if g := bySize[e.Size]; g != nil {
			g.there = append(g.there, e)
		}
	}
	for size, g := range bySize {
		all := slices.Concat(g.fetched, g.there)
		speaks := size >= leastBySize && len(all) <= mostBySize
		stamps, stampsThere := countStamps(all), countStamps(g.there)
		likely := func(e *verify.Entry) bool {
			n := stamps[e.Mtime]
			return len(all) > 1 && speaks || n > 1 && (n <= mostBySize || stampsThere[e.Mtime] > 0)
		}
		fetched = append(fetched, keepIf(g.fetched, likely)...)
		there = append(there, keepIf(g.there, likely)...)
	}
	return fetched, there
}

func countStamps(entries []*verify.Entry) map[int64]int {
	n := map[int64]int{}
	for _, e := range entries {
		n[e.Mtime]++
	}
	return n
}

func keepIf(entries []*verify.Entry, ok func(*verify.Entry) bool) (kept []*verify.Entry) {
	for _, e := range entries {
		if ok(e) {
			kept = append(kept, e)
		}
	}
	return kept
}

// hashAlike completes the digests of what may be the same. What cannot be read is no candidate, and whoever needs it
// says so.
func (c *command) hashAlike(ctx context.Context, p *plan, tree *snapshot) error {
	fetched, there := p.alike(tree)
	unread := func(e *verify.Entry) bool { return !e.Digest.Known() }
	return c.broken(p.view, together(
		func() error { _, err := c.read(ctx, p.src, keepIf(fetched, unread), p.how.algorithm); return err },
		func() error { _, err := c.read(ctx, tree, keepIf(there, unread), p.how.algorithm); return err }))
}

// content is what makes two files the same.
type content struct {
	size   int64
	digest verify.Digest
}

// reuse has what the plan fetches copied where the content is known to be in a tree of the destination, or is fetched for
// another path anyway: then for one that rsync finds a basis for.
func (p *plan) reuse(tree *snapshot) {
	there := map[content]string{}
	for i := range tree.files {
		if e := &tree.files[i]; e.Digest.Known() && e.Size >= leastReused {
			there[content{e.Size, e.Digest}] = tree.survey.Live + "/" + e.Path
		}
	}
	first := map[content]*item{}
	for _, it := range p.fetched() {
		if !it.Digest.Known() {
			continue
		}
		key := content{it.Size, it.Digest}
		switch leader := first[key]; {
		case there[key] != "":
			it.origin, it.from = reuse, there[key]
		case leader == nil:
			first[key] = it
		case p.dst.files.Find(it.Path) != nil && p.dst.files.Find(leader.Path) == nil || it.Class == verify.Primary:
			first[key] = it
			leader.origin, leader.twin = reuse, it.Path
		default:
			it.origin, it.twin = reuse, leader.Path
		}
	}
	for i := range p.items { // whoever followed one that follows now
		for it := &p.items[i]; it.twin != "" && p.find(it.twin).origin == reuse; {
			other := p.find(it.twin)
			it.from, it.twin = other.from, other.twin
		}
	}
}

// lookAtKept lists the newest kept trees of the destination. They are a chance, no need.
func (c *command) lookAtKept(ctx context.Context, p *plan) (trees []*snapshot) {
	kept, err := p.dst.side.Generations(ctx, c.key)
	if err != nil {
		return nil
	}
	for _, g := range kept[:min(len(kept), mostAsked)] {
		found, err := listTree(ctx, p.dst.side, g.Tree)
		if err != nil {
			continue
		}
		snap := &snapshot{side: p.dst.side, survey: &remote.Survey{Live: g.Tree}}
		snap.sort(found, c.classes)
		trees = append(trees, snap)
	}
	return trees
}

// Reuse counts what was, or is to be, copied at the destination in place of being fetched.
type Reuse struct {
	Files int
	Bytes int64
}

func (r *Reuse) add(it *item) {
	r.Files++
	r.Bytes += it.Size
}

// toReuse is what a plan has copied.
func (p *plan) toReuse() (r Reuse) {
	for _, it := range p.arriving() {
		if it.origin == reuse {
			r.add(it)
		}
	}
	return r
}

// reused is what of the new tree was copied.
func (t *proven) reused() (r Reuse) {
	for _, it := range t.plan.arriving() {
		if t.copied[it.Path] {
			r.add(it)
		}
	}
	return r
}

// leastBasis is how large a new snapshot is at least for a basis to be looked for.
const leastBasis = 256 << 10

// worthWaitingFor is how much there is at least to bring after what it is a delta of: that takes an rsync of its own.
const worthWaitingFor = 4 << 20

// basisOf is the file of the destination that a new snapshot has most in common with: the snapshot before it, else the
// next one, else the primary. rsync finds none by itself, for its name is new. "" if there is none, or no need of one.
func (p *plan) basisOf(e *verify.Entry) string {
	i, there := p.dst.files.Index(e.Path)
	if !isSnapshot(e) || there {
		return ""
	}
	for _, at := range []int{i - 1, i} {
		if at >= 0 && at < len(p.dst.files) && isSnapshot(&p.dst.files[at]) {
			return p.dst.survey.Live + "/" + p.dst.files[at].Path
		}
	}
	if p.dst.present() {
		return p.dst.survey.Live + "/" + primaryPath
	}
	return ""
}

func isSnapshot(e *verify.Entry) bool { return e.Class == verify.Snapshots && e.Size >= leastBasis }

// inTurns parts what is fetched in two, where the primary is new and snapshots come with it: those are deltas of it.
func (p *plan) inTurns(want []*verify.Entry) (first, second []*verify.Entry) {
	for _, e := range want {
		if isSnapshot(e) && p.basisOf(e) == "" && p.dst.files.Find(e.Path) == nil {
			second = append(second, e)
		} else {
			first = append(first, e)
		}
	}
	if totalSize(second) < worthWaitingFor || p.find(primaryPath) == nil {
		return want, nil
	}
	return first, second
}

// giveBases puts files where rsync finds a basis for new ones, and returns the directory; "" if there are none. What a
// basis is good for is worth no failure: without one files come in full.
func (st *stage) giveBases(ctx context.Context, want []*verify.Entry, basisOf func(*verify.Entry) string) string {
	run := statePath(st.dst, "stage", st.key, st.run)
	var files []remote.Placement
	var bytes int64
	for _, e := range want {
		if from := basisOf(e); from != "" {
			files = append(files, remote.Placement{From: from, Path: "basis/" + e.Path, Mtime: e.Mtime})
			bytes += e.Size
		}
	}
	if free := st.plan.dst.survey.FreeBytes; len(files) == 0 || free >= 0 && free < bytes+st.plan.bytes() {
		return ""
	}
	if err := st.dst.CopyAs(ctx, run, files); err != nil {
		st.dropBases()
		return ""
	}
	return run + "/basis"
}

// dropBases removes what giveBases made.
func (st *stage) dropBases() error {
	ctx, cancel := leaving()
	defer cancel()
	return st.dst.Remove(ctx, statePath(st.dst, "stage", st.key, st.run, "basis"))
}
