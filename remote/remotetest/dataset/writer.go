package dataset

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// writer is one run of a program that writes a dataset. It keeps the rules of the dataset contract: flock(2) on
// .usr.lock for a write, on .events.lock for an append, the primary replaced by renaming.
type writer struct {
	dir, id string
	at      time.Time
}

// open continues a dataset at the hour after its last event.
func open(dir string) (writer, error) {
	log, err := os.ReadFile(filepath.Join(dir, ".events.log"))
	if err != nil {
		return writer{}, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "meta.md"))
	if err != nil {
		return writer{}, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	hours := bytes.Count(log, []byte("\n"))
	return writer{dir: dir, id: strings.TrimPrefix(first, "name: "), at: epoch.Add(time.Duration(hours) * time.Hour)}, nil
}

func (w writer) path(name string) string { return filepath.Join(w.dir, name) }

func (w writer) locked(do func() error) error { return flocked(w.path(".usr.lock"), do) }

// flocked creates the lock file if need be and never removes it: others may wait on its inode.
func flocked(path string, do func() error) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("cannot lock %s: %w", path, err)
	}
	return do()
}

func (w writer) replaceRecords(rows []Record, withScore bool) error {
	var text []byte
	var err error
	if withScore {
		text, err = encode(scored(rows))
	} else {
		text, err = encode(rows)
	}
	if err != nil {
		return err
	}
	return replace(w.path("records.parquet"), text)
}

func replace(path string, text []byte) error {
	temp := path + ".tmp"
	if err := put(temp, text); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// keptSnapshots is how many the writers keep.
const keptSnapshots = 5

// snapshot copies the primary, time stamp and all, under the time of this write, and drops the oldest snapshots.
func (w writer) snapshot() error {
	primary := w.path("records.parquet")
	text, err := os.ReadFile(primary)
	if err != nil {
		return err
	}
	info, err := os.Stat(primary)
	if err != nil {
		return err
	}
	path := w.path("_snapshots/records-" + w.at.Format("20060102T150405") + ".parquet")
	if err := errors.Join(put(path, text), os.Chtimes(path, info.ModTime(), info.ModTime())); err != nil {
		return err
	}
	all, err := filepath.Glob(w.path("_snapshots/*"))
	for _, old := range all[:max(0, len(all)-keptSnapshots)] {
		err = errors.Join(err, os.Remove(old))
	}
	return err
}

// overlay writes part number n of the infer namespace.
func (w writer) overlay(rows []Record, n int) error {
	parts := make([]Overlay, len(rows))
	for i, r := range rows {
		parts[i] = Overlay{ID: r.ID, Score: score(r), Model: "evo2_7b", CreatedAt: w.at}
	}
	text, err := encode(parts)
	if err != nil {
		return err
	}
	return replace(w.path(fmt.Sprintf("_derived/infer/part-%03d.parquet", n)), text)
}

func (w writer) nextPart() int {
	parts, _ := filepath.Glob(w.path("_derived/infer/part-*.parquet"))
	return len(parts) + 1
}

// event appends one line in place.
func (w writer) event(action, metric string, value int) error {
	line, err := json.Marshal(map[string]any{
		"event_version": 1, "timestamp_utc": w.at.Format(time.RFC3339), "action": action,
		"dataset": map[string]string{"name": w.id}, "metrics": map[string]int{metric: value},
	})
	if err != nil {
		return err
	}
	return flocked(w.path(".events.lock"), func() error {
		return appendTo(w.path(".events.log"), append(line, '\n'))
	})
}

func (w writer) editMeta(line string) error { return appendTo(w.path("meta.md"), []byte(line)) }

func appendTo(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
