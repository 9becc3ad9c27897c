package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
	"github.com/dnadesign-maintainers/usr/verify"
)

// shape is what a dataset is made of: a real small one, parts below _derived, and one big artifact.
type shape struct {
	name   string
	parts  int
	each   int64 // bytes of a part
	big    int64 // bytes of the artifact
	rows   int   // of records.parquet
	writes int   // of the writers between versions 1 and 2, each of a 45th of the rows, which leave snapshots; 0: one, of a 20th
}

// fixed is the number of synchronized files that a dataset has beside its parts.
const fixed = 9

// snapshots is how many the writers keep.
const snapshots = 5

// tableRows is of how many rows a primary of 45 MB is.
const tableRows = 750_000

// shapes are the datasets of the comparison; size multiplies what each of them is about.
func shapes(size float64) []shape {
	times := func(n float64) int64 { return int64(n * size) }
	return []shape{
		{name: "bytes", parts: 2018 - fixed, each: times(520e3), big: times(256 << 20), rows: 20_000},
		{name: "writers", parts: 2018 - fixed - 9, each: times(380e3), big: times(256 << 20), rows: int(times(tableRows)), writes: 3},
		{name: "files", parts: int(times(20_009)) - fixed, each: 1000, big: 4 << 20, rows: 2_000},
	}
}

func (s shape) files() int {
	if s.writes > 0 { // more snapshots, and an overlay part of each write
		return s.parts + fixed + snapshots - 1 + snapshots
	}
	return s.parts + fixed
}

// room is about what a dataset takes on a file system with blocks of 4 KiB.
func (s shape) room() int64 {
	const block = 4096
	tables := int64(s.rows) * 60 * (2 + snapshots) // overlays with them
	return int64(s.parts)*((s.each+block-1)/block+1)*block + s.big + tables + 16<<20
}

const bigFile = "_artifacts/weights.bin"

// write makes the dataset in dir.
func (s shape) write(dir string) error {
	if err := dataset.Many(dir, s.parts, s.each); err != nil {
		return err
	}
	if err := dataset.Write(dir, dataset.Options{ID: datasetID, Rows: s.rows}); err != nil {
		return err
	}
	if s.writes > 0 {
		if err := s.increments(dir, snapshots); err != nil {
			return err
		}
	}
	return random(filepath.Join(dir, bigFile), s.big, 0, s.big)
}

// increments writes n times, as batch jobs do.
func (s shape) increments(dir string, n int) error {
	for range n {
		if err := dataset.Increment(dir, s.rows/45); err != nil {
			return err
		}
	}
	return nil
}

// change makes version 2 of a dataset in place: about one file in a hundred is new, the artifact differs in a
// megabyte, the primary has more rows, the log more lines, and an overlay part is gone.
func (s shape) change(dir string) error {
	// Copies of what is written in place: the rest of the files are shared with version 1.
	for _, name := range []string{".events.log", "meta.md", bigFile} {
		if err := unshare(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	grow := func() error { return dataset.Increment(dir, s.rows/20) }
	if s.writes > 0 {
		grow = func() error { return s.increments(dir, s.writes) }
	}
	if err := grow(); err != nil {
		return err
	}
	if err := random(filepath.Join(dir, bigFile), s.big, s.big/2, min(1<<20, s.big/4)); err != nil {
		return err
	}
	for i := range s.parts / 100 {
		name := filepath.Join(dir, "_derived", "ns8", fmt.Sprintf("part-%06d.parquet", i))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := random(name, s.each, 0, s.each); err != nil {
			return err
		}
	}
	return os.Remove(filepath.Join(dir, "_derived/ns0/part-000000.parquet"))
}

// random gives a file a size and n new bytes from an offset on.
func random(path string, size, from, n int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return err
	}
	return fill(f, from, n)
}

// unshare gives a file an inode of its own.
func unshare(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// linkTree copies a tree with every file linked.
func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		return os.Link(path, filepath.Join(to, rel))
	})
}

// makeVersions writes versions/1 and versions/2 of a shape and forgets what was there.
func (b *bench) makeVersions(s shape) error {
	for _, d := range []string{"versions", "source", "dest"} {
		if err := os.RemoveAll(b.path(d)); err != nil {
			return err
		}
	}
	b.progress("writing the dataset %s: %d files", s.name, s.files())
	b.room = s.room()
	if err := s.write(b.version(1)); err != nil {
		return fmt.Errorf("cannot write the dataset %s: %w", s.name, err)
	}
	if err := linkTree(b.version(1), b.version(2)); err != nil {
		return err
	}
	// rsync -a takes two times in the same second for equal, and would leave out what it is to be measured by.
	time.Sleep(time.Second)
	if err := s.change(b.version(2)); err != nil {
		return fmt.Errorf("cannot change the dataset %s: %w", s.name, err)
	}
	return nil
}

func (b *bench) version(n int) string { return b.path("versions", fmt.Sprint(n)) }

// source is where the contestants take the dataset from.
func (b *bench) source() string { return b.path("source", datasetID) }

// show makes one version the source. Versions are renamed, so that no file's stamps move.
func (b *bench) show(n int) error {
	other := b.version(3 - n)
	if _, err := os.Stat(other); errors.Is(err, fs.ErrNotExist) {
		if err := os.Rename(b.source(), other); err != nil {
			return err
		}
	}
	if _, err := os.Stat(b.version(n)); errors.Is(err, fs.ErrNotExist) {
		return nil // it is there already
	}
	if err := os.MkdirAll(filepath.Dir(b.source()), 0o755); err != nil {
		return err
	}
	return os.Rename(b.version(n), b.source())
}

// forget deletes what a contestant has, right before it gets all of it anew: see warm.
func (b *bench) forget(c contestant) error {
	return os.RemoveAll(filepath.Dir(filepath.Dir(b.dest(c))))
}

// reset forgets what contestants have left beside their copies.
func (b *bench) reset() error {
	for _, d := range []string{b.path("source", ".usr-sync"), b.path("home"), filepath.Join(b.server.Home(), ".unison")} {
		if err := os.RemoveAll(d); err != nil {
			return err
		}
	}
	return os.MkdirAll(b.path("home"), 0o700)
}

// check makes sure that a contestant did its work: the same paths and sizes are in both places.
func (b *bench) check(dest string) error { return same(b.source(), dest) }

func same(source, dest string) error {
	want, err := inventory(source)
	if err != nil {
		return err
	}
	have, err := inventory(dest)
	if err != nil {
		return err
	}
	if !slices.Equal(want, have) {
		return fmt.Errorf("%s is not what %s is (%d and %d files)", dest, source, len(have), len(want))
	}
	return nil
}

func inventory(dir string) ([]string, error) {
	all, err := verify.List(dir)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, e := range all {
		// Locks are no content: usr leaves them where they are.
		if e.Kind == verify.File && filepath.Ext(e.Path) != ".lock" {
			lines = append(lines, fmt.Sprintf("%d %s", e.Size, e.Path))
		}
	}
	return lines, nil
}
