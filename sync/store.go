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
	"github.com/dnadesign-maintainers/usr/sync/history"
	"github.com/dnadesign-maintainers/usr/sync/local"
	"github.com/dnadesign-maintainers/usr/verify"
)

// store holds what this host remembers of its remotes, below the local state directory: the common bases, the hash caches
// of both sides and the log. Losing it costs time and, for the bases, a question; never data.
type store struct {
	dir   string
	local *local.Side
}

// noPlace is the place of a base of version 1, which recorded none.
var noPlace remote.Place

// basePath returns the file of a base. Its directory is named after the place; earlier versions named it after the profile.
func (s store) basePath(id, dir string) string {
	return filepath.Join(s.dir, "base", dir, stateKey(id))
}

// base loads the common base with a place; nil if there is none. For a damaged one it returns nil and an error.
func (s store) base(id string, at remote.Place, algorithm string) (*history.Base, error) {
	b, err := readBase(s.basePath(id, placeName(at)), algorithm)
	if err != nil || !b.Place.Is(at) {
		return nil, local.IgnoreMissing(err)
	}
	return b, nil
}

// placelessBase loads the common base that an earlier version recorded for a profile; nil if there is none.
func (s store) placelessBase(id, remote, algorithm string) *history.Base {
	b, err := readBase(s.basePath(id, remote), algorithm)
	if err != nil || b.Place != noPlace {
		return nil
	}
	return b
}

// pendingBase loads the base that a promotion was about to make common when its run died; nil if there is none.
func (s store) pendingBase(id string, at remote.Place, algorithm string) *history.Base {
	b, err := readBase(s.basePath(id, placeName(at))+pendingSuffix, algorithm)
	if err != nil || !b.Place.Is(at) {
		return nil
	}
	return b
}

// pendingSuffix cannot end a state key: keys have their percent signs escaped.
const pendingSuffix = "%pending"

// readBase drops the digests of another algorithm.
func readBase(path, algorithm string) (*history.Base, error) {
	b, err := readWholeBase(path)
	if err == nil && b.Algorithm != algorithm {
		for i := range b.Files {
			b.Files[i].Digest = verify.Digest{}
		}
	}
	return b, err
}

// says reports whether the common base records exactly these files and this place. It does not read the base's files.
func (s store) says(id string, next *history.Base) bool {
	b, err := readHead(s.basePath(id, placeName(next.Place)))
	return err == nil && next.Print != "" && b.Print == next.Print && b.Place == next.Place && (b.Meta == nil) == (next.Meta == nil)
}

// placelessRun returns the run of an earlier version's base of the same files, by which an undo finds the base; "" if there
// is none.
func (s store) placelessRun(id, remote string, next *history.Base) string {
	b, err := readHead(s.basePath(id, remote))
	if err != nil || next.Print == "" || b.Print != next.Print || b.Place != noPlace {
		return ""
	}
	return b.Run
}

// readHead reads a base without its files.
func readHead(path string) (*history.Base, error) {
	f, err := local.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBaseHead(bufio.NewReader(f))
}

func readBaseHead(r *bufio.Reader) (*history.Base, error) {
	head, err := r.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	b := &history.Base{}
	return b, json.Unmarshal(head, b)
}

func readWholeBase(path string) (*history.Base, error) {
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
	if b.Algorithm, b.Files, err = verify.ReadManifest(r); err != nil {
		return nil, fmt.Errorf("cannot read the common base %s: %w", path, err)
	}
	return b, nil
}

// putPending writes the base that a promotion is about to make common.
func (s store) putPending(id, dir, algorithm string, b *history.Base) error {
	return s.writeBase(s.basePath(id, dir)+pendingSuffix, algorithm, b)
}

func (s store) writeBase(path, algorithm string, b *history.Base) error {
	return s.local.Replace(path, func(w io.Writer) error {
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

// settlePending makes the pending base of a run common and saves the one before for an undo, or drops it if the run
// promoted nothing. It leaves the pending base of another run alone.
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

// settleRun does the same for every place of the run.
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

// basesOf lists the files with the common bases that a run recorded.
func (s store) basesOf(id, run string) (dirs []string, err error) { return s.kept(id, "", run) }

// unmergedBy lists the files with the bases from before the merge of a run.
func (s store) unmergedBy(id, run string) (dirs []string, err error) {
	return s.kept(id, unmergedSuffix, run)
}

func (s store) kept(id, suffix, run string) (dirs []string, err error) {
	all, err := os.ReadDir(filepath.Join(s.dir, "base"))
	if err != nil || run == "" {
		return nil, local.IgnoreMissing(err)
	}
	for _, dir := range all {
		if b, err := readHead(s.basePath(id, dir.Name()) + suffix); err == nil && b.Run == run {
			dirs = append(dirs, dir.Name())
		}
	}
	return dirs, nil
}

func (s store) dropPending(id, dir string) error {
	path := s.basePath(id, dir) + pendingSuffix
	os.Remove(path + local.NewSuffix) // left by a dead run
	return local.IgnoreMissing(os.Remove(path))
}

const (
	previousSuffix = "%previous"
	unmergedSuffix = "%unmerged"
)

// keepUnmerged saves the common base under the run that merges, for an undo of the merge: the push that follows saves a
// previous one of its own. Without a common base it saves an empty one.
func (s store) keepUnmerged(id, dir, run string) error {
	path := s.basePath(id, dir)
	b, err := readWholeBase(path)
	if err != nil {
		b = noBase("", "")
	}
	b.Run = run
	return s.writeBase(path+unmergedSuffix, b.Algorithm, b)
}

// noBase is a base that covers no class.
func noBase(run string, d Direction) *history.Base {
	return &history.Base{Algorithm: verify.BLAKE3, Run: run, Direction: d}
}

// putPrevious makes a base that was saved for an undo pending, under the undo's own run. If there was none it is an empty
// one.
func (s store) putPrevious(id, dir, suffix, run string, d Direction) error {
	b, err := readWholeBase(s.basePath(id, dir) + suffix)
	if err != nil {
		return s.putNone(id, dir, run, d)
	}
	b.Run, b.Direction = run, d
	return s.putPending(id, dir, b.Algorithm, b)
}

// putTree makes a tree the pending base, for the classes of the present base, under an undo's own run.
func (s store) putTree(id, dir, run string, d Direction, algorithm string, files verify.Manifest) error {
	b, err := readHead(s.basePath(id, dir))
	if err != nil {
		return s.putNone(id, dir, run, d)
	}
	b.Run, b.Direction, b.Print, b.Table = run, d, "", nil
	for _, e := range files {
		if b.Covers(e.Class) {
			b.Files = append(b.Files, e)
		}
	}
	return s.putPending(id, dir, algorithm, b)
}

// putNone makes an empty base pending, under an undo's own run.
func (s store) putNone(id, dir, run string, d Direction) error {
	return s.putPending(id, dir, verify.BLAKE3, noBase(run, d))
}

// cachePath returns the file of a hash cache. The empty remote name means the local side.
func (s store) cachePath(id, remote string) string {
	if remote == "" {
		return filepath.Join(s.dir, "cache", "local", stateKey(id))
	}
	return filepath.Join(s.dir, "cache", "remote", remote, stateKey(id))
}

// learn copies the digests of the cache to a snapshot, for all files whose stamps have not changed.
func (s store) learn(snap *snapshot, id, remote, algorithm string) {
	f, err := local.Open(s.cachePath(id, remote))
	if err != nil {
		return
	}
	defer f.Close()
	snap.cached, snap.learnt, _ = snap.files.LearnFrom(f, algorithm) // a damaged or foreign cache counts as none
}

// remember caches the digests of a snapshot that can be trusted later. It does nothing if there are none, or if the cache
// already has them all.
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
	State       State     `json:"transfer_state,omitempty"` // none of a failure
	Relation    Relation  `json:"relation,omitempty"`
	Added       int       `json:"added"`
	Modified    int       `json:"modified"`
	Deleted     int       `json:"deleted"`
	Bytes       int64     `json:"bytes"`
	Fingerprint string    `json:"fingerprint,omitempty"`
	Generation  string    `json:"generation,omitempty"`
	Seconds     float64   `json:"duration_s"`
	Forced      bool      `json:"forced,omitempty"`
	Error       *LogError `json:"error,omitempty"`
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

// Log reads the log of a root, newest first; id "" means all datasets. It skips lines that it cannot read.
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

// allBases returns the common bases of a dataset with all places. It skips those that it cannot read.
func (s store) allBases(id, algorithm string) (all []*history.Base) {
	dirs, _ := os.ReadDir(filepath.Join(s.dir, "base"))
	for _, dir := range dirs {
		if b, err := readBase(s.basePath(id, dir.Name()), algorithm); err == nil {
			all = append(all, b)
		}
	}
	return all
}
