package sync

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/dnadesign-maintainers/usr/verify"
)

// describeTables reads both primaries' footers. A primary that is no Parquet file is said; where the footer is what
// verifies it, that of the source is an error, for a good one may well come to repair a bad one.
func (s *subject) describeTables(ctx context.Context, r *Report) error {
	l, lerr := s.table(ctx, s.known.local)
	m := l
	var rerr error
	if !s.samePrimary() {
		m, rerr = s.table(ctx, s.known.remote)
	}
	ofSource := rerr
	if r.Direction == Push || s.samePrimary() {
		ofSource = lerr
	}
	for _, err := range []error{lerr, rerr} {
		var bad *verify.ParquetError
		switch {
		case errors.As(err, &bad) && err == ofSource && s.modes.Primary == ByParquet && !s.modes.noHashes:
			return err
		case errors.As(err, &bad):
			s.warn("%v", err)
		case err != nil:
			return err
		}
	}
	s.fallBack(r, ofSource)
	r.Tables.Local, r.Tables.Remote = l, m
	if l != nil && m != nil {
		r.Tables.Changes = verify.SchemaChanges(l, m)
		if r.Direction == Push {
			r.Tables.Changes = verify.SchemaChanges(m, l)
		}
	}
	return nil
}

// fallBack is the last step of the mode "auto": no hash tool and no footer either.
func (s *subject) fallBack(r *Report, unreadable error) {
	if unreadable == nil || !s.modes.noHashes || s.modes.Primary != ByParquet {
		return
	}
	s.warn("the primary has no readable Parquet footer; verifying it by size and time")
	s.modes.Primary = BySize
	r.Modes = s.modes
}

func (s *subject) samePrimary() bool {
	l, r := s.known.local.files.Find(primaryPath), s.known.remote.files.Find(primaryPath)
	return l != nil && r != nil && l.Digest.Known() && l.Digest == r.Digest
}

// table is nil where there is no primary.
func (s *subject) table(ctx context.Context, snap *snapshot) (*verify.Table, error) {
	name := snap.primary()
	if name == "" {
		return nil, nil
	}
	e, seen := snap.files.Find(name), s.tables[snap.side.Name()]
	if e == nil || !verify.SameStamp(e, &seen.of) {
		seen = seenTable{}
		seen.table, seen.err = tableOf(ctx, snap.side, snap.survey.Live+"/"+name)
	}
	if e != nil {
		seen.of = *e
		s.tables[snap.side.Name()] = seen
	}
	return seen.table, seen.err
}

// seenTable is a footer that was read, and the file that it was read from: it costs a round trip.
type seenTable struct {
	of    verify.Entry
	table *verify.Table
	err   error
}

// primary is the path of the primary, "" if there is none.
func (s *snapshot) primary() string {
	switch {
	case s.present():
		return primaryPath
	case s.single && len(s.files) == 1:
		return s.files[0].Path
	}
	return ""
}

// sameFooter proves a staged primary by its footer, where the mode asks for that.
func (s *subject) sameFooter(ctx context.Context, source, staged *snapshot) error {
	if s.modes.Primary != ByParquet {
		return nil
	}
	want, err := s.table(ctx, source)
	if err != nil {
		return err
	}
	got, err := s.table(ctx, staged)
	if err != nil {
		return err
	}
	if got == nil || want == nil || got.Rows != want.Rows || len(verify.SchemaChanges(got, want)) > 0 {
		return &MismatchError{Paths: []string{source.primary()}}
	}
	return nil
}

// tableOf reads a file's footer.
func tableOf(ctx context.Context, s side, file string) (*verify.Table, error) {
	t, err := verify.ReadTable(func(off, n int64) ([]byte, error) { return s.ReadRange(ctx, file, off, n) })
	if err != nil {
		return nil, fmt.Errorf("cannot read %s on %s as Parquet: %w", path.Base(file), s.Name(), err)
	}
	return t, nil
}
