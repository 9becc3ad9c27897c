package sync_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

const plantedRun = "20260101T000000.000000Z-00000f"

// home is a person's directory that a link may lead to. Some of its names are those that usr uses.
func (r *rig) home() string {
	r.Helper()
	home := r.TempDir()
	for _, path := range []string{"thesis/chapter", ".ssh/authorized_keys", "tree/records.parquet", "partial/x", "info",
		plantedRun + "/tree/records.parquet", faultKey + "/" + plantedRun + "/tree/x", faultKey + "/thesis/chapter",
		"stage/" + faultKey + "/" + plantedRun + "/tree/x", "generations/" + faultKey + "/" + plantedRun + "/tree/x"} {
		r.must(replaceFile(filepath.Join(home, path), "mine: "+path))
	}
	return home
}

// everything is what can be seen of a directory.
func (r *rig) everything(dir string) map[string]string {
	r.Helper()
	found := map[string]string{}
	r.must(filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		said := fi.Mode().String() + fi.ModTime().Format(time.RFC3339Nano)
		if fi.Mode().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			said += string(text)
		}
		found[path] = said
		return nil
	}))
	return found
}

// plant puts something in the place of what is at a path; the way back is returned.
func (r *rig) plant(path string, put func(path string) error) (back func()) {
	r.Helper()
	aside := filepath.Join(r.TempDir(), "aside")
	r.must(os.MkdirAll(filepath.Dir(path), 0o755))
	moved := os.Rename(path, aside)
	if moved != nil && !errors.Is(moved, fs.ErrNotExist) {
		r.Fatal(moved)
	}
	r.must(put(path))
	return func() {
		r.must(os.Remove(path))
		if moved == nil {
			r.must(os.Rename(aside, path))
		}
	}
}

// TestFaultPlantedLink: whatever of the state directory, or of the locks, is a symlink to somebody's home, or a fifo, is
// refused by name, and nothing is read, written or removed behind it.
func TestFaultPlantedLink(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
		r := emptyRig(t, d)
		if ssh {
			r.overSSH(remotetest.Options{})
		}
		for v := 1; v <= 2; v++ {
			r.write(r.src(), v)
			r.transferred()
		}
		r.write(r.src(), 3)
		home := r.home()
		was := r.everything(home)
		attempts := map[string]func() error{
			"transfer": func() error { _, err := r.run(d, modes()); return err },
			"undo":     func() error { _, err := r.undo(modes()); return err },
		}
		refused := func(path, is string, put func(string) error) {
			back := r.plant(path, put)
			for name, attempt := range attempts {
				var planted *remote.PlantedError
				var unsafe *sync.UnsafeError
				err := attempt()
				switch {
				case errors.As(err, &planted) && planted.Path == path && planted.Is == is:
				case errors.As(err, &unsafe) && filepath.Dir(path) == r.dst() && name == "transfer":
				default:
					t.Errorf("%s with %s at %s: %v", name, is, path, err)
				}
				if diff := cmp.Diff(was, r.everything(home)); diff != "" {
					t.Fatalf("%s with a link at %s (-was +is):\n%s", name, path, diff)
				}
			}
			back()
			r.is(r.dst(), 2)
		}
		link := func(path string) error { return os.Symlink(home, path) }
		linkFile := func(path string) error { return os.Symlink(home+"/.ssh/authorized_keys", path) }
		linkNew := func(path string) error { return os.Symlink(home+"/.ssh/rc", path) }
		fifo := func(path string) error { return syscall.Mkfifo(path, 0o666) }
		for _, dir := range []string{"", "stage", "stage/" + faultKey, "stage/" + faultKey + "/partial", "generations", "generations/" + faultKey, "journal"} {
			refused(r.state(dir), "a symbolic link", link)
		}
		for _, file := range []string{r.state("journal", faultKey), r.state("journal", faultKey+".lock"), filepath.Join(r.dst(), ".usr.lock")} {
			refused(file, "a symbolic link", linkFile)
			refused(file, "a symbolic link", linkNew)
			refused(file, "a fifo", fifo)
		}
		delete(attempts, "undo") // takes no notice of .events.lock, and does not follow it
		refused(filepath.Join(r.dst(), ".events.lock"), "a symbolic link", linkNew)
		os.Remove(r.state("stage", faultKey))
		r.next(3)
	})
}

// TestFaultPlantedStore: what this host remembers is neither written nor read where a link leads.
func TestFaultPlantedStore(t *testing.T) {
	both(t, func(t *testing.T, d sync.Direction) {
		for _, name := range []string{"base", "base/lab", "base/lab/" + faultKey, "base/lab/" + faultKey + "%pending%new", "cache", "cache/local",
			"log", "log/sync.jsonl", "store.lock"} {
			r := newRig(t, d)
			r.write(r.src(), 2)
			home := r.home()
			was := r.everything(home)
			to := home
			if strings.ContainsAny(name, "%.") {
				to += "/.ssh/authorized_keys"
			}
			r.plant(filepath.Join(r.local, ".usr-sync", name), func(path string) error { return os.Symlink(to, path) })
			_, err := r.run(d, modes())
			if diff := cmp.Diff(was, r.everything(home)); diff != "" {
				t.Fatalf("a link at %s, %v (-was +is):\n%s", name, err, diff)
			}
			t.Logf("%s: %v", name, err)
		}
	})
}

// TestFaultPlantedRun: links and people's own files among runs are passed over.
func TestFaultPlantedRun(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
		r := emptyRig(t, d)
		if ssh {
			r.overSSH(remotetest.Options{})
		}
		for v := 1; v <= 2; v++ {
			r.write(r.src(), v)
			r.transferred()
		}
		kept, err := filepath.Glob(r.state("generations", faultKey, "*"))
		if err != nil || len(kept) != 1 {
			t.Fatal(kept, err)
		}
		home := r.home()
		was := r.everything(home)
		own := []string{r.state("generations", "README"), r.state("generations", faultKey, "notes", "tree", "x"), filepath.Join(kept[0], "mine"),
			r.state("generations", faultKey, "thesis"), r.state("stage", faultKey, "mine", "x")}
		for _, path := range own {
			r.must(replaceFile(path, "my own"))
		}
		r.must(os.Symlink(home, r.state("generations", faultKey, plantedRun)))
		r.must(os.Symlink(home, r.state("stage", faultKey, plantedRun)))
		// Where the fresh files of a promotion are made.
		r.must(os.Symlink(home+"/.ssh/authorized_keys", r.state("journal", faultKey+".tmp")))
		r.must(os.Symlink(home+"/.ssh/authorized_keys", r.state("journal", faultKey+"%new")))
		for v := 3; v <= 5; v++ {
			r.write(r.src(), v)
			r.transferred()
			r.is(r.dst(), v)
			if diff := cmp.Diff(was, r.everything(home)); diff != "" {
				t.Fatalf("version %d (-was +is):\n%s", v, diff)
			}
		}
		for _, path := range own {
			if text, err := os.ReadFile(path); err != nil || string(text) != "my own" {
				t.Errorf("%q, %v", text, err)
			}
		}
		if _, err := os.Lstat(filepath.Join(kept[0], "tree")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the old generation was not pruned: %v", err)
		}
		_, err = r.undo(modes())
		r.must(err)
		r.is(r.dst(), 4)
		if diff := cmp.Diff(was, r.everything(home)); diff != "" {
			t.Fatalf("undo (-was +is):\n%s", diff)
		}
	})
}

// TestFaultPlantedLate: a link that takes the place of a directory while a transfer is under way is not followed.
func TestFaultPlantedLate(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
		first := emptyRig(t, d)
		if ssh {
			first.overSSH(remotetest.Options{})
		}
		reached := first.profile
		for _, late := range []struct {
			step sync.Step
			path func(r *rig) string
		}{
			{sync.StepLink, func(r *rig) string { return r.runUnderWay() }},
			{sync.StepLink, func(r *rig) string { return r.runUnderWay() + "/tree" }},
			{sync.StepLink, func(r *rig) string { return r.runUnderWay() + "/copies" }},
			{sync.StepPromote, func(r *rig) string { return r.runUnderWay() + "/tree" }},
			{sync.StepPromote, func(r *rig) string { return r.state("journal") }},
			{sync.StepPromote, func(r *rig) string { return r.state("generations", faultKey) }},
			{sync.StepSettle, func(r *rig) string { return r.state("generations", faultKey) }},
			{sync.StepSettle, func(r *rig) string { return r.state("stage") }},
		} {
			r := emptyRig(t, d)
			r.profile.Type, r.profile.Host, r.profile.SSHConfig = reached.Type, reached.Host, reached.SSHConfig
			for v := 1; v <= 2; v++ {
				r.write(r.src(), v)
				r.transferred()
			}
			r.write(r.src(), 3)
			home := r.home()
			was := r.everything(home)
			var path string
			r.observe = func(e sync.Event) {
				if begun, ok := e.(sync.StepBegan); ok && begun.Step == late.step && path == "" {
					path = late.path(r)
					r.plant(path, func(path string) error { return os.Symlink(home, path) })
				}
			}
			_, err := r.run(d, modes())
			if diff := cmp.Diff(was, r.everything(home)); diff != "" {
				t.Fatalf("%s at %s, %v (-was +is):\n%s", late.step, path, err, diff)
			}
			var planted *remote.PlantedError
			refused := errors.As(err, &planted)
			if late.step == sync.StepSettle { // it is promoted by then, which stays so
				refused = err == nil && r.warned("symbolic link")
			}
			if path == "" || !refused {
				t.Errorf("%s at %s: %v", late.step, path, err)
			}
			if v := r.is(r.dst(), 2, 3); late.step == sync.StepLink && v != 2 {
				t.Errorf("%s at %s: promoted", late.step, path)
			}
		}
	})
}

// runUnderWay is the one run directory of the stage.
func (r *rig) runUnderWay() string {
	r.Helper()
	runs, err := filepath.Glob(r.state("stage", faultKey, "2*"))
	if err != nil || len(runs) != 1 || strings.HasSuffix(runs[0], plantedRun) {
		r.Fatal(runs, err)
	}
	return runs[0]
}
