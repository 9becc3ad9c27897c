package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
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
		s := shape{name: "scale", parts: int(n*b.size) - fixed, each: 500, big: 1 << 20, rows: 1000}
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

// manyIncrements: the first has nothing to be put together from, as the second, if one generation is kept.
const manyIncrements = 4

// manyTable shows what an increment of ten files among very many costs, again and again.
func (b *bench) manyTable() error {
	s := shape{name: "many", parts: int(500_000*b.size) - fixed, each: 200, big: 1 << 20, rows: 1000}
	if err := b.makeVersions(s); err != nil {
		return err
	}
	if err := b.show(1); err != nil {
		return err
	}
	if err := b.reset(); err != nil {
		return err
	}
	pair := []contestant{find("rsync -a"), find("usr")}
	r := results{}
	steps := []string{"bootstrap", "no-op"}
	for n := range manyIncrements {
		steps = append(steps, fmt.Sprintf("increment %d", n+1))
	}
	for i, step := range steps {
		if i > 1 {
			if err := b.tenMore(i, s.each); err != nil {
				return err
			}
		}
		for _, c := range pair {
			one, err := b.play(c)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", step, c.name, err)
			}
			b.progress("%s, %s: %s", step, c.name, secondsText(one.wall))
			r.put(step, c.name, one)
		}
	}
	t := &table{title: "Ten files among many: " + b.title(s), head: []string{"", "ratio", "rsync -a", "usr", "CPU here, rsync", "usr",
		"CPU there, rsync", "usr", "memory of usr", "ssh started"}}
	for _, step := range steps {
		yard, usr := r[step][pair[0].name][0], r[step]["usr"][0]
		t.add(step, ratioText(r.ratio(step, "usr", pair[0].name)), secondsText(yard.wall), secondsText(usr.wall), secondsText(yard.here),
			secondsText(usr.here), secondsText(yard.there), secondsText(usr.there), bytesText(usr.peak), strconv.Itoa(usr.executions))
	}
	t.print(b.stdout, b.markdown)
	return nil
}

// tenMore adds ten parts to the source, and lines to its log.
func (b *bench) tenMore(n int, each int64) error {
	time.Sleep(time.Second) // rsync -a takes two times in the same second for equal
	for i := range 10 {
		name := filepath.Join(b.source(), "_derived", "ns8", fmt.Sprintf("part-%d-%d.parquet", n, i))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := random(name, each, 0, each); err != nil {
			return err
		}
	}
	return dataset.Increment(b.source(), 10)
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
