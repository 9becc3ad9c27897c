package sync

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/sync/local"
	"github.com/dnadesign-maintainers/usr/verify"
)

// Restore brings the files that the globs mean back from kept trees: on the remote if the pair has one, else locally. Each
// comes from the newest generation in which it differs from live, or from the named one. The rest of the dataset stays, and so
// does the common base: what is restored is a change of that side.
func (p *Pair) Restore(ctx context.Context, id string, globs []string, from string, m Modes) (*Report, error) {
	for _, glob := range globs {
		if err := checkGlob(glob); err != nil {
			return nil, err
		}
	}
	c, err := p.beginBack(id, from, m)
	if err != nil {
		return nil, err
	}
	return c.retry(ctx, func() deed { return c.restoring(globs, from) })
}

// restoring is the deed of a restore.
func (c *command) restoring(globs []string, from string) deed {
	r := &restoration{command: c, dst: c.local, direction: Pull, globs: globs, from: from}
	if c.remote != nil {
		r.dst, r.direction = c.remote, Push
	}
	return deed{action: "restore", dst: r.dst, look: r.look, decide: r.decide,
		pend: func(context.Context, *proven) (bool, error) { return false, nil }}
}

// restoration is what is brought back, and where.
type restoration struct {
	*command
	dst       side
	direction Direction
	globs     []string
	from      string            // a run; "" for the newest that has something else than live
	picked    verify.Manifest   // the files that come back
	trees     map[string]string // of each, where it is
	lastRun   string            // the newest of the generations that they are from
}

// look shows live, and what it is to become. The choice does not change between two looks.
func (r *restoration) look(ctx context.Context, before view) (v view, err error) {
	old, known := before.ends(r.direction)
	if v.how = before.how; old == nil {
		if v.how, err = r.method(ctx); err != nil {
			return v, err
		}
	}
	live, err := r.lookAt(ctx, r.dst, r.id, known)
	if err != nil {
		return v, err
	}
	if old == nil {
		if !r.asked.Rehash {
			r.store.learn(live, r.id, r.remoteName(), v.how.algorithm)
		}
		if err := r.choose(ctx, live, v.how.algorithm); err != nil {
			return v, err
		}
	}
	if err := r.hash(ctx, live, r.contested(live), v.how.algorithm); err != nil {
		return v, err
	}
	v.local, v.remote = live, r.become(live)
	if r.direction == Push {
		v.local, v.remote = v.remote, v.local
	}
	return v, nil
}

// contested lists the files of live whose digests are needed, for something else is to take their place.
func (r *restoration) contested(live *snapshot) (want []*verify.Entry) {
	verify.Join(live.files, r.picked, func(l, p *verify.Entry) {
		if l != nil && p != nil && !l.Digest.Known() {
			want = append(want, l)
		}
	})
	return want
}

// become is live with what comes back.
func (r *restoration) become(live *snapshot) *snapshot {
	next := &snapshot{side: r.dst, survey: &remote.Survey{Live: live.survey.Live, Exists: true, EventLines: live.survey.EventLines},
		kept: &generationInfo{Run: r.lastRun, Remote: r.remoteName()}}
	if tree, chosen := r.trees[primaryPath]; chosen {
		next.survey.Live = tree
	}
	verify.Join(live.files, r.picked, func(l, p *verify.Entry) { next.files = append(next.files, *verify.Either(p, l)) })
	for _, dir := range live.dirs {
		if r.picked.Find(dir.Path) == nil {
			next.dirs = append(next.dirs, dir)
		}
	}
	return next
}

// decide plans to put what was chosen in its place, and to keep the rest.
func (r *restoration) decide(_ context.Context, v view) (*plan, error) {
	p := &plan{view: v, direction: r.direction, bases: r.store.allBases(r.id, v.how.algorithm)}
	p.src, p.dst = v.ends(r.direction)
	if len(p.dst.unsafe) > 0 {
		return nil, &UnsafeError{Side: r.dst.Name(), Paths: p.dst.unsafe}
	}
	verify.Join(p.src.files, p.dst.files, func(s, d *verify.Entry) {
		switch tree, chosen := r.trees[s.Path]; {
		case !chosen || d != nil && sameFile(s, d):
			p.add(d, keep)
		case d == nil:
			p.items = append(p.items, item{Entry: s, origin: restore, from: tree})
			p.change(s, Added)
		default:
			p.items = append(p.items, item{Entry: s, origin: restore, from: tree})
			p.change(s, Modified)
		}
	})
	for _, dir := range p.src.dirs {
		p.keptDirs = append(p.keptDirs, dir.Path)
	}
	if blocking := append(p.blocking(), r.belowFiles(p)...); len(blocking) > 0 {
		return nil, &UnsafeError{Side: r.dst.Name(), Paths: blocking}
	}
	return p, nil
}

// belowFiles lists what is to come back below a file of live.
func (r *restoration) belowFiles(p *plan) (paths []string) {
	for i := range r.picked {
		for dir := path.Dir(r.picked[i].Path); dir != "."; dir = path.Dir(dir) {
			if p.dst.files.Find(dir) != nil {
				paths = append(paths, dir+" (a file, where a directory is to be)")
			}
		}
	}
	return paths
}

// choose finds each path in the newest generation in which it differs from live.
func (r *restoration) choose(ctx context.Context, live *snapshot, algorithm string) error {
	r.picked, r.trees, r.lastRun = nil, map[string]string{}, ""
	kept, err := r.dst.Generations(ctx, r.key)
	if err != nil {
		return err
	}
	if r.from != "" {
		one, err := r.generation(ctx, r.dst, kept, r.from)
		if err != nil {
			return err
		}
		kept = []remote.Generation{one}
	}
	matched := false
	for _, g := range kept {
		versions, err := r.matching(ctx, g)
		if err != nil {
			return err
		}
		for _, v := range versions {
			matched = matched || len(v.files) > 0
			if err := r.pick(ctx, g, v, live, algorithm); err != nil {
				return err
			}
		}
	}
	if !matched {
		return &NoPathError{Side: r.dst.Name(), Dataset: r.id, Globs: r.globs, Run: r.from}
	}
	return nil
}

// versions are the files of a generation that are asked for, of its tree or of what others put in the place of what was
// being replaced.
type versions struct {
	dir   string // absolute
	late  bool
	files verify.Manifest
}

// matching lists what is asked for of a generation, what was written last first: late.N, and at last the tree.
func (r *restoration) matching(ctx context.Context, g remote.Generation) ([]versions, error) {
	run, kept := path.Split(g.Tree)
	dirs := map[string]*versions{}
	err := r.dst.Walk(ctx, path.Clean(run), func(e verify.Entry) {
		dir, file, below := strings.Cut(e.Path, "/")
		if dir != kept && !strings.HasPrefix(dir, local.LatePrefix) || e.Kind != verify.Directory && !below {
			return
		}
		if dirs[dir] == nil {
			dirs[dir] = &versions{dir: run + dir, late: dir != kept}
		}
		e.Path, e.Class = file, r.classes.Class(file)
		if e.Kind == verify.File && e.Class.Synced() && matchesAny(r.globs, file) {
			dirs[dir].files = append(dirs[dir].files, e)
		}
	})
	if errors.Is(err, fs.ErrNotExist) || err == nil && dirs[kept] == nil {
		err = &GenerationError{Side: r.dst.Name(), Run: g.Run, Is: Going}
	}
	if err != nil {
		return nil, err
	}
	var all []versions
	for _, name := range slices.SortedFunc(maps.Keys(dirs), func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) }) {
		if v := dirs[name]; v.late {
			v.files = verify.InOrder(v.files)
			all = append(all, *v)
		}
	}
	slices.Reverse(all)
	tree := dirs[kept]
	tree.files = verify.InOrder(tree.files)
	return append(all, *tree), r.complete(ctx, g, tree.files)
}

// complete refuses a generation that lacks a unique file that is asked for.
func (r *restoration) complete(ctx context.Context, g remote.Generation, found verify.Manifest) error {
	if g.Unique <= 0 {
		return nil
	}
	unique, err := readState(ctx, r.dst, path.Dir(g.Tree)+"/unique")
	for file := range bytes.SplitSeq(unique, []byte{0}) {
		if name := string(file); err == nil && name != "" && found.Find(name) == nil && matchesAny(r.globs, name) {
			err = &GenerationError{Side: r.dst.Name(), Run: g.Run, Is: Damaged, File: name}
		}
	}
	return err
}

// pick takes what a generation has and live has not.
func (r *restoration) pick(ctx context.Context, g remote.Generation, v versions, live *snapshot, algorithm string) error {
	found := slices.DeleteFunc(v.files, func(e verify.Entry) bool { return r.trees[e.Path] != "" })
	if len(found) == 0 {
		return nil
	}
	snap := &snapshot{side: r.dst, survey: &remote.Survey{Live: v.dir}, files: found}
	if !v.late {
		if err := r.holdAgainstSums(ctx, g, snap, algorithm); err != nil {
			return err
		}
	}
	if err := r.hash(ctx, snap, unknown(snap.files), algorithm); err != nil {
		return err
	}
	if moved := unknown(snap.files); len(moved) > 0 {
		return &GenerationError{Side: r.dst.Name(), Run: g.Run, Is: Damaged, File: moved[0].Path}
	}
	var want []*verify.Entry
	verify.Join(live.files, found, func(l, f *verify.Entry) {
		if l != nil && f != nil && l.Size == f.Size && !l.Digest.Known() {
			want = append(want, l)
		}
	})
	if err := r.hash(ctx, live, want, algorithm); err != nil {
		return err
	}
	for _, e := range found {
		if l := live.files.Find(e.Path); l != nil && l.Size == e.Size && l.Digest == e.Digest {
			continue
		}
		r.picked = append(r.picked, e)
		r.trees[e.Path] = v.dir
		r.lastRun = max(r.lastRun, g.Run)
	}
	sorted(r.picked)
	return nil
}

// holdAgainstSums refuses files that are no longer what they were when they were kept, as far as that was recorded. What
// came late is another version than that, and after a death nobody knows which files did.
func (r *restoration) holdAgainstSums(ctx context.Context, g remote.Generation, snap *snapshot, algorithm string) error {
	if g.Unique < 0 {
		return nil
	}
	late, with, was, err := readSums(ctx, r.dst, g)
	if err != nil || len(was) == 0 {
		return err
	}
	theirs, err := r.dst.Algorithms(ctx)
	if err != nil || !slices.Contains(theirs, with) {
		return err
	}
	if err := r.hash(ctx, snap, unknown(snap.files), with); err != nil {
		return err
	}
	verify.Join(snap.files, was, func(f, w *verify.Entry) {
		if f != nil && w != nil && !late[f.Path] && (f.Size != w.Size || f.Digest != w.Digest) && err == nil {
			err = &GenerationError{Side: r.dst.Name(), Run: g.Run, Is: Damaged, File: f.Path}
		}
	})
	if with != algorithm {
		for i := range snap.files {
			snap.files[i].Digest = verify.Digest{}
		}
	}
	return err
}

// readSums reads what a generation records of the files that were replaced, and which of them others wrote to later.
func readSums(ctx context.Context, s side, g remote.Generation) (late map[string]bool, algorithm string, was verify.Manifest, err error) {
	text, err := readState(ctx, s, path.Dir(g.Tree)+"/sums")
	if err != nil || len(text) == 0 {
		return nil, "", nil, err
	}
	lately, err := readState(ctx, s, path.Dir(g.Tree)+"/lately")
	if err != nil {
		return nil, "", nil, err
	}
	late = map[string]bool{}
	for file := range strings.SplitSeq(string(lately), "\x00") {
		late[file] = true
	}
	if algorithm, was, err = verify.ReadManifest(bytes.NewReader(text)); err != nil {
		err = &GenerationError{Side: s.Name(), Run: g.Run, Is: Damaged, File: "sums"}
	}
	return late, algorithm, was, err
}

// generation finds a kept tree by its name.
func (c *command) generation(ctx context.Context, s side, kept []remote.Generation, run string) (remote.Generation, error) {
	for _, g := range kept {
		if g.Run == run {
			return g, nil
		}
	}
	is := Going
	err := s.Walk(ctx, statePath(s, "generations", c.key, run), func(verify.Entry) {})
	if errors.Is(err, fs.ErrNotExist) {
		is, err = NoGeneration, nil
	}
	if err == nil {
		err = &GenerationError{Side: s.Name(), Run: run, Is: is}
	}
	return remote.Generation{}, err
}

// readState reads a file of the state directory as a whole; nothing where there is none.
func readState(ctx context.Context, s side, file string) ([]byte, error) {
	e, err := s.Stat(ctx, file)
	if err != nil {
		return nil, local.IgnoreMissing(err)
	}
	return s.ReadRange(ctx, file, 0, e.Size)
}

// GlobError means that a pattern cannot be one of paths of a dataset.
type GlobError struct{ Glob, Why string }

func (e *GlobError) Error() string { return fmt.Sprintf("cannot restore %q: %s", e.Glob, e.Why) }

func checkGlob(glob string) error {
	switch {
	case glob == "":
		return &GlobError{glob, "it is empty"}
	case strings.HasPrefix(glob, "/"):
		return &GlobError{glob, "it is outside of the dataset: paths are relative to that"}
	case strings.ContainsRune(glob, 0):
		return &GlobError{glob, "it holds a NUL"}
	}
	for _, segment := range strings.Split(strings.TrimSuffix(glob, "/"), "/") {
		if segment == "" || segment == "." || segment == ".." {
			return &GlobError{glob, fmt.Sprintf("no path of a dataset has a segment %q", segment)}
		}
	}
	return nil
}

// matchesAny: a glob without a slash means a name of any file or directory, one with a slash a path, and all below.
func matchesAny(globs []string, file string) bool {
	return slices.ContainsFunc(globs, func(glob string) bool { return matchesGlob(strings.TrimSuffix(glob, "/"), file) })
}

func matchesGlob(glob, file string) bool {
	if glob == file || strings.HasPrefix(file, glob+"/") {
		return true
	}
	if strings.Contains(glob, "/") {
		return doublestar.MatchUnvalidated(glob, file) || doublestar.MatchUnvalidated(glob+"/**", file)
	}
	return slices.ContainsFunc(strings.Split(file, "/"), func(name string) bool { return doublestar.MatchUnvalidated(glob, name) || glob == name })
}

// GenerationState is why a generation cannot be used.
type GenerationState uint8

// The states.
const (
	NoGeneration GenerationState = iota // there is none of that name
	Thinned                             // only its unique files are left
	Going                               // it is being removed
	Damaged                             // a file is not what it was when it was kept
)

// GenerationError means that a generation was asked for that cannot be had.
type GenerationError struct {
	Side, Run string
	Is        GenerationState
	File      string // that is damaged
}

func (e *GenerationError) Error() string {
	switch e.Is {
	case Thinned:
		return fmt.Sprintf("cannot put back the generation %s on %s: it does not hold the whole tree", e.Run, e.Side)
	case Going:
		return fmt.Sprintf("cannot use the generation %s on %s: it is being removed", e.Run, e.Side)
	case Damaged:
		return fmt.Sprintf("cannot restore %q from the generation %s on %s: it is not what it was when it was kept", e.File, e.Run, e.Side)
	}
	return fmt.Sprintf("cannot find the generation %q: there is none of that name", e.Run)
}

// NoPathError means that no kept tree has what is to be restored.
type NoPathError struct {
	Side, Dataset string
	Globs         []string
	Run           string // of the only generation that was looked at, "" for all
}

func (e *NoPathError) Error() string {
	why := "no generation has such a path"
	if e.Run != "" {
		why = "the generation " + e.Run + " has no such path"
	}
	return fmt.Sprintf("cannot restore %s of %q on %s: %s", list(e.Globs), e.Dataset, e.Side, why)
}
