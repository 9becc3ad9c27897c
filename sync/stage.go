package sync

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"syscall"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/rsync"
	"github.com/dnadesign-maintainers/usr/verify"
)

// stage is the private tree on the destination in which a transfer is put together. Only a claim makes one. rsync
// writes into it only while nothing in it is linked to live (live serves as delta basis, by --link-dest with
// --ignore-times, which links nothing); the links to live come last.
type stage struct {
	*command
	dst      side
	plan     *plan // that it was made for; the plan of each later step is passed to it
	run      string
	tree     string
	files    verify.Manifest // what has arrived, with digests
	earlier  []string        // trees of dead runs, as basis for what they already received
	copied   map[string]bool // paths that were copied in place of being fetched
	spoiled  []string        // paths that could not be copied from where the plan says
	inPlace  bool            // it holds only what is incoming, and live takes that in entry by entry
	spare    string          // the tree that is to become its own, "" for none
	unspared []string        // what that lacks of live, few names
	touched  []string        // what got another name when it became that
	unlinked Copied          // what stays and could have no second name
	numbers  bool            // an inode there tells a link from a copy
}

// stage makes an empty stage. What dead runs of the same dataset have received is taken over by hard link, where size
// and time say that it is what the source has now; the digests decide later.
func (cl *claim) stage(ctx context.Context, p *plan) (*stage, error) {
	c := cl.c
	st := &stage{command: c, dst: cl.dst, plan: p, run: newRun(c.o.Now()), copied: map[string]bool{}}
	st.tree = statePath(st.dst, "stage", c.key, st.run, "tree")
	way, err := st.dst.Stage(ctx, c.key, st.run, p.dst.survey.Live, !c.o.NoExchange)
	st.inPlace, st.numbers = !way.Exchange, !way.Renumbers
	if err == nil {
		p.dst.survey.Names.Learn(way.Names)
		if err = p.held(st.inPlace); err != nil {
			st.leave(err)
		}
	}
	if err == nil && p.dst.survey.Exists {
		err = st.dst.Dress(ctx, p.dst.survey.Live, st.tree, p.filledDirs())
	}
	return st, crossDevice(p, err)
}

// leave ends a stage that was not promoted. One that may serve the next run stays; one that failed its proof or that
// filled the disk goes, with all others: they were made for the same.
func (st *stage) leave(err error) {
	if resumable(err) {
		return
	}
	ctx, cancel := leaving()
	defer cancel()
	st.dst.Remove(ctx, statePath(st.dst, "stage", st.key)) // else the next run does it
}

// resumable reports whether what was staged can serve another run. Most failures have nothing to do with it.
func resumable(err error) bool {
	var mismatch *MismatchError
	var unsafe *UnsafeError
	var history *HistoryError
	var deletion *DeletionError
	var missing *MissingError
	var events *verify.EventError
	switch {
	case errors.As(err, &mismatch):
		return mismatch.Moving
	case noSpace(err), errors.As(err, &unsafe), errors.As(err, &history), errors.As(err, &deletion), errors.As(err, &missing), errors.As(err, &events):
		return false
	}
	return true
}

// preCopy moves the bulk without locks: no writer waits for it. What it returns is durable already.
func (st *stage) preCopy(ctx context.Context) (durable verify.Manifest, err error) {
	err = st.o.Observe.step(StepCopy, func() error {
		p := st.plan
		adopted, err := st.adoptAll(ctx, p)
		if err != nil {
			return err
		}
		if adopted {
			if err := st.list(ctx, p, remote.Arrivals{}); err != nil {
				return err
			}
			if err := st.hashSource(ctx, p, p.arriving()); err != nil {
				return err
			}
		}
		if err := st.hashUnique(ctx, p, p.after()); err != nil {
			return err
		}
		var later *snapshot
		err = together(
			func() error { return st.bring(ctx, p, st.missing(p)) },
			func() (err error) { later, err = st.prepare(ctx); return err })
		if later != nil {
			p.relist(later)
		}
		if err != nil || p.bytes() < flushFirst && len(st.files) <= handful {
			return err
		}
		durable = slices.DeleteFunc(slices.Clone(st.files), func(e verify.Entry) bool { // rsync has used them up
			return partialOf(e.Path) != ""
		})
		var paths []string // of many files none: then everything is flushed
		if len(durable) <= handful {
			paths = withParents(entriesPaths(durable))
		}
		return st.dst.Flush(ctx, st.tree, paths)
	})
	return durable, err
}

// flushFirst is how much is worth being made durable before the locks are taken, so that little is left to flush
// while writers wait.
const flushFirst = 32 << 20

// handful is how many files are flushed one by one, for which nobody else's data is waited for.
const handful = 64

// flush makes the new tree durable under the locks: files that are not yet, and every directory. The copies lie beside
// the tree.
func (t *proven) flush(ctx context.Context, durable, dirs verify.Manifest, copies []string) error {
	paths := []string{"tree"}
	for i := range t.stage.files {
		e := &t.stage.files[i]
		if was := durable.Find(e.Path); was == nil || was.Ino != e.Ino || was.Ctime != e.Ctime {
			paths = append(paths, "tree/"+e.Path)
		}
	}
	for i := range dirs {
		paths = append(paths, "tree/"+dirs[i].Path)
	}
	for _, path := range copies {
		paths = append(paths, "copies/"+path)
	}
	return t.dst.Flush(ctx, statePath(t.dst, "stage", t.key, t.run), withParents(paths))
}

// withParents are paths and all directories on the way to them.
func withParents(paths []string) []string {
	all := map[string]bool{".": true}
	for _, p := range paths {
		for ; !all[p]; p = path.Dir(p) {
			all[p] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func entriesPaths(m verify.Manifest) []string {
	paths := make([]string, len(m))
	for i := range m {
		paths[i] = m[i].Path
	}
	return paths
}

// mostBases leaves room for live: rsync takes at most 20 --link-dest.
const mostBases = 4

// adoptAll takes over what the latest dead runs have received.
func (st *stage) adoptAll(ctx context.Context, p *plan) (any bool, err error) {
	adopted := map[string]bool{}
	stages := p.dst.survey.Stages
	for i := len(stages) - 1; i >= 0 && len(st.earlier) < mostBases; i-- {
		tree := statePath(st.dst, "stage", st.key, stages[i], "tree")
		if err := st.adopt(ctx, p, tree, adopted); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return false, err
		}
		st.earlier = append(st.earlier, tree)
	}
	return len(adopted) > 0, nil
}

// adopt links what a dead run's tree holds of the plan's files.
func (st *stage) adopt(ctx context.Context, p *plan, tree string, adopted map[string]bool) error {
	old, err := listTree(ctx, st.dst, tree)
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
	partials, err := st.partials(p, tree, old)
	if err != nil {
		return err
	}
	for _, path := range partials {
		if whole := partialOf(path); !adopted[path] && !adopted[whole] {
			paths = append(paths, path)
			adopted[path] = true
		}
	}
	return st.dst.Link(ctx, tree, st.tree, paths, true)
}

// partialDir is where rsync keeps what was interrupted, beside each file.
const partialDir = ".usr-partial"

// partialOf is the file that a partial one is to become, or "".
func partialOf(partial string) string {
	dir, name := path.Split(partial)
	if path.Base(dir) != partialDir {
		return ""
	}
	return path.Join(path.Dir(path.Clean(dir)), name)
}

// adoptable lists what a dead run's tree holds of the files that are to be fetched, as far as size and time stamp show.
// A run that came near its end has linked live files into its tree: those are never taken, for rsync is to write beside
// them.
func adoptable(p *plan, old verify.Manifest) (found verify.Manifest) {
	for i := range p.items {
		it := &p.items[i]
		have := old.Find(it.Path)
		if it.origin != fetch || have == nil || have.Kind != verify.File || have.Size != it.Size || have.Mtime != it.Mtime {
			continue
		}
		if live := p.dst.files.Find(it.Path); live == nil || live.Ino != have.Ino || live.Dev != have.Dev {
			found = append(found, *it.Entry)
		}
	}
	return found
}

// partials lists what a dead run's tree holds of files that were interrupted. What rsync had received of a file when it
// was killed outright, with no time to put it aside, is put there now. Only this host's rsync dies with us; a remote one
// notices the end of its connection.
func (st *stage) partials(p *plan, tree string, old verify.Manifest) (found []string, err error) {
	local, canSave := st.dst.(partialSaver)
	for i := range old {
		e := &old[i]
		if e.Kind != verify.File || e.Size == 0 {
			continue
		}
		dir, name := path.Split(e.Path)
		if whole := partialOf(e.Path); whole != "" && p.incoming(whole) != nil {
			found = append(found, e.Path)
		} else if m := temporaryName.FindStringSubmatch(name); m != nil && canSave && p.incoming(dir+m[1]) != nil {
			if err := local.SavePartial(tree+"/"+e.Path, tree+"/"+dir+partialDir, m[1]); err != nil {
				return nil, err
			}
			found = append(found, dir+partialDir+"/"+m[1])
		}
	}
	return found, nil
}

// partialSaver is a side on which a killed rsync can leave a file under its temporary name.
type partialSaver interface {
	// SavePartial moves an unfinished file to where rsync looks for partial ones, unless a longer one is there.
	SavePartial(file, partialDir, name string) error
}

// temporaryName is how rsync names a file while it receives it.
var temporaryName = regexp.MustCompile(`^\.(.+)\.[A-Za-z0-9]{6}$`)

// missing lists the incoming files that the stage lacks or holds in another version.
func (st *stage) missing(p *plan) []*item { return st.lacking(p, p.arriving()) }

// lacking lists those of the items that the stage lacks or holds in another version.
func (st *stage) lacking(p *plan, items []*item) (lacking []*item) {
	levels := p.how.modes.levels()
	for _, it := range items {
		if have := st.files.Find(it.Path); have == nil || have.Kind != verify.File || levels.Compare(it.Entry, have) != verify.Same {
			lacking = append(lacking, it)
		}
	}
	return lacking
}

// wrong lists those lacking files that were copied from the very version that their source still shows: no honest
// copy can explain that. Whatever the stage lacked at the look before was copied since. The source is looked at once
// more, for a file may have moved between its listing and its reading, and its digest is then that of neither. A
// generation does not move.
func (st *stage) wrong(ctx context.Context, p *plan, lacking []*item, before *snapshot) (paths []string, err error) {
	levels := p.how.modes.levels()
	var suspects []*item
	for _, it := range lacking {
		if p.how.light(it.Path) {
			continue
		}
		known := levels[it.Class] == verify.Stat || it.Digest.Known() // else it moved while it was read
		if known && st.files.Find(it.Path) != nil && before.shows(it.Entry) {
			suspects = append(suspects, it)
		}
	}
	if len(suspects) == 0 {
		return nil, nil
	}
	now := before
	if before.kept == nil {
		if now, err = st.lookAt(ctx, before.side, st.id, nil); err != nil {
			return nil, err
		}
	}
	for _, it := range suspects {
		if now.shows(it.Entry) {
			paths = append(paths, it.Path)
		}
	}
	return paths, nil
}

// room reports whether the destination can hold what a plan writes. What dead runs have received needs no room.
func (c *command) room(ctx context.Context, p *plan) error {
	err := p.room(nil)
	var full *SpaceError
	if !errors.As(err, &full) || len(p.dst.survey.Stages) == 0 {
		return err
	}
	received, lerr := c.received(ctx, p)
	if lerr != nil {
		return lerr
	}
	return p.room(received)
}

// received lists what the stages of dead runs hold of the plan's files, each once.
func (c *command) received(ctx context.Context, p *plan) (all verify.Manifest, err error) {
	for _, run := range p.dst.survey.Stages {
		old, err := listTree(ctx, p.dst.side, statePath(p.dst.side, "stage", c.key, run, "tree"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		all = append(all, adoptable(p, old)...)
	}
	return verify.InOrder(all), nil
}

// explainSpace reports what is missing where the destination's disk was filled while it was written to. A quota shows
// in no number that a side reports, and is left in the words of the system.
func (c *command) explainSpace(ctx context.Context, p *plan, err error) error {
	if !noSpace(err) {
		return err
	}
	now, serr := p.dst.side.Survey(ctx, c.id, c.key, "")
	if serr != nil {
		return err
	}
	full := &SpaceError{Side: p.dst.side.Name(), Need: p.bytes(), Free: now.FreeBytes, Unit: "bytes"}
	if inodes := p.inodes(); now.FreeInodes >= 0 && now.FreeInodes < bookkeeping && now.FreeBytes > 1<<20 {
		full.Need, full.Free, full.Unit = inodes, now.FreeInodes, "inodes"
	}
	if full.Free < 0 || full.Free >= full.Need {
		return err
	}
	return c.nameKept(ctx, p.dst.side, full)
}

func noSpace(err error) bool {
	var rs *rsync.Error
	var full *SpaceError
	return (errors.As(err, &rs) && rs.NoSpace()) || errors.As(err, &full) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
