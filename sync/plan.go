package sync

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/dnadesign-maintainers/usr/verify"
)

// plan is what a transfer does: each path of the new tree is either copied from the source or kept from the
// destination. What the preview lists is this plan, and what the transaction carries out is this plan.
type plan struct {
	direction Direction
	src, dst  *snapshot
	history   history
	copy      []*verify.Entry // files of the source that are new or different
	newDirs   []string        // directories of the source that no copied file makes and the destination lacks
	keep      []string        // files and directories of the destination that stay as they are
	changes   []Change
}

// makePlan compares both sides within the scope of the modes.
func makePlan(v view, d Direction, h history, m Modes) *plan {
	p := &plan{direction: d, history: h}
	p.src, p.dst = v.ends(d)
	levels := m.levels()
	verify.Join(p.src.files, p.dst.files, func(s, d *verify.Entry) {
		switch {
		case !m.inScope(either(s, d).Class):
			if d != nil {
				p.keep = append(p.keep, d.Path)
			}
		case s == nil:
			p.change(d, Deleted)
		case d == nil:
			p.copy = append(p.copy, s)
			p.change(s, Added)
		case levels.Compare(s, d) == verify.Same:
			p.keep = append(p.keep, d.Path)
		default:
			p.copy = append(p.copy, s)
			p.change(s, Modified)
		}
	})
	p.directories(m)
	return p
}

func (p *plan) change(e *verify.Entry, kind ChangeKind) {
	p.changes = append(p.changes, Change{Path: e.Path, Class: e.Class, Kind: kind, Bytes: e.Size})
}

// directories plans those that no file brings along: the source's empty ones, and the destination's that stay.
func (p *plan) directories(m Modes) {
	verify.Join(p.src.dirs, p.dst.dirs, func(s, d *verify.Entry) {
		switch {
		case d != nil && (s != nil || !m.inScope(d.Class)):
			p.keep = append(p.keep, d.Path)
		case s != nil && m.inScope(s.Class) && !hasFileBelow(p.src.files, s.Path):
			p.newDirs = append(p.newDirs, s.Path)
		}
	})
}

// hasFileBelow tells whether a file lies below the directory, by one search in the sorted list.
func hasFileBelow(files verify.Manifest, dir string) bool {
	i := sort.Search(len(files), func(i int) bool { return files[i].Path >= dir+"/" })
	return i < len(files) && strings.HasPrefix(files[i].Path, dir+"/")
}

// bytes is the size of all that is copied.
func (p *plan) bytes() int64 { return totalSize(p.copy) }

func totalSize(entries []*verify.Entry) int64 {
	var n int64
	for _, e := range entries {
		n += e.Size
	}
	return n
}

// allowed says whether history lets the transfer go on.
func (p *plan) allowed(m Modes) error {
	if !p.src.present() {
		return &MissingError{Side: p.src.side.Name(), Path: p.src.survey.Live}
	}
	if len(p.src.unsafe) > 0 {
		return &UnsafeError{Side: p.src.side.Name(), Paths: p.src.unsafe}
	}
	if len(p.dst.unsafe) > 0 && !m.Force && len(p.changes) > 0 {
		return &UnsafeError{Side: p.dst.side.Name(), Paths: p.dst.unsafe}
	}
	if blocking := p.blocking(); len(blocking) > 0 {
		return &UnsafeError{Side: p.dst.side.Name(), Paths: blocking}
	}
	if m.Force || len(p.changes) == 0 {
		return nil
	}
	h := p.history
	theirs := h.local // what the destination changed on its own
	ahead := LocalAhead
	if p.direction == Push {
		theirs, ahead = h.remote, LocalBehind
	}
	if h.relation != Diverged && h.relation != ahead {
		return nil
	}
	if damaged := p.damaged(); len(damaged) > 0 && subset(theirs, damaged) && subset(h.clash, damaged) {
		return nil
	}
	return &HistoryError{Relation: h.relation, Direction: p.direction, Side: p.dst.side.Name(), Conflicting: h.clash, Disjoint: theirs}
}

// blocking lists what has to stay at the destination and lies in a directory whose place a file is to take.
func (p *plan) blocking() (paths []string) {
	if len(p.copy) == 0 {
		return nil
	}
	for _, stays := range [][]string{p.dst.carry, p.keep} {
		for _, file := range stays {
			for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
				if p.copied(dir) != nil {
					paths = append(paths, file+" (stays, in the place of a file)")
				}
			}
		}
	}
	return paths
}

// damaged lists the destination's files whose bytes changed since the common base though size and time stamp did
// not. No writer does that, so that a transfer repairs them without being forced to.
func (p *plan) damaged() []string {
	if p.direction == Push {
		return p.history.drift.Remote
	}
	return p.history.drift.Local
}

// subset tells whether all paths of a are in b, which is sorted.
func subset(a, b []string) bool {
	return !slices.ContainsFunc(a, func(path string) bool {
		_, found := slices.BinarySearch(b, path)
		return !found
	})
}

// copied finds a file among those that the plan copies; nil if it is none of them.
func (p *plan) copied(path string) *verify.Entry {
	i, found := slices.BinarySearchFunc(p.copy, path, func(e *verify.Entry, path string) int { return strings.Compare(e.Path, path) })
	if !found {
		return nil
	}
	return p.copy[i]
}

// bookkeeping is what a transfer makes beside the files: directories, journal, locks.
const bookkeeping = 64

func (p *plan) inodes() int64 {
	return int64(len(p.copy)+len(p.newDirs)+len(p.dst.dirs)+len(p.src.dirs)) + bookkeeping
}

// room says whether the destination can hold what the transfer writes: the copied files, and the copies of files
// that a generation may not share with live. What dead runs have received already needs no room.
func (s *subject) room(ctx context.Context, p *plan) error {
	err := p.room(0, 0)
	var full *SpaceError
	if !errors.As(err, &full) || len(p.dst.survey.Stages) == 0 {
		return err
	}
	bytes, files, lerr := s.received(ctx, p)
	if lerr != nil {
		return lerr
	}
	return p.room(bytes, files)
}

// received counts what the stages of dead runs hold of the plan's files.
func (s *subject) received(ctx context.Context, p *plan) (bytes, files int64, err error) {
	counted := map[string]bool{}
	for _, run := range p.dst.survey.Stages {
		old, err := listTree(ctx, p.dst.side, statePath(p.dst.side, "stage", s.key, run, "tree"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return 0, 0, err
		}
		for _, e := range adoptable(p, old) {
			if !counted[e.Path] {
				counted[e.Path] = true
				bytes, files = bytes+e.Size, files+1
			}
		}
	}
	return bytes, files, nil
}

func (p *plan) room(haveBytes, haveFiles int64) error {
	s := p.dst.survey
	if !s.SameFS {
		return &DeviceError{Side: p.dst.side.Name(), Live: s.Live, State: statePath(p.dst.side)}
	}
	need := p.bytes() - haveBytes
	for i := range p.dst.files {
		if p.dst.files[i].Class.InPlace() {
			need += p.dst.files[i].Size
		}
	}
	if s.FreeBytes >= 0 && need > s.FreeBytes {
		return &SpaceError{Side: p.dst.side.Name(), Need: need, Free: s.FreeBytes, Unit: "bytes"}
	}
	if inodes := p.inodes() - haveFiles; s.FreeInodes >= 0 && inodes > s.FreeInodes {
		return &SpaceError{Side: p.dst.side.Name(), Need: inodes, Free: s.FreeInodes, Unit: "inodes"}
	}
	return nil
}
