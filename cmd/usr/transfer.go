package main

import (
	"context"

	"github.com/dnadesign-maintainers/usr/sync"
)

// transfer is pull and push, which differ only in direction.
func (a *app) transfer(ctx context.Context, d sync.Direction, args sidesArgs, compare compareFlags, change changeFlags, strict bool, flag string) error {
	m, err := compare.modes()
	if err != nil {
		return err
	}
	if err := change.apply(&m); err != nil {
		return err
	}
	if !change.Yes {
		m.Confirm = func(r *sync.Report) error { return a.confirm(ctx, r) }
	}
	return a.carryOut(ctx, job{
		action: string(d), args: args, flags: compare, modes: m, source: source(d), strict: strict, flagForDatasets: flag,
		dataset: func(p *sync.Pair, id string, m sync.Modes) (*sync.Report, error) { return p.Transfer(ctx, id, d, m) },
		file:    func(p *sync.Pair, s sync.FileSpec) (*sync.Report, error) { return p.File(ctx, s, d, m) },
	})
}

// job is a command on DATASET, before it is known whether that is one dataset, many or a file.
type job struct {
	action          string
	args            sidesArgs
	flags           compareFlags
	modes           sync.Modes
	source          sides  // where DATASET is looked for
	strict          bool   // a first pull needs the whole id
	flagForDatasets string // a flag given that has no meaning for a file
	dataset         func(*sync.Pair, string, sync.Modes) (*sync.Report, error)
	file            func(*sync.Pair, sync.FileSpec) (*sync.Report, error)
	drift           bool // a difference is exit code 1
}

// carryOut reads the DATASET argument, before anything is contacted and before the remotes file matters, and does the job.
func (a *app) carryOut(ctx context.Context, j job) error {
	a.doing.action, a.doing.remote, a.doing.flags = j.action, j.args.Remote, j.flags
	s, err := a.subject(j.args.Dataset)
	if err != nil {
		return err
	}
	if err := j.check(s); err != nil {
		return err
	}
	if err := a.openAudits(j.flags.auditFlags, s); err != nil {
		return err
	}
	if j.changes() && s.file == "" {
		a.doing.root, a.doing.forced = s.root, j.modes.Force
	}
	switch {
	case s.file != "":
		return a.doFile(ctx, j, s)
	case s.pattern != "":
		return a.doMany(ctx, j, s)
	}
	return a.doOne(ctx, j, s)
}

// changes reports whether a job may change a side.
func (j job) changes() bool { return j.action != "diff" && j.action != "verify" && !j.modes.DryRun }

// check refuses flags that do not go with the kind of subject.
func (j job) check(s subject) error {
	if s.file != "" && j.flagForDatasets != "" {
		hint := "leave it out, or name a dataset by its id"
		if j.flagForDatasets == "sync" {
			hint = "copy a single file with `usr pull` or `usr push`, or name a dataset by its id"
		}
		return &usageError{why: "cannot use " + j.flagForDatasets + " with the file " + shown(s.file) + ": it is for datasets only", hint: hint}
	}
	if s.file == "" && j.flags.RemotePath != "" {
		return &usageError{
			why:  "cannot use --remote-path with " + shown(j.args.Dataset) + ": it is for single files only",
			hint: "leave it out; a dataset's place on the remote is base_dir and its id",
		}
	}
	return nil
}

func (a *app) doOne(ctx context.Context, j job, s subject) error {
	a.doing.dataset = s.id
	p, err := a.open(ctx, s.root, j.args.Remote)
	if err != nil {
		return err
	}
	defer p.Close()
	r, err := a.doNamed(ctx, p, j, s)
	if err != nil {
		if r != nil { // the first half of a sync is done
			a.progress.warn("local was merged, and is ahead now; the remote was not changed")
			a.partial = auditJSON(a.auditOf(r, false))
		}
		return err
	}
	return a.showAudit(j, a.auditOf(r, false))
}

func (a *app) showAudit(j job, v *audit) error {
	if j.drift && v.differs() {
		a.code = codeDifference
	}
	return a.show(v)
}

func (v *audit) differs() bool {
	return len(v.Changes) > 0 || (v.Relation != sync.InSync && v.Relation != "")
}
