package shell

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// landing has the host hash what was reported, a batch at a time. A push reports files when they are sent, and
// the receiver puts them in place a little later (rsync logs before it renames): so a file waits for one batch, and
// one that is not there even then waits on.
type landing struct {
	ctx            context.Context
	session        *Session
	dir, algorithm string
	stop           chan struct{}
	stopped        chan struct{}

	mu       sync.Mutex
	reported []Sized

	read  verify.Manifest // by the one goroutine, as are bytes and err
	bytes int64           // reported so far
	err   error
}

// landingPause is the time between two batches: long enough for a file to get into its place.
const landingPause = 200 * time.Millisecond

// landingBytes is how much a batch hashes at most, or one file: a run that has failed waits for its end.
const landingBytes = 4 << 30

// Landing hashes files below dir while rsync is putting them there.
func (s *Session) Landing(ctx context.Context, dir, algorithm string, _ int) (remote.Landing, error) {
	l := &landing{ctx: ctx, session: s, dir: dir, algorithm: algorithm, stop: make(chan struct{}), stopped: make(chan struct{})}
	go l.run()
	return l, nil
}

func (l *landing) Add(path string, size int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reported = append(l.reported, Sized{Path: path, Size: size})
}

func (l *landing) Wait() (remote.Arrivals, error) {
	close(l.stop)
	<-l.stopped
	slices.SortFunc(l.read, verify.ComparePaths)
	return remote.Arrivals{Read: l.read}, l.err
}

func (l *landing) run() {
	defer close(l.stopped)
	var waiting []Sized
	for l.err == nil {
		select {
		case <-l.stop:
			return
		case <-time.After(landingPause):
		}
		n := batch(waiting)
		missed := l.hash(waiting[:n])
		waiting = append(missed, waiting[n:]...)
		l.mu.Lock()
		for _, f := range l.reported {
			l.bytes += f.Size
		}
		waiting = append(waiting, l.reported...)
		l.reported = nil
		l.mu.Unlock()
	}
}

// batch is how many of the files are hashed in one go.
func batch(files []Sized) int {
	var bytes int64
	for i, f := range files {
		if bytes += f.Size; i > 0 && bytes > landingBytes || i == HashBatch {
			return i
		}
	}
	return len(files)
}

// hash returns the files that were not there. It leaves much to a job.
func (l *landing) hash(files []Sized) (missed []Sized) {
	if l.session.compute.wanted(l.session.o.Compute, l.bytes) {
		return files
	}
	begun := len(l.read)
	clock, missed, err := l.session.hashPresent(l.ctx, l.dir, l.algorithm, files, func(path string, sum verify.Digest) {
		l.read = append(l.read, verify.Entry{Path: path, Digest: sum})
	})
	for i := range l.read[begun:] {
		l.read[begun+i].Ctime = clock
	}
	l.err = err
	return missed
}
