// Gen writes datasets for benchmarks, scripts and trying things out:
//
//	go run ./remote/remotetest/dataset/gen -o DIR -rows 1000             a dataset
//	go run ./remote/remotetest/dataset/gen -o DIR -increment 60          a batch of rows more
//	go run ./remote/remotetest/dataset/gen -o DIR -annotate              an overlay part more
//	go run ./remote/remotetest/dataset/gen -o DIR -files 20000           many small files
//	go run ./remote/remotetest/dataset/gen -o DIR -files 50 -bytes 4e7   few large ones
//	go run ./remote/remotetest/dataset/gen -o cmd/usr/demodata -demo     the fixtures of usr demo (go generate)
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
)

//go:generate go run . -o ../../../../cmd/usr/demodata -demo

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("gen", flag.ContinueOnError)
	out := flags.String("o", "", "the dataset `directory`")
	id := flags.String("id", "", "dataset id named in its files")
	rows := flags.Int("rows", 100, "rows of a new dataset")
	seed := flags.Uint64("seed", 0, "other seeds give other rows")
	increment := flags.Int("increment", 0, "add this many rows to an existing dataset")
	annotate := flags.Bool("annotate", false, "add an overlay part to an existing dataset")
	files := flags.Int("files", 0, "write this many overlay parts")
	size := flags.Float64("bytes", 0, "size of each of them; 0 is as small as can be")
	demo := flags.Bool("demo", false, "write the fixtures of usr demo")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case *out == "":
		return errors.New("cannot write a dataset: no -o DIR")
	case *demo:
		return dataset.Demo(*out)
	case *increment > 0:
		return dataset.Increment(*out, *increment)
	case *annotate:
		return dataset.Annotate(*out)
	case *files > 0:
		return dataset.Many(*out, *files, int64(*size))
	}
	return dataset.Write(*out, dataset.Options{ID: *id, Rows: *rows, Seed: *seed})
}
