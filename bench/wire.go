package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
)

// wireTable counts the bytes that small changes in large files cost.
func (b *bench) wireTable() error {
	t := &table{title: "Bytes on the wire", head: []string{"", "file", "rsync -a", "usr"}}
	if b.relay == nil {
		if err := b.plug(0, 0); err != nil {
			return err
		}
		defer b.network(0, 0)
	}
	for _, c := range []struct {
		name, file string
		change     func(dir string) error
	}{
		{"1 MB changed inside 256 MB", bigFile, func(dir string) error {
			return random(filepath.Join(dir, bigFile), 256<<20, 128<<20, 1<<20)
		}},
		{"Parquet rewritten with 5 % more rows", "records.parquet", moreRows},
	} {
		row, err := b.wireRow(c.file, c.change)
		if err != nil {
			return err
		}
		t.add(append([]string{c.name}, row...)...)
	}
	t.print(b.stdout, b.markdown)
	return nil
}

const wireRows = 400_000

func (b *bench) wireRow(file string, change func(dir string) error) ([]string, error) {
	s := shape{"wire", 10, 1000, 256 << 20, wireRows}
	if err := b.makeVersions(s); err != nil {
		return nil, err
	}
	// Version 2 is made here instead: only one file is to differ.
	if err := os.RemoveAll(b.version(2)); err != nil {
		return nil, err
	}
	if err := linkTree(b.version(1), b.version(2)); err != nil {
		return nil, err
	}
	for _, name := range []string{file, ".events.log", "meta.md"} {
		if err := unshare(filepath.Join(b.version(2), name)); err != nil {
			return nil, err
		}
	}
	time.Sleep(time.Second) // as in makeVersions
	if err := change(b.version(2)); err != nil {
		return nil, err
	}
	info, err := os.Stat(filepath.Join(b.version(2), file))
	if err != nil {
		return nil, err
	}
	r := results{}
	if err := b.round(1, []contestant{find("rsync -a"), find("usr")}, r); err != nil {
		return nil, err
	}
	return []string{bytesText(info.Size()), bytesText(r["increment"]["rsync -a"][0].wire), bytesText(r["increment"]["usr"][0].wire)}, nil
}

// moreRows appends rows to the primary and takes the snapshot back, which would be a whole new file.
func moreRows(dir string) error {
	before, err := filepath.Glob(filepath.Join(dir, "_snapshots", "*"))
	if err != nil {
		return err
	}
	if err := dataset.Increment(dir, wireRows/20); err != nil {
		return err
	}
	after, err := filepath.Glob(filepath.Join(dir, "_snapshots", "*"))
	if err != nil || len(after) != len(before)+1 {
		return fmt.Errorf("cannot tell the new snapshot from the old ones: %d, then %d: %w", len(before), len(after), err)
	}
	return os.Remove(after[len(after)-1])
}
