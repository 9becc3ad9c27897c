package sync

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
)

// script is a world for a follow: a clock that a wait sets forward, a remote that moves, and what goes wrong by the hour.
type script struct {
	t        *testing.T
	clock    time.Time
	version  int  // of the remote's dataset
	brought  int  // what the last increment brought
	down     bool // the line
	locked   bool // a login needs a person
	live     bool // somebody has logged in
	held     error
	looks    int
	dials    int
	acts     int
	gone     []string
	said     map[string]int
	ids      []string
	waited   []Waiting
	before   func() // of each wait
	phases   map[Phase]int
	reported int
}

func newScript(t *testing.T) *script {
	return &script{t: t, clock: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC), said: map[string]int{}, phases: map[Phase]int{}, ids: []string{"a"}}
}

var errDown = &remote.ConnectError{Target: "there", Reason: remote.Lost}

func (s *script) follower(f Follow) *follower {
	if f.Every == 0 {
		f.Every = 30 * time.Second
	}
	if f.ID == "" {
		f.ID = "a"
	}
	f.Now = func() time.Time { return s.clock }
	f.Wait = func(ctx context.Context, w Waiting) error {
		s.waited = append(s.waited[:min(len(s.waited), 1000)], w)
		s.phases[w.Phase]++
		if !w.Until.After(s.clock) {
			s.t.Fatalf("it waits until %v, and it is %v", w.Until, s.clock)
		}
		s.clock = w.Until
		if s.before != nil {
			s.before()
		}
		return ctx.Err()
	}
	f.Act = func(context.Context, string) (*Report, error) {
		s.acts++
		switch {
		case s.down:
			return nil, &InterruptedError{errDown}
		case s.held != nil:
			return nil, s.held
		case s.brought == s.version:
			return &Report{State: NoOp}, nil
		}
		s.brought = s.version
		return &Report{State: Transferred}, nil
	}
	f.Done = func(*Report) { s.reported++ }
	f.Gone = func(id string) { s.gone = append(s.gone, id) }
	f.Live = func(context.Context) bool { return s.live }
	f.Says = func(id string, err error) {
		if err != nil {
			s.said[id]++
		}
	}
	l := &follower{Follow: f, watched: map[string]*watched{}, wrong: map[string]error{}, phase: Watching}
	l.glance = func(context.Context, Sides[[]string], bool) (*seen, error) {
		s.looks++
		switch {
		case s.locked && !s.live:
			return nil, &remote.ConnectError{Target: "there", Reason: remote.Auth}
		case s.down:
			return nil, errDown
		}
		v := &seen{ids: s.ids}
		v.stamps.Remote = map[string]string{"a/.events.log": fmt.Sprint(s.version)}
		return v, nil
	}
	l.redial = func(context.Context) error {
		s.dials++
		if s.down {
			return errDown
		}
		return nil
	}
	return l
}

// TestFollowWeek: a week of a line that drops, a lock that is held for hours, refusals, a laptop that sleeps, and a writer;
// what was written is brought over whenever it can be, and nobody is dialled or tried more often than once in a minute
// for long.
func TestFollowWeek(t *testing.T) {
	s := newScript(t)
	random := rand.New(rand.NewPCG(1, 2))
	var downFor, landed time.Time
	s.before = func() {
		switch n := random.IntN(1000); {
		case n < 100:
			s.version++
			landed = s.clock
		case n < 103 && !s.down:
			s.down, downFor = true, s.clock.Add(time.Duration(random.IntN(7200))*time.Second)
		case n < 105:
			s.clock = s.clock.Add(time.Duration(random.IntN(12)) * time.Hour) // asleep
		case n < 107:
			s.held = &remote.LockError{Path: "x"}
		case n < 112:
			s.held = nil
		}
		if s.down && s.clock.After(downFor) {
			s.down = false
		}
	}
	l := s.follower(Follow{For: 7 * 24 * time.Hour})
	if err := l.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.before, s.down, s.held = nil, false, nil
	l.For, l.began = 0, s.clock
	l.UntilIdle = 3 * time.Minute
	l.quiet = s.clock
	if err := l.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.brought != s.version || len(l.wrong) > 0 {
		t.Errorf("version %d of %d, wrong: %v", s.brought, s.version, l.wrong)
	}
	minutes := int(7 * 24 * time.Hour / time.Minute)
	if s.looks > 3*minutes || s.dials > minutes || s.acts > 2*minutes {
		t.Errorf("%d looks, %d dials, %d tries in %d minutes", s.looks, s.dials, s.acts, minutes)
	}
	if s.phases[Watching] == 0 || s.phases[Held] == 0 || s.phases[Away] == 0 {
		t.Errorf("phases: %v", s.phases)
	}
	t.Logf("%d looks, %d dials, %d tries, %d increments, landed last %v, phases %v", s.looks, s.dials, s.acts, s.reported, landed, s.phases)
}

// TestFollowPauses: pauses grow to a minute, and no further, and begin anew when all is well.
func TestFollowPauses(t *testing.T) {
	s := newScript(t)
	s.down = true
	l := s.follower(Follow{For: 10 * time.Minute})
	if err := l.run(t.Context()); err != nil || l.wrong[""] == nil {
		t.Fatalf("%v, wrong: %v", err, l.wrong)
	}
	at := s.waited[0].Until
	for i, want := range []time.Duration{4, 8, 16, 32, 60, 60} {
		if got := s.waited[i+1].Until.Sub(at); got != want*time.Second {
			t.Errorf("pause %d: %v, want %ds", i, got, want)
		}
		at = s.waited[i+1].Until
	}
	s.down = false
	l.turn(t.Context())
	if l.phase != Watching || l.pause != 0 || len(l.wrong) > 0 {
		t.Errorf("%s, pause %v, wrong %v", l.phase, l.pause, l.wrong)
	}
}

// TestFollowLockedOut: where a login needs a person nobody dials until a live connection is there.
func TestFollowLockedOut(t *testing.T) {
	s := newScript(t)
	s.locked = true
	l := s.follower(Follow{For: time.Hour})
	s.before = func() { s.live = s.clock.Hour() == 8 && s.clock.Minute() >= 30 }
	if err := l.run(t.Context()); err != nil || len(l.wrong) > 0 {
		t.Fatalf("%v, wrong: %v", err, l.wrong)
	}
	if s.phases[LockedOut] < 30 || s.dials != 1 || s.acts == 0 || s.looks < 2 {
		t.Errorf("phases %v, %d dials, %d looks", s.phases, s.dials, s.looks)
	}
}

// TestFollowListsAll: without any sign everything is listed every ten minutes, and at once with one.
func TestFollowListsAll(t *testing.T) {
	s := newScript(t)
	l := s.follower(Follow{For: time.Hour})
	if err := l.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.acts < 6 || s.acts > 7 || s.looks < 119 {
		t.Errorf("%d listings, %d looks", s.acts, s.looks)
	}
}

// TestFollowJoins: under a glob datasets come and go.
func TestFollowJoins(t *testing.T) {
	s := newScript(t)
	l := s.follower(Follow{For: 10 * time.Minute, IDs: func(all []string) []string { return all }})
	step := 0
	s.before = func() {
		switch step++; step {
		case 2:
			s.ids = []string{"a", "b"}
		case 4:
			s.ids = []string{"b"}
		}
	}
	if err := l.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.acts < 2 || len(s.gone) != 1 || s.gone[0] != "a" || l.watched["b"] == nil {
		t.Errorf("%d tries, gone %v", s.acts, s.gone)
	}
}

// TestFollowEnds: it ends by time, when nothing lands any more, and when it is told to.
func TestFollowEnds(t *testing.T) {
	s := newScript(t)
	began := s.clock
	l := s.follower(Follow{UntilIdle: 5 * time.Minute})
	s.before = func() {
		if s.clock.Sub(began) < 20*time.Minute {
			s.version++
		}
	}
	if err := l.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := s.clock.Sub(began); took < 24*time.Minute || took > 26*time.Minute {
		t.Errorf("idle after %v", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s = newScript(t)
	s.before = cancel
	if err := s.follower(Follow{}).run(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestFollowMemory: ten thousand looks take no more memory than a hundred.
func TestFollowMemory(t *testing.T) {
	s := newScript(t)
	l := s.follower(Follow{})
	live := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	turns := func(n int) {
		for range n {
			s.version += s.looks % 3
			s.clock = l.turn(t.Context())
		}
	}
	turns(100)
	before := live()
	turns(10_000)
	if after := live(); after > before+1<<20 {
		t.Errorf("%d bytes before, %d after", before, after)
	}
}
