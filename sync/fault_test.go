package sync_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	stdsync "sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnadesign-maintainers/usr/profiles"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
	"github.com/dnadesign-maintainers/usr/verify"
)

// The fault tests break transfers on purpose and look at what is left. A transfer that is to be killed runs in a
// child: this test binary, started again with a job in its environment. Nothing of this is in the program itself;
// the child stops itself where the engine tells its observer that a step begins or ends.

// longFaults says whether the long form was asked for: USR_FAULTS=long (docs/faults.md).
func longFaults() bool { return os.Getenv("USR_FAULTS") == "long" }

// shortOr is a number of repetitions.
func shortOr(short, long int) int {
	if longFaults() {
		return long
	}
	return short
}

// rig is a dataset on two sides, in numbered versions that are whole trees.
type rig struct {
	*testing.T
	local, remote string // roots
	direction     sync.Direction
	profile       profiles.Remote
	options       func(*sync.Options)
	observe       func(sync.Event)
	mu            stdsync.Mutex
	warnings      []string
	spareFrom     int // 0: as by default
}

// newRig has version 1 on both sides, transferred in the direction.
func newRig(t *testing.T, d sync.Direction) *rig {
	t.Helper()
	r := emptyRig(t, d)
	r.write(r.src(), 1)
	r.transferred()
	return r
}

func emptyRig(t *testing.T, d sync.Direction) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{T: t, local: filepath.Join(dir, "local"), remote: filepath.Join(dir, "remote"), direction: d}
	for _, root := range []string{r.local, r.remote} {
		r.must(os.MkdirAll(root, 0o755))
	}
	r.profile = profiles.Default("lab")
	r.profile.Type, r.profile.BaseDir = profiles.Local, r.remote
	return r
}

// overSSH reaches the remote through a private sshd from now on.
func (r *rig) overSSH(o remotetest.Options) *remotetest.Server {
	r.Helper()
	s, err := remotetest.Start(r.TempDir(), o)
	r.must(err)
	r.Cleanup(s.Stop)
	r.profile.Type, r.profile.Host, r.profile.SSHConfig = profiles.SSH, remotetest.Alias, s.ConfigFile()
	return s
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

const faultID = "ns/faults"

func (r *rig) src() string {
	if r.direction == sync.Push {
		return filepath.Join(r.local, faultID)
	}
	return filepath.Join(r.remote, faultID)
}

func (r *rig) dst() string {
	if r.direction == sync.Push {
		return filepath.Join(r.remote, faultID)
	}
	return filepath.Join(r.local, faultID)
}

// state is a path in the state directory of the destination.
func (r *rig) state(elem ...string) string {
	root := strings.TrimSuffix(r.dst(), "/"+faultID)
	return filepath.Join(append([]string{root, ".usr-sync"}, elem...)...)
}

const faultKey = "ns%2Ffaults"

// tree is version v: every file names its version, but for one that never changes and those that record history.
func tree(v int) map[string]string {
	files := map[string]string{
		"records.parquet":                  fmt.Sprintf("primary %d\n%s", v, strings.Repeat("row\n", 3000)),
		"meta.md":                          fmt.Sprintf("meta %d\n", v),
		"_artifacts/plot.svg":              fmt.Sprintf("plot %d\n", v),
		"_artifacts/constant":              "constant\n",
		"_derived/same/part-0.parquet":     "constant\n",
		fmt.Sprintf("_views/view-%d", v):   fmt.Sprintf("view %d\n", v),
		"_registry/odd [name] ü\t.yaml":    fmt.Sprintf("registry %d\n", v),
		"_derived/changing/part-0.parquet": fmt.Sprintf("derived %d\n", v),
	}
	for i := max(1, v-2); i <= v; i++ {
		files[fmt.Sprintf("_snapshots/records-20260101T%06d.parquet", i)] = fmt.Sprintf("snapshot %d\n", i)
	}
	for i := 1; i <= v; i++ {
		files[".events.log"] += event(i)
	}
	return files
}

func event(v int) string { return fmt.Sprintf("{\"version\": %d}\n", v) }

// write turns a dataset into a version as its writers would: the log is appended to, everything else replaced.
func (r *rig) write(dir string, v int) {
	r.Helper()
	want, have := tree(v), r.content(dir)
	for path, text := range want {
		if old, there := have[path]; there && old == text {
			continue
		} else if there && path == ".events.log" && strings.HasPrefix(text, old) {
			r.must(appendTo(filepath.Join(dir, path), text[len(old):]))
			continue
		}
		r.must(replaceFile(filepath.Join(dir, path), text))
	}
	for path := range have {
		if _, stays := want[path]; !stays {
			r.must(os.Remove(filepath.Join(dir, path)))
		}
	}
}

func replaceFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".tmp", []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

// content reads all synchronized files; nil if there is no directory.
func (r *rig) content(dir string) map[string]string {
	r.Helper()
	files, err := readTree(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		r.must(err)
	}
	return files
}

var faultClasses, _ = verify.NewClassifier(nil)

// readTree reads one tree even if dir is exchanged for another meanwhile.
func readTree(dir string) (map[string]string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	files := map[string]string{}
	err = fs.WalkDir(root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !faultClasses.Class(path).Synced() || !e.Type().IsRegular() {
			return err
		}
		text, err := fs.ReadFile(root.FS(), path)
		files[path] = string(text)
		return err
	})
	return files, err
}

// is fails unless the dataset is exactly one of the versions; 0 stands for none at all.
func (r *rig) is(dir string, versions ...int) int {
	r.Helper()
	have := r.content(dir)
	for _, v := range versions {
		if (v == 0 && have == nil) || (v > 0 && cmp.Equal(have, tree(v))) {
			return v
		}
	}
	r.Fatalf("%s is none of the versions %v (-want +got):\n%s", dir, versions, cmp.Diff(tree(versions[len(versions)-1]), have))
	return 0
}

func (r *rig) open() *sync.Pair {
	r.Helper()
	o := sync.Options{Root: r.local, RetryPauses: []time.Duration{5 * time.Millisecond, 20 * time.Millisecond, 80 * time.Millisecond}}
	o.Observe = func(e sync.Event) {
		if w, ok := e.(sync.Warned); ok {
			r.mu.Lock()
			r.warnings = append(r.warnings, w.Text)
			r.mu.Unlock()
		}
		if r.observe != nil {
			r.observe(e)
		}
	}
	if r.options != nil {
		r.options(&o)
	}
	p, err := sync.Open(context.Background(), o, &r.profile, sync.Reach{Getenv: os.Getenv, Stderr: os.Stderr})
	r.must(err)
	if r.spareFrom > 0 {
		p.SetSpareFrom(r.spareFrom)
	}
	return p
}

func (r *rig) run(d sync.Direction, m sync.Modes) (*sync.Report, error) {
	r.Helper()
	p := r.open()
	defer p.Close()
	return p.Transfer(context.Background(), faultID, d, m)
}

// transferred runs an undisturbed transfer in the rig's direction.
func (r *rig) transferred() *sync.Report {
	r.Helper()
	rep, err := r.run(r.direction, modes())
	r.must(err)
	return rep
}

// next is what has to hold of the run after a fault: it succeeds, both sides are the source's version, and nothing
// of the dead run remains. Then the version after that must be recognized as a plain step ahead.
func (r *rig) next(v int) {
	r.Helper()
	r.transferred()
	r.is(r.src(), v)
	r.is(r.dst(), v)
	r.clean()
	r.write(r.src(), v+1)
	want := sync.LocalBehind
	if r.direction == sync.Push {
		want = sync.LocalAhead
	}
	if rep := r.diff(); rep.Relation != want || len(rep.Changes) == 0 {
		r.Fatalf("relation %s with %d changes, want %s", rep.Relation, len(rep.Changes), want)
	}
}

func (r *rig) diff() *sync.Report {
	r.Helper()
	p := r.open()
	defer p.Close()
	rep, err := p.Diff(context.Background(), faultID, modes())
	r.must(err)
	return rep
}

// clean: no stage, partial file, journal, pending base or held lock is left on either side.
func (r *rig) clean() {
	r.Helper()
	for _, root := range []string{r.local, r.remote} {
		filepath.WalkDir(filepath.Join(root, ".usr-sync"), func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			rel, _ := filepath.Rel(root, path)
			below, _ := os.ReadDir(path)
			switch {
			case strings.HasPrefix(rel, ".usr-sync/generations/"+faultKey+"/"):
				return fs.SkipDir
			case rel == ".usr-sync/stage/"+faultKey && len(below) == 0: // died on making or removing it
			case strings.HasPrefix(rel, ".usr-sync/stage/"), strings.HasPrefix(rel, ".usr-sync/journal/") && !strings.HasSuffix(rel, ".lock"),
				strings.Contains(rel, "%pending"), strings.HasSuffix(rel, "%new"):
				r.Errorf("left behind: %s", path)
			case strings.HasSuffix(rel, ".lock"):
				r.free(path)
			}
			return nil
		})
		r.free(filepath.Join(root, faultID, ".usr.lock"))
	}
}

// free: the lock can be had within two seconds.
func (r *rig) free(path string) {
	r.Helper()
	if _, err := os.Stat(path); err != nil {
		return
	}
	if out, err := exec.Command("flock", "-w", "2", path, "true").CombinedOutput(); err != nil {
		r.Errorf("%s is still locked: %v %s", path, err, out)
	}
}

// warned reports whether something was said that contains the text.
func (r *rig) warned(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.warnings, func(w string) bool { return strings.Contains(w, text) })
}

// everyWay runs a test locally and over ssh, in both directions, all at once.
func everyWay(t *testing.T, f func(t *testing.T, d sync.Direction, ssh bool)) {
	t.Parallel()
	for _, over := range []string{"local", "ssh"} {
		both(t, func(t *testing.T, d sync.Direction) {
			t.Run(over, func(t *testing.T) {
				t.Parallel()
				f(t, d, over == "ssh")
			})
		})
	}
}

// both runs a test for either direction.
func both(t *testing.T, f func(t *testing.T, d sync.Direction)) {
	for _, d := range []sync.Direction{sync.Pull, sync.Push} {
		t.Run(string(d), func(t *testing.T) { f(t, d) })
	}
}
