package rsync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
)

// bed is a source, a live tree and a fresh stage below a directory with an awkward name.
type bed struct{ src, live, stage string }

func newBed(t testing.TB) bed {
	t.Helper()
	top := filepath.Join(t.TempDir(), "it's a:b")
	b := bed{filepath.Join(top, "src"), filepath.Join(top, "live"), filepath.Join(top, "stage")}
	for _, dir := range []string{b.src, b.live, b.stage} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func put(t testing.TB, file string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// noise returns n bytes without any pattern.
func noise(n int) []byte {
	data := make([]byte, n)
	rand.New(rand.NewSource(int64(n))).Read(data)
	return data
}

func same(t *testing.T, a, b string) {
	t.Helper()
	x, err1 := os.ReadFile(a)
	y, err2 := os.ReadFile(b)
	if err1 != nil || err2 != nil || !bytes.Equal(x, y) {
		t.Errorf("%q and %q differ: %v %v", a, b, err1, err2)
	}
}

// clusterEnd is an remote.Endpoint over a real sshd. Its ssh makes a connection of its own, which is enough here.
func clusterEnd(t *testing.T, o remotetest.Options) (remote.Endpoint, *remotetest.Server) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "s p'a")
	s, err := remotetest.Start(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, `con"fig`) // spaces and quotes must survive rsync's own splitting of -e
	if err := os.Symlink(s.ConfigFile(), config); err != nil {
		t.Fatal(err)
	}
	return remote.Endpoint{Host: remotetest.Alias, Shell: []string{"ssh", "-F", config, "-o", "BatchMode=yes"}}, s
}

// TestHostileNames: what is listed arrives, byte for byte, and is told by its real name; nothing else moves.
func TestHostileNames(t *testing.T) {
	far, _ := clusterEnd(t, remotetest.Options{})
	for name, ends := range map[string]Transfer{"local": {}, "pull": {From: far}, "push": {To: far}, "push, listed there": {To: far, List: "names"}} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			names := slices.Clone(hostileNames)
			for _, n := range hostileNames {
				if len(n) < 50 {
					names = append(names, "in "+n+"/"+n)
				}
			}
			for _, n := range names {
				put(t, filepath.Join(b.src, n), []byte("content of "+n))
			}
			put(t, filepath.Join(b.src, "unlisted"), []byte("x"))
			put(t, filepath.Join(b.src, "emptydir/inner"), []byte("x"))
			told := map[string]int{}
			tr := ends
			tr.FromDir, tr.ToDir, tr.Basis, tr.PartialDir = b.src, b.stage, []string{b.live}, ".partial"
			tr.Files = append(names, "emptydir")
			if tr.List != "" {
				tr.List = filepath.Join(filepath.Dir(b.src), tr.List)
				put(t, tr.List, []byte(strings.Join(tr.Files, "\x00")+"\x00"))
			}
			tr.Done = func(it Item) {
				told[it.Path]++
				if _, err := os.Stat(filepath.Join(b.stage, it.Path)); name == "pull" && err != nil {
					t.Errorf("told before it was there: %v", err)
				}
			}
			stats, err := tr.Run(t.Context())
			if err != nil || stats.Sent == 0 || stats.Received == 0 {
				t.Fatalf("%+v %v", stats, err)
			}
			for _, n := range names {
				same(t, filepath.Join(b.src, n), filepath.Join(b.stage, n))
				if told[n] != 1 {
					t.Errorf("%q was told %d times", n, told[n])
				}
			}
			if len(told) != len(names) {
				t.Errorf("told %q", slices.Sorted(maps.Keys(told)))
			}
			if _, err := os.Stat(filepath.Join(b.stage, "unlisted")); err == nil {
				t.Error("a file that was not listed was sent")
			}
			if list, err := os.ReadDir(filepath.Join(b.stage, "emptydir")); err != nil || len(list) != 0 {
				t.Errorf("a listed directory: %v %v", list, err)
			}
		})
	}
}

// TestBasisIsNeverLinked: live serves as delta basis; staged files are other inodes; mode is that of creating them.
func TestBasisIsNeverLinked(t *testing.T) {
	far, _ := clusterEnd(t, remotetest.Options{})
	for name, ends := range map[string]Transfer{"pull": {From: far}, "push": {To: far}} {
		b := newBed(t)
		data := noise(5 << 20)
		put(t, filepath.Join(b.live, "f"), data)
		put(t, filepath.Join(b.live, "same"), []byte("same"))
		data[1<<20]++
		put(t, filepath.Join(b.src, "f"), data)
		put(t, filepath.Join(b.src, "same"), []byte("same"))
		stamp := time.Unix(1700000000, 123456789)
		for _, f := range []string{filepath.Join(b.src, "same"), filepath.Join(b.live, "same"), filepath.Join(b.src, "f")} {
			if err := os.Chtimes(f, stamp, stamp); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(filepath.Join(b.src, "f"), 0o600); err != nil {
			t.Fatal(err)
		}
		tr := ends
		tr.FromDir, tr.ToDir, tr.Basis, tr.Files = b.src, b.stage, []string{b.live}, []string{"f", "same"}
		stats, err := tr.Run(t.Context())
		if err != nil || stats.Sent+stats.Received > 200_000 {
			t.Errorf("%s: %+v %v", name, stats, err)
		}
		same(t, filepath.Join(b.src, "f"), filepath.Join(b.stage, "f"))
		info, err := os.Stat(filepath.Join(b.stage, "f"))
		if err != nil || !info.ModTime().Equal(stamp) || info.Mode() != plainMode(t, b.stage) {
			t.Errorf("%s: %v %v %v", name, err, info.ModTime(), info.Mode())
		}
		if info, err := os.Stat(filepath.Join(b.stage, "same")); err != nil || info.Sys().(*syscall.Stat_t).Nlink != 1 {
			t.Errorf("%s: linked to live: %v", name, err)
		}
	}
}

// plainMode is what creating a file gives here.
func plainMode(t *testing.T, dir string) os.FileMode {
	f, err := os.OpenFile(filepath.Join(dir, "plain mode"), os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

// TestCancelKeepsPartial: a cancelled transfer leaves no process and a partial file that the next one goes on from.
func TestCancelKeepsPartial(t *testing.T) {
	t.Parallel()
	far, _ := clusterEnd(t, remotetest.Options{})
	for name, ends := range map[string]Transfer{"pull": {From: far}, "push": {To: far}} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			const size = 24 << 20
			put(t, filepath.Join(b.src, "sub/big"), noise(size))
			tr := ends
			tr.FromDir, tr.ToDir, tr.PartialDir, tr.Files, tr.Bwlimit = b.src, b.stage, ".partial", []string{"sub/big"}, "6m"
			ctx, cancel := context.WithCancel(t.Context())
			var cancelled time.Time
			tr.Progress = func(n int64) {
				if n > size/4 && cancelled.IsZero() {
					cancelled = time.Now()
					cancel()
				}
			}
			_, err := tr.Run(ctx)
			if took := time.Since(cancelled); !errors.Is(err, context.Canceled) || took > termGrace {
				t.Fatalf("%v after %v", err, took)
			}
			noProcessWith(t, b.stage)
			partial := awaitFile(t, filepath.Join(b.stage, "sub", ".partial", "big"))
			if partial < size/8 || partial >= size {
				t.Fatalf("partial file of %d bytes", partial)
			}
			tr.ToDir, tr.Bwlimit, tr.Progress = b.stage+"2", "", nil
			if err := os.MkdirAll(tr.ToDir+"/sub", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(b.stage+"/sub/.partial", tr.ToDir+"/sub/.partial"); err != nil {
				t.Fatal(err)
			}
			stats, err := tr.Run(t.Context())
			if err != nil || stats.Sent+stats.Received > size-partial+size/8 {
				t.Errorf("resuming after %d bytes: %+v %v", partial, stats, err)
			}
			same(t, filepath.Join(b.src, "sub/big"), filepath.Join(tr.ToDir, "sub/big"))
		})
	}
}

// awaitFile waits for the far receiver of a broken push to notice.
func awaitFile(t *testing.T, file string) int64 {
	t.Helper()
	for range 100 {
		if info, err := os.Stat(file); err == nil {
			return info.Size()
		}
		time.Sleep(30 * time.Millisecond)
	}
	t.Fatalf("no %s", file)
	return 0
}

// noProcessWith fails if a process of ours, other than the far end's, still has text in its arguments.
func noProcessWith(t *testing.T, text string) {
	t.Helper()
	out, err := exec.Command("ps", "-e", "-o", "pid=,stat=,args=").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, text) && !strings.Contains(line, "--server") && !strings.Contains(strings.Fields(line)[1], "Z") {
			t.Errorf("still there: %s", line)
		}
	}
}

// TestLeaderKilled: rsync's parent dies alone (out of memory); its receiver would write on.
func TestLeaderKilled(t *testing.T) {
	b := newBed(t)
	put(t, filepath.Join(b.src, "big"), noise(64<<20))
	tr := Transfer{FromDir: b.src, ToDir: b.stage, PartialDir: ".partial", Files: []string{"big"}, Bwlimit: "4m"}
	tr.Progress = func(int64) {
		out, err := exec.Command("ps", "-e", "-o", "pid=,pgid=,args=").Output()
		if err != nil {
			t.Error(err)
		}
		for line := range strings.Lines(string(out)) {
			var pid, group int
			_, _ = fmt.Sscan(line, &pid, &group)
			if pid == group && strings.Contains(line, "--bwlimit=4m") && strings.Contains(line, b.stage) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	_, err := tr.Run(t.Context())
	var e *Error
	if !errors.As(err, &e) || e.Code != 137 || e.Transient() {
		t.Errorf("%v", err)
	}
	noProcessWith(t, b.stage)
}

func TestStall(t *testing.T) {
	far, server := clusterEnd(t, remotetest.Options{})
	b := newBed(t)
	put(t, filepath.Join(b.src, "big"), noise(64<<20))
	frozen := false
	tr := Transfer{From: far, FromDir: b.src, ToDir: b.stage, PartialDir: ".partial", Files: []string{"big"}, Bwlimit: "4m", Stall: 2500 * time.Millisecond}
	tr.Progress = func(int64) {
		if !frozen {
			frozen = true
			server.Freeze()
		}
	}
	_, err := tr.Run(t.Context())
	server.Thaw()
	var e *Error
	if !errors.As(err, &e) || !e.Stalled || !e.Transient() || errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	noProcessWith(t, b.stage)
}

func TestSlowCallbackIsNoStall(t *testing.T) {
	b := newBed(t)
	put(t, filepath.Join(b.src, "f"), []byte("x"))
	tr := Transfer{FromDir: b.src, ToDir: b.stage, Files: []string{"f"}, Stall: time.Second, Done: func(Item) { time.Sleep(1500 * time.Millisecond) }}
	if _, err := tr.Run(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRunErrors(t *testing.T) {
	far, _ := clusterEnd(t, remotetest.Options{})
	missing := far
	missing.RsyncPath = "/nowhere/rsync"
	chatty, _ := clusterEnd(t, remotetest.Options{Noise: "Welcome\n"})
	unknown := far
	unknown.Host = "nosuchhost.invalid"
	b := newBed(t)
	put(t, filepath.Join(b.src, "f"), []byte("x"))
	for name, c := range map[string]struct {
		t     Transfer
		check func(*Error) bool
	}{
		"vanished":     {Transfer{From: far, FromDir: b.src, Files: []string{"f", "gone"}}, (*Error).Vanished},
		"all vanished": {Transfer{To: far, FromDir: b.src, Files: []string{"gone", "gone too"}}, (*Error).Vanished},
		"no rsync":     {Transfer{From: missing, FromDir: b.src, Files: []string{"f"}}, func(e *Error) bool { return e.ToolMissing() && !e.Transient() }},
		"no host":      {Transfer{From: unknown, FromDir: b.src, Files: []string{"f"}}, (*Error).Transient},
		"noise":        {Transfer{From: chatty, FromDir: b.src, Files: []string{"f"}}, func(e *Error) bool { return e.Noise() && !e.Transient() }},
		"no directory": {Transfer{From: far, FromDir: b.src + "x", Files: []string{"f"}}, func(e *Error) bool { return !e.Vanished() && !e.Transient() }},
		"full":         {Transfer{FromDir: b.src, ToDir: "/dev/full/x", Files: []string{"f"}}, func(e *Error) bool { return !e.Transient() }},
	} {
		if c.t.ToDir == "" {
			c.t.ToDir = b.stage
		}
		_, err := c.t.Run(t.Context())
		var e *Error
		if !errors.As(err, &e) || !c.check(e) {
			t.Errorf("%s: %v", name, err)
		}
		t.Logf("%s: %v", name, err)
	}
}

func TestNoRsyncHere(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Transfer{FromDir: "/a", ToDir: "/b", Files: []string{"f"}}.Run(t.Context())
	var e *Error
	if !errors.As(err, &e) || !e.ToolMissing() || !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if _, err := LocalVersion(t.Context()); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// TestManyFiles: a list far larger than a pipe's buffer, with output far larger than one, does not lock up.
func TestManyFiles(t *testing.T) {
	b := newBed(t)
	var names []string
	for i := range 5000 {
		n := fmt.Sprintf("%s/%04d", strings.Repeat("long", 20), i)
		put(t, filepath.Join(b.src, n), nil)
		names = append(names, n)
	}
	n, commands := 0, 0
	tr := Transfer{FromDir: b.src, ToDir: b.stage, Files: names, Done: func(Item) { n++ }, Command: func(argv []string) {
		if commands++; argv[0] != "rsync" {
			t.Errorf("%q", argv)
		}
	}}
	if _, err := tr.Run(t.Context()); err != nil || n != len(names) || commands != 1 {
		t.Errorf("%d of %d, %d commands: %v", n, len(names), commands, err)
	}
}
