// Command bench measures usr against the programs that an operator would use in its place, on this machine, over a
// private sshd on the loopback interface. `go run ./bench -h` lists what it can measure; docs/performance.md keeps
// what came out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	dir, usr, only, data, profiles     string
	rounds                             int
	size                               float64
	delay                              time.Duration
	rate                               int64
	push, markdown, keep               bool
	scale, wire, streams, trace, peers bool
	fleet                              bool
	many, compute                      bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.dir, "dir", memoryDir(), "make the datasets below this `directory`")
	f.StringVar(&o.usr, "usr", "", "measure this `program` instead of building cmd/usr")
	f.StringVar(&o.only, "only", "", "measure only these `contestants`, by commas (rsync is always there)")
	f.StringVar(&o.data, "data", "bytes,files", "`datasets` to use: bytes (1.3 GB in 2 018 files), files (20 009 small files), writers (1.3 GB, with a primary of 45 MB and its snapshots, three writes an increment)")
	f.IntVar(&o.rounds, "rounds", 5, "rounds; figures are medians")
	f.Float64Var(&o.size, "size", 1, "multiply the size of the dataset bytes and the number of the dataset files by this `factor`")
	f.DurationVar(&o.delay, "delay", 0, "delay of the network, one way")
	f.Int64Var(&o.rate, "rate", 0, "bytes a second that each connection carries each way, 0 for no limit")
	f.BoolVar(&o.push, "push", false, "push instead of pull")
	f.BoolVar(&o.markdown, "markdown", false, "print tables as docs/performance.md has them")
	f.BoolVar(&o.keep, "keep", false, "leave the directory for a look")
	f.BoolVar(&o.peers, "peers", false, "compare with the other programs (the default if nothing else is asked for)")
	f.BoolVar(&o.scale, "scale", false, "usr and rsync -a from 1 000 to 200 000 files")
	f.BoolVar(&o.fleet, "fleet", false, "120 small datasets by a glob, and 60 with 20 ms each way")
	f.BoolVar(&o.many, "many", false, "usr and rsync -a with 500 000 small files, of which ten are new each time (times -size)")
	f.BoolVar(&o.compute, "compute", false, "hashing by the login node and by jobs of Slurm: 20 GB in one file and in 20, and 200 000 files (times -size)")
	f.BoolVar(&o.wire, "wire", false, "bytes that changes cost which leave most as it was, both ways")
	f.BoolVar(&o.streams, "streams", false, "several rsync processes at once, over a slow network")
	f.BoolVar(&o.trace, "trace", false, "what each phase of usr takes")
	f.StringVar(&o.profiles, "cpuprofiles", "", "with -trace: write processor profiles into this `directory`")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 || o.rounds < 1 || o.size <= 0 {
		return o, fmt.Errorf("cannot read the command line %q: see -h", strings.Join(args, " "))
	}
	o.peers = o.peers || !(o.scale || o.many || o.fleet || o.compute || o.wire || o.streams || o.trace)
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	b, err := newBench(ctx, o, stdout, stderr)
	if err != nil {
		return err
	}
	defer b.close()
	b.describe()
	for _, part := range []struct {
		asked bool
		do    func() error
	}{{o.peers, b.compareAll}, {o.trace, b.traceAll}, {o.scale, b.scaleTable}, {o.many, b.manyTable}, {o.fleet, b.fleetTable}, {o.compute, b.computeTable}, {o.wire, b.wireTable}, {o.streams, b.streamsTable}} {
		if !part.asked {
			continue
		}
		if err := part.do(); err != nil {
			return err
		}
	}
	return nil
}

// memoryDir is a memory file system where there is one: the figures are about programs, not about disks.
func memoryDir() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return os.TempDir()
}
