package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []time.Duration
		want   time.Duration
	}{{nil, 0}, {[]time.Duration{3}, 3}, {[]time.Duration{9, 1, 4}, 4}, {[]time.Duration{1, 9, 2, 4}, 3}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
}

// A slow round is slow for everybody: only ratios within a round count.
func TestRatioIsTakenWithinRounds(t *testing.T) {
	r := results{}
	for _, slow := range []time.Duration{1, 10, 1} {
		r.put("no-op", "rsync -a", sample{wall: slow * time.Second})
		r.put("no-op", "usr", sample{wall: slow * 1500 * time.Millisecond})
	}
	if got := r.ratio("no-op", "usr", "rsync -a"); got != 1.5 {
		t.Errorf("ratio = %v, want 1.5", got)
	}
}

func TestMarkdown(t *testing.T) {
	var b bytes.Buffer
	table := table{title: "Title", head: []string{"", "a"}, rows: [][]string{{"x", "1"}}}
	table.print(&b, true)
	if want := "Title\n\n|  | a |\n|---|---|\n| x | 1 |\n\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

// The harness itself, on datasets of a few files: rsync's figures are there, and what it left was checked.
func TestComparesOnATinyDataset(t *testing.T) {
	var out, progress bytes.Buffer
	args := []string{"-dir", t.TempDir(), "-size", "0.005", "-rounds", "1", "-only", "rsync", "-usr", "/bin/true", "-data", "files"}
	if err := run(t.Context(), args, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	for _, want := range []string{"Ratio to rsync -a: pull, 99 files", "1.00 (", "rsync -a --checksum", "rsync -a + sha256sum"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("there is no %q in:\n%s", want, out.String())
		}
	}
}

// What a job took is what the children of its shell took, as dash and bash print it.
func TestShellTimes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "times")
	if sum, err := shellTimes(file); sum != 0 || err != nil {
		t.Errorf("without a file: %v, %v", sum, err)
	}
	if err := os.WriteFile(file, []byte("0m0.00s 0m0.01s\n1m2.50s 0m0.25s\n0m5.000s 0m5.000s\n0m0.250s 0m1.000s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if sum, err := shellTimes(file); sum != 64*time.Second || err != nil {
		t.Errorf("%v, %v", sum, err)
	}
}
