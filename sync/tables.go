package sync

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/dnadesign-maintainers/usr/sync/history"
	"github.com/dnadesign-maintainers/usr/verify"
)

// describeTables reads both primaries' footers, and warns if a primary is not a Parquet file. If the footer is what
// verifies it, an unreadable source is an error; an unreadable destination is not, since a good source repairs it.
func (c *command) describeTables(ctx context.Context, r *Report, v view) error {
	l, lerr := c.table(ctx, v.local)
	m := l
	var rerr error
	if !v.samePrimary() {
		m, rerr = c.table(ctx, v.remote)
	}
	ofSource := rerr
	if r.Direction == Push || v.samePrimary() {
		ofSource = lerr
	}
	for _, err := range []error{lerr, rerr} {
		var bad *verify.ParquetError
		switch {
		case errors.As(err, &bad) && err == ofSource && v.how.modes.Primary == ByParquet && !v.how.modes.noHashes:
			return err
		case errors.As(err, &bad):
			c.warn("%v", err)
		case err != nil:
			return err
		}
	}
	r.Tables.Local, r.Tables.Remote = l, m
	if l != nil && m != nil {
		r.Tables.Changes = verify.SchemaChanges(l, m)
		if r.Direction == Push {
			r.Tables.Changes = verify.SchemaChanges(m, l)
		}
	}
	return nil
}

// fallBack is the last step of the mode "auto": there is no hash tool, and no readable footer of the source either.
func (c *command) fallBack(ctx context.Context, p *plan) {
	m := &p.how.modes
	if !m.noHashes || m.Primary != ByParquet {
		return
	}
	if _, err := c.table(ctx, p.src); err != nil {
		c.warn("the primary has no readable Parquet footer; verifying it by size and time")
		m.Primary = BySize
	}
}

func (v view) samePrimary() bool {
	l, r := v.local.files.Find(primaryPath), v.remote.files.Find(primaryPath)
	return l != nil && r != nil && l.Digest.Known() && l.Digest == r.Digest
}

// tableSize returns nil if there is no primary that can be read.
func (c *command) tableSize(ctx context.Context, snap *snapshot) *history.TableSize {
	t, err := c.table(ctx, snap)
	if err != nil || t == nil {
		return nil
	}
	return &history.TableSize{Rows: t.Rows, Cols: int64(len(t.Columns))}
}

// table returns nil if there is no primary.
func (c *command) table(ctx context.Context, snap *snapshot) (*verify.Table, error) {
	name := snap.primary()
	if name == "" {
		return nil, nil
	}
	e, seen := snap.files.Find(name), c.footers[snap.side.Name()]
	if e == nil || !verify.SameStamp(e, &seen.of) {
		seen = footer{}
		seen.table, seen.err = tableOf(ctx, snap.side, snap.survey.Live+"/"+name)
	}
	// A line that was lost says nothing of the file: the next attempt reads it again.
	var bad *verify.ParquetError
	if e != nil && verify.Unique(e.Ctime, snap.survey.Now) && (seen.err == nil || errors.As(seen.err, &bad)) {
		seen.of = *e
		c.footers[snap.side.Name()] = seen
	}
	return seen.table, seen.err
}

// footer caches a footer with the stamp of its file: reading it costs a round trip.
type footer struct {
	of    verify.Entry
	table *verify.Table
	err   error
}

// primary returns the path of the primary, "" if there is none.
func (s *snapshot) primary() string {
	switch {
	case s.present():
		return primaryPath
	case s.single && len(s.files) == 1:
		return s.files[0].Path
	}
	return ""
}

// sameFooter proves a staged primary by its footer, if the mode says so.
func (c *command) sameFooter(ctx context.Context, m Modes, source, staged *snapshot) error {
	if m.Primary != ByParquet {
		return nil
	}
	want, err := c.table(ctx, source)
	if err != nil {
		return err
	}
	got, err := c.table(ctx, staged)
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
