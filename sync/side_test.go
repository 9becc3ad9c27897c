package sync

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	stdsync "sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/sync/local"
	"github.com/dnadesign-maintainers/usr/verify"
)

// testSide is what every side must do. The side's root must be reachable here under the same path, empty, and
// on a file system with exchange.
func testSide(t *testing.T, s side, root string) {
	for _, b := range slices.Concat(surveyBehaviours, lockBehaviours, fileBehaviours, promoteBehaviours, recoverBehaviours) {
		t.Run(strings.ReplaceAll(b.name, " ", "-"), func(t *testing.T) {
			id := "ns/" + strings.ReplaceAll(b.name, " ", "-")
			d := &bed{T: t, s: s, root: root, id: id, key: stateKey(id), live: filepath.Join(root, id)}
			defer func() { d.must(s.Unlock(context.Background())); d.must(s.Release(context.Background())) }()
			b.check(d)
		})
	}
}

// Names of runs, oldest first.
const (
	run0 = "20260101T000000.000000Z-000000"
	run1 = "20260101T000000.000000Z-000001"
	run2 = "20260101T000000.000000Z-000002"
	run3 = "20260101T000000.000000Z-000003"
)

type behaviour struct {
	name  string
	check func(d *bed)
}

// bed is one dataset of a side, and the ways to look at it past the side.
type bed struct {
	*testing.T
	s                   side
	root, id, key, live string
}

func (d *bed) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

func (d *bed) wantErr(err error, what string) {
	d.Helper()
	if err == nil {
		d.Errorf("%s: no error", what)
	}
}

func (d *bed) write(path, text string) {
	d.Helper()
	d.must(os.MkdirAll(filepath.Dir(path), 0o755))
	d.must(os.WriteFile(path, []byte(text), 0o644))
}

func (d *bed) is(path, want string) {
	d.Helper()
	if b, err := os.ReadFile(path); string(b) != want || err != nil {
		d.Errorf("%s holds %q (%v), want %q", path, b, err, want)
	}
}

// stamped compares times; tools of busybox that set or tell one leave the fraction of the second out.
func (d *bed) stamped(got, want int64) bool {
	return got == want || strings.HasPrefix(d.Name(), "TestBusyBox") && got == want/1e9*1e9
}

func (d *bed) absent(path string) {
	d.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		d.Errorf("%s is there (%v)", path, err)
	}
}

func (d *bed) inode(path string) uint64 {
	d.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); !errors.Is(err, fs.ErrNotExist) {
		d.must(err)
	}
	return st.Ino
}

func (d *bed) rename(from, to string) {
	d.Helper()
	d.must(os.MkdirAll(filepath.Dir(to), 0o755))
	d.must(os.Rename(from, to))
}

func (d *bed) state(elem ...string) string {
	return filepath.Join(append([]string{d.root, stateDir}, elem...)...)
}
func (d *bed) run(run string, elem ...string) string {
	return d.state(append([]string{"stage", d.key, run}, elem...)...)
}
func (d *bed) generation(run string, elem ...string) string {
	return d.state(append([]string{"generations", d.key, run}, elem...)...)
}

func (d *bed) survey() *remote.Survey {
	d.Helper()
	v, err := d.s.Survey(d.Context(), d.id, d.key, "")
	d.must(err)
	return v
}

func (d *bed) lock() {
	d.Helper()
	if ok, err := d.s.Lock(d.Context(), d.live, 5*time.Second, false); err != nil || !ok {
		d.Fatalf("Lock: %v, %v", ok, err)
	}
}

// excluded: another program cannot have the lock of live.
func (d *bed) excluded() bool {
	d.Helper()
	err := exec.Command("flock", "-n", "-E", "42", filepath.Join(d.live, ".usr.lock"), "true").Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 42 {
		return true
	}
	d.must(err)
	return false
}

// holder runs a program that holds a lock until it is told to end.
func (d *bed) holder(argv ...string) (release func()) {
	d.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	in, err := cmd.StdinPipe()
	d.must(err)
	out, err := cmd.StdoutPipe()
	d.must(err)
	d.must(cmd.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		d.Fatalf("%q said %q: %v", argv, line, err)
	}
	var once stdsync.Once
	release = func() {
		once.Do(func() {
			in.Close()
			io.Copy(io.Discard, out)
			cmd.Wait()
		})
	}
	d.Cleanup(release)
	return release
}

func flockCommand(path string) []string {
	return []string{"flock", path, "sh", "-c", "echo held; read x"}
}

func pythonCommand(path string) []string {
	return []string{"python3", "-c", `import fcntl, sys
f = open(sys.argv[1], "a")
fcntl.flock(f, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()`, path}
}

var surveyBehaviours = []behaviour{
	{"survey creates nothing", func(d *bed) {
		v := d.survey()
		real, err := filepath.EvalSymlinks(d.root)
		d.must(err)
		if v.Exists || v.Journal || v.Partial || len(v.Entries)+len(v.Stages) > 0 || v.EventLines != -1 {
			d.Errorf("an absent dataset: %+v", v)
		}
		if v.Live != filepath.Join(real, d.id) || !v.SameFS || v.FreeBytes <= 0 || v.FreeInodes == 0 {
			d.Errorf("live %s, same %v, free %d, %d", v.Live, v.SameFS, v.FreeBytes, v.FreeInodes)
		}
		if _, err := d.s.Generations(d.Context(), d.key); err != nil {
			d.Error(err)
		}
		left, err := os.ReadDir(d.root)
		if len(left) > 0 || err != nil {
			d.Errorf("left behind: %v, %v", left, err)
		}
	}},
	{"survey tells what is there", func(d *bed) {
		before := time.Now()
		d.write(d.live+"/records.parquet", "old")
		d.write(d.live+"/.events.log", "{}\n{}\nhalf")
		d.write(d.live+"/_derived/x", "")
		d.write(d.run("20260101T000000Z-b", "tree", "x"), "")
		d.write(d.run("20250101T000000Z-a", "info"), "")
		d.must(os.MkdirAll(d.run("partial"), 0o755))
		v := d.survey()
		paths := []string{}
		for _, e := range v.Entries {
			paths = append(paths, e.Path+":"+string(rune(e.Kind)))
		}
		if got := strings.Join(paths, " "); got != ".events.log:f _derived:d _derived/x:f records.parquet:f" {
			d.Error(got)
		}
		if !v.Exists || v.EventLines != 2 || v.Partial || !slices.Equal(v.Stages, []string{"20250101T000000Z-a", "20260101T000000Z-b"}) {
			d.Errorf("%+v", v)
		}
		if now := time.Unix(0, v.Now); now.Before(before.Add(-2*time.Second)) || now.After(time.Now()) {
			d.Errorf("Now is %v", now)
		}
		d.write(d.run("partial", "x"), "")
		if !d.survey().Partial {
			d.Error("the partial directory was not seen")
		}
	}},
	{"survey follows a link", func(d *bed) {
		there := filepath.Join(d.TempDir(), "there")
		d.write(there+"/records.parquet", "x")
		d.must(os.MkdirAll(filepath.Dir(d.live), 0o755))
		d.must(os.Symlink(there, d.live))
		defer os.Remove(d.live)
		there, err := filepath.EvalSymlinks(there)
		d.must(err)
		if v := d.survey(); v.Live != there || !v.Exists || len(v.Entries) != 1 {
			d.Errorf("%+v", v)
		}
		d.must(os.Remove(d.live))
		d.must(os.Symlink(there+"/nowhere", d.live))
		_, err = d.s.Survey(d.Context(), d.id, d.key, "")
		d.wantErr(err, "a link that leads nowhere")
	}},
	{"datasets are found", func(d *bed) {
		d.write(d.live+"/records.parquet", "12345")
		d.write(d.live+"/.events.log", "first\nlast\nhalf")
		d.write(d.live+"/_derived/x", "123")
		for _, no := range []string{"archived/a", ".hidden/a", ".hidden", "ns/deep/er", stateDir + "/x"} {
			d.write(filepath.Join(d.root, no, "records.parquet"), "x")
		}
		d.write(d.root+"/flat/records.parquet", "x")
		for _, none := range []string{".usr.lock", "_derived/infer/.sidecar.lock", "a/.usr.lease.x/owner", "a/ids.sqlite-shm", "a/ids.sqlite-wal",
			"a/odd-shm", ".DS_Store", "a/x.tmp", "_artifacts/old/deep/x"} {
			d.write(filepath.Join(d.live, none), "")
		}
		d.write(d.live+"/a/ids.sqlite", "1")
		d.write(d.live+"/a/odd", "1")
		d.write(d.live+"/a/line\nbreak", "1")
		d.write(d.live+"/a/lone-shm", "1")
		classes, err := verify.NewClassifier([]string{"*.tmp", "_artifacts/old"})
		d.must(err)
		all, err := d.s.Datasets(d.Context(), classes)
		d.must(err)
		var ids []string
		for _, i := range all {
			ids = append(ids, i.ID)
			var st unix.Stat_t
			d.must(unix.Stat(d.live+"/records.parquet", &st))
			if i.ID == d.id && (i.Bytes != 27 || i.Files != 7 || i.LastLine != "last" || !d.stamped(i.Mtime, st.Mtim.Nano())) {
				d.Errorf("%+v", i)
			}
		}
		if !slices.Contains(ids, d.id) || !slices.Contains(ids, "flat") || !slices.IsSorted(ids) {
			d.Error(ids)
		}
		for _, id := range ids {
			if id != "flat" && strings.Count(id, "/") != 1 || strings.HasPrefix(id, ".") || strings.HasPrefix(id, "archived") {
				d.Error(id)
			}
		}
	}},
}

var lockBehaviours = []behaviour{
	{"lock excludes flock", func(d *bed) { lockExcludes(d, flockCommand) }},
	{"lock excludes python", func(d *bed) { lockExcludes(d, pythonCommand) }},
	{"lock follows a replaced file", func(d *bed) {
		path := d.live + "/.usr.lock"
		d.write(path, "")
		release := d.holder(flockCommand(path)...)
		time.AfterFunc(200*time.Millisecond, func() {
			os.WriteFile(path+".new", nil, 0o644)
			os.Rename(path+".new", path)
			release()
		})
		d.lock()
		d.must(d.s.Locked(d.Context()))
		if !d.excluded() {
			d.Error("the lock is on a file that is not there any more")
		}
		d.must(os.Remove(path))
		d.wantErr(d.s.Locked(d.Context()), "Locked without a lock file")
	}},
	{"lock keeps the file", func(d *bed) {
		d.write(d.live+"/.usr.lock", "theirs")
		inode := d.inode(d.live + "/.usr.lock")
		d.lock()
		d.must(d.s.Unlock(d.Context()))
		d.must(d.s.Unlock(d.Context()))
		d.is(d.live+"/.usr.lock", "theirs")
		if d.inode(d.live+"/.usr.lock") != inode {
			d.Error("another inode")
		}
		d.wantErr(d.s.Locked(d.Context()), "Locked after Unlock")
		_, err := d.s.Lock(d.Context(), d.live+"-absent", time.Second, true)
		d.wantErr(err, "locking what is absent")
	}},
	{"lock may be missing where only read", func(d *bed) {
		dir := map[string]string{"linux": "/sys/kernel", "darwin": "/System"}[runtime.GOOS] // nobody writes there
		if ok, err := d.s.Lock(d.Context(), dir, time.Second, true); ok || err != nil {
			d.Errorf("readOnly: %v, %v", ok, err)
		}
		_, err := d.s.Lock(d.Context(), dir, time.Second, false)
		d.wantErr(err, "not readOnly")
	}},
	{"claim is exclusive and makes the state", func(d *bed) {
		d.must(os.RemoveAll(d.state()))
		d.must(d.s.Claim(d.Context(), d.key, 0))
		d.is(d.state(".gitignore"), "*\n")
		var st unix.Stat_t
		err := unix.Stat(d.state(), &st)
		d.must(err)
		if uint32(st.Mode)&0o777 != 0o700 {
			d.Errorf("mode %o", st.Mode)
		}
		file := d.state("journal", d.key+".lock")
		if err := exec.Command("flock", "-n", file, "true").Run(); err == nil {
			d.Error("the claim locks nothing")
		}
		d.must(d.s.Release(d.Context()))
		d.must(d.s.Release(d.Context()))
		release := d.holder(flockCommand(file)...)
		var locked *remote.LockError
		if err := d.s.Claim(d.Context(), d.key, 0); !errors.As(err, &locked) {
			d.Errorf("a claim of another: %v", err)
		}
		release()
		d.must(d.s.Claim(d.Context(), d.key, 5*time.Second))
		if d.survey().Journal {
			d.Error("a claim is no journal")
		}
	}},
	{"claim is needed", func(d *bed) {
		d.write(d.live+"/records.parquet", "old")
		d.lock()
		_, err := d.s.Recover(d.Context(), d.key)
		d.wantErr(err, "Recover")
		d.wantErr(second(d.s.Stage(d.Context(), d.key, run1, d.live, false)), "Stage")
		d.wantErr(second(d.s.Promote(d.Context(), remote.Promotion{Key: d.key, Run: run1, Live: d.live})), "Promote")
		d.is(d.live+"/records.parquet", "old")
	}},
}

func lockExcludes(d *bed, command func(string) []string) {
	path := d.live + "/.usr.lock"
	d.write(path, "")
	release := d.holder(command(path)...)
	begin := time.Now()
	_, err := d.s.Lock(d.Context(), d.live, 300*time.Millisecond, false)
	var locked *remote.LockError
	if !errors.As(err, &locked) || locked.Path != path || locked.Waited < 200*time.Millisecond {
		d.Errorf("%v: %+v", err, locked)
	}
	if waited := time.Since(begin); waited > 5*time.Second {
		d.Errorf("waited %v", waited)
	}
	time.AfterFunc(200*time.Millisecond, release)
	d.lock()
	if !d.excluded() {
		d.Error("locked, but another program has the lock as well")
	}
	d.must(d.s.Unlock(d.Context()))
	if d.excluded() {
		d.Error("still locked after Unlock")
	}
}

func TestLocalSide(t *testing.T) {
	root := t.TempDir()
	if unix.Access(root, unix.W_OK) != nil {
		t.Fatal("cannot write to ", root)
	}
	s := local.New("local", root, nil)
	testSide(t, s, root)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// entries is a manifest of directories for SetDirs.
func entries(mode uint16, paths ...string) (dirs []verify.Entry) {
	for _, p := range paths {
		dirs = append(dirs, verify.Entry{Path: p, Kind: verify.Directory, Mode: mode, Gid: uint32(os.Getegid())})
	}
	return dirs
}
