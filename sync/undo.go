package sync

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/sync/local"
	"github.com/dnadesign-maintainers/usr/verify"
)

// Undo puts back the generation that the last promotion replaced: on the remote if the pair has one, else locally. It
// is the same transaction with the kept tree as the source, so that the tree it replaces becomes a generation: undoing
// twice is doing again.
func (p *Pair) Undo(ctx context.Context, id string, m Modes) (*Report, error) {
	return p.UndoFrom(ctx, id, "", m)
}

// UndoFrom is Undo that goes back to what was there before the promotion of the named generation, "" for the last.
func (p *Pair) UndoFrom(ctx context.Context, id, from string, m Modes) (*Report, error) {
	c, err := p.beginBack(id, from, m)
	if err != nil {
		return nil, err
	}
	return c.retry(ctx, func() deed { return c.undoing(from) })
}

// beginBack begins a deed that takes from kept trees: all classes, by hash. With run "" the deed chooses.
func (p *Pair) beginBack(id, from string, m Modes) (*command, error) {
	if from != "" && !local.IsRun(from) {
		return nil, &GenerationError{Run: from, Is: NoGeneration}
	}
	m.Primary, m.Sidecars, m.ContentHashes = ByHash, true, true
	m.PrimaryOnly, m.SkipSnapshots = false, false
	return p.begin(id, m)
}

// undoing is the deed of an undo.
func (c *command) undoing(from string) deed {
	u := &undo{command: c, dst: c.local, direction: Pull, from: from}
	if c.remote != nil {
		u.dst, u.direction = c.remote, Push
	}
	return deed{action: "undo", dst: u.dst, look: u.look, decide: u.decide, pend: u.pend}
}

// undo is where a kept tree is put back.
type undo struct {
	*command
	dst       side
	direction Direction
	from      string         // a run; "" for the newest
	last      generationInfo // of the newest whole generation: it knows what live is to be
	bases     []string       // runs whose common bases are undone
}

// look lists live and the kept tree. After switches in place, what stayed in live is part of the kept tree.
func (u *undo) look(ctx context.Context, before view) (v view, err error) {
	old, known := before.ends(u.direction)
	first := old == nil
	if v.how = before.how; first {
		if v.how, err = u.method(ctx); err != nil {
			return v, err
		}
	}
	live, err := u.lookAt(ctx, u.dst, u.id, known)
	if err != nil {
		return v, err
	}
	if first {
		if old, err = u.lookBack(ctx, &v.how); err != nil {
			return v, err
		}
		if !u.asked.Rehash {
			u.store.learn(live, u.id, u.remoteName(), v.how.algorithm)
		}
	}
	if err := u.hash(ctx, live, unknown(live.files), v.how.algorithm); err != nil {
		return v, err
	}
	old = old.composed(live)
	v.local, v.remote = live, old
	if u.direction == Push {
		v.local, v.remote = old, live
	}
	if first {
		err = u.untouched(old, live, v.how.algorithm)
	}
	return v, err
}

// lookBack reads the kept tree in full, and the others that make it whole. It uses the hash algorithm of the generation's
// own fingerprints if the side has it.
func (u *undo) lookBack(ctx context.Context, how *method) (*snapshot, error) {
	kept, err := u.dst.Generations(ctx, u.key)
	if err != nil {
		return nil, err
	}
	chain, err := u.chosen(ctx, kept)
	if err != nil {
		return nil, err
	}
	gen := chain[len(chain)-1]
	old := &snapshot{side: u.dst, survey: &remote.Survey{Live: gen.Tree, Exists: true, EventLines: -1}, kept: &generationInfo{}}
	if err := json.Unmarshal([]byte(gen.Info), old.kept); err != nil {
		return nil, fmt.Errorf("cannot read what the generation %s on %s records of itself: %w", gen.Run, u.dst.Name(), err)
	}
	old.kept.Run = gen.Run
	theirs, err := u.dst.Algorithms(ctx)
	if err != nil {
		return nil, err
	}
	if slices.Contains(theirs, old.kept.Hash) {
		how.algorithm = old.kept.Hash
	}
	for _, g := range chain {
		part, err := u.readKept(ctx, g, how.algorithm)
		if err != nil {
			return nil, err
		}
		old.parts = append(old.parts, part)
	}
	return old, nil
}

// readKept lists and hashes what a generation has.
func (u *undo) readKept(ctx context.Context, g remote.Generation, algorithm string) (*keptPart, error) {
	entries, err := listTree(ctx, u.dst, g.Tree)
	if err != nil {
		return nil, err
	}
	snap := &snapshot{side: u.dst, survey: &remote.Survey{Live: g.Tree}}
	snap.sort(entries, u.classes)
	// Twice: FUSE may show older stamps until a file has been read, which then seems to have changed.
	for range 2 {
		if err := u.hash(ctx, snap, unknown(snap.files), algorithm); err != nil {
			return nil, err
		}
	}
	k := &keptPart{tree: g.Tree, whole: !infoOf(g).Partial, files: snap.files, dirs: snap.dirs, unsafe: snap.unsafe, added: map[string]bool{}}
	if k.onTime, err = onTime(ctx, u.dst, g, snap.files, algorithm); err != nil || k.whole {
		return k, err
	}
	changes, err := readChanges(ctx, u.dst, path.Join(path.Dir(g.Tree), "changes"))
	if err != nil {
		return nil, fmt.Errorf("cannot read what the generation %s on %s replaced: %w", g.Run, u.dst.Name(), err)
	}
	for _, c := range changes {
		if c.Kind == 'A' {
			k.added[c.Path] = true
		}
	}
	return k, nil
}

// chosen returns the generation to put back, after those that make it whole, newest first.
func (u *undo) chosen(ctx context.Context, kept []remote.Generation) ([]remote.Generation, error) {
	newest := slices.IndexFunc(kept, func(g remote.Generation) bool { return g.Whole })
	if newest < 0 && u.from == "" {
		return nil, &NothingToUndoError{Side: u.dst.Name(), Dataset: u.id}
	}
	if newest >= 0 {
		u.last = infoOf(kept[newest])
	}
	if u.from == "" || newest >= 0 && kept[newest].Run == u.from {
		u.bases = []string{u.last.Base}
		return kept[newest : newest+1], nil
	}
	gen, err := u.generation(ctx, u.dst, kept, u.from)
	if err != nil {
		return nil, err
	}
	u.bases = nil
	for _, g := range kept {
		if g.Run >= gen.Run {
			u.bases = append(u.bases, infoOf(g).Base)
		}
	}
	if chain := chainTo(kept, gen.Run); chain != nil {
		return chain, nil
	}
	return nil, &GenerationError{Side: u.dst.Name(), Run: gen.Run, Is: Thinned}
}

// chainTo lists, newest first, the generations that are needed to put a kept tree back. A whole tree needs only itself. One
// that holds only what was replaced in place needs the tree that replaced it: live, or what another generation puts back.
// It returns nil if there is no such chain.
func chainTo(kept []remote.Generation, run string) (chain []remote.Generation) {
	at := slices.IndexFunc(kept, func(g remote.Generation) bool { return g.Run == run })
	newest := slices.IndexFunc(kept, func(g remote.Generation) bool { return g.Whole })
	for at >= 0 && kept[at].Whole {
		chain = append([]remote.Generation{kept[at]}, chain...)
		this := infoOf(kept[at])
		same := func(hash, print string) bool { return print != "" && hash == this.Hash && print == this.After }
		if last := infoOf(kept[newest]); !this.Partial || at == newest || same(last.Hash, last.After) {
			return chain
		}
		next := at - 1
		for next >= 0 && !(kept[next].Whole && same(infoOf(kept[next]).Hash, infoOf(kept[next]).Before)) {
			next--
		}
		at = next
	}
	return nil
}

// untouched compares a kept tree with what it was when it was kept, but for what writers left there later. If live has
// changed since there is nothing to compare: decide refuses that.
func (u *undo) untouched(old, live *snapshot, algorithm string) error {
	was := old.kept.Before
	switch {
	case was == "" || old.kept.Hash != algorithm || u.asked.Force || u.last.changedSince(live, algorithm):
		return nil
	case fingerprint(old.composedOf(live, func(k *keptPart) verify.Manifest { return k.onTime }).files) == was:
		return nil
	}
	return &MismatchError{Paths: []string{old.survey.Live}}
}

// onTime are the files of a kept tree as they were listed before the switch: without what writers left there later.
func onTime(ctx context.Context, s side, g remote.Generation, files verify.Manifest, algorithm string) (verify.Manifest, error) {
	if g.Late == 0 {
		return files, nil
	}
	late, with, was, err := readSums(ctx, s, g)
	if err != nil || with != algorithm {
		return files, err
	}
	var listed verify.Manifest
	verify.Join(files, was, func(f, w *verify.Entry) {
		switch {
		case f == nil: // it is missing, which the fingerprint shows
		case !late[f.Path]:
			listed = append(listed, *f)
		case w != nil:
			e := *f
			e.Size, e.Digest = w.Size, w.Digest
			listed = append(listed, e)
		}
	})
	return listed, nil
}

// mostChanges bounds the list of a generation's changes, in bytes: enough for the names of millions of files.
const mostChanges = 1 << 30

func readChanges(ctx context.Context, s side, file string) ([]remote.Change, error) {
	e, err := s.Stat(ctx, file)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(&rangeReader{ctx: ctx, side: s, file: file, end: min(e.Size, mostChanges)})
	if err != nil {
		return nil, err
	}
	return local.ParseRecords(string(text))
}

// keptPart is what a generation holds: a whole tree, or only what a switch in place replaced.
type keptPart struct {
	tree        string // absolute
	whole       bool
	files, dirs verify.Manifest
	onTime      verify.Manifest // the files, without what writers left there later
	unsafe      []string
	added       map[string]bool // files that the switch added
}

// composed returns the kept tree that live and the parts make. Each part puts back what was there before it.
func (s *snapshot) composed(live *snapshot) *snapshot {
	return s.composedOf(live, func(k *keptPart) verify.Manifest { return k.files })
}

func (s *snapshot) composedOf(live *snapshot, files func(*keptPart) verify.Manifest) *snapshot {
	made := *s
	made.files, made.dirs, made.unsafe = live.files, live.dirs, nil
	for _, k := range s.parts {
		if made.unsafe = append(made.unsafe, k.unsafe...); k.whole {
			made.files, made.dirs = files(k), k.dirs
		} else {
			made.files, made.dirs = k.with(made.files, made.dirs, files(k))
		}
	}
	return &made
}

// treeOf returns where a path of a kept tree is that live lacks: in the last part that has it.
func (s *snapshot) treeOf(path string) string {
	for _, k := range slices.Backward(s.parts) {
		if k.files.Find(path) != nil || k.dirs.Find(path) != nil {
			return k.tree
		}
	}
	return s.survey.Live
}

// with returns the tree that was replaced: the one that came, without what it added and with what it replaced.
func (k *keptPart) with(files, dirs, replaced verify.Manifest) (oldFiles, oldDirs verify.Manifest) {
	verify.Join(files, replaced, func(now, was *verify.Entry) {
		switch {
		case was != nil:
			oldFiles = append(oldFiles, *was)
		case !k.added[now.Path]:
			oldFiles = append(oldFiles, *now)
		}
	})
	verify.Join(dirs, k.dirs, func(now, was *verify.Entry) {
		switch {
		case was != nil:
			oldDirs = append(oldDirs, *was)
		case hasFileBelow(oldFiles, now.Path) || !hasFileBelow(files, now.Path):
			oldDirs = append(oldDirs, *now)
		}
	})
	return oldFiles, oldDirs
}

// decide plans to make live equal to the kept tree. It refuses if live is not what the promotion left.
func (u *undo) decide(_ context.Context, v view) (*plan, error) {
	p := &plan{view: v, direction: u.direction, bases: u.store.allBases(u.id, v.how.algorithm)}
	p.src, p.dst = v.ends(u.direction)
	if !u.asked.Force && u.last.changedSince(p.dst, v.how.algorithm) {
		return nil, &NothingToUndoError{Side: u.dst.Name(), Dataset: u.id, Changed: true}
	}
	p.compare(restore)
	for i := range p.items {
		if p.items[i].origin == restore {
			p.items[i].from = p.src.treeOf(p.items[i].Path)
		}
	}
	p.spent = p.src.kept.Run
	return p, p.withinLimit("undo", v.how.modes)
}

// changedSince reports whether live is no longer what the promotion left. If the content is not known, because a partial
// transfer did not read all of it or another hash was in use, sizes and time stamps decide.
func (g *generationInfo) changedSince(live *snapshot, algorithm string) bool {
	switch {
	case g.After != "" && g.Hash == algorithm:
		return fingerprint(live.files) != g.After
	case g.Stamps != "":
		return stamps(live.files) != g.Stamps
	}
	return false
}

// pend restores the common base from before the undone promotion, if the present one is still the one that it recorded.
// Further back the tree itself becomes the base.
func (u *undo) pend(_ context.Context, t *proven) (pended bool, err error) {
	put, old := u.store.putPrevious, t.plan.src.kept
	switch {
	case old.Run == u.last.Run:
	case (old.Action == string(Pull) || old.Action == string(Push)) && !old.Forced: // a step ahead begins with what is common
		put = func(id, dir, _, run string, d Direction) error {
			return u.store.putTree(id, dir, run, d, t.plan.how.algorithm, t.files)
		}
	default:
		put = func(id, dir, _, run string, d Direction) error { return u.store.putNone(id, dir, run, d) }
	}
	for _, run := range u.bases {
		places, before, err := u.placesOf(run)
		if err != nil {
			return false, err
		}
		for _, place := range places {
			if err := put(u.id, place, before, t.run, u.direction); err != nil {
				return false, err
			}
			pended = true
		}
	}
	return pended, nil
}

// placesOf lists where a run recorded the common base, and the base before it.
func (u *undo) placesOf(run string) (places []string, before string, err error) {
	if places, err = u.store.basesOf(u.id, run); err != nil || len(places) > 0 {
		return places, previousSuffix, err
	}
	places, err = u.store.unmergedBy(u.id, run) // what was merged has been pushed since
	return places, unmergedSuffix, err
}
