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

// Follow says what is followed: each time something lands on the remote, Act brings the dataset up to date.
type Follow struct {
	IDs       func(all []string) []string // which of the remote's datasets are meant; nil: ID alone
	ID        string
	Local     bool // what moves here counts as well
	Every     time.Duration
	For       time.Duration // 0: without end
	UntilIdle time.Duration // 0: however quiet it is

	Act  func(ctx context.Context, id string) (*Report, error)
	Done func(*Report)                        // told each increment
	Gone func(id string)                      // told each dataset that is on the remote no more
	Says func(id string, trouble error)       // told each failure, "" for the line; and nil when that is over
	Live func(context.Context) bool           // whether a connection is there that asks nobody
	Wait func(context.Context, Waiting) error // until the time that it names
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

// Waiting is what is waited for, and until when.
type Waiting struct {
	Phase   Phase
	Until   time.Time
	Changed time.Time // when something landed last, zero for never
}

// fullEvery is how often everything is listed, whatever the looks show.
const fullEvery = 10 * time.Minute

// longestPause is what pauses grow to.
const longestPause = time.Minute

// longer is the pause after one of d: the one place where pauses grow.
func longer(d time.Duration) time.Duration {
	return min(max(2*d, 2*time.Second), longestPause)
}

// Follow goes on until its time is over or ctx ends. It returns what is wrong then, by dataset, "" for the line.
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
	quiet   time.Time // since when nothing has landed while the line stood
	changed time.Time
}

// watched is a dataset that is followed.
type watched struct {
	stamps map[string]string // as they were before the last listing
	dirs   Sides[[]string]
	listed time.Time     // zero: it is still to be listed for the first time, or anew
	pause  time.Duration // the last one after a failure
	retry  time.Time     // not before
}

// seen is what a look shows of both sides.
type seen struct {
	ids    []string
	stamps Sides[map[string]string]
}

// run looks, waits and looks again. Times are those of the wall clock, which goes on while a machine sleeps.
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

// turn does what the phase waited for, and returns when the next turn is due.
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

// lost: the line is gone, or nothing can be seen at its end.
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

// needsPerson reports whether nobody but a person can open the line.
func needsPerson(err error) bool {
	var conn *remote.ConnectError
	return errors.As(err, &conn) && slices.Contains([]remote.Reason{remote.Auth, remote.HostKey, remote.NewHost}, conn.Reason)
}

// offline reports whether an error is of the line, not of a dataset.
func offline(err error) bool {
	var conn *remote.ConnectError
	var interrupted *InterruptedError
	return errors.As(err, &conn) || errors.As(err, &interrupted)
}

// look takes in what stamps show, and brings up to date what moved or is due.
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
	l.pause = 0 // only now: a line that dies whenever it is used is not dialled at once
	return nil
}

// join takes up what appeared under the glob, and lets go what is there no more.
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

// due reports whether a dataset is to be listed: it moved, or it is time, or the last try failed.
func (l *follower) due(id string, s *seen) bool {
	w, now := l.watched[id], l.now()
	if now.Before(w.retry) && w.retry.Sub(now) <= longestPause { // further off only where the clock was set back
		return false
	}
	age := now.Sub(w.listed)
	return w.listed.IsZero() || age < 0 || age >= fullEvery || !maps.Equal(w.stamps, s.of(id))
}

// act brings a dataset up to date. An error is one of the line.
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

// says tells of a failure, and of its end.
func (l *follower) says(id string, err error) {
	if err == nil && l.wrong[id] == nil {
		return
	}
	if l.wrong[id] = err; err == nil {
		delete(l.wrong, id)
	}
	l.Says(id, err)
}

// next is when the next look is due.
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

// noLater is until, or when the follow is over if that is earlier.
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

// names are those whose stamps show whether a dataset moved: the dataset and its class directories, the primary, the
// event log, the notes.
func (l *follower) names() (n Sides[[]string]) {
	for id, w := range l.watched {
		n.Remote = append(n.Remote, namesOf(id, w.dirs.Remote)...)
		if l.Local {
			n.Local = append(n.Local, namesOf(id, w.dirs.Local)...)
		}
	}
	return n
}

// mostDirs bounds the work of a look. Deeper ones are left to the full listing.
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

// of are the stamps of a dataset, those here marked by a name that none there has.
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

// glance looks at both sides.
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

// redial opens the line anew, unless it answers.
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
