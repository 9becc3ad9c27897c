package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// Hashed is the result for one path. Without Err, Entry is the file as its descriptor showed it both before and after it
// was read, with the digest: a later listing with the same stamp proves that the file is still what was hashed. Err is
// ErrChanged if the stamp moved during the reading.
type Hashed struct {
	Path  string
	Entry Entry // its Class is zero; meaningless if Err is set
	Err   error
}

// Hasher hashes files with several workers, while their names are still coming in.
type Hasher struct {
	ctx      context.Context
	dir      string
	patience []time.Duration

	mu      sync.Mutex
	more    *sync.Cond
	queue   []string
	closed  bool // Wait was called
	aborted bool // a path was given up because ctx was done

	telling sync.Mutex // one result at a time
	got     func(Hashed)
	workers sync.WaitGroup
	detach  func() bool
}

// renameGrace is how long a Hasher waits for a name to appear: rsync may report a file a moment before it
// renames it into place.
var renameGrace = []time.Duration{2 * time.Millisecond, 20 * time.Millisecond}

// NewHasher starts workers (0: one per core) that hash files below dir. It calls got for every path added, in any order,
// one call at a time, until Wait returns or ctx is done. Wait must be called to release the workers.
func NewHasher(ctx context.Context, dir, algorithm string, workers int, got func(Hashed)) (*Hasher, error) {
	return newHasher(ctx, dir, algorithm, workers, renameGrace, got)
}

// HashFiles hashes files below dir with several workers (0: one per core) and calls got for each, in any order, one call
// at a time. A file that cannot be read, is not regular or changes while it is read (ErrChanged) is reported with an error
// and does not stop the others. HashFiles itself fails on an unknown algorithm or when ctx is done; then some paths were
// not reported.
func HashFiles(ctx context.Context, dir, algorithm string, paths []string, workers int, got func(string, Digest, error)) error {
	h, err := newHasher(ctx, dir, algorithm, workers, nil, func(r Hashed) { got(r.Path, r.Entry.Digest, r.Err) })
	if err != nil {
		return err
	}
	h.Add(paths...)
	return h.Wait()
}

func newHasher(ctx context.Context, dir, algorithm string, workers int, patience []time.Duration, got func(Hashed)) (*Hasher, error) {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	hashers := make([]*fileHasher, workers)
	for i := range hashers {
		var err error
		if hashers[i], err = newFileHasher(algorithm); err != nil {
			return nil, err
		}
	}
	h := &Hasher{ctx: ctx, dir: dir, patience: patience, got: got}
	h.more = sync.NewCond(&h.mu)
	h.detach = context.AfterFunc(ctx, h.wake)
	for _, f := range hashers {
		h.workers.Go(func() { h.work(f) })
	}
	return h, nil
}

// Add queues files by their paths relative to the directory. It does not wait for the hashing. It is safe for concurrent
// use, but not after Wait.
func (h *Hasher) Add(paths ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.queue = append(h.queue, paths...)
	if len(paths) == 1 {
		h.more.Signal()
	} else {
		h.more.Broadcast()
	}
}

// Wait returns when every path added was reported, or when ctx is done: then with the error of ctx if a path was left.
// Call it once.
func (h *Hasher) Wait() error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.wake()
	h.workers.Wait()
	h.detach()
	if h.aborted || len(h.queue) > 0 {
		return fmt.Errorf("cannot hash all files of %q: %w", h.dir, context.Cause(h.ctx))
	}
	return nil
}

func (h *Hasher) wake() {
	h.mu.Lock() // else a worker between its check and its wait would miss the signal
	defer h.mu.Unlock()
	h.more.Broadcast()
}

// take waits for the next path; it returns false when none is left or ctx is done.
func (h *Hasher) take() (path string, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.queue) == 0 && !h.closed && h.ctx.Err() == nil {
		h.more.Wait()
	}
	if len(h.queue) == 0 || h.ctx.Err() != nil {
		return "", false
	}
	path, h.queue = h.queue[0], h.queue[1:]
	return path, true
}

func (h *Hasher) work(f *fileHasher) {
	for {
		path, ok := h.take()
		if !ok {
			return
		}
		e, err := h.hash(f, path)
		if h.ctx.Err() != nil {
			h.lost()
			return
		}
		if err != nil {
			err = fmt.Errorf("cannot hash %q: %w", path, err)
		}
		e.Path = path
		h.tell(Hashed{Path: path, Entry: e, Err: err})
	}
}

func (h *Hasher) tell(r Hashed) {
	h.telling.Lock()
	defer h.telling.Unlock()
	h.got(r)
}

func (h *Hasher) lost() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.aborted = true
}

func (h *Hasher) hash(f *fileHasher, path string) (Entry, error) {
	if !filepath.IsLocal(path) {
		return Entry{}, errors.New("the path leads out of the directory")
	}
	full := h.dir + "/" + path
	e, err := f.file(h.ctx, full)
	for _, pause := range h.patience {
		if !errors.Is(err, fs.ErrNotExist) || h.ctx.Err() != nil {
			break
		}
		time.Sleep(pause)
		e, err = f.file(h.ctx, full)
	}
	return e, err
}
