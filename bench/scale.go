package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/dnadesign-maintainers/usr/verify"
)

// find returns a contestant by name.
func find(name string) contestant {
	for _, c := range contestants() {
		if c.name == name {
			return c
		}
	}
	panic("no contestant " + name)
}

// scaleTable shows how usr grows with the number of files.
func (b *bench) scaleTable() error {
	t := &table{title: fmt.Sprintf("By number of files (no-op: median of %d)", b.rounds), head: []string{"files",
		"rsync -a bootstrap", "usr bootstrap", "memory", "rsync -a no-op", "usr no-op", "memory", "usr increment", "memory", "cache", "cache loads in"}}
	for _, n := range []float64{1_000, 10_000, 20_000, 100_000, 200_000} {
		s := shape{"scale", int(n*b.size) - fixed, 500, 1 << 20, 1000}
		if err := b.makeVersions(s); err != nil {
			return err
		}
		row, err := b.scaleRow(s)
		if err != nil {
			return err
		}
		t.add(row...)
	}
	t.print(b.stdout, b.markdown)
	return nil
}

func (b *bench) scaleRow(s shape) ([]string, error) {
	r := results{}
	pair := []contestant{find("rsync -a"), find("usr")}
	if err := b.round(1, pair, r); err != nil {
		return nil, err
	}
	for range b.rounds - 1 {
		for _, c := range pair {
			again, err := b.play(c)
			if err != nil {
				return nil, err
			}
			r.put("no-op", c.name, again)
		}
	}
	size, load, err := cache(filepath.Join(filepath.Dir(filepath.Dir(b.dest(pair[1]))), ".usr-sync", "cache"))
	if err != nil {
		return nil, err
	}
	memory := func(scenario string) string {
		return bytesText(median(pick(r[scenario]["usr"], func(s sample) int64 { return s.peak })))
	}
	wall := func(scenario, name string) string { return secondsText(r.wall(scenario, name)) }
	return []string{strconv.Itoa(s.files()), wall("bootstrap", "rsync -a"), wall("bootstrap", "usr"), memory("bootstrap"),
		wall("no-op", "rsync -a"), wall("no-op", "usr"), memory("no-op"), wall("increment", "usr"), memory("increment"),
		bytesText(size), fmt.Sprintf("%.0f ms", load.Seconds()*1000)}, nil
}

// cache is the size of the hash caches below dir, and how long it takes to read them.
func cache(dir string) (size int64, load time.Duration, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		size += info.Size()
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		start := time.Now()
		_, _, err = verify.ReadManifest(f)
		load += time.Since(start)
		return err
	})
	return size, load, err
}
