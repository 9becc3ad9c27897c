package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
	"github.com/dnadesign-maintainers/usr/verify"
)

// wireCase is a change that leaves most bytes as they were.
type wireCase struct {
	name   string
	shape  shape
	change func(dir string) error // of version 1; nil: it is the first copy that counts
}

// wireTable counts the bytes that such changes cost, both ways.
func (b *bench) wireTable() error {
	t := &table{title: "Bytes on the wire", head: []string{"", "new or changed files", "rsync -a", "usr pull", "usr push"}}
	if b.relay == nil {
		if err := b.plug(0, 0); err != nil {
			return err
		}
		defer b.network(0, 0)
	}
	for _, c := range b.wireCases() {
		row, err := b.wireRow(c)
		if err != nil {
			return err
		}
		t.add(row...)
	}
	t.print(b.stdout, b.markdown)
	return nil
}

func (b *bench) wireCases() []wireCase {
	large := shape{name: "wire", parts: 10, each: 1000, big: int64(b.size * (256 << 20)), rows: int(b.size * 400_000)}
	tables := shape{name: "writers-wire", parts: 10, each: 1000, big: int64(b.size * 20e6), rows: int(b.size * tableRows), writes: 3}
	return []wireCase{
		{"1 MB changed inside a large file", large, func(dir string) error {
			return random(filepath.Join(dir, bigFile), large.big, large.big/2, min(1<<20, large.big/4))
		}},
		{"Parquet rewritten with 5 % more rows", large, func(dir string) error { return moreRows(dir, large.rows/20) }},
		{"first copy: a primary, five snapshots, overlays", tables, nil},
		{"two writes of the primary, each copied into _snapshots", tables, func(dir string) error { return tables.increments(dir, 2) }},
		{"three writes of the primary, each copied into _snapshots", tables, func(dir string) error { return tables.increments(dir, 3) }},
		{"a large file renamed", tables, func(dir string) error {
			return os.Rename(filepath.Join(dir, bigFile), filepath.Join(dir, "_artifacts/renamed.bin"))
		}},
	}
}

func (b *bench) wireRow(c wireCase) ([]string, error) {
	changed, err := b.wireVersions(c)
	if err != nil {
		return nil, err
	}
	row := []string{c.name, bytesText(changed)}
	scenario := "increment"
	if c.change == nil {
		scenario = "bootstrap"
	}
	defer func(push bool) { b.push = push }(b.push)
	for _, b.push = range []bool{false, true} {
		list := []contestant{find("rsync -a"), find("usr")}
		if b.push { // rsync's bytes are the same both ways
			list = list[1:]
		}
		r := results{}
		if err := b.round(1, list, r); err != nil {
			return nil, err
		}
		for _, of := range list {
			row = append(row, bytesText(r[scenario][of.name][0].wire))
		}
	}
	return row, nil
}

// wireVersions makes version 2 by the change alone, and reports how large the files are that it made or changed.
func (b *bench) wireVersions(c wireCase) (changed int64, err error) {
	if err := b.makeVersions(c.shape); err != nil {
		return 0, err
	}
	if c.change == nil {
		return newBytes("", b.version(1))
	}
	if err := os.RemoveAll(b.version(2)); err != nil {
		return 0, err
	}
	if err := linkTree(b.version(1), b.version(2)); err != nil {
		return 0, err
	}
	for _, name := range []string{bigFile, ".events.log", "meta.md"} {
		if err := unshare(filepath.Join(b.version(2), name)); err != nil {
			return 0, err
		}
	}
	time.Sleep(time.Second) // as in makeVersions
	if err := c.change(b.version(2)); err != nil {
		return 0, err
	}
	return newBytes(b.version(1), b.version(2))
}

// moreRows appends rows to the primary and takes the snapshot back, which would be a whole new file.
func moreRows(dir string, rows int) error {
	before, err := filepath.Glob(filepath.Join(dir, "_snapshots", "*"))
	if err != nil {
		return err
	}
	if err := dataset.Increment(dir, rows); err != nil {
		return err
	}
	after, err := filepath.Glob(filepath.Join(dir, "_snapshots", "*"))
	if err != nil || len(after) != len(before)+1 {
		return fmt.Errorf("cannot tell the new snapshot from the old ones: %d, then %d: %w", len(before), len(after), err)
	}
	return os.Remove(after[len(after)-1])
}

// newBytes is the size of what a tree has and another has not under the same name, by size and time.
func newBytes(old, dir string) (n int64, err error) {
	before := map[string]verify.Entry{}
	if old != "" {
		all, err := verify.List(old)
		if err != nil {
			return 0, err
		}
		for _, e := range all {
			before[e.Path] = e
		}
	}
	all, err := verify.List(dir)
	for _, e := range all {
		if was := before[e.Path]; e.Kind == verify.File && (was.Size != e.Size || was.Mtime != e.Mtime) {
			n += e.Size
		}
	}
	return n, err
}
