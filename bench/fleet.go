package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
)

// fleetTable shows what many small datasets cost by a glob, near and over a slow line, beside one rsync -a of all of them.
func (b *bench) fleetTable() error {
	t := &table{title: fmt.Sprintf("Many datasets of 15 files by a glob, median of %d rounds", b.rounds), head: []string{"datasets", "network", "",
		"rsync -a", "usr", "ratio", "CPU here, rsync / usr", "CPU there", "memory", "remote commands"}}
	defer b.network(b.delay, b.rate)
	for _, c := range []struct {
		datasets int
		delay    time.Duration
	}{{120, 0}, {60, 20 * time.Millisecond}} {
		if err := b.network(c.delay, b.rate); err != nil {
			return err
		}
		if err := b.fleetRows(t, max(1, int(float64(c.datasets)*b.size)), c.delay); err != nil {
			return err
		}
	}
	t.print(b.stdout, b.markdown)
	return nil
}

// fleetRows plays rounds of: nothing there yet, nothing moved, one in ten moved.
func (b *bench) fleetRows(t *table, datasets int, delay time.Duration) error {
	r := results{}
	for n := range b.rounds {
		for _, d := range []string{"source", "dest", "home"} {
			if err := os.RemoveAll(b.path(d)); err != nil {
				return err
			}
		}
		b.progress("round %d of %d, %d datasets, %v each way", n+1, b.rounds, datasets, delay)
		for i := range datasets {
			if err := dataset.Many(b.member(i), 6, 500); err != nil {
				return err
			}
		}
		time.Sleep(time.Second) // rsync -a takes two times in the same second for equal
		for _, scenario := range scenarios {
			for i := 0; scenario == "increment" && i < datasets; i += 10 {
				if err := dataset.Increment(b.member(i), 10); err != nil {
					return err
				}
			}
			if err := b.fleetRound(scenario, r); err != nil {
				return err
			}
		}
	}
	for _, scenario := range scenarios {
		pair := func(text func(sample) string) string {
			return text(middle(r[scenario]["rsync -a"])) + " / " + text(middle(r[scenario]["usr"]))
		}
		usr := middle(r[scenario]["usr"])
		t.add(strconv.Itoa(datasets), delay.String()+" each way", scenario, secondsText(r.wall(scenario, "rsync -a")), secondsText(r.wall(scenario, "usr")),
			ratioText(r.ratio(scenario, "usr", "rsync -a")), pair(func(s sample) string { return secondsText(s.here) }),
			pair(func(s sample) string { return secondsText(s.there) }), bytesText(usr.peak), strconv.Itoa(usr.sessions))
	}
	return nil
}

func (b *bench) member(i int) string { return b.path("source", "fleet", fmt.Sprintf("d%03d", i)) }

// fleetRound has both bring all of them over.
func (b *bench) fleetRound(scenario string, r results) error {
	plain, ours := b.path("dest", "rsync"), b.path("dest", "usr")
	for _, dir := range []string{plain, ours, b.path("home")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := b.profile(b.path("source")); err != nil {
		return err
	}
	for name, argv := range map[string][]string{
		"rsync -a": b.rsync(b.path("source", "fleet"), filepath.Join(plain, "fleet")),
		"usr":      {b.usr, "--root", ours, "--remotes-config", b.path("remotes.yaml"), "pull", "fleet/*", remotetest.Alias, "-y"},
	} {
		s, err := b.measure(argv)
		if err != nil {
			return err
		}
		r.put(scenario, name, s)
	}
	for _, root := range []string{plain, ours} {
		if err := same(b.path("source", "fleet"), filepath.Join(root, "fleet")); err != nil {
			return err
		}
	}
	return nil
}

// middle is the sample of medians.
func middle(all []sample) sample {
	duration := func(field func(sample) time.Duration) time.Duration { return median(pick(all, field)) }
	return sample{here: duration(func(s sample) time.Duration { return s.here }), there: duration(func(s sample) time.Duration { return s.there }),
		peak:     median(pick(all, func(s sample) int64 { return s.peak })),
		sessions: median(pick(all, func(s sample) int { return s.sessions }))}
}
