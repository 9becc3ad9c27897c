package main

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// traceAll shows, for each dataset and scenario, what usr said under --verbose and when.
func (b *bench) traceAll() error {
	usr := find("usr")
	for _, s := range shapes(b.size) {
		if !strings.Contains(","+b.data+",", ","+s.name+",") {
			continue
		}
		if err := b.makeVersions(s); err != nil {
			return err
		}
		if err := b.show(1); err != nil {
			return err
		}
		if err := b.reset(); err != nil {
			return err
		}
		for i, scenario := range scenarios {
			if err := b.show(1 + i/2); err != nil {
				return err
			}
			fmt.Fprintf(b.stdout, "Trace of the %s: %s\n\n", scenario, b.title(s))
			if err := b.ready(usr); err != nil {
				return err
			}
			if err := b.traceRun(append(usr.argv(b, b.source(), b.dest(usr)), "-v")); err != nil {
				return err
			}
		}
	}
	return nil
}

// traceRun prefixes each line of stderr with the time since the start and since the line before.
func (b *bench) traceRun(argv []string) error {
	cmd := exec.CommandContext(b.ctx, argv[0], argv[1:]...)
	cmd.Env = b.environment()
	said, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	stamp(said, b.stdout, start)
	err = cmd.Wait()
	fmt.Fprintf(b.stdout, "%7.0f ms  the end\n\n", time.Since(start).Seconds()*1000)
	return err
}

func stamp(from io.Reader, to io.Writer, start time.Time) {
	last := start
	for lines := bufio.NewScanner(from); lines.Scan(); {
		now := time.Now()
		fmt.Fprintf(to, "%7.0f ms  %+6.0f  %s\n", now.Sub(start).Seconds()*1000, now.Sub(last).Seconds()*1000, lines.Text())
		last = now
	}
}
