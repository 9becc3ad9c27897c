package sync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/sync/history"
	"github.com/dnadesign-maintainers/usr/verify"
)

const (
	primaryPath = history.Primary
	metaPath    = history.Meta
	eventsPath  = history.Events
)

// snapshot is one side's dataset as one listing showed it.
type snapshot struct {
	side    side
	survey  *remote.Survey
	files   verify.Manifest // of the synchronized classes
	dirs    verify.Manifest // of the synchronized classes
	carry   []string        // runtime and ignored entries, which stay where they are
	unsafe  []string        // entries that are never transferred, with their kind
	planted []string        // what lies in the place of a lock file, with its kind
	cached  int             // entries in the cache, and how many of them gave a digest
	learnt  int
	single  bool            // of one file alone (FILE mode)
	kept    *generationInfo // of a kept tree, which is never locked and never cached; nil for a live dataset
	parts   []*keptPart     // of a kept tree: what it is made of, beginning with live, newest first
}

// present reports whether the directory is a dataset.
func (s *snapshot) present() bool { return history.Present(s.files) }

// view is both ends of a command as one look showed them, and how they are compared.
type view struct {
	local, remote *snapshot
	how           method
}

// ends orders a view by the direction of a transfer.
func (v view) ends(d Direction) (src, dst *snapshot) {
	if d == Push {
		return v.local, v.remote
	}
	return v.remote, v.local
}

// method is how files are compared: by which hash, and how closely where a host has none.
type method struct {
	algorithm string // "" if a host has no hash tool
	modes     Modes  // as they were asked for, with "auto" resolved

	rebuildable func(path string) bool // of the profile; nil for none
}

// light reports whether a file is one that a program can make again: to have changed is no history.
func (m method) light(path string) bool { return m.rebuildable != nil && m.rebuildable(path) }

// look reads both sides at once. Digests that are known from before are kept where they still speak for their files;
// at the first look, which has no before, the cache vouches for some. The hash is chosen behind the first listing: the
// remote's answer to both comes in one round trip.
func (c *command) look(ctx context.Context, before view) (view, error) {
	v := view{how: before.how}
	err := together(
		func() (err error) { v.local, err = c.lookAt(ctx, c.local, c.id, before.local); return err },
		func() (err error) { v.remote, err = c.lookAt(ctx, c.remote, c.id, before.remote); return err })
	if err != nil || before.local != nil {
		return v, err
	}
	if v.how, err = c.method(ctx); err != nil {
		return view{}, err
	}
	if !v.how.modes.Rehash {
		together(
			func() error { c.store.learn(v.local, c.id, "", v.how.algorithm); return nil },
			func() error { c.store.learn(v.remote, c.id, c.remote.Name(), v.how.algorithm); return nil })
	}
	return v, nil
}

// together does both at once. Neither stops the other when it fails: a request that is cancelled takes its connection
// along, and with it the datasets that are still to come.
func together(a, b func() error) error {
	var g errgroup.Group
	g.Go(a)
	g.Go(b)
	return g.Wait()
}

// method resolves the mode "auto": by hash, or where a host has no hash tool by Parquet footers and sizes, with a
// warning.
func (c *command) method(ctx context.Context) (method, error) {
	how := method{modes: c.asked, rebuildable: c.classes.Rebuildable}
	auto := how.modes.Primary == Auto
	if auto {
		how.modes.Primary = ByHash
	}
	var err error
	how.algorithm, err = c.algorithm(ctx)
	var none *NoHashError
	if !auto || !errors.As(err, &none) {
		return how, err
	}
	c.warn("%v; verifying the primary by its Parquet footer and everything else by size and time", err)
	how.modes.Primary, how.modes.noHashes = ByParquet, true
	return how, nil
}

// lookAt reads one side. Digests that were learnt since before was listed are kept where they still speak for their
// files, and before is not to be used any more but for asking what it shows.
func (p *Pair) lookAt(ctx context.Context, s side, id string, before *snapshot) (*snapshot, error) {
	sv, err := p.survey(ctx, s, id, before)
	if err != nil {
		return nil, err
	}
	if sv.Misspelt {
		return nil, &UnsafeError{Side: s.Name(), Paths: []string{id + " (is there by a name that differs in case)"}}
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

// survey asks a side, or takes what it has told already.
func (p *Pair) survey(ctx context.Context, s side, id string, before *snapshot) (*remote.Survey, error) {
	if before != nil {
		return s.Survey(ctx, id, stateKey(id), before.survey.Listing)
	}
	of := &p.ahead.Remote
	if s == p.local {
		of = &p.ahead.Local
	}
	if sv := p.ahead.take(of); sv != nil {
		return sv, nil
	}
	return s.Survey(ctx, id, stateKey(id), "")
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
	classes.Classify(listing)
	s.files = listing[:0]
	for _, e := range listing {
		s.add(e)
	}
}

// shows reports whether the snapshot has the very inode state of an entry of a later one, as far as stamps can tell.
func (s *snapshot) shows(e *verify.Entry) bool {
	was := s.files.Find(e.Path)
	return was != nil && verify.SameStamp(was, e) && verify.Unique(was.Ctime, s.survey.Now)
}

func (s *snapshot) add(e verify.Entry) {
	switch {
	case e.Kind != verify.File && (e.Path == lockFile || e.Path == ".events.lock" || e.Path == ".usr.transfer.lock"): // whoever locks it would follow it
		s.planted = append(s.planted, e.Path+" ("+kindName(e.Kind)+")")
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
	case verify.Directory:
		return "directory"
	case verify.Fifo:
		return "fifo"
	case verify.Socket:
		return "socket"
	}
	return "device"
}

// hash completes the digests of the wanted files of a snapshot.
func (p *Pair) hash(ctx context.Context, s *snapshot, want []*verify.Entry, algorithm string) error {
	unreadable, err := p.read(ctx, s, want, algorithm)
	if err == nil {
		err = unreadable
	}
	return err
}

// read is hash that passes over what cannot be read, and reports it beside.
func (p *Pair) read(ctx context.Context, s *snapshot, want []*verify.Entry, algorithm string) (unreadable, err error) {
	if len(want) == 0 {
		return nil, nil
	}
	total := totalSize(want)
	var done int64
	phase := "hash " + s.side.Name()
	err = s.side.Hash(ctx, s.survey.Live, algorithm, want, func(path string, d verify.Digest, err error) {
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, verify.ErrChanged):
			return // it moves: no digest fits what was listed, and the next look shows it
		case err != nil:
			unreadable = fmt.Errorf("cannot read %s on %s: %w", strconv.Quote(path), s.side.Name(), err)
			return
		}
		e := s.files.Find(path)
		e.Digest = d
		done += e.Size
		p.o.Observe(Progressed{Phase: phase, Done: done, Total: total})
	})
	return unreadable, err
}

// unknown lists the files without a digest.
func unknown(m verify.Manifest) []*verify.Entry {
	var out []*verify.Entry
	for i := range m {
		if !m[i].Digest.Known() {
			out = append(out, &m[i])
		}
	}
	return out
}
