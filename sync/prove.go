package sync

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// proven is a stage that holds the whole new tree, every file of it held against what the plan expects. Only complete
// makes one, under the locks; nothing else can be promoted. A plan that changes nothing is trivially proven.
type proven struct {
	*stage
	plan  *plan           // made under the locks
	files verify.Manifest // the new tree: staged files as they were proved, kept ones as they stand in live
}

// complete turns the stage into the whole new tree: what does not change is linked from live (it stays there where the
// switch is in place), what left the plan since it was staged is dropped; then every file is held against what it must be,
// and made durable.
func (st *stage) complete(ctx context.Context, p *plan, listed, durable verify.Manifest) (*proven, error) {
	dropped, err := st.dropStale(ctx, p)
	if err != nil {
		return nil, err
	}
	if dropped || !p.keepsNothing() {
		listed = nil
	}
	var copies []string
	if !st.inPlace && p.dst.survey.Exists {
		err = st.o.Observe.step(StepLink, func() error {
			copies, err = st.keep(ctx, p)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	t := &proven{stage: st, plan: p, files: st.expected(p)}
	var dirs verify.Manifest
	err = st.o.Observe.step(StepVerify, func() error {
		dirs, err = t.prove(ctx, listed)
		return err
	})
	if err != nil {
		return nil, err
	}
	err = st.o.Observe.step(StepFlush, func() error { return t.flush(ctx, durable, dirs, copies) })
	return t, err
}

// keep links what stays from live, unless the spare has it. Of the files that writers change in place the generation gets copies, so that live
// keeps the inode, and with it every writer that has the file open. Where a file can have no second name, because it is
// somebody else's, all stay in live, and the switch is in place. Where this user may not write everywhere the new tree gets
// the copies instead.
func (st *stage) keep(ctx context.Context, p *plan) (copies []string, err error) {
	live, links := p.dst.survey.Live, p.kept()
	for i := range p.items {
		if p.items[i].origin == keep && p.items[i].Class.InPlace() {
			copies = append(copies, p.items[i].Path)
		}
	}
	writable, err := st.dst.Writable(ctx, live)
	if err != nil {
		return nil, err
	}
	to := statePath(st.dst, "stage", st.key, st.run, "copies")
	if !writable {
		links = slices.DeleteFunc(links, func(path string) bool { it := p.find(path); return it != nil && it.Class.InPlace() })
		to, st.spare = st.tree, ""
	}
	carry := st.carries(ctx, p)
	if err = carry; err == nil && st.spare != "" {
		err = st.takeSpare(ctx, p)
	} else if err == nil {
		err = st.dst.Link(ctx, live, st.tree, links, false)
	}
	switch none := errors.Is(err, remote.ErrNoLink); {
	case none && writable:
		st.inPlace, st.spare = true, ""
		return nil, p.held(true)
	case none && carry == nil: // a copy of a lock is none
		err = st.dst.Link(ctx, live, st.tree, links, true)
	}
	if err == nil {
		err = st.dst.Copy(ctx, live, to, copies)
	}
	if err == nil && !writable {
		copies, err = nil, st.acceptCopies(ctx, p)
	}
	if errors.Is(err, fs.ErrNotExist) { // removed without the lock since it was listed
		return nil, &movedError{paths: []string{err.Error()}}
	}
	return copies, crossDevice(p, err)
}

// carries tries whether what the switch carries can have a second name.
func (st *stage) carries(ctx context.Context, p *plan) error {
	paths := slices.DeleteFunc(p.carried(), func(path string) bool { return path == ".events.lock" })
	if len(paths) == 0 {
		return nil
	}
	scratch := statePath(st.dst, "stage", st.key, st.run, "try")
	err := st.dst.Link(ctx, p.dst.survey.Live, scratch, paths, false)
	if errors.Is(err, fs.ErrNotExist) { // they come and go
		err = nil
	}
	return errors.Join(err, st.dst.Remove(ctx, scratch))
}

// acceptCopies proves the copies of files that stay, and takes them for what they are copies of.
func (st *stage) acceptCopies(ctx context.Context, p *plan) error {
	found, err := listTree(ctx, st.dst, st.tree)
	if err != nil {
		return err
	}
	snap := &snapshot{side: st.dst, survey: &remote.Survey{Live: st.tree}}
	snap.sort(found, st.classes)
	levels := p.how.modes.levels()
	var copies verify.Manifest
	for _, e := range snap.files {
		it, was := p.find(e.Path), p.dst.files.Find(e.Path)
		if it != nil && it.origin == keep && was != nil && (was.Ino != e.Ino || was.Dev != e.Dev) {
			copies = append(copies, e)
		}
	}
	var unread []*verify.Entry
	for i := range copies {
		st.unlinked.add(copies[i].Size)
		if p.dst.files.Find(copies[i].Path).Digest.Known() && levels[copies[i].Class] == verify.Content {
			unread = append(unread, &copies[i])
		}
	}
	if err := st.hash(ctx, snap, unread, p.how.algorithm); err != nil {
		return err
	}
	var moved []string
	for i := range copies {
		if levels.Compare(p.dst.files.Find(copies[i].Path), &copies[i]) == verify.Different {
			moved = append(moved, copies[i].Path)
		}
	}
	if len(moved) > 0 {
		return &movedError{paths: moved}
	}
	st.add(copies, p.dst.files)
	return nil
}

// dropStale removes staged files that the plan no longer wants, and reports whether there were any.
func (st *stage) dropStale(ctx context.Context, p *plan) (dropped bool, err error) {
	st.files = slices.DeleteFunc(st.files, func(e verify.Entry) bool {
		stale := p.incoming(e.Path) == nil
		if stale && err == nil {
			dropped = true
			gone := e.Path
			if partialOf(gone) != "" {
				gone = path.Dir(gone)
			}
			err = st.dst.Remove(ctx, st.tree+"/"+gone)
		}
		return stale
	})
	return dropped, err
}

// expected is the new tree.
func (st *stage) expected(p *plan) verify.Manifest {
	if len(st.files) == len(p.items) {
		return st.files
	}
	all := make(verify.Manifest, 0, len(p.items))
	for i := range p.items {
		it := &p.items[i]
		if have := st.files.Find(it.Path); have != nil {
			all = append(all, *have)
		} else if it.origin == keep {
			all = append(all, *it.Entry)
		}
	}
	return all
}

// prove holds the complete stage against the plan, file by file, and returns the directories in it.
func (t *proven) prove(ctx context.Context, listed verify.Manifest) (dirs verify.Manifest, err error) {
	found := proof{t: t, seen: make([]bool, len(t.files))}
	for i := range found.seen { // what stays in live is as the listing under the locks showed it
		found.seen[i] = t.inPlace && t.plan.incoming(t.files[i].Path) == nil
	}
	if err := t.walk(ctx, listed, found.look); err != nil {
		return nil, err
	}
	if err := found.readAgain(ctx); err != nil {
		return nil, err
	}
	if err := found.verdict(); err != nil {
		return nil, err
	}
	if err := t.proveEvents(ctx); err != nil {
		return nil, err
	}
	if err := t.proveTable(ctx); err != nil {
		return nil, err
	}
	dirs = sorted(found.dirs)
	if t.inPlace || !t.plan.dst.survey.Exists {
		return dirs, nil
	}
	if err := t.dst.SetDirs(ctx, t.tree, dirsToMend(dirs, t.plan.dst.dirs)); err != nil {
		return nil, err
	}
	stay := []string{"."}
	verify.Join(dirs, t.plan.dst.dirs, func(f, l *verify.Entry) {
		if f != nil && l != nil {
			stay = append(stay, f.Path)
		}
	})
	return dirs, t.dst.Dress(ctx, t.plan.dst.survey.Live, t.tree, stay)
}

// walk visits what is in the stage, by the listing that was made of it if there is one.
func (t *proven) walk(ctx context.Context, listed verify.Manifest, visit func(verify.Entry)) error {
	if listed == nil {
		return t.dst.Walk(ctx, t.tree, visit)
	}
	for _, e := range listed {
		visit(e)
	}
	return nil
}

// proof holds what is found in the stage against what the new tree is to be.
type proof struct {
	t            *proven
	seen         []bool // of the new tree, by index
	dirs         verify.Manifest
	wrong, moved []string        // moved are live's own files, which somebody wrote to without the lock
	marked       verify.Manifest // incoming files of which only the change time moved since they were read
}

func (c *proof) look(f verify.Entry) {
	if f.Kind == verify.Directory {
		c.dirs = append(c.dirs, f)
		return
	}
	p := c.t.plan
	incoming, spared := p.incoming(f.Path) != nil, c.t.spare != "" // there it was linked in, and seen whole before that
	i, found := c.t.files.Index(f.Path)
	if found {
		c.seen[i] = true
	}
	switch {
	case found && (incoming || !c.t.inPlace) && f.Kind == verify.File && untouched(&f, &c.t.files[i]) && (!incoming || spared || f.Ctime == c.t.files[i].Ctime):
		c.t.files[i].Ctime = f.Ctime
	case found && incoming && f.Kind == verify.File && untouched(&f, &c.t.files[i]):
		c.marked = append(c.marked, f)
	case !found && appleDouble(f.Path):
	case found && !incoming && f.Ino == c.t.files[i].Ino && p.how.light(f.Path): // a program is at work on it, as it may be
	case !incoming && !c.t.inPlace && p.dst.files.Find(f.Path) != nil:
		c.moved = append(c.moved, f.Path)
	default:
		c.wrong = append(c.wrong, f.Path)
	}
}

// appleDouble: macOS keeps extended attributes in such files, where a file system has none.
func appleDouble(p string) bool { return strings.HasPrefix(path.Base(p), "._") }

// readAgain reads what somebody has marked, such as a scanner of viruses or a backup: a change time may move without content.
func (c *proof) readAgain(ctx context.Context) error {
	if len(c.marked) == 0 {
		return nil
	}
	want := make([]*verify.Entry, len(c.marked))
	slices.SortFunc(c.marked, verify.ComparePaths)
	for i := range c.marked {
		want[i] = &c.marked[i]
	}
	return c.t.dst.Hash(ctx, c.t.tree, c.t.plan.how.algorithm, want, func(path string, d verify.Digest, err error) {
		i, _ := c.t.files.Index(path)
		if have := &c.t.files[i]; err != nil || !have.Digest.Known() || d != have.Digest {
			c.wrong = append(c.wrong, path)
			return
		}
		c.t.files[i].Ctime = c.marked.Find(path).Ctime
	})
}

func (c *proof) verdict() error {
	for i, seen := range c.seen {
		if !seen {
			c.wrong = append(c.wrong, c.t.files[i].Path)
		}
	}
	slices.Sort(c.wrong)
	slices.Sort(c.moved)
	if len(c.wrong) > 0 {
		return &MismatchError{Paths: c.wrong}
	}
	if len(c.moved) > 0 {
		return &movedError{paths: c.moved}
	}
	return nil
}

// untouched reports whether an inode is still what it was. Linking moves the change time of a kept file, and nothing
// of ours writes to it, so its change time is left out; an incoming file must show every stamp.
func untouched(f, w *verify.Entry) bool {
	return f.Dev == w.Dev && f.Ino == w.Ino && f.Size == w.Size && f.Mtime == w.Mtime
}

func sorted(m verify.Manifest) verify.Manifest {
	slices.SortFunc(m, verify.ComparePaths)
	return m
}

// dirsToMend lists directories of the new tree whose mode or group differs from that of the ones they replace.
func dirsToMend(fresh, live verify.Manifest) []verify.Entry {
	var out []verify.Entry
	verify.Join(fresh, live, func(f, l *verify.Entry) {
		if f != nil && l != nil && (f.Mode != l.Mode || f.Gid != l.Gid) {
			out = append(out, verify.Entry{Path: f.Path, Mode: l.Mode, Gid: l.Gid})
		}
	})
	return out
}

// proveTable proves the staged primary by its footer, where the mode asks for that.
func (t *proven) proveTable(ctx context.Context) error {
	if t.plan.incoming(primaryPath) == nil {
		return nil
	}
	staged := &snapshot{side: t.dst, survey: &remote.Survey{Live: t.tree}, files: t.stage.files}
	return t.sameFooter(ctx, t.plan.how.modes, t.plan.src, staged)
}
