package sync

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// fileSide is what a side does for single files, which may lie outside its root.
type fileSide interface {
	// Stat tells a regular file as List would; fs.ErrNotExist if there is none.
	Stat(ctx context.Context, file string) (verify.Entry, error)
	// StageFile makes (or finds) the private directory beside a file in which its replacement is put together,
	// and the directories above it. Needs the claim of the file.
	StageFile(ctx context.Context, file string) (dir string, err error)
	// PromoteFile flushes the named file in the directory that StageFile gave, renames it over the file and removes
	// the directory.
	PromoteFile(ctx context.Context, dir, name, file string) error
	// DropFile removes a directory that StageFile made.
	DropFile(ctx context.Context, dir string) error
}

// stageSuffix ends the name of the directory that StageFile makes: .NAME.usr-stage beside NAME.
const stageSuffix = ".usr-stage"

// FileSpec names one file on both sides, by absolute paths.
type FileSpec struct{ Local, Remote string }

// File previews (direction "") or transfers a single file: staged beside its target, proved by its hash, renamed.
func (p *Pair) File(ctx context.Context, spec FileSpec, d Direction, m Modes) (*Report, error) {
	m.Sidecars, m.ContentHashes = true, true
	target := spec.Local
	if d == Push {
		target = spec.Remote
	}
	s := p.newSubject(spec.Local, stateKey("file:"+target), d, m)
	if err := s.chooseHash(ctx); err != nil {
		return nil, err
	}
	f := &fileTransfer{transfer: &transfer{subject: s, run: newRun(p.o.Now())}, spec: spec}
	plan, err := f.survey(ctx)
	if err != nil {
		return nil, err
	}
	r := f.report(plan, string(d), DryRun)
	if strings.HasSuffix(plan.src.primary(), ".parquet") || f.modes.Primary == ByParquet {
		if err := f.describeTables(ctx, r); err != nil {
			return nil, err
		}
	}
	switch {
	case d == "":
		r.Action, r.State = "diff", DiffOnly
	case len(plan.changes) == 0:
		r.State = NoOp
	case !m.DryRun:
		if m.Confirm != nil {
			if err := m.Confirm(r); err != nil {
				return nil, err
			}
		}
		if err := f.do(ctx, plan); err != nil {
			return nil, err
		}
		r.State, r.LockHeld, r.Sent, r.Received = Transferred, f.held, f.sent, f.received
		r.Print = Sides[string]{Local: fingerprint(f.src.files), Remote: fingerprint(f.src.files)}
	}
	return f.finish(r), nil
}

// fileTransfer is a transfer of one file. Its snapshots are of a directory with that file alone.
type fileTransfer struct {
	*transfer
	spec     FileSpec
	src, dst *snapshot
}

// survey reads and hashes both files.
func (f *fileTransfer) survey(ctx context.Context) (*plan, error) {
	l, err := f.snapshot(ctx, f.local, f.spec.Local)
	if err != nil {
		return nil, err
	}
	r, err := f.snapshot(ctx, f.remote, f.spec.Remote)
	if err != nil {
		return nil, err
	}
	f.known = view{local: l, remote: r}
	levels := f.modes.levels()
	same := len(l.files) == 1 && len(r.files) == 1 && levels.Compare(&l.files[0], &r.files[0]) == verify.Same
	p := &plan{direction: f.towards(f.relation(same)), history: history{relation: f.relation(same)}}
	p.src, p.dst = f.known.ends(p.direction)
	f.src, f.dst = p.src, p.dst
	if len(p.src.files) == 0 {
		return nil, &MissingError{Side: p.src.side.Name(), Path: p.src.survey.Live + "/" + f.name(p.src), File: true}
	}
	if !same {
		p.copy = []*verify.Entry{&p.src.files[0]}
		kind := Added
		if len(p.dst.files) == 1 {
			kind = Modified
		}
		p.change(p.copy[0], kind)
		p.changes[0].Path = f.name(p.dst) // the two may be called otherwise
	}
	return p, nil
}

func (f *fileTransfer) relation(same bool) Relation {
	l, r := len(f.known.local.files) == 1, len(f.known.remote.files) == 1
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

func (f *fileTransfer) name(s *snapshot) string {
	if s == f.known.local {
		return path.Base(f.spec.Local)
	}
	return path.Base(f.spec.Remote)
}

// snapshot describes a file as the only one of its directory. Its path is the source's name on both sides, so
// that the two compare, whatever they are called.
func (f *fileTransfer) snapshot(ctx context.Context, s side, file string) (*snapshot, error) {
	snap := &snapshot{side: s, survey: &survey{Live: path.Dir(file), EventLines: -1}, single: true}
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
	if f.modes.levels()[verify.Primary] == verify.Content {
		if err := f.hash(ctx, snap, unknown(snap.files), f.algorithm); err != nil {
			return nil, err
		}
	}
	return snap, nil
}

// do stages, proves and renames. A file that lies in a dataset is replaced under that dataset's lock.
func (f *fileTransfer) do(ctx context.Context, p *plan) (err error) {
	dst := p.dst.side
	target := f.spec.Local
	if p.direction == Push {
		target = f.spec.Remote
	}
	if err := dst.Claim(ctx, f.key, f.lockTimeout()); err != nil {
		return err
	}
	defer f.leave(ctx, dst, nil)
	dir, err := dst.StageFile(ctx, target)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && !resumable(err) {
			dst.DropFile(context.WithoutCancel(ctx), dir)
		}
	}()
	if err := f.fetch(ctx, p, dir); err != nil {
		return err
	}
	if err := f.lockAround(ctx, dst, path.Dir(target)); err != nil {
		return err
	}
	return dst.PromoteFile(ctx, dir, f.name(p.src), target)
}

// fetch copies until what is staged is what the source holds.
func (f *fileTransfer) fetch(ctx context.Context, p *plan, dir string) error {
	for round := 0; ; round++ {
		if err := f.copyFile(ctx, p, dir); err != nil {
			return err
		}
		before := p.src.files[0]
		fresh, err := f.snapshot(ctx, p.src.side, path.Join(p.src.survey.Live, before.Path))
		if err != nil {
			return err
		}
		staged, err := f.snapshot(ctx, p.dst.side, path.Join(dir, before.Path))
		if err != nil {
			return err
		}
		if len(fresh.files) == 0 || len(staged.files) == 0 {
			return &MismatchError{Paths: []string{before.Path}, Moving: true}
		}
		levels := f.modes.levels()
		if levels.Compare(&fresh.files[0], &staged.files[0]) == verify.Same {
			p.src.files = fresh.files
			return f.sameFooter(ctx, fresh, staged)
		}
		if moving := !verify.SameStamp(&fresh.files[0], &before); !moving || round == maxRounds {
			return &MismatchError{Paths: []string{before.Path}, Moving: moving}
		}
		p.src.files = fresh.files
	}
}

func (f *fileTransfer) copyFile(ctx context.Context, p *plan, dir string) error {
	e := p.src.files[0]
	stats, err := remote.Transfer{
		From: p.src.side.Endpoint(), To: p.dst.side.Endpoint(),
		FromDir: p.src.survey.Live, ToDir: dir, Files: []string{e.Path},
		Basis:      []string{p.dst.survey.Live},
		PartialDir: path.Join(dir, "partial"),
		Bwlimit:    f.bwlimit(),
		Stall:      stallTimeout,
		Progress:   func(n int64) { f.o.Observe(Progressed{Phase: "transfer", Done: n, Total: e.Size, Files: 1}) },
		Command:    f.ranRsync,
	}.Run(ctx)
	f.sent += stats.Sent
	f.received += stats.Received
	return err
}

// lockAround takes the lock of the dataset that the directory is, if it is one.
func (f *fileTransfer) lockAround(ctx context.Context, s side, dir string) error {
	if _, err := s.Stat(ctx, path.Join(dir, lockFile)); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if _, err := s.Lock(ctx, dir, f.lockTimeout(), false); err != nil {
		return err
	}
	f.locks, f.lockedAt = append(f.locks, s), f.o.Now()
	return nil
}
