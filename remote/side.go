package remote

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/verify"
)

// Endpoint says how rsync reaches the paths of one host.
type Endpoint struct {
	Host      string   // "" for this host; else "user@host" or "host" as rsync's HOST: needs it
	Shell     []string // argv of ssh for rsync's -e, without the host; it rides on the master and never connects by itself
	RsyncPath string   // rsync's --rsync-path; "" is "rsync" on the PATH of that host
}

// Place is where the datasets of a side are, whatever its profile is called. A common base belongs to it.
type Place struct {
	Host string `json:"host,omitempty"` // as ssh resolves the profile's; "" is this one
	Dir  string `json:"dir"`            // real path of the base directory
	Root string `json:"root,omitempty"` // its inode number, which outlives a mount; "" where that is not known
}

// Is reports whether two places are the same. A directory that took another's path is not.
func (p Place) Is(q Place) bool {
	return p.Host == q.Host && p.Dir == q.Dir && (p.Root == q.Root || p.Root == "" || q.Root == "")
}

// Survey is what one round trip reports of a dataset.
type Survey struct {
	Place      Place           // of the root
	Live       string          // real path of the dataset directory (symlinks followed), also if absent
	Exists     bool            // the directory exists
	Entries    verify.Manifest // empty if it does not
	EventLines int64           // newline characters in .events.log; -1 if there is none
	Journal    bool            // a journal of this dataset exists: a promotion was begun
	Stages     []string        // names of the run directories under S/stage/KEY, dead or alive, oldest first
	Partial    bool            // S/stage/KEY/partial exists and is not empty
	SameFS     bool            // live (or the nearest existing parent) and S (or root) are on one file system
	FreeBytes  int64           // free to this user on the file system of S; -1 unknown
	FreeInodes int64           // -1 unknown (some file systems have no limit)
	Now        int64           // the side's clock in ns before the listing began; coarse clocks round down
	Listing    string          // stands for the listing, change times and all; "" if the side does not tell
	Registry   string          // verify.RegistrySum of the root, where no listing was known before
	Same       bool            // the listing is the known one, and Entries is empty
	Names      verify.Names    // how names are taken there, as far as that can be seen
	Misspelt   bool            // the directory is called by another name, which is one with that of the id
}

// Staged says how a stage is going to take live's place.
type Staged struct {
	Exchange  bool         // as a whole, in one step; else entry by entry, in place
	Renumbers bool         // a file there has another inode under each of its names
	Names     verify.Names // how names are taken there; in an empty root that shows only now
}

// ErrNoLink reports that a file cannot have a second name, because of whose it is or of where it is.
var ErrNoLink = errors.New("a file there can have no second name")

// Change is what becomes of a file of live, or of a directory.
type Change struct {
	Kind byte // 'A' for added, 'M' for replaced, 'D' for deleted
	Path string
}

// Promotion says what is to take whose place: the staged tree of a run that of Live. The file changes in the run's
// directory lists the Changes for good, each as "A path" and a NUL. Two ways lead there.
//
// By exchange, where one process can make both calls:
//  1. hard-link the carry paths (runtime and ignored files) from live into tree, but never .events.lock, which may not have
//     a second name;
//  2. write the journal (name=value lines: run, live, and the inode number of tree) and make it durable;
//  3. under live/.events.lock append what its log gained to the staged one; exchange live and tree in one step; rename
//     .events.lock from the old tree into live; where live does not exist rename tree to live, failing if it appeared
//     meanwhile;
//  4. remove the lock files of the old tree, with a symbolic link to live's in place of .usr.lock; move every file of
//     copies/ over its namesake in the old tree;
//  5. rename the run directory to S/generations/KEY/RUN (old tree as tree/), or remove it where keep is false
//     or nothing was replaced.
//
// In place, where tree holds only what is new, and live and its lock files stay what they are:
//  1. write the journal, with way=place, and make it durable; from then on there is only forward;
//  2. move what lies beside a database that becomes another one (X-shm, X-wal, X-journal) to old/; give each entry of tree
//     that live lacks its name there by link(2), which replaces nothing; give what live has under the name of another entry
//     a second name in old/, and rename the entry from tree over it: what is added, what is replaced, the primary; then,
//     under live/.events.lock, the log; then move what is deleted to old/, and drop the directories that are empty;
//  3. rename old to tree and the run directory to S/generations/KEY/RUN.
//
// What others put there after its name in old/ was given goes to late.N/. The journal stays until Settle.
type Promotion struct {
	Key, Run string
	Live     string
	InPlace  bool
	Changes  []Change
	Dirs     []Change // directories without a file: 'A' and, where they are empty by then, 'D'
	Carry    []string // relative paths of live; .usr.lock is always among them
	Keep     bool     // what is replaced becomes a generation
	Info     string   // one line of JSON that is kept as S/generations/KEY/RUN/info
	Unique   []string // paths of the old tree whose content is nowhere else; kept as unique beside it, each with a NUL
	Sums     string   // text that is kept as sums: a manifest of what is replaced or deleted

	LogSize     int64         // of .events.log when it was listed: what it gained since follows in the new one; negative: it stays behind
	LockTimeout time.Duration // for .events.lock
}

// Placement is a file that CopyAs copies.
type Placement struct {
	From  string // absolute
	Path  string // relative to the tree that it is copied to
	Mtime int64  // that the copy gets, ns
}

// Landing hashes the files of a stage while more of them are under way. Its Wait must be called, once.
type Landing interface {
	// Add is called for each file that rsync has reported, with about its size. It does not wait.
	Add(path string, size int64)
	// Wait ends it and returns what was hashed. What was reported too late, or was not there when it was looked for,
	// is left to whoever lists the stage.
	Wait() (Arrivals, error)
}

// Arrivals are files of a stage that were hashed while others were under way, in two manifests, by how it can be known
// that they have not changed since.
type Arrivals struct {
	Stamped verify.Manifest // by their stamps, which were the same before and after they were read
	Read    verify.Manifest // by Ctime, which is the side's clock before they were read; Path and Digest are all else
}

// The names that both sides know.
const (
	StateDir  = ".usr-sync"  // directory below a root that holds everything of ours
	LockFile  = ".usr.lock"  // of a dataset: flock(2) exclusive for a write of its tables
	fileStage = ".usr-stage" // ends the name of a single file's stage
)

// FileStage is the private directory beside a single file in which its replacement is put together.
func FileStage(file string) string {
	return path.Join(path.Dir(file), "."+path.Base(file)+fileStage)
}

// IsFileStage reports whether a directory is such a stage.
func IsFileStage(dir string) bool { return strings.HasSuffix(dir, fileStage) }

// Recovered says what Recover found. Run is empty if there was no journal. Forward: live is the tree that the
// dead run staged, and the journal still stands until Settle; otherwise live is what it was and the journal is gone.
type Recovered struct {
	Run     string
	Forward bool
}

// Generation is a kept tree, or what is left of it.
type Generation struct {
	Run    string
	Tree   string // absolute path
	Info   string // as given to Promote
	Whole  bool   // else it was thinned to its unique files
	Unique int    // how many these are; -1 in generations of earlier versions, which do not record them
	Late   int    // how many others a writer without the lock left there
}

// Dataset is a row of `usr datasets`.
type Dataset struct {
	ID       string
	Bytes    int64 // of all files of the dataset that are synchronized
	Files    int
	Mtime    int64  // of records.parquet, ns
	LastLine string // last complete line of .events.log, "" if none
}

// Count counts the files of a listing, in order of path, that are synchronized.
func (d *Dataset) Count(classes *verify.Classifier, listing verify.Manifest) {
	classes.Classify(listing)
	for i := range listing {
		if e := &listing[i]; e.Kind == verify.File && e.Class.Synced() {
			d.Files++
			d.Bytes += e.Size
		}
	}
}

// Glance is what a look shows that costs the same however many files there are.
type Glance struct {
	Now    int64             // the side's clock in ns before it
	Stamps map[string]string // of the names asked for that are there
	IDs    []string          // of the datasets, where they are asked for
}

// Stamp stands for a state of a file or directory.
func Stamp(size, mtime, ctime int64, inode uint64) string {
	return fmt.Sprintf("%d %d %d %d", size, mtime, ctime, inode)
}

// ParseStamp is what a stamp says of a file.
func ParseStamp(stamp string) (e verify.Entry, ok bool) {
	n, _ := fmt.Sscan(stamp, &e.Size, &e.Mtime, &e.Ctime, &e.Ino)
	return e, n == 4
}

// Waiting is told while a lock is waited for.
type Waiting struct {
	Path   string
	Holder string        // who has it and since when, "" if that is not known
	Left   time.Duration // before it is given up
}

// WaitingEvery is how often it is told.
const WaitingEvery = 5 * time.Second
