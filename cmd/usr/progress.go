package main

import (
	"fmt"
	"io"
	"slices"
	stdsync "sync"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/sync"
)

// progress tells on standard error what the engine does: one updating line on a terminal, else a line now and then;
// and warnings as they come.
type progress struct {
	env      env
	o        progressOptions
	terminal bool

	whole     *progress      // of the command, where this one is of one dataset among many
	id        string         // of that dataset
	mu        *stdsync.Mutex // guards what follows, in all of a command; the engine reports from several goroutines
	step      sync.Step
	phases    []phase // of the step, those that were heard of last at the end
	drawn     bool    // a line stands on the terminal and has to be cleared
	warnings  []string
	itemized  []string
	lock      remote.Waiting // for which the command waits
	lockUntil time.Time
	lockSaid  string
	queued    time.Time                  // since when a place on a compute node is waited for
	idle      func(now time.Time) string // while a follow waits: what for

	expected, done, failed int       // datasets, where there are many
	busy                   *progress // of the one that was heard of last

	ending  chan struct{} // nil unless started
	stopped chan struct{}
}

// phase is a long part of a step. Several may be under way at once: both ends hash while the bytes move.
type phase struct {
	sync.Progressed
	began time.Time
}

// over reports whether a phase has come to its end.
func (f phase) over() bool { return f.Total > 0 && f.Done >= f.Total }

// hear takes in how far a phase is.
func (p *progress) hear(e sync.Progressed, now time.Time) {
	f := phase{e, now}
	i := slices.IndexFunc(p.phases, func(old phase) bool { return old.Phase == e.Phase })
	if i >= 0 {
		if old := p.phases[i]; !old.over() && old.Done <= e.Done {
			f.began = old.began
		}
		p.phases = slices.Delete(p.phases, i, i+1)
	}
	p.phases = append(p.phases, f)
}

// underWay is the phase that is worth telling: the transfer as long as it lasts, since what is hashed beside it waits for it,
// else the one that was heard of last; nil where all are over.
func (p *progress) underWay() (f *phase) {
	for i := range p.phases {
		switch now := &p.phases[i]; {
		case now.over():
		case now.Phase == sync.PhaseTransfer:
			return now
		default:
			f = now
		}
	}
	return f
}

type progressOptions struct {
	quiet    bool
	commands bool // --print-commands
	page     *page
}

const (
	patience     = time.Second            // before anything is drawn
	redrawEvery  = 200 * time.Millisecond // on a terminal
	lineEvery    = 10 * time.Second       // elsewhere
	clearTheLine = "\r\x1b[K"
)

func newProgress(e env, o progressOptions) *progress {
	return &progress{env: e, o: o, terminal: e.isTerminal(e.stderr), mu: &stdsync.Mutex{}}
}

// of is the progress of one dataset among many. It keeps what is said of that; it is the whole that draws.
func (p *progress) of(id string) *progress {
	return &progress{env: p.env, o: p.o, terminal: p.terminal, mu: p.mu, whole: p, id: id}
}

// expect begins the count of datasets.
func (p *progress) expect(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected, p.done, p.failed, p.busy = n, 0, 0, nil
}

// finished counts the dataset.
func (p *progress) finished(failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.whole.done++; failed {
		p.whole.failed++
	}
	if p.whole.busy == p {
		p.whole.busy = nil
	}
}

// start begins to draw, unless that is unwanted or begun already.
func (p *progress) start() {
	if p.whole != nil {
		p.whole.start()
		return
	}
	if p.o.quiet || p.ending != nil {
		return
	}
	p.ending, p.stopped = make(chan struct{}), make(chan struct{})
	go p.draw(p.ending, p.stopped)
}

// stop ends the drawing and clears the line.
func (p *progress) stop() {
	if p.whole != nil {
		p.whole.stop()
		return
	}
	if p.ending == nil {
		return
	}
	close(p.ending)
	<-p.stopped
	p.ending = nil
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

func (p *progress) draw(ending, stopped chan struct{}) {
	defer close(stopped)
	every := lineEvery
	if p.terminal {
		every = redrawEvery
	}
	began := time.Now()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ending:
			return
		case <-ticker.C:
			if time.Since(began) >= patience {
				p.tick()
			}
		}
	}
}

func (p *progress) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := p.describe(time.Now())
	if text == "" || p.idle != nil && !p.terminal {
		return
	}
	if !p.terminal {
		fmt.Fprintln(p.env.stderr, "usr: "+text)
		return
	}
	if width := p.env.width(p.env.stderr); width > 1 && len(text) >= width {
		text = text[:width-1] // ASCII, all of it
	}
	fmt.Fprint(p.env.stderr, clearTheLine+text)
	p.drawn = true
}

func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.env.stderr, clearTheLine)
		p.drawn = false
	}
}

// stepWords says what a step does, where its name does not.
var stepWords = map[sync.Step]string{
	sync.StepSurvey: "listing both sides", sync.StepRecover: "clearing up after an earlier run",
	sync.StepCompare: "comparing", sync.StepClaim: "claiming the stage", sync.StepCopy: "copying",
	sync.StepLock: "waiting for the dataset locks", sync.StepCatchUp: "catching up under the lock",
	sync.StepLink: "linking what is unchanged", sync.StepVerify: "verifying the staged copy",
	sync.StepFlush: "flushing to disk", sync.StepPromote: "promoting", sync.StepRecord: "recording",
	sync.StepSettle: "settling", sync.StepRestamp: "stamping",
}

// describe is the progress line.
func (p *progress) describe(now time.Time) string {
	if p.idle != nil {
		return p.idle(now)
	}
	if p.expected > 0 {
		return p.countWords(now)
	}
	if p.lock.Path != "" {
		return p.lockWords(now)
	}
	if p.queued.IsZero() {
		return p.stepped(now)
	}
	text := "in the queue for " + clock(now.Sub(p.queued))
	if f := p.underWay(); f != nil && f.Phase == sync.PhaseTransfer { // meanwhile
		text = p.stepped(now) + "; " + text
	}
	return text
}

// stepped describes how far the step is.
func (p *progress) stepped(now time.Time) string {
	f := p.underWay()
	if f == nil {
		return stepWords[p.step]
	}
	text := f.Phase + " " + size(f.Done)
	if f.Total > 0 {
		text += " of " + size(f.Total)
	}
	elapsed := now.Sub(f.began).Seconds()
	if elapsed < 1 || f.Done <= 0 {
		return text
	}
	rate := float64(f.Done) / elapsed
	text += ", " + size(int64(rate)) + "/s"
	if left := float64(f.Total-f.Done) / rate; f.Total > 0 && left > 0 {
		text += ", " + time.Duration(left*float64(time.Second)).Round(time.Second).String() + " left"
	}
	return text
}

// countWords say how many datasets are done, and what becomes of one that is at work.
func (p *progress) countWords(now time.Time) string {
	text := fmt.Sprintf("%d of %d datasets", p.done, p.expected)
	if p.failed > 0 {
		text += fmt.Sprintf(", %d failed", p.failed)
	}
	if p.busy == nil {
		return text
	}
	if doing := p.busy.describe(now); doing != "" {
		text += "; " + safe(p.busy.id) + ": " + doing
	}
	return text
}

// clock is minutes and seconds.
func clock(d time.Duration) string {
	seconds := int(d / time.Second)
	return fmt.Sprintf("%d:%02d", seconds/60, seconds%60)
}

// lockWords say who has a lock, since when, and how long it is still waited for.
func (p *progress) lockWords(now time.Time) string {
	left := max(0, p.lockUntil.Sub(now)).Round(time.Second)
	return safe("waiting " + left.String() + " more for " + p.lock.Path + ", held by " + orElse(p.lock.Holder, "another process"))
}

// observe is the engine's observer.
func (p *progress) observe(e sync.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.whole != nil {
		p.whole.busy = p
	}
	switch e := e.(type) {
	case sync.StepBegan:
		p.step, p.phases, p.lock = e.Step, nil, remote.Waiting{}
	case sync.StepEnded:
		p.lock = remote.Waiting{}
	case sync.Progressed:
		p.hear(e, time.Now())
	case remote.Waiting:
		p.lock, p.lockUntil = e, time.Now().Add(e.Left)
		if !p.o.quiet && !p.terminal && p.lockSaid != e.Path+e.Holder {
			p.lockSaid = e.Path + e.Holder
			p.say("usr: " + p.lockWords(time.Now()))
		}
	case sync.Queued:
		p.queued = e.Since
	case sync.Warned:
		if slices.Contains(p.warnings, e.Text) { // the preview said it already
			return
		}
		p.warnings = append(p.warnings, e.Text)
		if p.whole == nil {
			p.warn(e.Text)
		} else if !slices.Contains(p.whole.warnings, e.Text) { // nor is what concerns all said of each
			p.whole.warnings = append(p.whole.warnings, e.Text)
			p.warn(p.id + ": " + e.Text)
		}
	case sync.Ran:
		if p.o.commands {
			p.say(remote.CommandLine(e.Argv))
		}
	case sync.Itemized:
		p.itemized = append(p.itemized, e.Line)
	}
}

func (p *progress) warn(text string) { p.say("usr: warning: " + safe(text)) }

func (p *progress) say(line string) {
	if p.whole != nil {
		p = p.whole
	}
	p.clear()
	fmt.Fprintln(p.env.stderr, line)
}

// tell says a line that belongs to no step.
func (p *progress) tell(text string) { p.line(p.env.stderr, text) }

// line prints one, over what is drawn.
func (p *progress) line(w io.Writer, text string) {
	p.over(func() { fmt.Fprintln(w, text) })
}

// over has something printed over what is drawn.
func (p *progress) over(print func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	print()
}

// waits shows what a follow waits for; nil when it goes on.
func (p *progress) waits(idle func(now time.Time) string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = idle
	p.step, p.phases = "", nil
}

// forget drops what was said of an earlier dataset.
func (p *progress) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step, p.phases, p.warnings, p.itemized = "", nil, nil, nil
}
