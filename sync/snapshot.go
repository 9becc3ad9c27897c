package sync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/dnadesign-maintainers/usr/verify"
)

const (
	primaryPath = "records.parquet"
	eventsPath  = ".events.log"
)

// snapshot is one side's dataset as one listing saw it.
type snapshot struct {
	side   side
	survey *survey
	files  verify.Manifest // of the synchronized classes
	dirs   verify.Manifest // of the synchronized classes
	carry  []string        // runtime and ignored entries, which stay where they are
	unsafe []string        // entries that are never transferred, with their kind
	cached int             // entries in the cache, and how many of them taught a digest
	learnt int
	single bool // of one file alone (FILE mode)
	kept   bool // a generation, not a live dataset: never locked, never cached
}

// present tells whether the directory is a dataset.
func (s *snapshot) present() bool { return s.files.Find(primaryPath) != nil }

// view is both sides of a dataset.
type view struct{ local, remote *snapshot }

// ends orders a view by the direction of a transfer.
func (v view) ends(d Direction) (src, dst *snapshot) {
	if d == Push {
		return v.local, v.remote
	}
	return v.remote, v.local
}

// look reads both sides at once. What was known of them before, if anything, may be taken over.
func (p *Pair) look(ctx context.Context, id string, before view) (view, error) {
	var v view
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { v.local, err = p.lookAt(ctx, p.local, id, before.local); return err })
	g.Go(func() (err error) { v.remote, err = p.lookAt(ctx, p.remote, id, before.remote); return err })
	err := g.Wait()
	return v, err
}

// lookAt reads one side. Digests that were learnt since before was listed are kept where they still speak for their
// files, and before is not to be used any more but for asking what it shows.
func (p *Pair) lookAt(ctx context.Context, s side, id string, before *snapshot) (*snapshot, error) {
	known := ""
	if before != nil {
		known = before.survey.Listing
	}
	sv, err := s.Survey(ctx, id, known)
	if err != nil {
		return nil, err
	}
	if sv.Same {
		snap := *before
		snap.survey = sv
		snap.files.ForgetUnsettled(before.survey.Now)
		return &snap, nil
	}
	snap := &snapshot{side: s, survey: sv}
	snap.sort(sv.Entries, p.classes)
	sv.Entries = nil
	if before != nil {
		snap.files.LearnSettled(before.files, before.survey.Now)
	}
	return snap, nil
}

// listTree is a walk as a manifest.
func listTree(ctx context.Context, s side, dir string) (verify.Manifest, error) {
	var m verify.Manifest
	if err := s.Walk(ctx, dir, func(e verify.Entry) { m = append(m, e) }); err != nil {
		return nil, err
	}
	return verify.InOrder(m), nil
}

// sort parts the entries of a listing by what becomes of them. The files keep the room of the listing.
func (s *snapshot) sort(listing verify.Manifest, classes *verify.Classifier) {
	s.files = listing[:0]
	for _, e := range listing {
		e.Class = classes.Class(e.Path)
		s.add(e)
	}
}

// shows tells whether the snapshot has the very inode state of an entry of a later one.
func (s *snapshot) shows(e *verify.Entry) bool {
	was := s.files.Find(e.Path)
	return was != nil && verify.SameStamp(was, e)
}

func (s *snapshot) add(e verify.Entry) {
	switch {
	case !e.Class.Synced():
		s.carry = append(s.carry, e.Path)
	case e.Kind == verify.File:
		s.files = append(s.files, e)
	case e.Kind == verify.Directory:
		s.dirs = append(s.dirs, e)
	default:
		s.unsafe = append(s.unsafe, e.Path+" ("+kindName(e.Kind)+")")
	}
}

func kindName(k verify.Kind) string {
	switch k {
	case verify.Symlink:
		return "symlink"
	case verify.Fifo:
		return "fifo"
	case verify.Socket:
		return "socket"
	}
	return "device"
}

// decide hashes, on both sides at once, exactly the files without whose digests two sides or a side and the
// common base cannot be compared.
func (p *Pair) decide(ctx context.Context, v view, base *base, levels verify.Levels, algorithm string) error {
	var local, remote []*verify.Entry
	verify.Join(v.local.files, v.remote.files, func(l, r *verify.Entry) {
		if l != nil && r != nil && levels.Compare(l, r) != verify.Undecided {
			return
		}
		b := base.find(l, r)
		for _, side := range []struct {
			mine, other *verify.Entry
			want        *[]*verify.Entry
		}{{l, r, &local}, {r, l, &remote}} {
			e := side.mine
			if e == nil || e.Digest.Known() || levels[e.Class] == verify.Stat {
				continue
			}
			if (side.other != nil && side.other.Size == e.Size) || (b != nil && b.Size == e.Size) {
				*side.want = append(*side.want, e)
			}
		}
	})
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.hash(ctx, v.local, local, algorithm) })
	g.Go(func() error { return p.hash(ctx, v.remote, remote, algorithm) })
	return g.Wait()
}

// hash completes the digests of the wanted files of a snapshot.
func (p *Pair) hash(ctx context.Context, s *snapshot, want []*verify.Entry, algorithm string) error {
	if len(want) == 0 {
		return nil
	}
	total := totalSize(want)
	var done int64
	var failed error
	phase := "hash " + s.side.Name()
	err := s.side.Hash(ctx, s.survey.Live, algorithm, want, func(path string, d verify.Digest, err error) {
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, verify.ErrChanged):
			return // it moves: no digest fits what was listed, and the next look will tell
		case err != nil:
			failed = fmt.Errorf("cannot read %s on %s: %w", strconv.Quote(path), s.side.Name(), err)
			return
		}
		e := s.files.Find(path)
		e.Digest = d
		done += e.Size
		p.o.Observe(Progressed{Phase: phase, Done: done, Total: total})
	})
	if err == nil {
		err = failed
	}
	return err
}

// logs compares the two event logs, which only ever grow.
func (p *Pair) logs(ctx context.Context, v view, algorithm string) (logOrder, error) {
	l, r := v.local.files.Find(eventsPath), v.remote.files.Find(eventsPath)
	switch {
	case l == nil && r == nil:
		return logsEqual, nil
	case l == nil || (r != nil && l.Size == 0 && r.Size > 0):
		return logsLocalShorter, nil
	case r == nil || (r.Size == 0 && l.Size > 0):
		return logsRemoteShorter, nil
	}
	n := min(l.Size, r.Size)
	if algorithm == "" { // no host can hash: then sizes speak
		n = 0
	}
	var dl, dr verify.Digest
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { dl, err = prefix(ctx, v.local, l, algorithm, n); return err })
	g.Go(func() (err error) { dr, err = prefix(ctx, v.remote, r, algorithm, n); return err })
	if err := g.Wait(); err != nil {
		return 0, err
	}
	switch {
	case dl != dr:
		return logsForked, nil
	case l.Size < r.Size:
		return logsLocalShorter, nil
	case l.Size > r.Size:
		return logsRemoteShorter, nil
	}
	return logsEqual, nil
}

func prefix(ctx context.Context, s *snapshot, e *verify.Entry, algorithm string, n int64) (verify.Digest, error) {
	if n == 0 || (e.Size == n && e.Digest.Known()) {
		return e.Digest, nil
	}
	return s.side.HashPrefix(ctx, s.survey.Live+"/"+e.Path, algorithm, n)
}

// within is the path below its class's directory, as reports name it.
func within(c verify.Class, path string) string {
	switch c {
	case verify.Snapshots:
		return strings.TrimPrefix(path, "_snapshots/")
	case verify.Derived:
		return strings.TrimPrefix(path, "_derived/")
	}
	return path
}
