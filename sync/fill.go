package sync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/rsync"
	"github.com/dnadesign-maintainers/usr/verify"
)

// bring gets items into the stage, each by its origin, and the directories that no file brings along. The stage is
// listed only where it is not known of every file what it is.
func (st *stage) bring(ctx context.Context, p *plan, want []*item) error {
	by := map[origin][]*item{}
	var twins []*item // of what is fetched
	for _, it := range want {
		st.copied[it.Path] = it.origin == reuse
		if it.twin != "" {
			twins = append(twins, it)
			continue
		}
		by[it.origin] = append(by[it.origin], it)
	}
	if err := st.restore(ctx, by[restore], p.newDirs); err != nil {
		return err
	}
	if err := st.reuse(ctx, by[reuse]); err != nil {
		return err
	}
	if err := st.merge(ctx, by[merge]); err != nil {
		return err
	}
	got, err := st.fetch(ctx, p, by[fetch])
	if err != nil {
		return err
	}
	if err := st.reuse(ctx, twins); err != nil {
		return err
	}
	// Only what comes from another host is in its place when rsync reports it (rsync.Transfer): else what was hashed
	// may be the file that it replaces.
	if p.src.side.Far() && len(by[fetch]) == len(want) && complete(got, entriesOf(want)) {
		st.add(got.Stamped, p.src.files)
		return nil
	}
	if err := st.list(ctx, p, got); err != nil {
		return err
	}
	return st.refetch(ctx, p, append(by[reuse], twins...))
}

// restore links files of kept trees into the stage, and makes directories that a kept tree has. Files that writers
// change in place are copied: a generation must not share them with what will be live.
func (st *stage) restore(ctx context.Context, items []*item, dirs []string) error {
	type paths struct{ links, copies []string }
	trees := map[string]*paths{}
	of := func(tree string) *paths {
		if trees[tree] == nil {
			trees[tree] = &paths{}
		}
		return trees[tree]
	}
	if st.plan.src.kept != nil {
		for _, dir := range dirs {
			tree := of(st.plan.src.treeOf(dir))
			tree.links = append(tree.links, dir)
		}
	}
	for _, it := range items {
		if tree := of(it.from); it.Class.InPlace() {
			tree.copies = append(tree.copies, it.Path)
		} else {
			tree.links = append(tree.links, it.Path)
		}
	}
	for tree, of := range trees {
		if err := st.dst.Link(ctx, tree, st.tree, of.links, true); err != nil {
			return err
		}
		if err := st.dst.Copy(ctx, tree, st.tree, of.copies); err != nil {
			return err
		}
	}
	return nil
}

// reuse copies files of the destination that have the content under another name, or have just arrived. They are never
// linked: a second name of a live file is one that a program may count, or change through.
func (st *stage) reuse(ctx context.Context, items []*item) error {
	if len(items) == 0 {
		return nil
	}
	files := make([]remote.Placement, len(items))
	for i, it := range items {
		files[i] = remote.Placement{From: it.from, Path: it.Path, Mtime: it.Mtime}
		if it.twin != "" {
			files[i].From = st.tree + "/" + it.twin
		}
	}
	return st.dst.CopyAs(ctx, st.tree, files)
}

// refetch has the source bring what was to be a copy and turned out to be something else: what was copied from has
// changed since it was read, or went.
func (st *stage) refetch(ctx context.Context, p *plan, copied []*item) error {
	var again []*item // not the plan's own, which others read meanwhile
	for _, it := range st.lacking(p, copied) {
		st.spoiled = append(st.spoiled, it.Path)
		again = append(again, &item{Entry: it.Entry, origin: fetch})
	}
	if len(again) == 0 {
		return nil
	}
	return st.bring(ctx, p, again)
}

// distrust has a plan fetch what could not be copied.
func (st *stage) distrust(p *plan) {
	for _, path := range st.spoiled {
		if it := p.find(path); it != nil && it.origin == reuse {
			it.origin, it.twin = fetch, ""
		}
	}
}

// merge puts files together that are made of both sides. Only this host does that.
func (st *stage) merge(ctx context.Context, items []*item) error {
	for _, it := range items {
		here, ok := st.dst.(writer)
		if !ok {
			return fmt.Errorf("cannot merge %q on %s: only local files are merged", it.Path, st.dst.Name())
		}
		err := here.Write(st.tree, it.Path, it.Mtime, func(w io.Writer) error { return writeParts(ctx, w, it.parts) })
		if err != nil {
			return fmt.Errorf("cannot merge %q: %w", it.Path, err)
		}
	}
	return nil
}

// writer is a side on which files can be put together.
type writer interface {
	// Write makes a file below a stage's tree, with its directories, or replaces it. The time is in ns.
	Write(tree, path string, mtime int64, fill func(io.Writer) error) error
}

// sum returns the digest of parts.
func sum(ctx context.Context, algorithm string, parts []part) (d verify.Digest, err error) {
	h, err := verify.NewHash(algorithm)
	if err == nil {
		err = writeParts(ctx, h, parts)
	}
	if err == nil {
		h.Sum(d[:0])
	}
	return d, err
}

func writeParts(ctx context.Context, w io.Writer, parts []part) error {
	for _, p := range parts {
		var in io.Reader = &rangeReader{ctx: ctx, side: p.side, file: p.file, off: p.off, end: p.end}
		if p.side == nil {
			if _, err := w.Write(p.text); err != nil {
				return err
			}
			continue
		}
		if n, err := io.Copy(w, in); err != nil {
			return err
		} else if n != p.end-p.off {
			return fmt.Errorf("%s: %w", p.file, io.ErrUnexpectedEOF)
		}
	}
	return nil
}

// fetch copies files of the source into the stage, hashing both ends while the bytes move.
func (st *stage) fetch(ctx context.Context, p *plan, items []*item) (remote.Arrivals, error) {
	var dirs []string
	if p.src.kept == nil {
		dirs = p.newDirs
	}
	if len(items)+len(dirs) == 0 {
		return remote.Arrivals{}, nil
	}
	want := entriesOf(items)
	there, err := st.landing(ctx, p, want)
	if err != nil {
		return remote.Arrivals{}, err
	}
	copying, stop := context.WithCancel(ctx)
	defer stop()
	err = together(
		func() error { return st.copyInTurns(copying, p, want, dirs, there.add) },
		func() error {
			err := st.hashSource(ctx, p, items)
			if err != nil {
				stop()
			}
			return err
		})
	got, herr := there.wait()
	if err == nil {
		err = herr
	}
	return got, err
}

// add puts files that have arrived beside, or in place of, those that are there. Their paths become those of the
// source in memory too.
func (st *stage) add(arrived, src verify.Manifest) {
	arrived.SharePaths(src)
	for i := range arrived {
		arrived[i].Class = st.classes.Class(arrived[i].Path)
	}
	if len(st.files) == 0 {
		st.files = arrived
		return
	}
	var all verify.Manifest
	verify.Join(st.files, arrived, func(old, fresh *verify.Entry) {
		if fresh == nil {
			fresh = old
		}
		all = append(all, *fresh)
	})
	st.files = all
}

// copyInTurns brings the wanted files, those after the others that are deltas of one of them.
func (st *stage) copyInTurns(ctx context.Context, p *plan, want []*verify.Entry, dirs []string, done func(string)) (err error) {
	first, second := p.inTurns(want)
	turns := []turn{{files: first, dirs: dirs, basis: st.giveBases(ctx, first, p.basisOf)}, {files: second, before: totalSize(first)}}
	defer func() {
		if turns[0].basis+turns[1].basis != "" {
			err = cmp.Or(err, st.dropBases())
		}
	}()
	total := totalSize(want)
	tell := func(n int64) { st.o.Observe(Progressed{Phase: PhaseTransfer, Done: n, Total: total, Files: len(want)}) }
	tell(0)
	err = st.copyFiles(ctx, p, turns[0], tell, done)
	if err == nil && len(second) > 0 {
		turns[1].basis = st.giveBases(ctx, second, func(*verify.Entry) string { return st.tree + "/" + primaryPath })
		err = st.copyFiles(ctx, p, turns[1], tell, done)
	}
	tell(total) // whatever is left of the step is not this
	return err
}

// turn is what one rsync brings, or several side by side.
type turn struct {
	files  []*verify.Entry
	dirs   []string
	basis  string // a directory; "" for none
	before int64  // bytes of the turn before
}

// copyFiles runs rsync over exactly the files of a turn.
func (st *stage) copyFiles(ctx context.Context, p *plan, t turn, tell func(int64), done func(string)) error {
	streams := split(t.files, st.o.Streams)
	streams[0] = append(streams[0], t.dirs...)
	lists, err := st.putNames(ctx, streams)
	if err != nil {
		return err
	}
	total := totalSize(t.files)
	basis := slices.Clone(st.earlier)
	if p.dst.survey.Exists {
		basis = append([]string{p.dst.survey.Live}, basis...)
	}
	if t.basis != "" {
		basis = append(basis, t.basis)
	}
	from, to, err := endpoints(ctx, p)
	if err != nil {
		return err
	}
	stats, err := runStreams(ctx, rsync.Transfer{
		From: from, To: to,
		FromDir: p.src.survey.Live, ToDir: st.tree,
		Basis:      basis,
		PartialDir: partialDir,
		Largest:    largest(t.files),
		Bwlimit:    st.bwlimit(),
		Stall:      stallTimeout,
		Small:      total/int64(len(t.files)+1) < smallFile, TrustSender: len(t.files) > manyFiles && st.trustSender(ctx),
		Done:     func(it rsync.Item) { done(it.Path) },
		Progress: func(n int64) { tell(t.before + n) },
		Command:  st.ranRsync,
	}, streams, lists)
	st.cost.sent += stats.Sent
	st.cost.received += stats.Received
	var rs *rsync.Error
	if errors.As(err, &rs) && rs.Vanished() {
		return nil // the next look at the source decides
	}
	return err
}

// putNames writes the names of each stream on the destination, where it is another host and there are many.
func (st *stage) putNames(ctx context.Context, streams [][]string) (lists []string, err error) {
	lists = make([]string, len(streams))
	far, ok := st.dst.(namesKeeper)
	for i, names := range streams {
		if ok && err == nil && len(names) > manyFiles {
			lists[i], err = far.PutNames(ctx, st.key, st.run, strconv.Itoa(i), names)
		}
	}
	return lists, err
}

// namesKeeper is a side that rsync reads its list of names from faster than from here.
type namesKeeper interface {
	// PutNames writes names, a NUL after each, into a file of a stage that goes with it, and returns its path.
	PutNames(ctx context.Context, key, run, name string, paths []string) (file string, err error)
}

func largest(files []*verify.Entry) (n int64) {
	for _, e := range files {
		n = max(n, e.Size)
	}
	return n
}

// endpoints say how rsync reaches both ends of a plan.
func endpoints(ctx context.Context, p *plan) (from, to remote.Endpoint, err error) {
	if from, err = p.src.side.Endpoint(ctx); err == nil {
		to, err = p.dst.side.Endpoint(ctx)
	}
	return from, to, err
}

// canCopy reports that this host's rsync is one that can transfer; what is wrong with others a transfer shows.
func (c *command) canCopy(ctx context.Context) error {
	v, err := c.localRsync(ctx)
	switch {
	case err != nil:
		return ctx.Err()
	case v.Openrsync:
		return &remote.ToolError{Tool: "rsync", Where: "this host", Detail: "it is openrsync, which lacks options that transfers need"}
	case v.Less(oldestRsync):
		return &remote.ToolError{Tool: "rsync", Where: "this host", Detail: v.String() + " is too old"}
	}
	return nil
}

var oldestRsync = rsync.Version{Major: 3, Minor: 1, Patch: 3}

func (c *command) bwlimit() string {
	if c.asked.Bwlimit != "" {
		return c.asked.Bwlimit
	}
	return c.o.Bwlimit
}

// smallFile is below which a file is no progress worth telling in parts.
const smallFile = 1 << 20

// manyFiles is how many a transfer has at least before rsync's checks of names, n*n of them, take noticeable time.
const manyFiles = 1000

// trustSender reports whether the local rsync knows --trust-sender (since 3.2.5, rsync's NEWS). Nothing rests on the
// trust: what is received lands in a private stage and is held against the plan, name by name and by content.
func (p *Pair) trustSender(ctx context.Context) bool {
	v, err := p.localRsync(ctx)
	return err == nil && !v.Openrsync && !v.Less(rsync.Version{Major: 3, Minor: 2, Patch: 5}) // else the transfer shows why
}

// stallTimeout ends an rsync that shows no sign of life. Its own --timeout does not fire on a stalled pull, and a
// long delta computation is silent.
const stallTimeout = 10 * time.Minute

// hashSource completes the source's digests of incoming files.
func (st *stage) hashSource(ctx context.Context, p *plan, items []*item) error {
	var unread []*verify.Entry
	levels := p.how.modes.levels()
	for _, it := range items {
		if (it.origin == fetch || it.origin == restore) && levels[it.Class] == verify.Content && !it.Digest.Known() {
			unread = append(unread, it.Entry)
		}
	}
	return st.hash(ctx, p.src, unread, p.how.algorithm)
}

// list lists what has arrived and completes its digests: those taken while the files landed hold where the stamp shows
// that nothing has touched the file since; everything else is read again.
func (st *stage) list(ctx context.Context, p *plan, got remote.Arrivals) error {
	found, err := listTree(ctx, st.dst, st.tree)
	if err != nil {
		return err
	}
	snap := &snapshot{side: st.dst, survey: &remote.Survey{Live: st.tree}}
	snap.sort(found, st.classes)
	snap.files.SharePaths(p.src.files)
	snap.files.Learn(got.Stamped)
	snap.files.LearnRead(got.Read)
	snap.files.Learn(st.files)
	levels := p.how.modes.levels()
	var unread []*verify.Entry
	for _, e := range unknown(snap.files) {
		if levels[e.Class] == verify.Content {
			unread = append(unread, e)
		}
	}
	if err := st.hash(ctx, snap, unread, p.how.algorithm); err != nil {
		return err
	}
	st.files = snap.files
	return nil
}
