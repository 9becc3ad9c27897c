package sync

import (
	"context"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// side is one end of a transaction: the datasets below one USR root on one host. There are two kinds of it, local.Side
// and shell.Session; the engine cannot tell them apart, which is what makes pull and push one transaction with its ends
// exchanged.
//
// All paths are absolute on the side's host unless called relative. A side does what it is asked, in that order; every
// decision is the engine's.
type side interface {
	// Name is how messages call the side: "local" or the remote's name.
	Name() string
	// Root is the absolute USR root.
	Root() string
	// Far says that rsync reaches the side over a connection.
	Far() bool
	// Endpoint says how rsync reaches paths of this side. It may dial for that.
	Endpoint(ctx context.Context) (remote.Endpoint, error)
	// Algorithms lists the hash algorithms of the side, best first.
	Algorithms(ctx context.Context) ([]string, error)

	// Survey reads all that a plan needs of a dataset in one round trip. It changes nothing. known is the listing
	// of an earlier survey, or "": a side may say that it is still the same instead of telling it again.
	Survey(ctx context.Context, id, key, known string) (*remote.Survey, error)
	// Surveys is Survey of many datasets in one round trip; nil stands for one that is to be surveyed by itself.
	Surveys(ctx context.Context, ids, keys []string) ([]*remote.Survey, error)
	// Walk tells everything below a directory, in no order, one entry at a time; an absent directory is an error that
	// is fs.ErrNotExist.
	Walk(ctx context.Context, dir string, visit func(verify.Entry)) error
	// Names is Walk for who needs no more of an entry than Path, Kind and Ino, which costs less.
	Names(ctx context.Context, dir string, visit func(verify.Entry)) error
	// Hash reads files below dir in full and calls got for each, in any order, one call at a time. A file that
	// vanished or cannot be read is reported with an error in place of a digest and does not stop the others. The
	// sizes are for dealing the files out to processes; paths and sizes are all that is looked at.
	Hash(ctx context.Context, dir, algorithm string, files []*verify.Entry, got func(path string, d verify.Digest, err error)) error
	// Landing hashes files below dir, about as many as expected, while rsync is putting them there. Its wait must be
	// called.
	Landing(ctx context.Context, dir, algorithm string, expected int) (remote.Landing, error)
	// HashPrefix hashes the first n bytes of a file; a shorter file gives the hash of what is there.
	HashPrefix(ctx context.Context, file, algorithm string, n int64) (verify.Digest, error)
	// ReadRange reads up to n bytes at off; a negative off counts from the end of the file.
	ReadRange(ctx context.Context, file string, off, n int64) ([]byte, error)

	// Claim takes the run lock of a dataset (S/journal/KEY.lock), creating the state directory. A dataset has at
	// most one transaction a side; whoever holds the claim may recover, stage and promote.
	Claim(ctx context.Context, key string, timeout time.Duration) error
	// Lock takes flock(2) exclusive on live/.usr.lock, creating the file if need be, and while it is held
	// proves every ten seconds that this process is alive. readOnly tolerates a lock file that cannot be
	// created on a side that is only read from: then locked is false.
	Lock(ctx context.Context, live string, timeout time.Duration, readOnly bool) (locked bool, err error)
	// Locked asks the side itself whether the lock is still held.
	Locked(ctx context.Context) error
	// Unlock releases the dataset lock. Unlocking what is not locked is nothing.
	Unlock(ctx context.Context) error
	// Release gives up the claim.
	Release(ctx context.Context) error

	// Recover finishes or undoes the promotion that an earlier run was killed in. One in place it finishes under the
	// dataset's lock, unless that is held. Needs the claim.
	Recover(ctx context.Context, key string) (remote.Recovered, error)
	// Stage makes S/stage/KEY/RUN/tree with the mode, group and setgid bit of live (or, where live does not
	// exist, those that mkdir would give beside it), and tells how it is going to take live's place: by exchange only if
	// that is asked for, two directories there can be exchanged, a second name of a file there shows the same inode, and this
	// user may. An error says that he may not replace live at all. Needs the claim.
	Stage(ctx context.Context, key, run, live string, exchange bool) (remote.Staged, error)
	// Link hard-links the relative paths of from into to, making directories and to itself as needed; a directory among the
	// paths is made. A path that is already in to is an error. A file that can have no second name is copied if that is
	// wished; else the error is remote.ErrNoLink, and none of the paths is there.
	Link(ctx context.Context, from, to string, paths []string, orCopy bool) error
	// Writable reports whether this user can add and replace files everywhere below a directory.
	Writable(ctx context.Context, dir string) (bool, error)
	// Copy is Link with copies: same mtime and mode, another inode. Blocks are shared where the file system can.
	Copy(ctx context.Context, from, to string, paths []string) error
	// Spare makes the directory of the spare tree of a dataset, S/spare/KEY. Needs the claim.
	Spare(ctx context.Context, key string) error
	// Drop removes relative paths below a directory of S, with all that is below them. What is not there is removed.
	Drop(ctx context.Context, dir string, paths []string) error
	// UseSpare puts the spare in the place of a run's tree, and gives it mode and group of that, which goes. Needs the claim.
	UseSpare(ctx context.Context, key, run string) error
	// Retire makes the tree of a generation the spare in the place of another, once what is to stay of it has a second
	// name, as Thin gives it. What it had in place of what is new goes, and the names to be dropped. Needs the claim.
	Retire(ctx context.Context, key, run string, drop []string) error
	// SetDirs gives directories below dir (relative; "" is dir itself) their mode and group.
	SetDirs(ctx context.Context, dir string, dirs []verify.Entry) error
	// Dress gives directories of to (relative; "." is to itself) the access control lists and other extended attributes of
	// those of from, and makes those that are not there. What from does not have is passed over.
	Dress(ctx context.Context, from, to string, dirs []string) error
	// Flush makes files and directories below dir durable, or without any the whole file system, for which all its other
	// writers are waited for.
	Flush(ctx context.Context, dir string, paths []string) error
	// Promote switches live to the staged tree under a journal, and tells how long it held .events.lock. Needs claim and,
	// where live exists, lock.
	Promote(ctx context.Context, p remote.Promotion) (held time.Duration, err error)
	// Settle drops the journal of a promotion and, oldest first, the generations beyond keep. The spared ones stay and
	// are not counted.
	Settle(ctx context.Context, key string, keep int, spared ...string) error
	// SetTime gives a file of live a modification time (ns), unless it is no longer what was listed.
	SetTime(ctx context.Context, live string, listed verify.Entry, mtime int64) error
	// Thin takes everything out of the trees of generations but their unique files and what is late. Needs the claim.
	Thin(ctx context.Context, key string, runs ...string) error
	// KeepLate adds to the files of a generation that stay when it is thinned. Needs the claim.
	KeepLate(ctx context.Context, key, run string, paths []string) error
	// Remove deletes a tree below S and nothing outside of it.
	Remove(ctx context.Context, dir string) error
	// Generations lists the kept trees of a dataset, newest first.
	Generations(ctx context.Context, key string) ([]remote.Generation, error)
	// Datasets lists what the root holds. Files are counted by their classes; nil is for who needs the ids alone.
	Datasets(ctx context.Context, classes *verify.Classifier) ([]remote.Dataset, error)
	// Glance looks at names below the root, and lists the ids of datasets if they are wanted. It costs the same however
	// many files there are.
	Glance(ctx context.Context, names []string, ids bool) (*remote.Glance, error)
	// Close releases everything.
	Close() error

	// MoveIn moves a file of the old tree to the same path of live, where none may be. Needs the claim.
	MoveIn(ctx context.Context, old, live, path string) error
	// SwapIn exchanges a file of the old tree with the one at the same path of live. At every instant live has one.
	// Needs the claim.
	SwapIn(ctx context.Context, old, live, path string) error
	// CopyAs copies files of this side into to, below the state directory, by any name, with directories as needed. Blocks
	// are shared where the file system can. What is not there or cannot be read is passed over.
	CopyAs(ctx context.Context, to string, files []remote.Placement) error

	fileSide // file.go
}
