package sync

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/sync/local"
	"github.com/dnadesign-maintainers/usr/verify"
)

// store keeps what this host remembers of its remotes, below the local state directory: the common bases, the
// hash caches of both sides and the log. Losing it costs time and, for the bases, a question; never data.
type store struct {
	dir   string
	local *local.Side
}

// base is the common base of a dataset and a place: the content that both sides had after the last success.
type base struct {
	Place     remote.Place    `json:"place,omitzero"` // zero in those of earlier versions
	Run       string          `json:"run"`
	Direction Direction       `json:"direction,omitempty"` // of the transfer that made it common
	Classes   []verify.Class  `json:"classes"`             // those that were equal then
	Print     string          `json:"print,omitempty"`     // fingerprint of the files, where all digests are known
	Files     verify.Manifest `json:"-"`
	alg       string
}

// covers tells whether the base says anything of a class. A nil base says nothing.
func (b *base) covers(c verify.Class) bool {
	if b == nil {
		return false
	}
	for _, have := range b.Classes {
		if have == c {
			return true
		}
	}
	return false
}

// find returns the base's entry of a path that one of the two sides has, or nil.
func (b *base) find(l, r *verify.Entry) *verify.Entry {
	if b == nil {
		return nil
	}
	return b.Files.Find(either(l, r).Path)
}

// moved tells whether a side changed a path since the base: e is the side's entry, nil if the file is gone.
func (b *base) moved(e *verify.Entry, path string, levels verify.Levels) bool {
	if b == nil {
		return true
	}
	old := b.Files.Find(path)
	if e == nil || old == nil {
		return (e == nil) != (old == nil)
	}
	switch levels.Compare(e, old) {
	case verify.Same:
		return false
	case verify.Different:
		return true
	}
	return e.Mtime != old.Mtime // digests of different algorithms: sizes are equal, time stamps speak
}

// noPlace is the place of a base of version 1, which knew none.
var noPlace remote.Place

// basePath: bases are filed under the name of their place. Earlier versions filed them under that of the profile.
func (s store) basePath(id, dir string) string {
	return filepath.Join(s.dir, "base", dir, stateKey(id))
}

// drifted reports whether a file has other bytes than the base under the same size and time stamp. Where stamps have
// whole seconds a file may have been written a second time in the second that it shows.
func (b *base) drifted(e *verify.Entry) bool {
	if b == nil || e == nil || !verify.Fine(e.Ctime) && !verify.Past(e.Mtime, e.Ctime) {
		return false
	}
	old := b.Files.Find(e.Path)
	return old != nil && old.Size == e.Size && old.Mtime == e.Mtime && old.Digest.Known() && e.Digest.Known() && old.Digest != e.Digest
}

// base loads the common base with a place; nil if there is none. A damaged one is as good as none, and is said by the
// error.
func (s store) base(id string, at remote.Place, algorithm string) (*base, error) {
	b, err := readBase(s.basePath(id, placeName(at)), algorithm)
	if err != nil || !b.Place.Is(at) {
		return nil, local.IgnoreMissing(err)
	}
	return b, nil
}

// placelessBase is what an earlier version took for the common base with a profile; nil if there is none.
func (s store) placelessBase(id, remote, algorithm string) *base {
	b, err := readBase(s.basePath(id, remote), algorithm)
	if err != nil || b.Place != noPlace {
		return nil
	}
	return b
}

// pendingBase is the base that a promotion was about to make common when its run ended; nil if there is none.
func (s store) pendingBase(id string, at remote.Place, algorithm string) *base {
	b, err := readBase(s.basePath(id, placeName(at))+pendingSuffix, algorithm)
	if err != nil || !b.Place.Is(at) {
		return nil
	}
	return b
}

// pendingSuffix cannot end a state key: keys have their percent signs escaped.
const pendingSuffix = "%pending"

// readBase leaves out the digests of another algorithm.
func readBase(path, algorithm string) (*base, error) {
	b, err := readWholeBase(path)
	if err == nil && b.alg != algorithm {
		for i := range b.Files {
			b.Files[i].Digest = verify.Digest{}
		}
	}
	return b, err
}

// says tells whether the common base is known to be of these very files and this very place, without reading its
// files.
func (s store) says(id string, next *base) bool {
	b, err := readHead(s.basePath(id, placeName(next.Place)))
	return err == nil && next.Print != "" && b.Print == next.Print && b.Place == next.Place
}

// placelessRun is the run of an earlier version's base of the same files; "" if there is none. An undo knows a base by its
// run.
func (s store) placelessRun(id, remote string, next *base) string {
	b, err := readHead(s.basePath(id, remote))
	if err != nil || next.Print == "" || b.Print != next.Print || b.Place != noPlace {
		return ""
	}
	return b.Run
}

// readHead reads a base without its files.
func readHead(path string) (*base, error) {
	f, err := local.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBaseHead(bufio.NewReader(f))
}

func readBaseHead(r *bufio.Reader) (*base, error) {
	head, err := r.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	b := &base{}
	return b, json.Unmarshal(head, b)
}

func readWholeBase(path string) (*base, error) {
	f, err := local.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	b, err := readBaseHead(r)
	if err != nil {
		return nil, fmt.Errorf("cannot read the common base %s: %w", path, err)
	}
	if b.alg, b.Files, err = verify.ReadManifest(r); err != nil {
		return nil, fmt.Errorf("cannot read the common base %s: %w", path, err)
	}
	return b, nil
}

// putPending writes the base that a promotion is about to make common.
func (s store) putPending(id, dir, algorithm string, b *base) error {
	path := s.basePath(id, dir)
	return s.local.Replace(path+pendingSuffix, func(w io.Writer) error {
		head, err := json.Marshal(b)
		if err != nil {
			return err
		}
		if _, err := w.Write(append(head, '\n')); err != nil {
			return err
		}
		return verify.WriteManifest(w, algorithm, b.Files)
	})
}

// settlePending makes the pending base of a run common, keeping the one before for an undo, or drops it where the
// run promoted nothing. The pending base of another run is let be.
func (s store) settlePending(id, dir, run string, promoted bool) error {
	path := s.basePath(id, dir)
	pending, err := readHead(path + pendingSuffix)
	if err != nil {
		return local.IgnoreMissing(err)
	}
	if pending.Run != run {
		return nil
	}
	if !promoted {
		return s.dropPending(id, dir)
	}
	if err := local.IgnoreMissing(os.Rename(path, path+previousSuffix)); err != nil {
		return err
	}
	return os.Rename(path+pendingSuffix, path)
}

// settleRun does that for whichever place the run had to do with.
func (s store) settleRun(id, run string, promoted bool) error {
	dirs, err := os.ReadDir(filepath.Join(s.dir, "base"))
	if err != nil {
		return local.IgnoreMissing(err)
	}
	for _, dir := range dirs {
		if err := s.settlePending(id, dir.Name(), run, promoted); err != nil {
			return err
		}
	}
	return nil
}

// basesOf lists where the common base is that a run recorded.
func (s store) basesOf(id, run string) (dirs []string, err error) {
	all, err := os.ReadDir(filepath.Join(s.dir, "base"))
	if err != nil || run == "" {
		return nil, local.IgnoreMissing(err)
	}
	for _, dir := range all {
		if b, err := readHead(s.basePath(id, dir.Name())); err == nil && b.Run == run {
			dirs = append(dirs, dir.Name())
		}
	}
	return dirs, nil
}

func (s store) dropPending(id, dir string) error {
	path := s.basePath(id, dir) + pendingSuffix
	os.Remove(path + local.NewSuffix) // a dead run's
	return local.IgnoreMissing(os.Remove(path))
}

const previousSuffix = "%previous"

// putPrevious makes the base before the common one pending, under an undo's own run. Where there was none it is a
// base that says nothing of any class.
func (s store) putPrevious(id, dir, run string, d Direction) error {
	b, err := readWholeBase(s.basePath(id, dir) + previousSuffix)
	if err != nil {
		b = &base{alg: verify.BLAKE3}
	}
	b.Run, b.Direction = run, d
	return s.putPending(id, dir, b.alg, b)
}

// cachePath: the empty remote name stands for the local side.
func (s store) cachePath(id, remote string) string {
	if remote == "" {
		return filepath.Join(s.dir, "cache", "local", stateKey(id))
	}
	return filepath.Join(s.dir, "cache", "remote", remote, stateKey(id))
}

// learn takes the digests of the cache into a snapshot, for all files whose stamps did not change.
func (s store) learn(snap *snapshot, id, remote, algorithm string) {
	f, err := local.Open(s.cachePath(id, remote))
	if err != nil {
		return
	}
	defer f.Close()
	snap.cached, snap.learnt, _ = snap.files.LearnFrom(f, algorithm) // a damaged or foreign cache is no cache
}

// remember writes the digests of a snapshot that are safe to trust later. It does nothing where none of them is, and
// where all of them come from the cache as it is.
func (s store) remember(snap *snapshot, id, remote, algorithm string) error {
	settled := snap.files.CountSettled(snap.survey.Now)
	if settled == 0 || (settled == snap.learnt && settled == snap.cached) {
		return nil
	}
	return s.local.Replace(s.cachePath(id, remote), func(w io.Writer) error {
		return verify.WriteSettled(w, algorithm, snap.files, snap.survey.Now)
	})
}

// LogEntry is one line of the log of what was synced.
type LogEntry struct {
	Time        time.Time `json:"time"`
	Action      string    `json:"action"`
	Dataset     string    `json:"dataset"`
	Remote      string    `json:"remote,omitempty"`
	State       State     `json:"transfer_state"`
	Relation    Relation  `json:"relation,omitempty"`
	Added       int       `json:"added"`
	Modified    int       `json:"modified"`
	Deleted     int       `json:"deleted"`
	Bytes       int64     `json:"bytes"`
	Fingerprint string    `json:"fingerprint,omitempty"`
	Generation  string    `json:"generation,omitempty"`
	Seconds     float64   `json:"duration_s"`
	Forced      bool      `json:"forced,omitempty"`
}

// log appends a line.
func (s store) log(e LogEntry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	path := filepath.Join(s.dir, "log", "sync.jsonl")
	return s.local.Append(path, append(line, '\n'))
}

// Log reads the log of a root, newest first; id "" means all datasets. Lines that cannot be read are passed over.
func Log(root, id string) ([]LogEntry, error) {
	data, err := local.Read(filepath.Join(root, stateDir, "log", "sync.jsonl"))
	if err != nil {
		return nil, local.IgnoreMissing(err)
	}
	var out []LogEntry
	for line := range bytes.Lines(data) {
		var e LogEntry
		if json.Unmarshal(line, &e) == nil && (id == "" || e.Dataset == id) {
			out = append(out, e)
		}
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out, nil
}
