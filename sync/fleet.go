package sync

import (
	"context"
	"errors"
	stdsync "sync"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/rsync"
	"github.com/dnadesign-maintainers/usr/remote/shell"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
	"github.com/dnadesign-maintainers/usr/sync/local"
)

// Fleet is something to be done with many datasets over one connection. Its functions are called from several goroutines.
type Fleet struct {
	IDs     []string
	Observe func(i int) Observer // of the i-th
	// Do is given a pair of its own, on which both sides have been surveyed. It is called once more where the host allowed no
	// session for it.
	Do   func(ctx context.Context, p *Pair, i int) (*Report, error)
	Done func(i int, r *Report, err error)
}

const (
	mostWorkers   = 4
	usualSessions = 10  // of sshd's MaxSessions
	surveysAtOnce = 200 // bounds what is kept of datasets whose turn is to come
)

// Each does it: one request surveys many datasets, and what that shows to be in sync costs the host nothing more. The others
// are done several at a time, each in a session of its own beside that of the pair; where the host does not allow as many,
// one after the other. A failure stops no other, but that of the line for good and the end of ctx keep those from being
// begun that are still to come.
func (p *Pair) Each(ctx context.Context, what Fleet) {
	f := &fleet{Fleet: what, pair: p}
	hand, wait := f.one, func() {}
	if n := p.workers(len(f.IDs)); n > 1 {
		hand, wait = f.crew(ctx, n)
	}
	for from := 0; from < len(f.IDs); from += surveysAtOnce {
		for _, t := range f.survey(ctx, from, min(from+surveysAtOnce, len(f.IDs))) {
			hand(ctx, t)
		}
	}
	wait()
	for _, t := range f.back {
		f.one(ctx, t)
	}
}

// workers is how many datasets are worked on at a time. Each has a session, and one for every rsync.
func (p *Pair) workers(datasets int) int {
	n := min(mostWorkers, datasets)
	if p.remote.Far() {
		n = min(n, (usualSessions-1)/(1+max(1, p.o.Streams)))
	}
	return n
}

// fleet is one under way.
type fleet struct {
	Fleet
	pair *Pair
	line stdsync.Mutex // guards the pair's remote

	mu   stdsync.Mutex // guards what follows
	over bool          // the line is lost for good
	back []task        // for which there was no session
}

// task is one dataset with what was seen of it, nil for what is to be asked for.
type task struct {
	i           int
	here, there *remote.Survey
	asked       time.Time
}

// survey asks about datasets on both sides at once.
func (f *fleet) survey(ctx context.Context, from, to int) []task {
	ids, keys := f.IDs[from:to], make([]string, to-from)
	for i, id := range ids {
		keys[i] = stateKey(id)
	}
	f.line.Lock()
	defer f.line.Unlock()
	tasks, asked := make([]task, len(ids)), time.Now()
	var here, there []*remote.Survey // of what fails it is told when each is asked by itself
	_ = together(
		func() (err error) { here, err = f.pair.local.Surveys(ctx, ids, keys); return err },
		func() (err error) { there, err = f.pair.remote.Surveys(ctx, ids, keys); return err })
	for i := range tasks {
		tasks[i] = task{from + i, here[i], there[i], asked}
	}
	return tasks
}

// one does a dataset on the pair itself.
func (f *fleet) one(ctx context.Context, t task) {
	if !f.goesOn(ctx) {
		return
	}
	r, err := f.pair.carryOut(ctx, f.Fleet, t)
	f.done(t, r, err)
}

func (f *fleet) done(t task, r *Report, err error) {
	f.mu.Lock()
	f.over = f.over || offline(err)
	f.mu.Unlock()
	f.Done(t.i, r, err)
}

func (f *fleet) goesOn(ctx context.Context) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.over && ctx.Err() == nil
}

// crew starts workers. hand gives one of them a dataset, wait waits until all are done.
func (f *fleet) crew(ctx context.Context, n int) (hand func(context.Context, task), wait func()) {
	work := make(chan task)
	var crew stdsync.WaitGroup
	for range n {
		crew.Go(func() { f.work(ctx, work) })
	}
	return func(_ context.Context, t task) { work <- t }, func() { close(work); crew.Wait() }
}

// work does datasets on a pair of its own. Once the host has allowed no session for it, it does those for which none is
// needed, and gives the others back.
func (f *fleet) work(ctx context.Context, work <-chan task) {
	var w *Pair
	defer func() {
		if w != nil {
			w.remote.Close()
		}
	}()
	for t := range work {
		if !f.goesOn(ctx) {
			continue
		}
		if w == nil {
			w = f.beside()
		}
		r, err := w.carryOut(ctx, f.Fleet, t)
		if !noSession(err) {
			f.done(t, r, err)
			continue
		}
		w.remote.Close() // it makes room, and is of no more use
		f.mu.Lock()
		f.back = append(f.back, task{i: t.i})
		f.mu.Unlock()
	}
}

// noSession reports whether the connection stands and has no room.
func noSession(err error) bool {
	var conn *remote.ConnectError
	var copying *rsync.Error
	return errors.As(err, &conn) && conn.Reason == remote.Sessions || errors.As(err, &copying) && copying.NoSession() || errors.Is(err, ssh.ErrClosed)
}

// beside is a pair over the same connection, for one goroutine more.
func (f *fleet) beside() *Pair {
	f.line.Lock()
	defer f.line.Unlock()
	w := *f.pair
	waiting := func(e remote.Waiting) { w.o.Observe(e) }
	w.local = local.New(w.local.Name(), w.o.Root, waiting)
	w.remote = f.session(waiting)
	w.dial = func(ctx context.Context) (side, error) {
		f.line.Lock()
		defer f.line.Unlock()
		if err := f.pair.redial(ctx); err != nil {
			return nil, err
		}
		if _, err := f.pair.remote.Glance(ctx, nil, false); err != nil { // a fresh one shows now whether the host is there
			return nil, err
		}
		return f.session(waiting), nil
	}
	return &w
}

func (f *fleet) session(waiting func(remote.Waiting)) side {
	there := f.pair.remote
	if s, far := there.(*shell.Session); far {
		return s.Beside(waiting)
	}
	return local.New(there.Name(), there.Root(), waiting)
}

// carryOut does it with one dataset.
func (p *Pair) carryOut(ctx context.Context, f Fleet, t task) (*Report, error) {
	observe := p.o.Observe
	defer func() { p.o.Observe, p.ahead, p.place = observe, ahead{}, nil }()
	p.o.Observe, p.ahead = f.Observe(t.i), ahead{Sides[*remote.Survey]{Local: t.here, Remote: t.there}, t.asked}
	if t.there != nil {
		p.place = &t.there.Place
	}
	return f.Do(ctx, p, t.i)
}

// ahead are the surveys of a dataset that were made together with those of others: each is for the first look at its side.
type ahead struct {
	Sides[*remote.Survey]
	asked time.Time
}

const surveyHolds = time.Minute

// take returns that of a side, nil where it has to be asked for.
func (a *ahead) take(of **remote.Survey) *remote.Survey {
	sv := *of
	if *of = nil; time.Since(a.asked) > surveyHolds {
		return nil
	}
	return sv
}
