package main

import (
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// env is everything that the program takes from its process, so that tests can replace it.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	dir            string         // working directory, absolute
	isTerminal     func(any) bool // of one of the three streams
	width          func(any) int  // columns of such a terminal, 0 if not known
	now            func() time.Time
}

func processEnv() (env, error) {
	dir, err := os.Getwd()
	return env{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		getenv: os.Getenv, dir: dir, now: time.Now,
		isTerminal: fileIsTerminal, width: fileWidth,
	}, err
}

func fileIsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func fileWidth(stream any) int {
	f, ok := stream.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// canAsk reports whether a person is there to answer a question.
func (e env) canAsk() bool { return e.isTerminal(e.stdin) && e.isTerminal(e.stderr) }
