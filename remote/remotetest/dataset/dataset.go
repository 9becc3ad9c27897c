// Package dataset makes real USR datasets and changes them the way their writers do. It is for tests, benchmarks
// and the fixtures of `usr demo`; the program itself does not import it.
//
// The content depends on the options alone: the same call gives the same bytes (times of files apart).
package dataset

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Options shape a dataset. Zero values stand for the defaults given.
type Options struct {
	ID     string // the dataset's id as its own files name it; default "densegen/my_dataset"
	Rows   int    // rows of records.parquet; default 100
	Seed   uint64 // other seeds give other rows
	Scored bool   // records.parquet has the overlay column infer__score from the start
}

// epoch is the time of the first write. The k-th later write happens k hours after it.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (o Options) withDefaults() Options {
	if o.ID == "" {
		o.ID = "densegen/my_dataset"
	}
	if o.Rows == 0 {
		o.Rows = 100
	}
	return o
}

// Write makes a dataset in dir with a file of every class: records.parquet, meta.md, .events.log, a snapshot, an
// overlay part, a registry and an artifact, and the lock files that writers leave behind.
func Write(dir string, o Options) error {
	o = o.withDefaults()
	rows := generate(o.Seed, 0, o.Rows)
	for name, text := range map[string]string{
		"meta.md":                     meta(o),
		"_registry/registry.v1.yaml":  "namespaces:\n  infer:\n    columns: [infer__score, infer__model]\n",
		"_artifacts/plots/length.svg": plot(rows),
		"_views/README.md":            "Saved filters of " + o.ID + ".\n",
	} {
		if err := put(filepath.Join(dir, name), []byte(text)); err != nil {
			return err
		}
	}
	w := writer{dir: dir, id: o.ID, at: epoch}
	return w.locked(func() error {
		if err := w.replaceRecords(rows, o.Scored); err != nil {
			return err
		}
		if err := w.snapshot(); err != nil {
			return err
		}
		if err := w.overlay(rows, 1); err != nil {
			return err
		}
		return w.event("init", "rows_added", o.Rows)
	})
}

// Increment adds n rows as a batch job does: under the dataset's lock it replaces records.parquet, adds a snapshot
// and an overlay part, appends events and edits meta.md.
func Increment(dir string, n int) error {
	w, err := open(dir)
	if err != nil {
		return err
	}
	return w.locked(func() error {
		rows, scored, err := readRecords(dir)
		if err != nil {
			return err
		}
		added := generate(uint64(len(rows)), len(rows), n)
		if err := w.replaceRecords(append(rows, added...), scored); err != nil {
			return err
		}
		if err := w.snapshot(); err != nil {
			return err
		}
		if err := w.overlay(added, w.nextPart()); err != nil {
			return err
		}
		if err := w.event("append", "rows_added", n); err != nil {
			return err
		}
		return w.editMeta(fmt.Sprintf("- %s: %d rows added\n", w.at.Format(time.DateTime), n))
	})
}

// Annotate adds an overlay part for the last rows and its events, as inference on a laptop does. The primary
// stays as it is.
func Annotate(dir string) error {
	w, err := open(dir)
	if err != nil {
		return err
	}
	return w.locked(func() error {
		rows, _, err := readRecords(dir)
		if err != nil {
			return err
		}
		if err := w.overlay(rows[max(0, len(rows)-50):], w.nextPart()); err != nil {
			return err
		}
		return w.event("attach", "rows_matched", min(50, len(rows)))
	})
}

// AddColumn gives records.parquet the optional column infer__score, as materializing an overlay does.
func AddColumn(dir string) error {
	w, err := open(dir)
	if err != nil {
		return err
	}
	return w.locked(func() error {
		rows, _, err := readRecords(dir)
		if err != nil {
			return err
		}
		if err := w.replaceRecords(rows, true); err != nil {
			return err
		}
		return w.event("materialize", "columns_added", 1)
	})
}

// Append adds one line to the event log in place, under the log's own lock and no other, as a watcher does.
func Append(dir string) error {
	w, err := open(dir)
	if err != nil {
		return err
	}
	return w.event("note", "rows_added", 0)
}

// put writes a file, making its directory.
func put(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

func meta(o Options) string {
	return fmt.Sprintf("name: %s\ncreated_at: %s\nsource: densegen\n\n# %s\n\nPromoters designed for tests.\n\n## Updates\n\n",
		o.ID, epoch.Format(time.RFC3339), o.ID)
}

// plot draws the sequence lengths, so that an artifact is something that a person can open.
func plot(rows []Record) string {
	text := `<svg xmlns="http://www.w3.org/2000/svg" width="200" height="100">` + "\n"
	for i, r := range rows[:min(20, len(rows))] {
		text += fmt.Sprintf(`<rect x="%d" y="%d" width="8" height="%d"/>`+"\n", 10*i, 100-r.Length, r.Length)
	}
	return text + "</svg>\n"
}
