package main

import (
	"fmt"
	"time"
)

// streamsTable shows what several rsync processes at once are worth. Each network is a delay and a limit of each
// connection, so several streams on one connection can only gain where one of them does not fill it.
func (b *bench) streamsTable() error {
	counts := []int{1, 2, 4, 8}
	t := &table{title: "Bootstrap with streams: N", head: []string{"network", "dataset", "rsync -a"}}
	for _, n := range counts {
		t.head = append(t.head, fmt.Sprintf("usr, streams: %d", n))
	}
	defer b.network(b.delay, b.rate)
	for _, s := range shapes(b.size) {
		if err := b.makeVersions(s); err != nil {
			return err
		}
		for _, net := range []struct {
			name  string
			delay time.Duration
			rate  int64
		}{{"loopback", 0, 0}, {"20 ms each way", 20 * time.Millisecond, 0}, {"20 ms each way, 100 MB/s", 20 * time.Millisecond, 100e6},
			{"20 ms each way, 12 MB/s", 20 * time.Millisecond, 12e6}} {
			if err := b.network(net.delay, net.rate); err != nil {
				return err
			}
			row, err := b.streamsRow(counts)
			if err != nil {
				return err
			}
			t.add(append([]string{net.name, s.name}, row...)...)
		}
	}
	t.print(b.stdout, b.markdown)
	return nil
}

func (b *bench) streamsRow(counts []int) ([]string, error) {
	walls := make([][]time.Duration, len(counts)+1)
	for range b.rounds {
		for i := range walls {
			c, profile := find("rsync -a"), []string(nil)
			if i > 0 {
				c, profile = find("usr"), []string{fmt.Sprintf("streams: %d", counts[i-1])}
			}
			wall, err := b.bootstrap(c, profile)
			if err != nil {
				return nil, err
			}
			b.progress("streams, %s %v: %s", c.name, profile, secondsText(wall))
			walls[i] = append(walls[i], wall)
		}
	}
	row := make([]string, len(walls))
	for i, w := range walls {
		row[i] = secondsText(median(w))
	}
	return row, nil
}

func (b *bench) bootstrap(c contestant, profile []string) (time.Duration, error) {
	if err := b.show(1); err != nil {
		return 0, err
	}
	if err := b.reset(); err != nil {
		return 0, err
	}
	if err := b.forget(c); err != nil {
		return 0, err
	}
	s, err := b.play(c, profile...)
	return s.wall, err
}
