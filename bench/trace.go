package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	stdsync "sync"
	"time"

	"github.com/dnadesign-maintainers/usr/profiles"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// traceAll shows, for each dataset and scenario, what each step of the engine takes. The engine runs in this
// process, told by the observer that also makes the progress line of usr.
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
			if err := b.ready(usr); err != nil {
				return err
			}
			if err := b.profiled(s.name+"-"+scenario, func() error { return b.traced(usr, s, scenario) }); err != nil {
				return fmt.Errorf("trace of the %s: %w", scenario, err)
			}
		}
	}
	return nil
}

// profiled writes a processor profile of f, if one is wanted.
func (b *bench) profiled(name string, f func() error) error {
	if b.profiles == "" {
		return f()
	}
	out, err := os.Create(filepath.Join(b.profiles, name+".prof"))
	if err != nil {
		return err
	}
	defer out.Close()
	if err := pprof.StartCPUProfile(out); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return f()
}

func (b *bench) traced(usr contestant, s shape, scenario string) error {
	file, err := profiles.Load(b.path("remotes.yaml"))
	if err != nil {
		return err
	}
	profile, err := file.Remote(remotetest.Alias)
	if err != nil {
		return err
	}
	root, direction := filepath.Dir(filepath.Dir(b.dest(usr))), sync.Pull
	if b.push {
		root, direction = b.path("source"), sync.Push
	}
	t := &tracer{start: time.Now(), began: map[sync.Step]time.Time{}, moved: map[string]*span{}}
	err = func() error {
		pair, err := sync.Open(b.ctx, sync.Options{Root: root, Observe: t.observe}, &profile, sync.Reach{Getenv: os.Getenv, Stderr: b.stderr})
		if err != nil {
			return err
		}
		defer pair.Close()
		t.row("connect", t.start)
		_, err = pair.Transfer(b.ctx, datasetID, direction, sync.Modes{Primary: sync.ByHash, Sidecars: true, ContentHashes: true})
		return err
	}()
	if err != nil {
		return err
	}
	t.end()
	t.table.title = fmt.Sprintf("Trace of the %s: %s", scenario, b.title(s))
	t.table.head = []string{"", "from (ms)", "took (ms)"}
	t.table.print(b.stdout, b.markdown)
	return nil
}

// tracer turns what the engine says into rows.
type tracer struct {
	mu    stdsync.Mutex
	start time.Time
	last  time.Time // end of the last step
	began map[sync.Step]time.Time
	moved map[string]*span // by phase of progress
	order []string
	table table
}

// span is the time between the first and the last news of something.
type span struct{ from, to time.Time }

func (t *tracer) observe(e sync.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	switch e := e.(type) {
	case sync.StepBegan:
		t.began[e.Step] = now
	case sync.StepEnded:
		t.row(string(e.Step), t.began[e.Step])
	case sync.Progressed:
		if t.moved[e.Phase] == nil {
			t.moved[e.Phase] = &span{from: now}
			t.order = append(t.order, e.Phase)
		}
		t.moved[e.Phase].to = now
	case sync.Ran:
		t.table.add("  starts "+filepath.Base(e.Argv[0]), ms(now.Sub(t.start)), "")
	case sync.Warned:
		t.table.add("  warning: "+e.Text, ms(now.Sub(t.start)), "")
	}
}

func (t *tracer) row(name string, from time.Time) {
	t.last = time.Now()
	t.table.add(name, ms(from.Sub(t.start)), ms(t.last.Sub(from)))
}

// end adds what is left, and the phases of progress, which overlap with steps.
func (t *tracer) end() {
	now := time.Now()
	t.table.add("close", ms(t.last.Sub(t.start)), ms(now.Sub(t.last)))
	t.table.add("all", "0", ms(now.Sub(t.start)))
	for _, phase := range t.order {
		s := t.moved[phase]
		t.table.add("  "+phase, ms(s.from.Sub(t.start)), ms(s.to.Sub(s.from)))
	}
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f", d.Seconds()*1000) }
