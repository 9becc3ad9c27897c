package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
)

// hands are who hashes what the far side has: the login node, or a job with so many cores.
var hands = []int{0, 1, 2}

// bulks are the datasets that are hashed. Their large files have holes in place of bytes: they are read as others are, and take no room.
func bulks(size float64) []bulk {
	return []bulk{
		{"one file of " + bytesText(int64(20e9*size)), 1, int64(20e9 * size), 0},
		{"20 files of " + bytesText(int64(1e9*size)), 20, int64(1e9 * size), 0},
		{fmt.Sprintf("%.0f files of 500 B", 200_000*size), 0, 0, int(200_000 * size)},
	}
}

type bulk struct {
	name  string
	large int   // files
	each  int64 // bytes
	small int   // files
}

// computeTable shows what hashing costs the login node and what a job takes over: a diff where all of the far side has to be
// read and nothing here; then a no-op, an increment of 1 GB in one file, and a verify.
func (b *bench) computeTable() error {
	if err := os.Mkdir(b.path("slurm"), 0o755); err != nil {
		return err
	}
	cluster, err := remotetest.StartScheduler("slurm", b.path("slurm"))
	if err != nil {
		return err
	}
	defer cluster.Stop()
	hashing := &table{title: fmt.Sprintf("Hashing on the far side, median of %d rounds", b.rounds), head: []string{"dataset", "hashed by", "time",
		"CPU here", "CPU of the login node", "of its busiest process", "CPU of the job", "memory of usr", "of the login node's largest", "of the job's largest"}}
	spent := &table{title: "Processor time on the login node", head: hashing.head}
	defer func() { // what there is, if it is stopped
		hashing.print(b.stdout, b.markdown)
		spent.print(b.stdout, b.markdown)
	}()
	for _, d := range bulks(b.size) {
		if err := b.makeBulk(d); err != nil {
			return err
		}
		for _, cores := range hands {
			if err := b.handTo(cores, cluster); err != nil {
				return err
			}
			if err := b.bulkRows(d, cores, hashing, spent); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeBulk writes a dataset on both sides.
func (b *bench) makeBulk(d bulk) error {
	b.progress("writing %s", d.name)
	for _, dir := range []string{"source", "dest"} {
		if err := os.RemoveAll(b.path(dir)); err != nil {
			return err
		}
	}
	if err := dataset.Many(b.source(), d.small, 500); err != nil {
		return err
	}
	if err := dataset.Write(b.source(), dataset.Options{ID: datasetID, Rows: 1000}); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(b.large(0)), 0o755); err != nil {
		return err
	}
	for i := range d.large {
		if err := random(b.large(i), d.each, 0, 0); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(b.path("dest", "bench"), 0o755); err != nil {
		return err
	}
	if out, err := exec.CommandContext(b.ctx, "cp", "-a", "--sparse=always", b.source(), b.path("dest", "bench")).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// addLarge adds a file of 1 GB, with bytes that no other has, to the source.
func (b *bench) addLarge(i int) error {
	more := int64(i)
	size := int64(1e9*b.size) + more
	return random(b.large(100+i), size, more, size-more)
}

// large is a path of a class that generations share with live: auxiliary files would be copied by each increment.
func (b *bench) large(i int) string {
	return filepath.Join(b.source(), "_derived", "large", fmt.Sprintf("part-%d.parquet", i))
}

// handTo writes the profile by which the login node hashes, or a job, which says at its end what it took.
func (b *bench) handTo(cores int, cluster *remotetest.Scheduler) error {
	if cores == 0 {
		return b.profile(b.path("source"))
	}
	command := fmt.Sprintf(`SLURM_CONF=%s %s -c%d sh -c '"$@"; times >>%s' sh`, cluster.Env["SLURM_CONF"], cluster.Command, cores, b.path("times"))
	return b.profile(b.path("source"), "compute: "+strconv.Quote(command), "compute_from: 0")
}

// bulkRows measures a dataset with one pair of hands.
func (b *bench) bulkRows(d bulk, cores int, hashing, spent *table) error {
	name := "the login node"
	if cores > 0 {
		name = fmt.Sprintf("a job of %d", cores)
	}
	if _, err := b.burden("diff"); err != nil { // what is here is known from then on
		return err
	}
	var rounds []burden
	for range b.rounds {
		if err := os.RemoveAll(b.path("dest", ".usr-sync", "cache", "remote")); err != nil {
			return err
		}
		one, err := b.burden("diff")
		if err != nil {
			return err
		}
		b.progress("%s, hashed by %s: %s", d.name, name, secondsText(one.wall))
		rounds = append(rounds, one)
	}
	hashing.add(append([]string{d.name, name}, middleOf(rounds).cells()...)...)
	if cores > 1 {
		return nil
	}
	for _, c := range []struct {
		what string
		argv []string
	}{{"no-op", []string{"pull", "-y"}}, {"increment", []string{"pull", "-y"}}, {"verify", []string{"verify"}}} {
		if c.what == "increment" {
			if err := b.addLarge(cores); err != nil {
				return err
			}
		}
		one, err := b.burden(c.argv...)
		if err != nil {
			return err
		}
		spent.add(append([]string{d.name + ": " + c.what, name}, one.cells()...)...)
	}
	return nil
}

// burden is a sample with what the login node and the job did for it.
type burden struct {
	sample
	job time.Duration
	hostLoad
}

// burden runs usr on the dataset and looks at the processes of the far side.
func (b *bench) burden(argv ...string) (o burden, err error) {
	_ = os.Remove(b.path("times"))
	load := watchHost(b.sshd)
	argv = append([]string{b.usr, "--root", b.path("dest"), "--remotes-config", b.path("remotes.yaml"), argv[0], datasetID, remotetest.Alias}, argv[1:]...)
	o.sample, err = b.measure(argv)
	o.hostLoad = load()
	if err == nil {
		o.job, err = shellTimes(b.path("times"))
	}
	return o, err
}

func (o burden) cells() []string {
	return []string{secondsText(o.wall), secondsText(o.here), secondsText(o.there), secondsText(o.busiest) + " " + o.name, secondsText(o.job),
		bytesText(o.peak), bytesText(o.login), bytesText(o.node)}
}

func middleOf(all []burden) burden {
	samples := make([]sample, len(all))
	for i, o := range all {
		samples[i] = o.sample
	}
	of := func(field func(burden) int64) int64 {
		values := make([]int64, len(all))
		for i, o := range all {
			values[i] = field(o)
		}
		return median(values)
	}
	m := burden{sample: middle(samples), job: time.Duration(of(func(o burden) int64 { return int64(o.job) })), hostLoad: all[0].hostLoad}
	m.wall = median(pick(samples, func(s sample) time.Duration { return s.wall }))
	m.busiest = time.Duration(of(func(o burden) int64 { return int64(o.busiest) }))
	m.login, m.node = of(func(o burden) int64 { return o.login }), of(func(o burden) int64 { return o.node })
	return m
}

// shellTimes adds up what the shell's own times printed of its children; nothing if there is no such file.
func shellTimes(file string) (sum time.Duration, err error) {
	text, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return 0, nil
	}
	words := strings.Fields(string(text))
	for i, word := range words {
		if i%4 < 2 { // of the shell itself
			continue
		}
		d, err := time.ParseDuration(word)
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, err
}
