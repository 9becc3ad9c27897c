package verify

// Join walks two manifests in step and calls visit once for each path, in order, with nil for the side that lacks it.
// visit may change the entries but not their paths.
func Join(a, b Manifest, visit func(a, b *Entry)) {
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case j == len(b) || (i < len(a) && a[i].Path < b[j].Path):
			visit(&a[i], nil)
			i++
		case i == len(a) || b[j].Path < a[i].Path:
			visit(nil, &b[j])
			j++
		default:
			visit(&a[i], &b[j])
			i++
			j++
		}
	}
}

// Either returns the first of two entries that is not nil.
func Either(a, b *Entry) *Entry {
	if a != nil {
		return a
	}
	return b
}

// Known reports whether the digest is known.
func (d Digest) Known() bool { return d != Digest{} }

// SameStamp reports whether nothing has touched the inode between two listings of one host: device, inode, size,
// modification and change time are the same. Every write moves the change time, which no program can set (inode(7)).
func SameStamp(a, b *Entry) bool {
	return a.Dev == b.Dev && a.Ino == b.Ino && a.Size == b.Size && a.Mtime == b.Mtime && a.Ctime == b.Ctime
}

// Learn copies the digests of known to the files whose stamp has not changed since known was listed.
func (m Manifest) Learn(known Manifest) { m.learn(known, func(*Entry) bool { return true }) }

// LearnSettled is Learn from a listing of the same host that was made earlier, at listedAt (ns, its clock), and
// hashed afterwards: only entries that are settled count.
func (m Manifest) LearnSettled(known Manifest, listedAt int64) {
	m.SharePaths(known)
	m.learn(known, func(e *Entry) bool { return e.settled(listedAt) })
}

// LearnRead copies the digests of files that were read some time after the moment in the Ctime of read's entries (ns,
// clock of the listed host). They hold for every inode that nothing has touched since before that moment.
func (m Manifest) LearnRead(read Manifest) {
	Join(m, read, func(e, r *Entry) {
		if e != nil && r != nil && !e.Digest.Known() && Past(e.Ctime, r.Ctime) {
			e.Digest = r.Digest
		}
	})
}

// SharePaths makes equal paths of two manifests share one string in memory, that of other.
func (m Manifest) SharePaths(other Manifest) {
	Join(m, other, func(e, o *Entry) {
		if e != nil && o != nil {
			e.Path = o.Path
		}
	})
}

// ForgetUnsettled drops the digests that LearnSettled would not copy.
func (m Manifest) ForgetUnsettled(listedAt int64) {
	for i := range m {
		if !m[i].settled(listedAt) {
			m[i].Digest = Digest{}
		}
	}
}

func (m Manifest) learn(known Manifest, trusted func(*Entry) bool) {
	Join(m, known, func(e, k *Entry) {
		if e != nil && k != nil && !e.Digest.Known() && k.Digest.Known() && SameStamp(e, k) && trusted(k) {
			e.Digest = k.Digest
		}
	})
}

// settled reports whether a later listing may rely on the digest: it is known, and the inode was last touched so long
// before listedAt (ns, the clock of the listed host) that a later touch must leave another time stamp. Git calls the
// others racily clean (Documentation/technical/racy-git).
func (e *Entry) settled(listedAt int64) bool {
	return e.Digest.Known() && Past(e.Ctime, listedAt)
}

// CountSettled counts the entries that WriteSettled writes.
func (m Manifest) CountSettled(listedAt int64) int {
	n := 0
	for i := range m {
		if m[i].settled(listedAt) {
			n++
		}
	}
	return n
}

// How far file time stamps may lag behind the clock that date(1) shows, in ns.
const (
	fineGrain  = 20e6 // a kernel tick (10 ms at HZ=100), taken twice
	wholeGrain = 2e9  // of FAT; ext3, HFS+ and Lustre have one second
)

// Fine reports whether a stamp has a fraction of a second. On file systems and with tools that know whole seconds only, no
// stamp has one; elsewhere one stamp in millions looks as if it were such a one.
func Fine(stamp int64) bool { return stamp%1e9 != 0 }

// Past reports whether a stamp is so much older than the moment at (ns, the clock of the listed host) that any later touch
// leaves another one.
func Past(stamp, at int64) bool {
	if Fine(stamp) {
		return stamp < at-fineGrain
	}
	return stamp < at-wholeGrain
}

// Unique reports whether the stamp of a file that was listed at a moment identifies its content: it has a fraction, or a
// later change cannot fall into the same second.
func Unique(stamp, listedAt int64) bool { return Fine(stamp) || Past(stamp, listedAt) }

// Level is how closely two files of a class are compared.
type Level uint8

// The levels. Stat is what rsync does by default: size and modification time.
const (
	Stat Level = iota
	Content
)

// Levels gives each class its level.
type Levels [Ignored + 1]Level

// Verdict is the outcome of a comparison.
type Verdict uint8

// The verdicts. Undecided means that a digest is missing that the level needs.
const (
	Same Verdict = iota
	Different
	Undecided
)

// Compare compares two files; neither may be nil.
func (l Levels) Compare(a, b *Entry) Verdict {
	switch {
	case a.Size != b.Size:
		return Different
	case l[a.Class] == Stat:
		return verdict(a.Mtime == b.Mtime)
	case !a.Digest.Known() || !b.Digest.Known():
		return Undecided
	}
	return verdict(a.Digest == b.Digest)
}

func verdict(same bool) Verdict {
	if same {
		return Same
	}
	return Different
}

// Tally counts files and their bytes.
type Tally struct {
	Files int
	Bytes int64
}

// Find returns the entry of a path, or nil.
func (m Manifest) Find(path string) *Entry {
	if i, found := m.Index(path); found {
		return &m[i]
	}
	return nil
}

// Index returns the position of a path, and whether it is there.
func (m Manifest) Index(path string) (i int, found bool) {
	lo, hi := 0, len(m)
	for lo < hi {
		mid := (lo + hi) / 2
		if m[mid].Path < path {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(m) && m[lo].Path == path
}
