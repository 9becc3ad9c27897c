package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/ssh"
	"github.com/dnadesign-maintainers/usr/sync"
)

type followCmd struct {
	sidesArgs
	compareFlags
	changeFlags
	StrictBootstrapID bool     `name:"strict-bootstrap-id" help:"A first pull takes whole ids only, no last names of them (also $$USR_SYNC_STRICT_BOOTSTRAP_ID)."`
	Every             duration `default:"30s" placeholder:"DUR" help:"How often to look whether something landed (default ${default})."`
	For               duration `placeholder:"DUR" help:"End after this time."`
	UntilIdle         duration `placeholder:"DUR" help:"End once nothing has landed for this time."`
	Sync              bool     `help:"Carry changes of this side to the remote as well, and merge where both moved."`
	Exec              string   `placeholder:"CMD" help:"A shell command to run after each increment, with $$USR_DATASET, $$USR_REMOTE and $$USR_AUDIT (a file)."`
}

// Run is called by kong.
func (c *followCmd) Run(ctx context.Context, a *app) error {
	a.doing.action, a.doing.remote, a.doing.flags = "follow", c.Remote, c.compareFlags
	s, m, err := c.check(a)
	if err != nil {
		return err
	}
	p, err := a.open(ctx, s.root, c.Remote)
	if err != nil {
		return err
	}
	defer p.Close()
	a.doing.root, a.doing.forced = s.root, m.Force
	w := &watch{app: a, cmd: c, pair: p, modes: m, said: map[string]string{}}
	f, err := w.follow(ctx, s)
	if err != nil {
		return err
	}
	wrong, err := p.Follow(ctx, f)
	a.progress.stop()
	if err != nil && !terminated(ctx) {
		return err
	}
	if err == nil {
		a.code = w.code(wrong)
	}
	return nil
}

// terminated reports whether SIGTERM ended the follow: a service manager does that, and it is no failure.
func terminated(ctx context.Context) bool {
	var by *signalError
	return errors.As(context.Cause(ctx), &by) && by.signal == syscall.SIGTERM
}

// check reads what can be read before anything is contacted.
func (c *followCmd) check(a *app) (s subject, m sync.Modes, err error) {
	if s, err = a.subject(c.Dataset); err != nil {
		return s, m, err
	}
	switch {
	case s.file != "":
		return s, m, &usageError{why: "cannot follow the file " + shown(s.file) + ": only datasets are followed", hint: "name a dataset by its id"}
	case c.RemotePath != "":
		return s, m, &usageError{why: "cannot use --remote-path with " + shown(c.Dataset) + ": it is for single files only", hint: "leave it out"}
	case c.DryRun:
		return s, m, &usageError{why: "cannot follow with --dry-run: it would show the same again and again", hint: "look once with `" + a.doingCommand("diff") + "`"}
	case c.Every <= 0:
		return s, m, &usageError{why: "cannot follow with --every 0: it would never rest", hint: "give a pause such as --every 30s"}
	}
	if m, err = c.modes(); err == nil {
		err = c.apply(&m)
	}
	if err != nil {
		return s, m, err
	}
	m.Following = true
	if m.LockTimeout == 0 { // a longer wait would hold up the other datasets
		m.LockTimeout = time.Duration(c.Every)
	}
	m.Confirm = func(r *sync.Report) error {
		if m.Force || c.unasked(r.Relation) {
			return nil
		}
		return &unaskedError{r.Relation}
	}
	return s, m, a.tryAudits(c.auditFlags, s)
}

// unasked reports whether a follow may act on a relation without a person: a fast-forward, or with --sync a merge, which
// fails on a conflict.
func (c *followCmd) unasked(r sync.Relation) bool {
	switch r {
	case sync.LocalBehind, sync.RemoteOnly:
		return true
	case sync.LocalAhead, sync.Diverged:
		return c.Sync
	}
	return false
}

// tryAudits finds out early whether the audits can be written.
func (a *app) tryAudits(flags auditFlags, s subject) error {
	err := a.openAudits(flags, s)
	for _, f := range a.audits {
		if f.pending != nil {
			f.pending.Cleanup()
		} else if f.direct != nil {
			f.direct.Close()
		}
	}
	a.audits = nil
	return err
}

// watch is a running follow.
type watch struct {
	*app
	cmd   *followCmd
	pair  *sync.Pair
	modes sync.Modes
	said  map[string]string // by dataset, the failure reported last
}

// follow finds the datasets to follow, and fails if there are none.
func (w *watch) follow(ctx context.Context, s subject) (f sync.Follow, err error) {
	f = sync.Follow{
		ID: s.id, Local: w.cmd.Sync,
		Every: time.Duration(w.cmd.Every), For: time.Duration(w.cmd.For), UntilIdle: time.Duration(w.cmd.UntilIdle),
		Act: w.act, Says: w.says, Gone: w.gone, Live: w.live, Wait: w.wait, Now: w.env.now,
		Done: func(r *sync.Report) { w.done(ctx, r) },
	}
	ids, err := w.pair.IDs(ctx, true)
	if err != nil {
		return f, err
	}
	if s.pattern != "" {
		f.IDs = func(all []string) []string { return matching(s.pattern, all) }
		if len(f.IDs(ids)) == 0 {
			return f, &noMatchError{pattern: s.pattern, side: w.cmd.Remote}
		}
		return f, nil
	}
	if slices.Contains(ids, s.id) || isRegular(primaryOf(s.root, s.id)) {
		return f, nil
	}
	strict := w.cmd.StrictBootstrapID || truthy(w.env.getenv("USR_SYNC_STRICT_BOOTSTRAP_ID"))
	f.ID, err = job{strict: strict}.lastName(s, ids)
	if err == nil && f.ID == "" {
		err = &sync.MissingError{Side: w.cmd.Remote, Path: s.id}
	}
	return f, err
}

// act brings a dataset up to date.
func (w *watch) act(ctx context.Context, id string) (*sync.Report, error) {
	w.doing.dataset = id
	w.progress.waits(nil)
	w.progress.forget()
	if w.cmd.Sync {
		return w.pair.Sync(ctx, id, w.modes)
	}
	return w.pair.Transfer(ctx, id, sync.Pull, w.modes)
}

// done reports an increment and runs the hook.
func (w *watch) done(ctx context.Context, r *sync.Report) {
	v := w.auditOf(r, false)
	if err := w.tell(v); err != nil {
		w.progress.warn(err.Error())
	}
	if w.cmd.Exec == "" || ctx.Err() != nil {
		return
	}
	if err := w.hook(ctx, v); err != nil {
		w.progress.warn("--exec: " + err.Error())
	}
}

// tell prints one line, and writes the audits.
func (w *watch) tell(v *audit) error {
	doc := document{Data: v.data()}
	err := w.openAudits(w.cmd.auditFlags, subject{id: v.Dataset})
	for _, f := range w.audits {
		if werr := f.write(doc); err == nil {
			err = werr
		}
	}
	w.audits = nil
	switch {
	case w.format == jsonFormat:
		if jerr := writeJSONLine(w.env.stdout, doc); jerr != nil {
			return jerr
		}
	case !w.cli.Quiet:
		w.progress.line(w.env.stdout, fmt.Sprintf("%s %s: %s", w.env.now().UTC().Format(time.RFC3339), v.title(), v.sum()))
	}
	return err
}

// hook runs the user's command. The next look waits for it.
func (w *watch) hook(ctx context.Context, v *audit) error {
	f, err := os.CreateTemp("", "usr-audit-*.json")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = writeJSON(f, document{Data: v.data()})
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	w.progress.stop()
	defer w.progress.start()
	cmd := exec.CommandContext(ctx, "sh", "-c", w.cmd.Exec)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Dir, cmd.Stdout, cmd.Stderr = w.env.dir, w.env.stderr, w.env.stderr
	cmd.Env = append(os.Environ(), "USR_DATASET="+v.Dataset, "USR_REMOTE="+v.Remote, "USR_AUDIT="+f.Name())
	return cmd.Run()
}

// says reports a kind of failure once, and its end.
func (w *watch) says(id string, err error) {
	if err == nil {
		delete(w.said, id)
		w.progress.tell("usr: " + orElse(id, w.cmd.Remote) + ": all is well again")
		return
	}
	w.doing.dataset = orElse(id, w.cmd.Dataset)
	f := w.explain(err)
	what := f.Kind + f.Hint // the message holds times and numbers
	if w.said[id] == what {
		return
	}
	w.said[id] = what
	if id != "" {
		f.Message = ofDataset(f.Message, "follow", id)
	}
	w.logFailure(f)
	w.progress.tell("usr: error: " + f.Message + "\nusr: hint: " + f.Hint + "; it is tried again")
}

func (w *watch) gone(id string) {
	delete(w.said, id)
	w.progress.tell("usr: warning: " + shown(id) + " is on " + w.cmd.Remote + " no more; the copy here is left as it is")
}

// live reports whether there is a connection that a command would use without asking.
func (w *watch) live(ctx context.Context) bool {
	p, err := w.profile(w.cmd.Remote)
	if err != nil {
		return false
	}
	all := true
	err = w.eachHost(p, func(t ssh.Target) error {
		found, err := ssh.Check(ctx, t, w.reachOptions())
		all = all && found.Live
		return err
	})
	return err == nil && all
}

// wait waits until a time of the wall clock: after a sleep of the machine that has passed already. Setting the clock back
// does not make it longer.
func (w *watch) wait(ctx context.Context, f sync.Waiting) error {
	w.progress.waits(func(now time.Time) string { return w.standing(f, now) })
	defer w.progress.waits(nil)
	over := time.NewTimer(f.Until.Sub(w.env.now().Round(0)))
	defer over.Stop()
	clock := time.NewTicker(5 * time.Second)
	defer clock.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-over.C:
			return nil
		case <-clock.C:
			if !w.env.now().Before(f.Until) {
				return nil
			}
		}
	}
}

// standing returns the line for a terminal.
func (w *watch) standing(f sync.Waiting, now time.Time) string {
	changed := "nothing landed yet"
	if !f.Changed.IsZero() {
		changed = "last change " + now.Sub(f.Changed).Round(time.Second).String() + " ago"
	}
	next := max(0, f.Until.Sub(now)).Round(time.Second).String()
	doing := map[sync.Phase]string{
		sync.Watching: "next look in " + next, sync.Held: "next try in " + next,
		sync.Away: "line lost, dialled in " + next, sync.LockedOut: "waiting for a login, next look in " + next,
	}[f.Phase]
	return "following " + safe(w.cmd.Dataset) + " on " + w.cmd.Remote + ": " + changed + ", " + doing
}

// code returns the worst exit code of what is wrong at the end.
func (w *watch) code(wrong map[string]error) (code int) {
	for _, err := range wrong {
		code = max(code, w.explain(err).Code)
	}
	return code
}
