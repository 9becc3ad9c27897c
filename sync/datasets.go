package sync

import (
	"context"
	"errors"

	"github.com/dnadesign-maintainers/usr/verify"
)

// Dataset is a row in the list of datasets.
type Dataset struct {
	ID        string
	Rows      int64 // -1 if the primary cannot be read as Parquet
	Bytes     int64 // of all files
	Files     int
	LastEvent string // the last complete line of the event log, "" if there is none
}

// Datasets lists a side's datasets, by id. It reads rows from the primaries' footers.
func (p *Pair) Datasets(ctx context.Context, ofRemote bool) ([]Dataset, error) {
	s := p.local
	if ofRemote {
		s = p.remote
	}
	found, err := s.Datasets(ctx, p.classes)
	if err != nil {
		return nil, err
	}
	out := make([]Dataset, 0, len(found))
	for _, d := range found {
		row := Dataset{ID: d.ID, Rows: -1, Bytes: d.Bytes, Files: d.Files, LastEvent: d.LastLine}
		file := s.Root() + "/" + d.ID + "/" + primaryPath
		t, err := verify.ReadTable(func(off, n int64) ([]byte, error) { return s.ReadRange(ctx, file, off, n) })
		var bad *verify.ParquetError
		switch {
		case err == nil:
			row.Rows = t.Rows
		case !errors.As(err, &bad):
			return nil, err
		}
		out = append(out, row)
	}
	return out, nil
}

// IDs lists the ids of a side's datasets.
func (p *Pair) IDs(ctx context.Context, ofRemote bool) ([]string, error) {
	s := p.local
	if ofRemote {
		s = p.remote
	}
	found, err := s.Datasets(ctx, nil)
	ids := make([]string, len(found))
	for i, d := range found {
		ids[i] = d.ID
	}
	return ids, err
}
