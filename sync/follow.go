package sync

import (
	"context"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
)

// Follow describes a follow: each time something lands on the remote, Act brings the dataset up to date.
type Follow struct {
	IDs       func(all []string) []string // picks from the remote's datasets; nil: only ID
	ID        string
	Local     bool // local changes count too
	Every     time.Duration
	For       time.Duration // 0: without end
	UntilIdle time.Duration // ends after this time without a change; 0: never

	Act  func(ctx context.Context, id string) (*Report, error)
	Done func(*Report)                        // called for each increment
	Gone func(id string)                      // called for each dataset that has left the remote
	Says func(id string, trouble error)       // called for each failure ("" is the line), and with nil when it is over
	Live func(context.Context) bool           // reports whether there is a connection that asks nobody
	Wait func(context.Context, Waiting) error // waits until the given time
	Now  func() time.Time
}

// Phase is what a follow waits for.
type Phase string

// The phases.
const (
	Watching  Phase = "watching"   // for something to land: the next look
	Held      Phase = "held"       // for a dataset that cannot be brought up to date now: the next try
	Away      Phase = "away"       // for the line: the next dialling
	LockedOut Phase = "locked out" // for a person to log in: a live connection
)

// Waiting is what a follow waits for, and until when.
type Waiting struct {
	Phase   Phase
	Until   time.Time
	Changed time.Time // when something landed last, zero for never
}

// fullEvery is how often everything is listed even if the looks show no change.
const fullEvery = 10 * time.Minute

// longestPause bounds the growing pauses.
const longestPause = time.Minute

// longer is the pause after one of d: the one place where pauses grow.
func longer(d time.Duration) time.Duration {
	return min(max(2*d, 2*time.Second), longestPause)
}

// Follow runs until its time is over or ctx ends. It returns what is wrong at the end, by dataset ("" is the line).
func (p *Pair) Follow(ctx context.Context, f Follow) (map[string]error, error) {
	l := &follower{Follow: f, watched: map[string]*watched{}, wrong: map[string]error{}, phase: Watching}
	l.glance, l.redial = p.glance, p.redial
	return l.wrong, l.run(ctx)
}

// follower is the loop of a follow.
type follower struct {
	Follow
	glance func(ctx context.Context, names Sides[[]string], ids bool) (*seen, error)
	redial func(context.Context) error

	phase   Phase
	pause   time.Duration // the last one for the line
	watched map[string]*watched
	wrong   map[string]error
	began   time.Time
	quiet   time.Time // since when nothing has landed over a working line
	changed time.Time
}

// watched is a dataset that is followed.
type watched struct {
	stamps map[string]string // from before the last listing
	dirs   Sides[[]string]
	listed time.Time     // zero: the dataset must be listed
	pause  time.Duration // the last one after a failure
	retry  time.Time     // no new attempt before this time
}

// seen is what a look finds on both sides.
type seen struct {
	ids    []string
	stamps Sides[map[string]string]
}

// run looks, waits and looks again. It uses the wall clock, which goes on while a machine sleeps.
func (l *follower) run(ctx context.Context) error {
	l.began = l.now()
	for l.quiet = l.began; ; {
		until := l.turn(ctx)
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if l.over() {
			return nil
		}
		if err := l.Wait(ctx, Waiting{Phase: l.phase, Until: l.noLater(until), Changed: l.changed}); err != nil {
			return err
		}
		if l.over() {
			return nil
		}
	}
}

func (l *follower) now() time.Time { return l.Now().Round(0) }

// turn does what the phase has waited for, and returns when the next turn is due.
func (l *follower) turn(ctx context.Context) time.Time {
	var err error
	switch l.phase {
	case LockedOut:
		if !l.Live(ctx) {
			return l.later()
		}
		err = l.redial(ctx)
	case Away:
		err = l.redial(ctx)
	}
	if err == nil {
		err = l.look(ctx)
	}
	if err != nil && ctx.Err() == nil {
		return l.lost(err)
	}
	return l.next()
}

// lost notes that the line is gone, or that nothing can be seen at its end.
func (l *follower) lost(err error) time.Time {
	l.phase = Away
	if needsPerson(err) {
		l.phase = LockedOut
	}
	l.says("", err)
	return l.later()
}

func (l *follower) later() time.Time {
	l.pause = longer(l.pause)
	return l.now().Add(l.pause)
}

// needsPerson reports whether only a person can open the line.
func needsPerson(err error) bool {
	var conn *remote.ConnectError
	return errors.As(err, &conn) && slices.Contains([]remote.Reason{remote.Auth, remote.HostKey, remote.NewHost}, conn.Reason)
}

// offline reports whether an error concerns the line, not a dataset.
func offline(err error) bool {
	var conn *remote.ConnectError
	var interrupted *InterruptedError
	return errors.As(err, &conn) || errors.As(err, &interrupted)
}

// look compares stamps, and brings up to date what moved or is due.
func (l *follower) look(ctx context.Context) error {
	s, err := l.glance(ctx, l.names(), l.IDs != nil)
	if err != nil {
		return err
	}
	if l.phase == Away || l.phase == LockedOut {
		l.quiet = l.now()
	}
	l.phase = Watching
	l.says("", nil)
	l.join(s)
	for _, id := range slices.Sorted(maps.Keys(l.watched)) {
		if !l.due(id, s) {
			continue
		}
		if err := l.act(ctx, id, s); err != nil {
			return err
		}
	}
	l.pause = 0 // only now: a line that dies at every use must not be redialled at once
	return nil
}

// join adds datasets that have appeared under the glob, and drops those that have gone.
func (l *follower) join(s *seen) {
	ids := []string{l.ID}
	if l.IDs != nil {
		ids = l.IDs(s.ids)
	}
	for _, id := range ids {
		if l.watched[id] == nil {
			l.watched[id] = &watched{}
		}
	}
	for id := range l.watched {
		if !slices.Contains(ids, id) {
			delete(l.watched, id)
			delete(l.wrong, id)
			l.Gone(id)
		}
	}
}

// due reports whether a dataset must be listed: it moved, it is time, or the last attempt failed.
func (l *follower) due(id string, s *seen) bool {
	w, now := l.watched[id], l.now()
	if now.Before(w.retry) && w.retry.Sub(now) <= longestPause { // more means that the clock was set back
		return false
	}
	age := now.Sub(w.listed)
	return w.listed.IsZero() || age < 0 || age >= fullEvery || !maps.Equal(w.stamps, s.of(id))
}

// act brings a dataset up to date. It returns only errors of the line.
func (l *follower) act(ctx context.Context, id string, s *seen) error {
	w := l.watched[id]
	r, err := l.Act(ctx, id)
	switch {
	case err == nil:
		*w = watched{stamps: s.of(id), dirs: r.dirs, listed: l.now()}
		l.says(id, nil)
		if r.State == Transferred {
			l.quiet, l.changed = l.now(), l.now()
			l.Done(r)
		}
	case ctx.Err() != nil:
	case offline(err):
		w.listed = time.Time{}
		return err
	default:
		w.listed, w.pause = time.Time{}, longer(w.pause)
		w.retry = l.now().Add(w.pause)
		l.says(id, err)
	}
	return nil
}

// says reports a failure, and its end.
func (l *follower) says(id string, err error) {
	if err == nil && l.wrong[id] == nil {
		return
	}
	if l.wrong[id] = err; err == nil {
		delete(l.wrong, id)
	}
	l.Says(id, err)
}

// next returns when the next look is due.
func (l *follower) next() time.Time {
	until := l.now().Add(l.Every)
	for _, w := range l.watched {
		if !w.retry.IsZero() && w.listed.IsZero() {
			l.phase = Held
			if w.retry.Before(until) {
				until = w.retry
			}
		}
	}
	return until
}

// noLater returns until, or the end of the follow if that is earlier.
func (l *follower) noLater(until time.Time) time.Time {
	for _, end := range l.ends() {
		if end.Before(until) {
			until = end
		}
	}
	return until
}

func (l *follower) ends() (ends []time.Time) {
	if l.For > 0 {
		ends = append(ends, l.began.Add(l.For))
	}
	if l.UntilIdle > 0 && (l.phase == Watching || l.phase == Held) {
		ends = append(ends, l.quiet.Add(l.UntilIdle))
	}
	return ends
}

func (l *follower) over() bool {
	return slices.ContainsFunc(l.ends(), func(end time.Time) bool { return !l.now().Before(end) })
}

// names lists the paths whose stamps show whether a dataset moved: the dataset and its class directories, the primary, the
// event log, meta.md.
func (l *follower) names() (n Sides[[]string]) {
	for id, w := range l.watched {
		n.Remote = append(n.Remote, namesOf(id, w.dirs.Remote)...)
		if l.Local {
			n.Local = append(n.Local, namesOf(id, w.dirs.Local)...)
		}
	}
	return n
}

// mostDirs bounds the work of a look. The full listing covers deeper directories.
const mostDirs = 200

func namesOf(id string, dirs []string) []string {
	names := []string{id + "/.", id + "/" + primaryPath, id + "/" + eventsPath, id + "/meta.md"}
	shallow := slices.Clone(dirs)
	slices.SortStableFunc(shallow, func(a, b string) int { return strings.Count(a, "/") - strings.Count(b, "/") })
	for _, d := range shallow[:min(len(shallow), mostDirs)] {
		names = append(names, path.Join(id, d))
	}
	return names
}

// of returns the stamps of a dataset. Local ones have a prefix that no remote name has.
func (s *seen) of(id string) map[string]string {
	found := map[string]string{}
	for mark, stamps := range map[string]map[string]string{"": s.stamps.Remote, "/": s.stamps.Local} {
		for name, stamp := range stamps {
			if name == id || strings.HasPrefix(name, id+"/") {
				found[mark+name] = stamp
			}
		}
	}
	return found
}

// glance reads the stamps of both sides.
func (p *Pair) glance(ctx context.Context, names Sides[[]string], ids bool) (*seen, error) {
	there, err := p.remote.Glance(ctx, names.Remote, ids)
	if err != nil {
		return nil, err
	}
	s := &seen{ids: there.IDs, stamps: Sides[map[string]string]{Remote: there.Stamps}}
	if len(names.Local) == 0 {
		return s, nil
	}
	here, err := p.local.Glance(ctx, names.Local, false)
	if err != nil {
		return nil, err
	}
	s.stamps.Local = here.Stamps
	return s, nil
}

// redial opens the line again, unless it answers.
func (p *Pair) redial(ctx context.Context) error {
	if _, err := p.remote.Glance(ctx, nil, false); err == nil || ctx.Err() != nil {
		return err
	}
	fresh, err := p.dial(ctx)
	if err != nil {
		return err
	}
	p.remote.Close()
	p.remote = fresh
	return nil
}
