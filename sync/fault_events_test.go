package sync_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
	"github.com/dnadesign-maintainers/usr/sync"
)

const writerVariable = "USR_FAULT_WRITER"

// writer is a process that writes to a dataset until its standard input ends, and prints each of its lines with what came
// of it and how long that took.
func writer(spec string) int {
	name, dir, _ := strings.Cut(spec, "=")
	write := map[byte]func(dir, name string, n int) (string, error){'t': writeTable, 'x': writeRudely}[name[0]]
	if write == nil {
		write = writeEvent
	}
	end := make(chan bool)
	go func() { io.Copy(io.Discard, os.Stdin); close(end) }()
	for n := 1; ; n++ {
		began := time.Now()
		line, err := write(dir, name, n)
		fmt.Printf("%s\t%v\t%d\n", line, err, time.Since(began).Microseconds())
		select {
		case <-end:
			return 0
		case <-time.After(pauseAfter(n)):
		}
	}
}

// pauseAfter lets writers come in bursts in the long form, so that what they have written does not outgrow what is tested.
func pauseAfter(n int) time.Duration {
	if longFaults() && n%20 == 0 {
		return 500 * time.Millisecond
	}
	return time.Millisecond
}

func writeEvent(dir, name string, n int) (string, error) {
	line := fmt.Sprintf("{\"writer\": \"%s %d\"}", name, n)
	return line, dataset.AppendEvent(dir, line+"\n")
}

// writeTable replaces the primary and adds a snapshot under .usr.lock, and says so in the log.
func writeTable(dir, name string, n int) (string, error) {
	time.Sleep(5 * time.Millisecond)
	line := fmt.Sprintf("{\"writer\": \"%s %d\"}", name, n)
	err := underLock(filepath.Join(dir, ".usr.lock"), func() error {
		table := filepath.Join(dir, "records.parquet")
		if _, err := os.ReadFile(table); err != nil {
			return err
		}
		text := fmt.Sprintf("primary of %s, %d\n", name, n)
		if err := os.WriteFile(table+".tmp", []byte(text), 0o644); err != nil {
			return err
		}
		if err := os.WriteFile(fmt.Sprintf("%s/_snapshots/records-%s-%d.parquet", dir, name, n%5), []byte(text), 0o644); err != nil {
			return err
		}
		if err := os.Rename(table+".tmp", table); err != nil {
			return err
		}
		if err := dataset.AppendEvent(dir, line+"\n"); err != nil {
			return err
		}
		if got, err := os.ReadFile(table); string(got) != text {
			return fmt.Errorf("violated: while the lock was held the primary became %q, %v", got, err)
		}
		return nil
	})
	return line, err
}

// writeRudely takes no lock.
func writeRudely(dir, name string, n int) (string, error) {
	time.Sleep(3 * time.Millisecond)
	line := fmt.Sprintf("{\"rude\": \"%s %d\"}", name, n)
	if err := os.MkdirAll(filepath.Join(dir, "_artifacts"), 0o755); err != nil {
		return line, err
	}
	return line, os.WriteFile(fmt.Sprintf("%s/_artifacts/%s-%d", dir, name, n), []byte(line+"\n"), 0o644)
}

// underLock does something under the lock of a dataset, as its writers do: once that is the one whose path they took.
func underLock(path string, do func() error) error {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o664)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil && err != syscall.EINTR {
			return err
		}
		mine, err := f.Stat()
		if err != nil {
			return err
		}
		if there, err := os.Stat(path); err == nil && os.SameFile(mine, there) {
			return do()
		}
		f.Close()
	}
}

// eventWriters starts writer processes; stop says what became of each line.
func eventWriters(r *rig, n int) (stop func() map[string]string) {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("w%d", i))
	}
	end := startWriters(r, names...)
	return func() map[string]string {
		said := map[string]string{}
		for _, w := range end() {
			said[w.line] = w.err
		}
		return said
	}
}

// written is what a writer says of one of its lines.
type written struct {
	line, err string
	took      time.Duration
}

// startWriters starts a process for each name, whose first letter says what it writes to the destination.
func startWriters(r *rig, names ...string) (stop func() []written) {
	r.Helper()
	return startWritersIn(r, r.dst(), names...)
}

func startWritersIn(r *rig, dir string, names ...string) (stop func() []written) {
	r.Helper()
	var ends []func()
	var outs []*strings.Builder
	for _, name := range names {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s=%s", writerVariable, name, dir))
		out := &strings.Builder{}
		cmd.Stdout, cmd.Stderr = out, os.Stderr
		in, err := cmd.StdinPipe()
		r.must(err)
		r.must(cmd.Start())
		outs = append(outs, out)
		ends = append(ends, func() { in.Close(); cmd.Wait() })
	}
	return func() (all []written) {
		for i, end := range ends {
			end()
			for line := range strings.Lines(outs[i].String()) {
				f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
				us, err := strconv.Atoi(f[len(f)-1])
				r.must(err)
				all = append(all, written{f[0], f[1], time.Duration(us) * time.Microsecond})
			}
		}
		return all
	}
}

// everySwitch runs a test for each way that a switch can go at the destination.
func everySwitch(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Parallel()
	for _, way := range []string{"exchange", "in place"} {
		for _, over := range []string{"local pull", "local push", "ssh push", "python push", "bare push", "busybox push", "bsd push"} {
			if strings.Contains("python push, bare push, busybox push, bsd push", over) && !slices.Contains([]string{"TestFaultLateLines", "TestFaultShapes"}, t.Name()) && !longFaults() {
				continue
			}
			t.Run(way+" "+over, func(t *testing.T) {
				t.Parallel()
				d := sync.Push
				if over == "local pull" {
					d = sync.Pull
				}
				r := emptyRig(t, d)
				hidden := map[string][]string{"python push": {"perl"}, "bare push": {"perl", "python3"}}[over]
				switch {
				case hidden != nil:
					bin := filepath.Join(t.TempDir(), "bin")
					r.must(remotetest.HidePath(bin, hidden...))
					r.overSSH(remotetest.Options{Env: map[string]string{"PATH": bin}})
				case over == "busybox push":
					bin := filepath.Join(t.TempDir(), "bin")
					r.must(remotetest.BusyBox(bin, "rsync", "flock"))
					r.overSSH(remotetest.Options{Env: map[string]string{"PATH": bin}})
				case over == "bsd push":
					bin := filepath.Join(t.TempDir(), "bin")
					r.must(remotetest.BSD(bin))
					r.overSSH(remotetest.Options{Env: map[string]string{"PATH": bin}})
				case over == "ssh push":
					r.overSSH(remotetest.Options{})
				}
				r.options = func(o *sync.Options) { o.NoExchange = way == "in place" }
				r.profile.KeepGenerations = 10_000
				r.write(r.src(), 1)
				r.transferred()
				f(t, r)
			})
		}
	}
}

// oneName: the lock of the events has one name, and no kept or abandoned tree holds a lock file.
func (r *rig) oneName() {
	r.Helper()
	path := filepath.Join(r.dst(), ".events.lock")
	fi, err := os.Lstat(path)
	r.must(err)
	if n := fi.Sys().(*syscall.Stat_t).Nlink; n != 1 {
		r.Errorf("%s has %d names", path, n)
	}
	filepath.WalkDir(r.state(), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && (e.Name() == ".events.lock" || e.Name() == ".usr.lock") {
			r.Errorf("left behind: %s", path)
		}
		return nil
	})
	r.must(dataset.AppendEvent(r.dst(), "{}\n"))
}

// logs counts how often each line stands in live and in all that is kept.
func (r *rig) logs() (live, all map[string]int) {
	r.Helper()
	live, all = map[string]int{}, map[string]int{}
	collect := func(path string, counts ...map[string]int) {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		r.must(err)
		for line := range strings.Lines(string(text)) {
			for _, count := range counts {
				count[strings.TrimSuffix(line, "\n")]++
			}
		}
	}
	collect(filepath.Join(r.dst(), ".events.log"), live, all)
	kept, err := filepath.Glob(r.state("generations", faultKey, "*", "*", ".events.log"))
	r.must(err)
	for _, path := range kept {
		collect(path, all)
	}
	return live, all
}

// TestFaultEventWriters: writers that keep the rules append to the log of the destination while it is switched over
// and over, by force, since they make it diverge. None of them ever sees a second name of its lock, and every line is in
// live or in a generation.
func TestFaultEventWriters(t *testing.T) {
	everySwitch(t, func(t *testing.T, r *rig) {
		stop := eventWriters(r, 2)
		m := modes()
		m.Force, m.LockTimeout = true, 20*time.Second
		switches := 0
		for v := 2; v < 2+shortOr(6, 100); v++ {
			r.write(r.src(), v)
			_, err := r.run(r.direction, m)
			if err == nil {
				switches++
				if v%3 == 0 && r.direction == sync.Push {
					_, err = r.undo(m)
					switches++
				}
			}
			if err != nil {
				t.Error(err)
				break
			}
		}
		said := stop()
		live, all := r.logs()
		good, names, lost, other := 0, 0, 0, map[string]int{}
		for line, err := range said {
			switch {
			case err == "<nil>":
				good++
				if all[line] == 0 {
					lost++
				}
			case strings.Contains(err, dataset.ErrNames.Error()):
				names++
			default:
				other[err]++
			}
			if live[line] > 1 {
				t.Errorf("%s is there %d times", line, live[line])
			}
		}
		t.Logf("%d switches, %d lines, %d saw a second name, %d lost; %v", switches, good, names, lost, other)
		if good == 0 || names > 0 || lost > 0 {
			t.Errorf("of %d lines %d saw a second name of the lock, %d are lost", len(said), names, lost)
		}
		failed := 0
		for _, n := range other {
			failed += n
		}
		if failed > 2*switches {
			t.Errorf("%d appends failed", failed)
		}
		r.oneName()
	})
}

// TestFaultLateLines: lines that the log of the destination gets between its listing and the switch follow ours; a
// forced transfer leaves them in the generation, from which an undo brings them back.
func TestFaultLateLines(t *testing.T) {
	everySwitch(t, func(t *testing.T, r *rig) {
		const late = "{\"late\": 1}\n"
		log := func(dir string) string {
			text, err := os.ReadFile(filepath.Join(dir, ".events.log"))
			r.must(err)
			return string(text)
		}
		r.write(r.src(), 2)
		r.atStep(sync.StepBegan{Step: sync.StepPromote}, func() { r.must(dataset.AppendEvent(r.dst(), late)) })
		rep := r.transferred()
		if got := log(r.dst()); got != event(1)+event(2)+late {
			t.Errorf("live: %q", got)
		}
		if got := log(r.state("generations", faultKey, rep.Generation, "tree")); got != event(1)+late {
			t.Errorf("the generation: %q", got)
		}
		if !r.warned(`".events.log" got lines during the switch`) || r.warned("changed without the lock") {
			t.Errorf("said: %q", r.warnings)
		}
		r.oneName()

		m := modes()
		m.Force = true
		r.write(r.src(), 3)
		r.atStep(sync.StepBegan{Step: sync.StepPromote}, func() { r.must(dataset.AppendEvent(r.dst(), late)) })
		rep, err := r.run(r.direction, m)
		r.must(err)
		if got := log(r.dst()); got != event(1)+event(2)+event(3) {
			t.Errorf("live, by force: %q", got)
		}
		if got := log(r.state("generations", faultKey, rep.Generation, "tree")); !strings.HasSuffix(got, late) {
			t.Errorf("the generation: %q", got)
		}
		if k := r.kept()[0]; k.Run != rep.Generation || k.Late != 1 {
			t.Errorf("a late writer is told as %+v", k)
		}
		// A late line is no damage: the undo needs no force, and brings the line back.
		r.undone(modes())
		if got := log(r.dst()); got != event(1)+event(2)+late+"{}\n"+late {
			t.Errorf("live, undone: %q", got)
		}
		r.oneName()
	})
}

// TestFaultEventsLockHeld: an append that began before the switch is waited for, and lands. Where it does not end the
// holder is named, and nothing has moved.
func TestFaultEventsLockHeld(t *testing.T) {
	everySwitch(t, func(t *testing.T, r *rig) {
		r.must(dataset.AppendEvent(r.dst(), "{}\n"))
		r.must(dataset.AppendEvent(r.src(), "{}\n"))
		m := modes()
		m.LockTimeout = 5 * time.Second
		for _, wait := range []bool{true, false} {
			r.must(replaceFile(filepath.Join(r.src(), "records.parquet"), fmt.Sprint("primary, waited for ", wait)))
			r.must(dataset.AppendEvent(r.src(), "{\"source\": 1}\n"))
			before := r.content(r.dst())
			var lock *exec.Cmd
			var in io.WriteCloser
			r.atStep(sync.StepBegan{Step: sync.StepPromote}, func() {
				lock = exec.Command("flock", filepath.Join(r.dst(), ".events.lock"), "sh", "-c", `echo held; read x; echo '{"held": 1}' >>"$1"`, "sh", filepath.Join(r.dst(), ".events.log"))
				var err error
				in, err = lock.StdinPipe()
				r.must(err)
				out, _ := lock.StdoutPipe()
				r.must(lock.Start())
				fmt.Fscanln(out, new(string))
				if wait {
					time.AfterFunc(700*time.Millisecond, func() { in.Close() })
				}
			})
			if !wait {
				m.LockTimeout = time.Second
			}
			_, err := r.run(r.direction, m)
			if wait {
				r.must(err)
				lock.Wait()
				if text := r.content(r.dst())[".events.log"]; !strings.HasSuffix(text, "{\"source\": 1}\n{\"held\": 1}\n") {
					t.Errorf("the log: %q", text)
				}
				r.must(replaceFile(filepath.Join(r.src(), ".events.log"), r.content(r.dst())[".events.log"]))
				continue
			}
			var busy *remote.LockError
			if !errors.As(err, &busy) || busy.Holder == "" || filepath.Base(busy.Path) != ".events.lock" {
				t.Errorf("%v", err)
			}
			if d := r.content(r.dst()); d["records.parquet"] != before["records.parquet"] {
				t.Error("switched without the lock")
			}
			in.Close()
			lock.Wait()
		}
	})
}

// TestFaultSecondNames: what earlier versions left of lock files in kept and abandoned trees goes with the next claim.
func TestFaultSecondNames(t *testing.T) {
	everySwitch(t, func(t *testing.T, r *rig) {
		r.write(r.src(), 2)
		r.transferred()
		r.must(dataset.AppendEvent(r.dst(), "{}\n"))
		kept, err := os.ReadDir(r.state("generations", faultKey))
		r.must(err)
		for _, tree := range []string{r.state("generations", faultKey, kept[0].Name(), "tree"), r.state("stage", faultKey, "20260101T000000.000000Z-00dead", "tree")} {
			r.must(os.MkdirAll(tree, 0o755))
			for _, name := range []string{".usr.lock", ".events.lock"} {
				os.Remove(filepath.Join(tree, name)) // the link that stands in for it
				r.must(os.Link(filepath.Join(r.dst(), name), filepath.Join(tree, name)))
			}
		}
		if err := dataset.AppendEvent(r.dst(), "{}\n"); !errors.Is(err, dataset.ErrNames) {
			t.Fatal(err)
		}
		r.write(r.src(), 3)
		m := modes()
		m.Force = true
		_, err = r.run(r.direction, m)
		r.must(err)
		r.oneName()
	})
}

// TestFaultBetweenExchangeAndRename: a run that was killed between the two calls of a switch leaves the lock of the
// events in the old tree. It comes back, unless a writer has made a new one.
func TestFaultBetweenExchangeAndRename(t *testing.T) {
	t.Parallel()
	for _, over := range []string{"local", "ssh"} {
		for _, fresh := range []bool{false, true} {
			t.Run(fmt.Sprint(over, fresh), func(t *testing.T) {
				r := emptyRig(t, sync.Push)
				if over == "ssh" {
					r.overSSH(remotetest.Options{})
				}
				r.write(r.src(), 1)
				r.transferred()
				r.write(r.src(), 2)
				at := r.numberOf("began promote")
				cmd, _ := r.child(job{DieAt: at})
				if cmd.Wait() == nil {
					t.Fatal("it lived")
				}
				runs, err := os.ReadDir(r.state("stage", faultKey))
				r.must(err)
				run := runs[len(runs)-1].Name()
				held, err := os.OpenFile(filepath.Join(r.dst(), ".events.lock"), os.O_RDWR|os.O_CREATE, 0o644)
				r.must(err)
				defer held.Close()
				for _, step := range switchSteps(r, run)[:4] { // as an exchange does
					r.must(step())
				}
				if fresh {
					r.must(dataset.AppendEvent(r.dst(), "{\"fresh\": 1}\n"))
				}
				mine, err := held.Stat()
				r.must(err)
				r.diff()
				there, err := os.Lstat(filepath.Join(r.dst(), ".events.lock"))
				r.must(err)
				if os.SameFile(mine, there) == fresh {
					t.Errorf("the old lock is back: %v", !fresh)
				}
				r.oneName()
			})
		}
	}
}

// sameTree holds the destination against files.
func (r *rig) sameTree(want map[string]string) {
	r.Helper()
	have := r.content(r.dst())
	for path, text := range want {
		if have[path] != text {
			r.Errorf("%s: %q, want %q", path, have[path], text)
		}
		delete(have, path)
	}
	for path := range have {
		r.Errorf("%s is there", path)
	}
}

// TestFaultOneDevice: bind mounts and overlays are of one device and yet no place for a rename. That is refused before
// anything moves, and nothing is ever copied instead.
func TestFaultOneDevice(t *testing.T) {
	root(t)
	for _, kind := range []string{"bind", "overlay"} {
		for _, first := range []bool{false, true} {
			if kind == "overlay" && first {
				continue // what is new there can be renamed
			}
			for _, over := range []string{"local", "ssh", "python3", "mv"} {
				t.Run(fmt.Sprint(kind, " ", over, " first ", first), func(t *testing.T) {
					r := emptyRig(t, sync.Push)
					hidden := map[string][]string{"python3": {"perl"}, "mv": {"perl", "python3"}}[over]
					switch {
					case hidden != nil:
						bin := filepath.Join(t.TempDir(), "bin")
						r.must(remotetest.HidePath(bin, hidden...))
						r.overSSH(remotetest.Options{Env: map[string]string{"PATH": bin}})
					case over == "ssh":
						r.overSSH(remotetest.Options{})
					}
					switch kind {
					case "bind":
						r.must(os.MkdirAll(filepath.Dir(r.dst()), 0o755))
						mounting(t, filepath.Dir(r.dst()), "--bind", t.TempDir())
					case "overlay":
						lower, upper, work := t.TempDir(), t.TempDir(), t.TempDir()
						r.write(filepath.Join(lower, faultID), 1)
						mounting(t, r.remote, "-t", "overlay", "-o", "lowerdir="+lower+",upperdir="+upper+",workdir="+work, "overlay")
					}
					if !first && kind == "bind" {
						r.write(r.dst(), 1)
					}
					r.write(r.src(), 2)
					was := r.content(r.dst())
					sights := startReader(r.dst())
					m := modes()
					m.Force = true
					_, err := r.run(sync.Push, m)
					s := sights.stop()
					var device *sync.DeviceError
					if !errors.As(err, &device) {
						t.Errorf("%v", err)
					}
					if s.mixed > 0 || !first && s.gone > 0 || s.versions > 1 {
						t.Errorf("a reader saw %+v", s)
					}
					if was != nil {
						r.is(r.dst(), 1)
					} else if r.content(r.dst()) != nil {
						t.Error("something was made there")
					}
				})
			}
		}
	}
}

func mounting(t *testing.T, dir string, args ...string) {
	t.Helper()
	if out, err := exec.Command("mount", append(args, dir)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
}
