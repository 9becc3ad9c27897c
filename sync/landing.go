package sync

import (
	"context"
	stdsync "sync"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/shell"
	"github.com/dnadesign-maintainers/usr/verify"
)

// landing hashes the files of a stage while more of them are under way.
type landing interface {
	// add is told a file that rsync has reported, and about how large it is. It does not wait.
	add(path string, size int64)
	// wait ends it and gives what was hashed. What was reported too late, or was not there when it was looked for,
	// is left to whoever lists the stage.
	wait() (arrivals, error)
}

// arrivals are files of a stage that were hashed while others were under way, in two manifests, by how it can be told
// that they have not changed since.
type arrivals struct {
	stamped verify.Manifest // by their stamps, which were the same before and after they were read
	read    verify.Manifest // by Ctime, which is the side's clock before they were read; Path and Digest are all else
}

// complete tells whether the stamp of every wanted file is known. Whether it is the right file is for others to say.
func (a arrivals) complete(want []*verify.Entry) bool {
	for _, e := range want {
		if a.stamped.Find(e.Path) == nil {
			return false
		}
	}
	return true
}

// landing begins to hash what arrives of the wanted files in the stage, as far as their digests are of use.
func (st *stage) landing(ctx context.Context, p *plan, want []*verify.Entry) (*reports, error) {
	r := &reports{p: p, levels: p.how.modes.levels(), classes: st.classes}
	if p.how.modes.noHashes {
		return r, nil
	}
	var err error
	r.landing, err = st.dst.Landing(ctx, st.tree, p.how.algorithm, len(want))
	return r, err
}

// reports hands what rsync reports to a landing, if there is one.
type reports struct {
	landing landing
	p       *plan
	levels  verify.Levels
	classes *verify.Classifier
}

func (r *reports) add(path string) {
	if r.landing == nil || r.levels[r.classes.Class(path)] != verify.Content {
		return
	}
	var size int64
	if it := r.p.incoming(path); it != nil {
		path, size = it.Path, it.Size // the path that is in memory anyway
	}
	r.landing.add(path, size)
}

func (r *reports) wait() (arrivals, error) {
	if r.landing == nil {
		return arrivals{}, nil
	}
	return r.landing.wait()
}

// localLanding reads each file the moment that rsync reports it, while it is in the page cache.
type localLanding struct {
	hasher *verify.Hasher
	got    verify.Manifest // filled by one call at a time, the last before the hasher's Wait returns
}

func (s *localSide) Landing(ctx context.Context, dir, algorithm string, expected int) (landing, error) {
	if err := s.sound(dir); err != nil {
		return nil, err
	}
	l := &localLanding{got: make(verify.Manifest, 0, expected)}
	var err error
	l.hasher, err = verify.NewHasher(ctx, dir, algorithm, 0, func(r verify.Hashed) {
		if r.Err == nil && verify.Fine(r.Entry.Ctime) { // else it is read again when nothing is under way any more
			l.got = append(l.got, r.Entry)
		}
	})
	return l, err
}

func (l *localLanding) add(path string, _ int64) { l.hasher.Add(path) }

func (l *localLanding) wait() (arrivals, error) {
	err := l.hasher.Wait()
	return arrivals{stamped: once(sorted(l.got))}, err
}

// once leaves out what was reported twice: rsync sends a file again whose checksum was wrong, and it cannot be told
// which of the two was hashed when.
func once(m verify.Manifest) verify.Manifest {
	kept := m[:0]
	for i := 0; i < len(m); {
		next := i + 1
		for next < len(m) && m[next].Path == m[i].Path {
			next++
		}
		if next == i+1 {
			kept = append(kept, m[i])
		}
		i = next
	}
	return kept
}

// remoteLanding has the host hash what was reported, a batch at a time. A push reports files when they are sent, and
// the receiver puts them in place a little later (rsync logs before it renames): so a file waits for one batch, and
// one that is not there even then waits on.
type remoteLanding struct {
	ctx            context.Context
	side           remoteSide
	dir, algorithm string
	stop           chan struct{}
	stopped        chan struct{}

	mu       stdsync.Mutex
	reported []shell.Sized

	read verify.Manifest // by the one goroutine, as is err
	err  error
}

// landingPause is the time between two batches: long enough for a file to get into its place.
const landingPause = 200 * time.Millisecond

// landingBytes is how much a batch hashes at most, or one file: a run that has failed waits for its end.
const landingBytes = 4 << 30

func (r remoteSide) Landing(ctx context.Context, dir, algorithm string, _ int) (landing, error) {
	l := &remoteLanding{ctx: ctx, side: r, dir: dir, algorithm: algorithm, stop: make(chan struct{}), stopped: make(chan struct{})}
	go l.run()
	return l, nil
}

func (l *remoteLanding) add(path string, size int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reported = append(l.reported, shell.Sized{Path: path, Size: size})
}

func (l *remoteLanding) wait() (arrivals, error) {
	close(l.stop)
	<-l.stopped
	return arrivals{read: sorted(l.read)}, l.err
}

func (l *remoteLanding) run() {
	defer close(l.stopped)
	var waiting []shell.Sized
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
		waiting = append(waiting, l.reported...)
		l.reported = nil
		l.mu.Unlock()
	}
}

// batch is how many of the files are hashed in one go.
func batch(files []shell.Sized) int {
	var bytes int64
	for i, f := range files {
		if bytes += f.Size; i > 0 && bytes > landingBytes || i == shell.HashBatch {
			return i
		}
	}
	return len(files)
}

// hash returns the files that were not there.
func (l *remoteLanding) hash(files []shell.Sized) (missed []shell.Sized) {
	begun := len(l.read)
	clock, missed, err := l.side.HashPresent(l.ctx, l.dir, l.algorithm, files, func(path string, sum verify.Digest) {
		l.read = append(l.read, verify.Entry{Path: path, Digest: sum})
	})
	for i := range l.read[begun:] {
		l.read[begun+i].Ctime = clock
	}
	l.err = err
	return missed
}
