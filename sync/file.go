package sync

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/rsync"
	"github.com/dnadesign-maintainers/usr/verify"
)

// fileSide is what a side can do with single files, which may lie outside its root.
type fileSide interface {
	// Stat returns a regular file as List would; fs.ErrNotExist if there is none.
	Stat(ctx context.Context, file string) (verify.Entry, error)
	// StageFile makes (or finds) and claims the private directory beside a file, where its replacement is put together, and
	// the directories above it. Until Release no other run stages for the file.
	StageFile(ctx context.Context, file string, timeout time.Duration) (dir string, err error)
	// PromoteFile flushes the named file in the directory of StageFile, renames it over the file and removes the directory.
	PromoteFile(ctx context.Context, dir, name, file string) error
	// DropFile removes a directory that StageFile made.
	DropFile(ctx context.Context, dir string) error
}

// FileSpec names one file on both sides, by absolute paths.
type FileSpec struct{ Local, Remote string }

// File previews (direction "") or transfers a single file: it is staged beside its target, proved by its hash, renamed. This
// is a transaction of its own kind: one rename replaces one file, so there is no tree, no generation and no common base.
func (p *Pair) File(ctx context.Context, spec FileSpec, d Direction, m Modes) (*Report, error) {
	m.Sidecars, m.ContentHashes = true, true
	c := p.beginAs(spec.Local, "", m)
	how, err := c.method(ctx)
	if err != nil {
		return nil, err
	}
	f := &fileTransfer{command: c, spec: spec}
	plan, err := f.survey(ctx, how, d)
	if err != nil {
		return nil, err
	}
	r, err := f.reportFile(ctx, plan, d)
	if err != nil || r.State != DryRun || m.DryRun {
		return f.finish(r), err
	}
	if _, err := f.agree(r, nil); err != nil {
		return nil, err
	}
	if err := f.do(ctx, plan); err != nil {
		return nil, err
	}
	r.State = Transferred
	r.Print = Sides[string]{Local: fingerprint(plan.src.files), Remote: fingerprint(plan.src.files)}
	return f.finish(r), nil
}

func (f *fileTransfer) reportFile(ctx context.Context, p *plan, d Direction) (*Report, error) {
	r := f.audit(p, string(d), DryRun)
	switch {
	case d == "":
		r.Action, r.State = "diff", DiffOnly
	case len(p.changes) == 0:
		r.State = NoOp
	}
	if strings.HasSuffix(p.src.primary(), ".parquet") || p.how.modes.Primary == ByParquet {
		return r, f.describeTables(ctx, r, p.view)
	}
	return r, nil
}

// fileTransfer is a transfer of one file. Its snapshots show a directory with only that file.
type fileTransfer struct {
	*command
	spec FileSpec
}

// survey reads and hashes both files.
func (f *fileTransfer) survey(ctx context.Context, how method, d Direction) (*plan, error) {
	l, err := f.snapshot(ctx, how, f.local, f.spec.Local)
	if err != nil {
		return nil, err
	}
	r, err := f.snapshot(ctx, how, f.remote, f.spec.Remote)
	if err != nil {
		return nil, err
	}
	p := &plan{view: view{local: l, remote: r, how: how}}
	same := len(l.files) == 1 && len(r.files) == 1 && how.modes.levels().Compare(&l.files[0], &r.files[0]) == verify.Same
	p.history.Relation = fileRelation(p.view, same)
	p.direction = towards(d, p.history.Relation)
	p.src, p.dst = p.ends(p.direction)
	if len(p.src.files) == 0 {
		return nil, &MissingError{Side: p.src.side.Name(), Path: f.path(p.src), File: true}
	}
	if !same {
		p.add(&p.src.files[0], fetch)
		kind := Added
		if len(p.dst.files) == 1 {
			kind = Modified
		}
		p.change(&p.src.files[0], kind)
		p.changes[0].Path = path.Base(f.path(p.dst)) // the names may differ
	}
	return p, nil
}

func fileRelation(v view, same bool) Relation {
	l, r := len(v.local.files) == 1, len(v.remote.files) == 1
	switch {
	case same:
		return InSync
	case l && !r:
		return LocalOnly
	case r && !l:
		return RemoteOnly
	}
	return Unrelated
}

// path returns the absolute path of the file on a snapshot's side.
func (f *fileTransfer) path(s *snapshot) string {
	if s.side == f.local {
		return f.spec.Local
	}
	return f.spec.Remote
}

// snapshot describes a file as the only one in its directory. Its path is the source's name on both sides, so that the two
// compare whatever their names.
func (f *fileTransfer) snapshot(ctx context.Context, how method, s side, file string) (*snapshot, error) {
	snap := &snapshot{side: s, survey: &remote.Survey{Live: path.Dir(file), EventLines: -1}, single: true}
	e, err := s.Stat(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return snap, nil
	}
	if err != nil {
		return nil, err
	}
	if e.Kind != verify.File {
		return nil, &UnsafeError{Side: s.Name(), Paths: []string{file + " (" + kindName(e.Kind) + ")"}}
	}
	e.Path, e.Class = path.Base(file), verify.Primary
	snap.files, snap.survey.Exists = verify.Manifest{e}, true
	if how.modes.levels()[verify.Primary] == verify.Content {
		if err := f.hash(ctx, snap, unknown(snap.files), how.algorithm); err != nil {
			return nil, err
		}
	}
	return snap, nil
}

// do stages, proves and renames. It replaces a file inside a dataset under that dataset's lock.
func (f *fileTransfer) do(ctx context.Context, p *plan) (err error) {
	if err := f.canCopy(ctx); err != nil {
		return err
	}
	dst, target := p.dst.side, f.path(p.dst)
	dir, err := dst.StageFile(ctx, target, f.lockTimeout())
	if err != nil {
		return err
	}
	defer release(dst)
	defer func() {
		if err != nil && !resumable(err) {
			ctx, cancel := leaving()
			defer cancel()
			dst.DropFile(ctx, dir)
		}
	}()
	if err := f.fetch(ctx, p, dir); err != nil {
		return err
	}
	l := &locks{c: f.command}
	defer l.release()
	if err := l.around(ctx, dst, path.Dir(target)); err != nil {
		return err
	}
	return dst.PromoteFile(ctx, dir, path.Base(f.path(p.src)), target)
}

// fetch copies until what is staged is what the source holds.
func (f *fileTransfer) fetch(ctx context.Context, p *plan, dir string) error {
	for round := 0; ; round++ {
		if err := f.copyFile(ctx, p, dir); err != nil {
			return err
		}
		before := p.src.files[0]
		fresh, err := f.snapshot(ctx, p.how, p.src.side, path.Join(p.src.survey.Live, before.Path))
		if err != nil {
			return err
		}
		staged, err := f.snapshot(ctx, p.how, p.dst.side, path.Join(dir, before.Path))
		if err != nil {
			return err
		}
		if len(fresh.files) == 0 || len(staged.files) == 0 {
			return &MismatchError{Paths: []string{before.Path}, Moving: true}
		}
		levels := p.how.modes.levels()
		if levels.Compare(&fresh.files[0], &staged.files[0]) == verify.Same {
			p.src.files = fresh.files
			return f.sameFooter(ctx, p.how.modes, fresh, staged)
		}
		moving := !verify.SameStamp(&fresh.files[0], &before) || !verify.Fine(before.Ctime)
		if !moving || round == maxRounds {
			return &MismatchError{Paths: []string{before.Path}, Moving: moving}
		}
		p.src.files = fresh.files
	}
}

func (f *fileTransfer) copyFile(ctx context.Context, p *plan, dir string) error {
	e := p.src.files[0]
	from, to, err := endpoints(ctx, p)
	if err != nil {
		return err
	}
	stats, err := rsync.Transfer{
		From: from, To: to,
		FromDir: p.src.survey.Live, ToDir: dir, Files: []string{e.Path},
		Basis:      []string{p.dst.survey.Live},
		PartialDir: partialDir,
		Largest:    e.Size,
		Bwlimit:    f.bwlimit(),
		Stall:      stallTimeout,
		Progress:   func(n int64) { f.o.Observe(Progressed{Phase: PhaseTransfer, Done: n, Total: e.Size, Files: 1}) },
		Command:    f.ranRsync,
	}.Run(ctx)
	f.cost.sent += stats.Sent
	f.cost.received += stats.Received
	return err
}
