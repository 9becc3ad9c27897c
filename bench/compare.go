package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The scenarios, in the order in which a dataset goes through them.
var scenarios = []string{"bootstrap", "no-op", "increment"}

// results are the samples of one contestant in one scenario, by round.
type results map[string]map[string][]sample

func (r results) put(scenario, contestant string, s sample) {
	if r[scenario] == nil {
		r[scenario] = map[string][]sample{}
	}
	r[scenario][contestant] = append(r[scenario][contestant], s)
}

// compareAll runs all contestants on the datasets asked for.
func (b *bench) compareAll() error {
	for _, s := range shapes(b.size) {
		if !strings.Contains(","+b.data+",", ","+s.name+",") {
			continue
		}
		if err := b.makeVersions(s); err != nil {
			return err
		}
		if err := b.compare(s, b.chosen()); err != nil {
			return err
		}
	}
	return nil
}

// compare plays a round that only counts bytes, through a relay, and then the rounds that are timed.
func (b *bench) compare(s shape, list []contestant) error {
	wire := results{}
	if b.relay == nil {
		if err := b.plug(0, 0); err != nil {
			return err
		}
		if err := b.round(0, list, wire); err != nil {
			return err
		}
		if err := b.network(0, 0); err != nil {
			return err
		}
	}
	timed := results{}
	for n := range b.rounds {
		if err := b.round(n+1, list, timed); err != nil {
			return err
		}
	}
	if len(wire) == 0 {
		wire = timed
	}
	b.summary(s, list, timed).print(b.stdout, b.markdown)
	b.details(s, list, timed, wire).print(b.stdout, b.markdown)
	return nil
}

// round takes all contestants through all scenarios, one after the other in each: what disturbs the machine for a
// while disturbs them all. Round 0 is for warming up and counting.
func (b *bench) round(n int, list []contestant, out results) error {
	if err := b.show(1); err != nil {
		return err
	}
	if err := b.reset(); err != nil {
		return err
	}
	for _, scenario := range scenarios {
		if scenario == "increment" {
			if err := b.show(2); err != nil {
				return err
			}
		}
		for _, c := range list {
			if c.once && n > 1 {
				continue
			}
			if scenario == "bootstrap" {
				if err := b.forget(c); err != nil {
					return err
				}
			}
			s, err := b.play(c)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", scenario, c.name, err)
			}
			b.progress("round %d of %d, %s, %s: %s", n, b.rounds, scenario, c.name, secondsText(s.wall))
			out.put(scenario, c.name, s)
		}
	}
	return nil
}

// play runs a contestant once and looks at what it left.
func (b *bench) play(c contestant, profile ...string) (sample, error) {
	if err := b.ready(c, profile...); err != nil {
		return sample{}, err
	}
	s, err := b.measure(c.argv(b, b.source(), b.dest(c)))
	if err != nil {
		return s, err
	}
	return s, b.check(b.dest(c))
}

// ratio is the median over the rounds of a contestant's time in units of the yardstick's in the same round.
func (r results) ratio(scenario, contestant, yardstick string) float64 {
	var ratios []float64
	for i, s := range r[scenario][contestant] {
		ratios = append(ratios, s.wall.Seconds()/r[scenario][yardstick][i].wall.Seconds())
	}
	return median(ratios)
}

func (r results) wall(scenario, contestant string) time.Duration {
	return median(pick(r[scenario][contestant], func(s sample) time.Duration { return s.wall }))
}

func pick[T any](samples []sample, field func(sample) T) []T {
	out := make([]T, len(samples))
	for i, s := range samples {
		out[i] = field(s)
	}
	return out
}

func (b *bench) title(s shape) string {
	direction := "pull"
	if b.push {
		direction = "push"
	}
	return fmt.Sprintf("%s, %d files of %s and one of %s, %d rounds", direction, s.files()-1, bytesText(s.each), bytesText(s.big), b.rounds)
}

// summary is the table of ratios.
func (b *bench) summary(s shape, list []contestant, r results) *table {
	t := &table{title: "Ratio to rsync -a: " + b.title(s), head: append(append([]string{""}, scenarios...), "remote commands")}
	for _, c := range list {
		row := []string{c.name}
		for _, scenario := range scenarios {
			row = append(row, fmt.Sprintf("%s (%s)", ratioText(r.ratio(scenario, c.name, list[0].name)), secondsText(r.wall(scenario, c.name))))
		}
		sessions := pick(r["bootstrap"][c.name], func(s sample) int { return s.sessions })
		t.add(append(row, strconv.Itoa(median(sessions)))...)
	}
	return t
}

// details is everything that was measured.
func (b *bench) details(s shape, list []contestant, r, wire results) *table {
	t := &table{title: "In detail: " + b.title(s), head: []string{"", "", "median", "fastest", "CPU here", "CPU there", "memory", "wire",
		"connections", "remote commands", "ssh started"}}
	for _, scenario := range scenarios {
		for _, c := range list {
			t.add(append([]string{scenario, c.name}, detail(r[scenario][c.name], wire[scenario][c.name])...)...)
		}
	}
	return t
}

func detail(timed, wired []sample) []string {
	walls := pick(timed, func(s sample) time.Duration { return s.wall })
	count := func(field func(sample) int) string { return strconv.Itoa(median(pick(timed, field))) }
	fastest := walls[0]
	for _, w := range walls {
		fastest = min(fastest, w)
	}
	return []string{
		secondsText(median(walls)), secondsText(fastest),
		secondsText(median(pick(timed, func(s sample) time.Duration { return s.here }))),
		secondsText(median(pick(timed, func(s sample) time.Duration { return s.there }))),
		bytesText(median(pick(timed, func(s sample) int64 { return s.peak }))),
		bytesText(median(pick(wired, func(s sample) int64 { return s.wire }))),
		count(func(s sample) int { return s.connections }),
		count(func(s sample) int { return s.sessions }),
		count(func(s sample) int { return s.executions }),
	}
}
