package shell_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/shell"
	"github.com/dnadesign-maintainers/usr/verify"
)

const run1 = "20260101T000000.000000Z-000001"

// deadly makes programs that, at the nth call of any of them, kill the remote shell and all its children; with
// "after" once the real one is done.
func deadly(t *testing.T, dir string) (arm func(n int, after bool), fired func() bool) {
	t.Helper()
	return shooting(t, dir, "kill -9 0")
}

// shooting does the same with any shot.
func shooting(t *testing.T, dir, shot string) (arm func(n int, after bool), fired func() bool) {
	t.Helper()
	counter := filepath.Join(dir, "counter")
	for _, name := range []string{"mv", "rm", "sync", "perl"} {
		check(t, remotetest.Shim(dir, name, fmt.Sprintf(`
[ -e %[1]s.limit ] || exec %[2]s "$@"
n=$(($(cat %[1]s) + 1)); echo $n >%[1]s
read limit after <%[1]s.limit
[ $n = $limit ] || exec %[2]s "$@"
[ "$after" = false ] || %[2]s "$@"
echo >%[1]s.fired
%[3]s
[ "$after" = true ] || exec %[2]s "$@"`, counter, remotetest.Real(name), shot)))
	}
	arm = func(n int, after bool) {
		os.Remove(counter + ".fired")
		write(t, counter, "0\n")
		write(t, counter+".limit", fmt.Sprintln(n, after))
		if n == 0 {
			os.Remove(counter + ".limit")
		}
	}
	fired = func() bool { _, err := os.Stat(counter + ".fired"); return err == nil }
	return arm, fired
}

// TestPromoteDies kills the remote shell at every step of a promotion. Whatever the step: after Recover live is
// all old or all new, and where it is new the old one is a generation.
func TestPromoteDies(t *testing.T) {
	t.Parallel()
	shims := t.TempDir()
	arm, fired := deadly(t, shims)
	deathbed := server(t, remotetest.Options{Env: map[string]string{"PATH": shims + ":" + os.Getenv("PATH")}})
	_, nurse := connect(t)
	for _, inPlace := range []bool{false, true} {
		forward, back := 0, 0
		for n := 1; ; n++ {
			arm(0, false)
			root, live := dataset(t)
			c := open(t, target(deathbed), shell.Options{})
			stage(t, c, root, live, inPlace)
			arm(n, n%2 == 0)
			_, err := c.At(root).Promote(background, remote.Promotion{Key: "k", Run: run1, Live: live, Keep: true, Info: "{}", InPlace: inPlace, Changes: changed})
			if !fired() {
				check(t, err)
				c.Close()
				break
			}
			if err == nil {
				t.Errorf("step %d: killed, but Promote says nothing", n)
			}
			c.Close()
			if recovers(t, nurse, root, live, inPlace) {
				forward++
			} else {
				back++
			}
		}
		t.Logf("in place %v: %d times forward, %d times back", inPlace, forward, back)
		if forward < 3 || back < 3 {
			t.Errorf("in place %v: %d times forward, %d times back", inPlace, forward, back)
		}
	}
}

var changed = []remote.Change{{Kind: 'M', Path: "records.parquet"}, {Kind: 'A', Path: "_views/one/view"}}

// TestPromoteHungUp: what was begun is finished though its connection is gone and the whole process group is hung up.
func TestPromoteHungUp(t *testing.T) {
	t.Parallel()
	shims := t.TempDir()
	arm, fired := shooting(t, shims, "kill -HUP 0")
	deathbed := server(t, remotetest.Options{Env: map[string]string{"PATH": shims + ":" + os.Getenv("PATH")}})
	_, nurse := connect(t)
	for _, inPlace := range []bool{false, true} {
		for n := 1; ; n++ {
			arm(0, false)
			root, live := dataset(t)
			c := open(t, target(deathbed), shell.Options{})
			stage(t, c, root, live, inPlace)
			arm(n, n%2 == 0)
			_, err := c.At(root).Promote(background, remote.Promotion{Key: "k", Run: run1, Live: live, Keep: true, Info: "{}", InPlace: inPlace, Changes: changed})
			c.Close()
			if !fired() {
				check(t, err)
				t.Logf("in place %v: hung up at each of %d calls", inPlace, n-1)
				break
			}
			if !recovers(t, nurse, root, live, inPlace) {
				t.Errorf("in place %v: a hang-up at call %d took it back", inPlace, n)
			}
		}
	}
}

// stage claims, locks and stages.
func stage(t *testing.T, s *shell.Session, root, live string, inPlace bool) {
	t.Helper()
	check(t, s.At(root).Claim(background, "k", time.Second))
	if locked, err := s.Lock(background, live, time.Second, false); err != nil || !locked {
		t.Fatal(locked, err)
	}
	way, err := s.At(root).Stage(background, "k", run1, live, !inPlace)
	check(t, err)
	if way.Exchange == inPlace {
		t.Fatalf("the way is %+v", way)
	}
	dir := root + "/.usr-sync/stage/k/" + run1
	if !inPlace {
		check(t, s.Link(background, live, dir+"/tree", []string{".events.log", "meta.md", "_derived/x/part-1.parquet"}, false))
		check(t, s.Copy(background, live, dir+"/copies", []string{".events.log", "meta.md"}))
	}
	write(t, dir+"/tree/records.parquet", "new records")
	write(t, dir+"/tree/_views/one/view", "view")
}

func recovers(t *testing.T, s *shell.Session, root, live string, inPlace bool) (forward bool) {
	t.Helper()
	check(t, s.At(root).Claim(background, "k", 3*time.Second))
	defer s.Release(background)
	found, err := s.At(root).Recover(background, "k")
	check(t, err)
	forward = found.Forward && found.Run != ""
	if again, err := s.At(root).Recover(background, "k"); err != nil || forward && again != found || !forward && again.Run != "" {
		t.Errorf("Recover again: %+v %v", again, err)
	}
	want := "old records"
	if forward {
		want = "new records"
		kept := root + "/.usr-sync/generations/k/" + run1 + "/tree"
		if contents(t, kept+"/records.parquet") != "old records" || contents(t, live+"/_views/one/view") != "view" {
			t.Error("the generation is not the old tree")
		}
		if !inPlace && contents(t, kept+"/.events.log") != "{1}\n{2}\n" {
			t.Error("the generation lacks the log")
		}
		for _, p := range []string{".events.log", "meta.md"} {
			if !inPlace && sameFile(t, kept+"/"+p, live+"/"+p) {
				t.Errorf("the generation shares %s", p)
			}
		}
	}
	for file, text := range map[string]string{"records.parquet": want, ".events.log": "{1}\n{2}\n", "meta.md": "meta", "_derived/x/part-1.parquet": "part", ".usr.lock": ""} {
		if got := contents(t, live+"/"+file); got != text {
			t.Errorf("%s holds %q, want %q", file, got, text)
		}
	}
	check(t, s.At(root).Settle(background, "k", 1))
	if v, err := surveyOf(s, root, "ns/ds", "k"); err != nil || v.Journal {
		t.Errorf("%+v, %v", v, err)
	}
	return forward
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.Stat(a)
	check(t, err)
	y, err := os.Stat(b)
	check(t, err)
	return os.SameFile(x, y)
}

// TestSwitchTools promotes with each program that can exchange, in place with each that can do that, and with neither.
func TestSwitchTools(t *testing.T) {
	for _, only := range []string{"perl", "python3", "none"} {
		for _, inPlace := range []bool{false, true} {
			if only == "none" && !inPlace {
				continue
			}
			t.Run(fmt.Sprint(only, " in place ", inPlace), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				var hidden []string
				for _, tool := range []string{"perl", "python3", "exch"} {
					if tool != only {
						hidden = append(hidden, tool)
					}
				}
				check(t, remotetest.HidePath(dir, hidden...))
				if only == "python3" {
					os.Remove(filepath.Join(dir, "python3"))
					check(t, os.Symlink("/usr/bin/python3", filepath.Join(dir, "python3")))
				}
				s := server(t, remotetest.Options{Env: map[string]string{"PATH": dir}})
				session := open(t, target(s), shell.Options{})
				root, live := dataset(t)
				if only == "none" {
					check(t, session.At(root).Claim(background, "k", time.Second))
					if way, err := session.At(root).Stage(background, "k", run1, live, true); err != nil || way.Exchange {
						t.Fatalf("%+v, %v", way, err)
					}
					check(t, session.At(root).Remove(background, root+"/.usr-sync/stage/k"))
					check(t, session.Release(background))
				}
				stage(t, session, root, live, inPlace)
				watch := watchFor(live + "/records.parquet")
				_, err := session.At(root).Promote(background, remote.Promotion{Key: "k", Run: run1, Live: live, Keep: true, InPlace: inPlace, Changes: changed})
				check(t, err)
				if gaps := watch(); gaps > 0 {
					t.Errorf("the primary was missing %d times", gaps)
				}
				if got := contents(t, live+"/records.parquet"); got != "new records" {
					t.Errorf("live holds %q", got)
				}
				check(t, session.Locked(background))
				check(t, session.At(root).Settle(background, "k", 1))
				g, err := session.At(root).Generations(background, "k")
				if err != nil || len(g) != 1 || contents(t, g[0].Tree+"/records.parquet") != "old records" {
					t.Errorf("%+v, %v", g, err)
				}
			})
		}
	}
}

// watchFor counts the moments in which a directory is not there.
func watchFor(dir string) (stop func() int) {
	done, count := make(chan struct{}), make(chan int)
	go func() {
		gaps := 0
		for {
			select {
			case <-done:
				count <- gaps
				return
			default:
				if _, err := os.Lstat(dir); err != nil {
					gaps++
				}
			}
		}
	}()
	return func() int { close(done); return <-count }
}

func TestPlaceMany(t *testing.T) {
	_, s := connect(t)
	from, to := t.TempDir(), t.TempDir()
	var paths []string
	for i := range 4000 {
		p := fmt.Sprintf("d%03d/file-%05d.parquet", i%200, i)
		write(t, filepath.Join(from, p), "")
		paths = append(paths, p)
	}
	check(t, os.Mkdir(filepath.Join(from, "empty"), 0o777))
	begin := time.Now()
	check(t, s.Link(background, from, to, append(paths, "empty"), false))
	t.Logf("4000 links in %s", time.Since(begin))
	if !sameFile(t, filepath.Join(from, paths[3999]), filepath.Join(to, paths[3999])) {
		t.Error("not linked")
	}
	begin = time.Now()
	n := 0
	check(t, s.Walk(background, to, func(verify.Entry) { n++ }))
	t.Logf("%d listed in %s", n, time.Since(begin))
	if n != 4000+200+1 {
		t.Errorf("%d entries", n)
	}
	for _, bad := range []string{"../x", "/etc/passwd", "a/../../x", ""} {
		if err := s.Link(background, from, to, []string{bad}, false); err == nil || strings.Contains(err.Error(), "No such file") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
