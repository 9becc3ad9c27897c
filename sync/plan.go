package sync

import (
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/dnadesign-maintainers/usr/sync/history"
	"github.com/dnadesign-maintainers/usr/verify"
)

// origin says where a file of the new tree comes from, and so how the stage gets it. Whatever the origin, the proof
// holds the staged file against the digest that the plan expects.
type origin uint8

const (
	keep    origin = iota // unchanged at the destination: linked from live, last of all
	fetch                 // only the source has it: rsync brings it
	reuse                 // the destination has the content under another name, or gets it anyway: copied from there
	merge                 // made of both sides: put together here
	restore               // a generation has it: linked from there, or copied if writers change it in place
)

// item is one file of the new tree.
type item struct {
	*verify.Entry // what the file is to be, with the stamps of the file that it comes from
	origin        origin
	from          string // reuse: the absolute path of the file at the destination that has the content
	twin          string // reuse, in place of from: the path of the new tree that is fetched and has the content
	parts         []part // merge: what the file is put together from, in order
}

// part is a piece of a merged file: a text, or bytes off to end of a file of one side.
type part struct {
	text     []byte
	side     side
	file     string // absolute
	off, end int64
}

// plan is the new tree of the destination, file by file. What the preview lists is this plan, and what the
// transaction carries out is this plan.
type plan struct {
	view
	direction Direction
	src, dst  *snapshot
	history   history.Standing
	base      *history.Base   // the common base that it was decided against, nil without one
	bases     []*history.Base // of an undo and the like: all common bases that hold when it begins
	items     []item          // in order of path
	newDirs   []string        // directories of the source that no incoming file makes and the destination lacks
	keptDirs  []string        // directories of the destination that stay
	changes   []Change
	merged    *merged  // what becomes of both sides, where they are merged
	spent     string   // run of the generation that the new tree is: it goes once that is live
	left      []string // paths of rebuildable files that stay as they are, though the source has others
}

// planCopy makes the destination equal to the source within the scope of the modes.
func planCopy(v view, d Direction, h history.Standing) *plan {
	p := &plan{view: v, direction: d, history: h}
	p.src, p.dst = v.ends(d)
	p.compare(fetch)
	return p
}

// compare fills the plan: what differs comes from the source, by the given origin.
func (p *plan) compare(origin origin) {
	m, levels := p.how.modes, p.how.modes.levels()
	verify.Join(p.src.files, p.dst.files, func(s, d *verify.Entry) {
		switch {
		case !m.inScope(verify.Either(s, d).Class):
			if d != nil {
				p.add(d, keep)
			}
		case s == nil:
			p.change(d, Deleted)
		case d == nil:
			p.add(s, origin)
			p.change(s, Added)
		case levels.Compare(s, d) == verify.Same && timely(s, d):
			p.add(d, keep)
		case levels.Compare(s, d) == verify.Same: // no change, but the time comes along
			p.add(s, origin)
		default:
			p.add(s, origin)
			p.change(s, Modified)
		}
	})
	p.joinUnits(origin)
	p.directories(m)
}

// timely reports whether the time of a file is right as well, where programs go by it: meta.md is edited by hand, and the
// earlier tool holds its times against each other.
func timely(s, d *verify.Entry) bool { return s.Class != verify.Meta || s.Mtime == d.Mtime }

// joinUnits has a database and what SQLite keeps beside it come from the source together. A part that stays would be the
// very file that programs have open with the other part, which is replaced, and they would go on writing to it.
func (p *plan) joinUnits(origin origin) {
	for _, ch := range p.changes {
		for _, path := range verify.Unit(verify.Database(ch.Path)) {
			it, s := p.find(path), p.src.files.Find(path)
			if it != nil && s != nil && it.origin == keep && p.how.modes.inScope(s.Class) {
				it.Entry, it.origin = s, origin
			}
		}
	}
}

// leaveRebuilt has a push leave alone what the destination has rebuilt since the common base, as far as that is known:
// a program there may be at work on it, and would believe an older one.
func (p *plan) leaveRebuilt() {
	if p.direction != Push || p.how.modes.Force {
		return
	}
	var theirs []string
	levels := p.how.modes.levels()
	for _, ch := range p.changes {
		if !p.how.light(ch.Path) {
			continue
		}
		d := p.dst.files.Find(ch.Path)
		covered := p.base.Covers(ch.Class)
		if covered && p.base.Moved(d, ch.Path, levels) || !covered && d != nil {
			theirs = append(theirs, ch.Path)
		}
	}
	p.leave(theirs)
}

// light lists the changes to files that a program can make again.
func (p *plan) light() (paths []string) {
	for _, ch := range p.changes {
		if p.how.light(ch.Path) {
			paths = append(paths, ch.Path)
		}
	}
	return paths
}

// leave lets files of the destination stand as they are, and with a database all that belongs to it.
func (p *plan) leave(paths []string) {
	units := map[string]bool{}
	for _, path := range paths {
		for _, part := range verify.Unit(verify.Database(path)) {
			units[part] = true
		}
	}
	if len(units) == 0 {
		return
	}
	p.items = slices.DeleteFunc(p.items, func(it item) bool { return units[it.Path] })
	p.changes = slices.DeleteFunc(slices.Clone(p.changes), func(ch Change) bool { return units[ch.Path] })
	for path := range units {
		if d := p.dst.files.Find(path); d != nil {
			p.add(d, keep)
		}
		p.left = append(p.left, path)
	}
	slices.SortFunc(p.items, func(a, b item) int { return strings.Compare(a.Path, b.Path) })
	slices.Sort(p.left)
}

func (p *plan) add(e *verify.Entry, o origin) { p.items = append(p.items, item{Entry: e, origin: o}) }

func (p *plan) change(e *verify.Entry, kind ChangeKind) {
	p.changes = append(p.changes, Change{Path: e.Path, Class: e.Class, Kind: kind, Bytes: e.Size})
}

// directories plans those that no file brings along: the source's empty ones, and the destination's that stay.
func (p *plan) directories(m Modes) {
	verify.Join(p.src.dirs, p.dst.dirs, func(s, d *verify.Entry) {
		switch {
		case d != nil && (s != nil || !m.inScope(d.Class)):
			p.keptDirs = append(p.keptDirs, d.Path)
		case s != nil && m.inScope(s.Class) && !hasFileBelow(p.src.files, s.Path):
			p.newDirs = append(p.newDirs, s.Path)
		}
	})
}

// hasFileBelow reports whether a file lies below the directory, by one search in the sorted list.
func hasFileBelow(files verify.Manifest, dir string) bool {
	i := sort.Search(len(files), func(i int) bool { return files[i].Path >= dir+"/" })
	return i < len(files) && strings.HasPrefix(files[i].Path, dir+"/")
}

// find returns the item of a path, nil if the new tree has no such file.
func (p *plan) find(path string) *item {
	i, found := slices.BinarySearchFunc(p.items, path, func(it item, path string) int { return strings.Compare(it.Path, path) })
	if !found {
		return nil
	}
	return &p.items[i]
}

// incoming returns the item of a path that the stage gets from elsewhere than live, else nil.
func (p *plan) incoming(path string) *item {
	if it := p.find(path); it != nil && it.origin != keep {
		return it
	}
	return nil
}

// arriving lists all incoming items.
func (p *plan) arriving() []*item {
	var out []*item
	for i := range p.items {
		if p.items[i].origin != keep {
			out = append(out, &p.items[i])
		}
	}
	return out
}

// kept lists the files that stay, and after them the directories.
func (p *plan) kept() (paths []string) {
	for i := range p.items {
		if p.items[i].origin == keep {
			paths = append(paths, p.items[i].Path)
		}
	}
	return append(paths, p.keptDirs...)
}

// keepsNothing reports whether the whole of the new tree is incoming.
func (p *plan) keepsNothing() bool {
	return len(p.keptDirs) == 0 && !slices.ContainsFunc(p.items, func(it item) bool { return it.origin == keep })
}

// entriesOf lists the entries of items.
func entriesOf(items []*item) []*verify.Entry {
	out := make([]*verify.Entry, len(items))
	for i, it := range items {
		out[i] = it.Entry
	}
	return out
}

// bytes is the size of all that is written to the stage: what is incoming, without what is linked from a generation.
func (p *plan) bytes() (n int64) {
	for i := range p.items {
		if it := &p.items[i]; it.origin != keep && (it.origin != restore || it.Class.InPlace()) {
			n += it.Size
		}
	}
	return n
}

func totalSize(entries []*verify.Entry) (n int64) {
	for _, e := range entries {
		n += e.Size
	}
	return n
}

// bookkeeping is what a transfer makes beside the files: directories, journal, locks.
const bookkeeping = 64

// inodes is how many names a transfer makes that no link serves.
func (p *plan) inodes() int64 {
	return int64(len(p.arriving())+len(p.newDirs)+len(p.dst.dirs)+len(p.src.dirs)) + bookkeeping
}

// room reports whether the destination can hold what the transfer writes: the incoming files, less what dead runs have
// received already, and the copies of files that a generation may not share with live.
func (p *plan) room(received verify.Manifest) error {
	s := p.dst.survey
	if !s.SameFS {
		return &DeviceError{Side: p.dst.side.Name(), Live: s.Live, State: statePath(p.dst.side)}
	}
	need := p.bytes()
	for i := range received {
		need -= received[i].Size
	}
	for i := range p.dst.files {
		if p.dst.files[i].Class.InPlace() {
			need += p.dst.files[i].Size
		}
	}
	if s.FreeBytes >= 0 && need > s.FreeBytes {
		return &SpaceError{Side: p.dst.side.Name(), Need: need, Free: s.FreeBytes, Unit: "bytes"}
	}
	if inodes := p.inodes() - int64(len(received)); s.FreeInodes >= 0 && inodes > s.FreeInodes {
		return &SpaceError{Side: p.dst.side.Name(), Need: inodes, Free: s.FreeInodes, Unit: "inodes"}
	}
	return nil
}

// allowed reports whether the state of the two sides, history and the bounds of deletions let a transfer go on.
func (p *plan) allowed() error {
	if err := p.safe(); err != nil {
		return err
	}
	if !p.how.modes.Force {
		if err := p.overwrites(); err != nil {
			return err
		}
	}
	return p.withinBounds(p.how.modes)
}

// safe reports whether both ends are what a transfer can be made between.
func (p *plan) safe() error {
	m := p.how.modes
	if !p.src.present() {
		return &MissingError{Side: p.src.side.Name(), Path: p.src.survey.Live, NoPrimary: p.src.survey.Exists}
	}
	for _, s := range []*snapshot{p.src, p.dst} {
		if len(s.planted) > 0 && len(p.changes) > 0 {
			return &UnsafeError{Side: s.side.Name(), Paths: s.planted}
		}
	}
	if len(p.src.unsafe) > 0 {
		return &UnsafeError{Side: p.src.side.Name(), Paths: p.src.unsafe}
	}
	if len(p.dst.unsafe) > 0 && !m.Force && len(p.changes) > 0 {
		return &UnsafeError{Side: p.dst.side.Name(), Paths: p.dst.unsafe}
	}
	if err := p.held(false); err != nil {
		return err
	}
	if blocking := p.blocking(); len(blocking) > 0 {
		return &UnsafeError{Side: p.dst.side.Name(), Paths: blocking}
	}
	return nil
}

// overwrites refuses to undo what the destination did on its own. Damage is repaired without being forced to: no writer
// changes bytes under the same size and time stamp.
func (p *plan) overwrites() error {
	if len(p.changes) == 0 {
		return nil
	}
	h := p.history
	theirs, damaged, ahead := h.Local, h.Drift.Local, LocalAhead
	if p.direction == Push {
		theirs, damaged, ahead = h.Remote, h.Drift.Remote, LocalBehind
	}
	relation := h.Relation
	switch relation {
	case Diverged, ahead:
	case Unrelated, LocalOnly, RemoteOnly: // what only the destination has is its own
		if len(theirs) == 0 {
			return nil
		}
		relation = Unrelated
	default:
		return nil
	}
	if len(theirs)+len(h.Clash) == 0 { // but for what can be rebuilt
		return nil
	}
	if len(damaged) > 0 && subset(theirs, damaged) && subset(h.Clash, damaged) {
		return nil
	}
	return &HistoryError{Relation: relation, Direction: p.direction, Side: p.dst.side.Name(), Conflicting: h.Clash, Disjoint: theirs}
}

// carried lists the runtime and ignored files that are linked into the new tree. The earlier tool's lock is not: the side
// keeps it in live under its one name.
func (p *plan) carried() (paths []string) {
	for _, path := range p.dst.carry {
		if path != ".usr.transfer.lock" && !p.orphans(path) {
			paths = append(paths, path)
		}
	}
	return paths
}

// filledDirs are the directories of the destination that are to get new files: what is made in them takes after them.
func (p *plan) filledDirs() []string {
	way := map[string]bool{}
	for _, it := range p.arriving() {
		for dir := path.Dir(it.Path); dir != "." && !way[dir]; dir = path.Dir(dir) {
			way[dir] = true
		}
	}
	dirs := []string{"."}
	for i := range p.dst.dirs {
		if dir := p.dst.dirs[i].Path; way[dir] {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// orphans reports whether the plan replaces or removes the database that a file of the destination belongs to. Beside
// another one SQLite would take it for true.
func (p *plan) orphans(path string) bool {
	db := verify.Database(path)
	if it := p.find(db); it != nil {
		return db != path && it.origin != keep
	}
	return db != path && p.dst.files.Find(db) != nil
}

// held refuses names of the new tree that the destination takes for one, or not at all. In place they meet those that go
// as well.
func (p *plan) held(inPlace bool) error {
	names := p.dst.survey.Names
	if names == (verify.Names{}) || len(p.changes) == 0 {
		return nil
	}
	all := slices.Concat(p.newDirs, p.keptDirs)
	for i := range p.items {
		all = append(all, p.items[i].Path)
	}
	for _, ch := range p.changes {
		if inPlace && ch.Kind == Deleted {
			all = append(all, ch.Path)
		}
	}
	slices.Sort(all)
	var paths []string
	for _, pair := range names.Together(all) {
		paths = append(paths, pair[0]+" (is one with "+pair[1]+" there)")
	}
	for _, path := range names.Refused(all) {
		paths = append(paths, path+" (is not UTF-8)")
	}
	if len(paths) == 0 {
		return nil
	}
	return &UnsafeError{Side: p.src.side.Name(), Paths: paths, Names: p.dst.side.Name()}
}

// blocking lists what has to stay at the destination and lies in a directory whose place a file is to take.
func (p *plan) blocking() (paths []string) {
	if len(p.changes) == 0 {
		return nil
	}
	for _, stays := range [][]string{p.dst.carry, p.kept()} {
		for _, file := range stays {
			for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
				if p.incoming(dir) != nil {
					paths = append(paths, file+" (stays, in the place of a file)")
				}
			}
		}
	}
	return paths
}

// subset reports whether all paths of a are in b, which is sorted.
func subset(a, b []string) bool {
	return !slices.ContainsFunc(a, func(path string) bool {
		_, found := slices.BinarySearch(b, path)
		return !found
	})
}

// aside reports whether the two sides differ once the plan is carried out: a merge leaves what local is ahead by.
func (p *plan) aside() bool {
	return p.merged != nil && len(p.remoteLacks()) > 0 && p.direction == Pull
}

// loses reports whether the destination loses a conflict, so that its version is in the generation alone.
func (p *plan) loses() bool { return p.merged != nil && p.merged.lost(p.direction) > 0 }
