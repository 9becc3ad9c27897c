package sync

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"regexp"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// stage is the private tree on the destination in which a transfer is put together. rsync writes into it only
// while nothing in it is linked to live (live serves as delta basis, by --link-dest with --ignore-times, which
// links nothing); the links to live come last.
type stage struct {
	run     string
	tree    string
	files   verify.Manifest // what has arrived, with digests
	adopted int             // files taken over from dead runs
	earlier []string        // trees of dead runs, as basis for what they already received
	listed  verify.Manifest // all of it, as long as nothing is added or taken away; else nil
}

// newStage makes an empty stage. What dead runs of the same dataset have received is taken over by hard link,
// where size and time say that it is what the source has now; the digests decide later.
func (t *transfer) newStage(ctx context.Context, p *plan) error {
	dst := p.dst
	t.stage = &stage{run: t.run}
	adopted := map[string]bool{}
	t.stage.tree = statePath(dst.side, "stage", t.key, t.run, "tree")
	if err := dst.side.Stage(ctx, t.key, t.run, dst.survey.Live); err != nil {
		return err
	}
	for i := len(dst.survey.Stages) - 1; i >= 0 && len(t.stage.earlier) < mostBases; i-- {
		tree := statePath(dst.side, "stage", t.key, dst.survey.Stages[i], "tree")
		if err := t.adopt(ctx, p, tree, adopted); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		t.stage.earlier = append(t.stage.earlier, tree)
	}
	t.stage.adopted = len(adopted)
	return nil
}

// mostBases leaves room for live: rsync takes at most 20 --link-dest.
const mostBases = 4

// adopt links what a dead run's tree holds of the plan's files.
func (t *transfer) adopt(ctx context.Context, p *plan, tree string, adopted map[string]bool) error {
	old, err := listTree(ctx, p.dst.side, tree)
	if err != nil {
		return err
	}
	var paths []string
	for _, e := range adoptable(p, old) {
		if !adopted[e.Path] {
			paths = append(paths, e.Path)
			adopted[e.Path] = true
		}
	}
	if err := t.savePartials(p, tree, old); err != nil {
		return err
	}
	return p.dst.side.Link(ctx, tree, t.stage.tree, paths)
}

// adoptable lists what a dead run's tree holds of the plan's files, as far as size and time stamp tell. A run that
// came near its end has linked live files into its tree: those are never taken, for rsync is to write beside them.
func adoptable(p *plan, old verify.Manifest) []*verify.Entry {
	var found []*verify.Entry
	for _, e := range p.copy {
		have := old.Find(e.Path)
		if have == nil || have.Kind != verify.File || have.Size != e.Size || have.Mtime != e.Mtime {
			continue
		}
		if live := p.dst.files.Find(e.Path); live == nil || live.Ino != have.Ino || live.Dev != have.Dev {
			found = append(found, e)
		}
	}
	return found
}

// savePartials hands what rsync had received of a file when it was killed outright, with no time to put it aside,
// to the next rsync. Only this host's rsync dies with us; a remote one notices the end of its connection.
func (t *transfer) savePartials(p *plan, tree string, old verify.Manifest) error {
	local, ok := p.dst.side.(*localSide)
	if !ok {
		return nil
	}
	partial := statePath(local, "stage", t.key, "partial")
	for i := range old {
		dir, name := path.Split(old[i].Path)
		m := temporaryName.FindStringSubmatch(name)
		if m == nil || old[i].Kind != verify.File || old[i].Size == 0 || p.copied(dir+m[1]) == nil {
			continue
		}
		if err := local.savePartial(tree+"/"+old[i].Path, partial, m[1]); err != nil {
			return err
		}
	}
	return nil
}

// temporaryName is how rsync names a file while it receives it.
var temporaryName = regexp.MustCompile(`^\.(.+)\.[A-Za-z0-9]{6}$`)

// missing lists the plan's files that the stage lacks or holds in another version.
func (t *transfer) missing(p *plan) (lacking []*verify.Entry) {
	levels := t.modes.levels()
	for _, e := range p.copy {
		if have := t.stage.files.Find(e.Path); have == nil || !t.holds(levels, e, have) {
			lacking = append(lacking, e)
		}
	}
	return lacking
}

// wrong lists those lacking files that were copied from the very version that the source still shows: no honest
// copy can explain that. Whatever the stage lacked at the look before was copied since. The source is looked at once
// more, for a file may have moved between its listing and its reading, and its digest is then that of neither.
func (t *transfer) wrong(ctx context.Context, lacking []*verify.Entry, before *snapshot) (paths []string, err error) {
	levels := t.modes.levels()
	var suspects []*verify.Entry
	for _, e := range lacking {
		known := levels[e.Class] == verify.Stat || e.Digest.Known() // else it moved while it was read
		if known && t.stage.files.Find(e.Path) != nil && before.shows(e) {
			suspects = append(suspects, e)
		}
	}
	if len(suspects) == 0 {
		return nil, nil
	}
	now, err := t.lookAt(ctx, before.side, t.id, nil)
	if err != nil {
		return nil, err
	}
	for _, e := range suspects {
		if now.shows(e) {
			paths = append(paths, e.Path)
		}
	}
	return paths, nil
}

// holds tells whether a staged file is the source's.
func (t *transfer) holds(levels verify.Levels, src, staged *verify.Entry) bool {
	if staged.Kind != verify.File {
		return false
	}
	return levels.Compare(src, staged) == verify.Same
}

// bring copies files of the source into the stage, hashing both ends while the bytes move. The stage is listed only
// where that did not tell of every file what it is.
func (t *transfer) bring(ctx context.Context, p *plan, want []*verify.Entry, dirs []string) error {
	t.stage.listed = nil
	there, err := t.landing(ctx, p, want)
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return t.copyFiles(gctx, p, want, dirs, there.add) })
	g.Go(func() error { return t.hashSource(gctx, p, want) })
	err = g.Wait()
	got, herr := there.wait()
	if err == nil {
		err = herr
	}
	if err != nil {
		return err
	}
	// Only what comes from another host is in its place when rsync reports it (remote.Transfer): else what was hashed
	// may be the file that it replaces.
	if p.src.side.Endpoint().Host != "" && got.complete(want) {
		t.stage.add(got.stamped, p.src.files, t.classes)
		return nil
	}
	return t.listStage(ctx, p, got)
}

// add puts files that have arrived beside, or in place of, those that are there. Their paths become those of the
// source in memory too.
func (st *stage) add(arrived, src verify.Manifest, classes *verify.Classifier) {
	arrived.SharePaths(src)
	for i := range arrived {
		arrived[i].Class = classes.Class(arrived[i].Path)
	}
	var all verify.Manifest
	if len(st.files) == 0 {
		st.files = arrived
		return
	}
	verify.Join(st.files, arrived, func(old, fresh *verify.Entry) {
		if fresh == nil {
			fresh = old
		}
		all = append(all, *fresh)
	})
	st.files = all
}

// copyFiles runs rsync over exactly the wanted paths.
func (t *transfer) copyFiles(ctx context.Context, p *plan, want []*verify.Entry, dirs []string, done func(string)) error {
	if len(want)+len(dirs) == 0 {
		return nil
	}
	streams := split(want, t.o.Streams)
	streams[0] = append(streams[0], dirs...)
	total := totalSize(want)
	basis := t.stage.earlier
	if p.dst.survey.Exists {
		basis = append([]string{p.dst.survey.Live}, basis...)
	}
	stats, err := runStreams(ctx, remote.Transfer{
		From: p.src.side.Endpoint(), To: p.dst.side.Endpoint(),
		FromDir: p.src.survey.Live, ToDir: t.stage.tree,
		Basis:      basis,
		PartialDir: statePath(p.dst.side, "stage", t.key, "partial"),
		Bwlimit:    t.bwlimit(),
		Stall:      stallTimeout,
		Small:      total/int64(len(want)+1) < smallFile, TrustSender: len(want) > manyFiles && t.trustSender(ctx),
		Done:     func(it remote.Item) { done(it.Path) },
		Progress: func(n int64) { t.o.Observe(Progressed{Phase: "transfer", Done: n, Total: total, Files: len(want)}) },
		Command:  t.ranRsync,
	}, streams)
	t.sent += stats.Sent
	t.received += stats.Received
	var rs *remote.RsyncError
	if errors.As(err, &rs) && rs.Vanished() {
		return nil // the next look at the source decides
	}
	return err
}

func (t *transfer) bwlimit() string {
	if t.modes.Bwlimit != "" {
		return t.modes.Bwlimit
	}
	return t.o.Bwlimit
}

// smallFile is below which a file is no progress worth telling in parts.
const smallFile = 1 << 20

// manyFiles is how many a transfer has at least before rsync's checks of names, n*n of them, take noticeable time.
const manyFiles = 1000

// trustSender tells whether the local rsync knows --trust-sender (since 3.2.5, rsync's NEWS). Nothing rests on the
// trust: what is received lands in a private stage and is held against the manifest, name by name and by content.
func (p *Pair) trustSender(ctx context.Context) bool {
	if p.rsync == nil {
		v, err := remote.LocalRsync(ctx)
		if err != nil {
			return false // the transfer will say why
		}
		p.rsync = &v
	}
	return !p.rsync.Openrsync && !p.rsync.Less(remote.Version{Major: 3, Minor: 2, Patch: 5})
}

// stallTimeout ends an rsync that shows no sign of life. Its own --timeout does not fire on a stalled pull, and a
// long delta computation is silent.
const stallTimeout = 10 * time.Minute

// hashSource completes the source's digests of the wanted files.
func (t *transfer) hashSource(ctx context.Context, p *plan, want []*verify.Entry) error {
	return t.hash(ctx, p.src, t.unread(want), t.algorithm)
}

// unread lists those of the files whose digest is needed and not known.
func (t *transfer) unread(files []*verify.Entry) (out []*verify.Entry) {
	levels := t.modes.levels()
	for _, e := range files {
		if levels[e.Class] == verify.Content && !e.Digest.Known() {
			out = append(out, e)
		}
	}
	return out
}

// listStage lists what has arrived and completes its digests: those taken while the files landed hold where the
// stamp tells that nothing has touched the file since; everything else is read again.
func (t *transfer) listStage(ctx context.Context, p *plan, got arrivals) error {
	side := p.dst.side
	found, err := listTree(ctx, side, t.stage.tree)
	if err != nil {
		return err
	}
	snap := &snapshot{side: side, survey: &survey{Live: t.stage.tree}}
	snap.sort(found, t.classes)
	snap.files.SharePaths(p.src.files)
	snap.files.Learn(got.stamped)
	snap.files.LearnRead(got.read)
	snap.files.Learn(t.stage.files)
	if err := t.hash(ctx, snap, t.unread(unknown(snap.files)), t.algorithm); err != nil {
		return err
	}
	t.stage.files = snap.files
	return nil
}
