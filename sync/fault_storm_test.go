package sync_test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
	"github.com/dnadesign-maintainers/usr/sync"
)

// TestFaultStorm has writers of every kind at work on the destination, each a process of its own, while it is switched
// over and over: by transfers forced and unforced, by undos, and by runs that are killed at some moment and rolled forward
// by the next command. What the writers were told is written is there once, in live or in a generation; in place none of
// those that keep the rules ever sees an error.
func TestFaultStorm(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"exchange", "in place"} {
		for _, over := range []string{"local pull", "local push", "ssh pull", "ssh push"} {
			t.Run(way+" "+over, func(t *testing.T) {
				t.Parallel()
				d := sync.Push
				if strings.HasSuffix(over, "pull") {
					d = sync.Pull
				}
				r := emptyRig(t, d)
				if strings.HasPrefix(over, "ssh") {
					r.overSSH(remotetest.Options{})
				}
				storm(r, way == "in place")
			})
		}
	}
}

func storm(r *rig, inPlace bool) {
	r.options = func(o *sync.Options) { o.NoExchange, o.KeepGenerations = inPlace, 10_000 }
	r.profile.KeepGenerations = 10_000
	r.write(r.src(), 1)
	r.transferred()
	stop := startWriters(r, "w0", "w1", "t0", "t1", "x0")
	var done, refused, killed int
	end := time.Now().Add(5 * time.Minute) // what is held up by so many appends over ssh takes no longer either
	for v := 2; v < 2+shortOr(9, 200) && time.Now().Before(end); v++ {
		r.write(r.src(), v)
		j := job{NoExchange: inPlace, Keep: 10_000, Timeout: 20 * time.Second, Force: v%3 != 0, Undo: v%4 == 0}
		die := v%5 == 0
		if die {
			j.DieAt = 12 + rand.IntN(14)
		}
		cmd, _ := r.child(j)
		if v%10 == 4 {
			die = true
			time.AfterFunc(time.Duration(rand.IntN(300))*time.Millisecond, func() { killTree(cmd.Process.Pid) })
		}
		switch err := cmd.Wait(); {
		case err == nil:
			done++
		case die:
			killed++
			r.diff()
		default: // the sides have diverged, or the destination moved too much
			refused++
		}
	}
	said := stop()
	r.diff() // of the last one killed
	r.weathered(said, inPlace, done)
	r.Logf("%d runs done, %d refused, %d killed", done, refused, killed)
	if done == 0 {
		r.Error("no run got through")
	}
	r.oneName()
}

// weathered holds what writers were told against what is there.
func (r *rig) weathered(said []written, inPlace bool, switches int) {
	r.Helper()
	live, all := r.everyLine()
	errs := map[string]int{}
	var lines, lost, failed int
	var longest time.Duration
	for _, w := range said {
		if rude := strings.Contains(w.line, "rude"); !rude {
			lines++
			longest = max(longest, w.took)
		} else if w.err != "<nil>" {
			continue
		}
		if w.err == "<nil>" && all[w.line] == 0 {
			lost++
			r.Logf("lost: %s", w.line)
		}
		if w.err != "<nil>" {
			failed++
			errs[strings.ReplaceAll(w.err, r.dst(), "")]++
			if strings.Contains(w.err, dataset.ErrNames.Error()) || strings.Contains(w.err, "violated") {
				r.Error(w.err)
			}
		}
		if live[w.line] > 1 {
			r.Errorf("%s is there %d times", w.line, live[w.line])
		}
	}
	r.Logf("%d appends, the longest took %v; %d lost, %d failed: %v", lines, longest.Round(time.Millisecond), lost, failed, errs)
	if lost > 0 || lines == 0 || inPlace && failed > 0 || failed > 2*switches {
		r.Errorf("of %d appends %d are lost, %d failed: %v", lines, lost, failed, errs)
	}
}

// everyLine counts how often each line stands in the log of live, and in any file of live and of what is kept. A torn line
// is an error.
func (r *rig) everyLine() (live, all map[string]int) {
	r.Helper()
	live, all = map[string]int{}, map[string]int{}
	for _, dir := range []string{r.dst(), r.state("generations", faultKey)} {
		r.must(filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(path)
			for line := range strings.Lines(string(text)) {
				whole := strings.TrimSuffix(line, "\n")
				all[whole]++
				if filepath.Base(path) != ".events.log" {
					continue
				}
				if dir == r.dst() {
					live[whole]++
				}
				if whole == line || !strings.HasPrefix(line, "{\"") || !strings.HasSuffix(whole, "}") || strings.Count(whole, "{") != 1 {
					r.Errorf("torn in %s: %q", path, line)
				}
			}
			return err
		}))
	}
	return live, all
}

// TestFaultMixture measures what a reader without a lock sees of a switch in place: for how long the dataset is neither
// wholly the one nor the other; and how long the lock of the log is held, which does not grow with what changes.
func TestFaultMixture(t *testing.T) {
	counts := []int{1, 300}
	if longFaults() {
		counts = []int{1, 100, 1000, 20_000}
	}
	slow := t.TempDir()
	if err := os.WriteFile(filepath.Join(slow, "Slow.pm"), []byte("package Slow;\nBEGIN { *CORE::GLOBAL::rename = sub { select undef, undef, undef, 0.005; CORE::rename($_[0], $_[1]) } }\n1;\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, over := range []string{"local", "ssh", "ssh, 5 ms a rename"} {
		for _, files := range counts {
			if files > 1000 && strings.HasSuffix(over, "rename") {
				continue
			}
			t.Run(fmt.Sprint(over, " ", files), func(t *testing.T) {
				r := emptyRig(t, sync.Push)
				switch over {
				case "ssh":
					r.overSSH(remotetest.Options{})
				case "ssh, 5 ms a rename":
					r.overSSH(remotetest.Options{Env: map[string]string{"PERL5LIB": slow, "PERL5OPT": "-MSlow"}})
				}
				r.options = func(o *sync.Options) { o.NoExchange = true }
				for v := 1; v <= 2; v++ {
					r.write(r.src(), v)
					for i := range files {
						r.must(replaceFile(fmt.Sprintf("%s/_derived/many/part-%05d.parquet", r.src(), i), fmt.Sprint(v)))
					}
					if v == 1 {
						r.transferred()
					}
				}
				first, last := filepath.Join(r.dst(), "_views/view-2"), filepath.Join(r.dst(), "_views/view-1") // added, deleted
				end, window := make(chan bool), make(chan time.Duration)
				go func() {
					var began, ended time.Time
					for ended.IsZero() {
						select {
						case <-end:
							window <- 0
							return
						default:
						}
						if _, err := os.Lstat(first); err == nil && began.IsZero() {
							began = time.Now()
						}
						if _, err := os.Lstat(last); err != nil && !began.IsZero() {
							ended = time.Now()
						}
						if _, err := os.Lstat(filepath.Join(r.dst(), "records.parquet")); err != nil {
							t.Error("there was no dataset")
						}
					}
					window <- ended.Sub(began)
				}()
				rep := r.transferred()
				close(end)
				t.Logf("%d files changed: a mixture for %v; .usr.lock held for %v, .events.lock for %v", len(rep.Changes), <-window,
					rep.LockHeld.Round(time.Millisecond), rep.EventsHeld)
				if rep.EventsHeld <= 0 || rep.EventsHeld > 500*time.Millisecond {
					t.Errorf(".events.lock was held for %v", rep.EventsHeld)
				}
				r.same()
			})
		}
	}
}
