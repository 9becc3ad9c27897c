package sync_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// root fails a test that cannot be made without being root: it needs a file system of its own.
func root(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root, to mount a small file system")
	}
}

// mount makes a tmpfs.
func mount(t *testing.T, dir, options string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// TestFaultUnsafeEntries: what is neither file nor directory is refused by name, and nothing is left behind.
func TestFaultUnsafeEntries(t *testing.T) {
	kinds := map[string]func(path string) error{
		"symlink": func(path string) error { return os.Symlink("/etc/passwd", path) },
		"fifo":    func(path string) error { return syscall.Mkfifo(path, 0o644) },
		"socket": func(path string) error {
			l, err := net.Listen("unix", path)
			if err == nil {
				l.(*net.UnixListener).SetUnlinkOnClose(false)
				l.Close()
			}
			return err
		},
	}
	if os.Geteuid() == 0 { // nobody else can make one
		kinds["device"] = func(path string) error { return syscall.Mknod(path, syscall.S_IFCHR|0o644, 1<<8|3) }
	}
	for kind, make := range kinds {
		both(t, func(t *testing.T, d sync.Direction) {
			t.Run(kind, func(t *testing.T) {
				r := emptyRig(t, d)
				r.write(r.src(), 1)
				r.must(make(filepath.Join(r.src(), "_derived/evil")))
				var unsafe *sync.UnsafeError
				if _, err := r.run(d, modes()); !errors.As(err, &unsafe) || !strings.Contains(err.Error(), "_derived/evil ("+kind+")") {
					t.Fatalf("%v", err)
				}
				for _, path := range []string{r.dst(), r.state()} {
					if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("%s is there: %v", path, err)
					}
				}
			})
		})
	}
}

// TestFaultUnsafeLate: an entry that appears while the bulk is copied is refused as well.
func TestFaultUnsafeLate(t *testing.T) {
	r := newRig(t, sync.Pull)
	r.write(r.src(), 2)
	r.observe = func(e sync.Event) {
		if ended, ok := e.(sync.StepEnded); ok && ended.Step == sync.StepCopy {
			r.must(os.Symlink("/etc/passwd", filepath.Join(r.src(), "_derived/late")))
		}
	}
	var unsafe *sync.UnsafeError
	if _, err := r.run(sync.Pull, modes()); !errors.As(err, &unsafe) {
		t.Fatalf("%v", err)
	}
	r.is(r.dst(), 1)
	r.clean()
}

// TestFaultDiskFull: a disk too small is found before the bulk, and one that somebody else fills meanwhile while it
// is written; both leave the old tree and say what is missing.
func TestFaultDiskFull(t *testing.T) {
	root(t)
	both(t, func(t *testing.T, d sync.Direction) {
		for _, what := range []string{"before", "meanwhile", "inodes"} {
			t.Run(what, func(t *testing.T) {
				r := emptyRig(t, d)
				options := "size=4m"
				if what == "inodes" {
					options = "nr_inodes=160"
				}
				mount(t, strings.TrimSuffix(r.dst(), "/"+faultID), options)
				r.write(r.src(), 1)
				r.transferred()
				r.write(r.src(), 2)
				unit := "bytes"
				switch what {
				case "before":
					r.noise("_derived/big.parquet", 5<<20)
				case "meanwhile":
					r.noise("_derived/big.parquet", 2<<20)
					r.atStep(sync.StepBegan{Step: sync.StepCopy}, func() {
						r.must(os.WriteFile(filepath.Join(r.dst(), "../../filler"), make([]byte, 3<<20), 0o644))
					})
				case "inodes":
					unit = "inodes"
					for _, name := range strings.Fields(strings.Repeat("abcdefghijklmnopqrstuvwxyz ", 1)) {
						for _, c := range name {
							for _, e := range "01234" {
								r.noise("_derived/many/"+string(c)+string(e), 10)
							}
						}
					}
				}
				_, err := r.run(d, modes())
				var full *sync.SpaceError
				if !errors.As(err, &full) || full.Unit != unit || full.Need <= full.Free {
					t.Fatalf("%T %v", err, err)
				}
				r.is(r.dst(), 1)
				r.clean()
			})
		}
	})
}

// atStep does something once, when a step begins or ends.
func (r *rig) atStep(at sync.Event, do func()) {
	done := false
	r.observe = func(e sync.Event) {
		if e == at && !done {
			done = true
			do()
		}
	}
}

// TestFaultQuota: a quota shows in no number; its own words are told.
func TestFaultQuota(t *testing.T) {
	r := newRig(t, sync.Pull)
	r.write(r.src(), 2)
	bin := t.TempDir()
	message := `rsync: [receiver] write failed on "x": Disk quota exceeded (122)`
	r.must(remotetest.Shim(bin, "rsync", remotetest.Failing(remotetest.Real("rsync"), "--from0", bin+"/count", message, 11, 1)))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	if _, err := r.run(sync.Pull, modes()); err == nil || !strings.Contains(err.Error(), "quota exceeded") {
		t.Fatalf("%v", err)
	}
	r.is(r.dst(), 1)
	r.clean()
	r.next(2)
}

// TestFaultReadOnly: a destination that cannot be written keeps its old tree.
func TestFaultReadOnly(t *testing.T) {
	root(t)
	both(t, func(t *testing.T, d sync.Direction) {
		r := emptyRig(t, d)
		base := strings.TrimSuffix(r.dst(), "/"+faultID)
		mount(t, base, "size=8m")
		r.write(r.src(), 1)
		r.transferred()
		r.write(r.src(), 2)
		if out, err := exec.Command("mount", "-o", "remount,ro", base).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if _, err := r.run(d, modes()); !errors.Is(err, syscall.EROFS) {
			t.Errorf("%v", err)
		}
		r.is(r.dst(), 1)
	})
}

// TestFaultUnreadable: a source file without read permission is named. Root reads everything, so that the
// transfer runs as another user then.
func TestFaultUnreadable(t *testing.T) {
	r := newRig(t, sync.Pull)
	r.write(r.src(), 2)
	r.must(os.Chmod(filepath.Join(r.src(), "_derived/changing/part-0.parquet"), 0))
	var text string
	if os.Geteuid() == 0 {
		text = r.asNobody(job{})
	} else {
		_, err := r.run(sync.Pull, modes())
		text = err.Error()
	}
	if !strings.Contains(text, "_derived/changing/part-0.parquet") || !strings.Contains(text, "ermission denied") {
		t.Errorf("%s", text)
	}
	r.must(os.Chmod(filepath.Join(r.src(), "_derived/changing/part-0.parquet"), 0o644))
	r.is(r.dst(), 1)
}

// asNobody runs a transfer that is to fail in a child without privileges, which owns the rig.
func (r *rig) asNobody(j job) string {
	r.Helper()
	const nobody = 65534
	base := filepath.Dir(r.local)
	r.must(os.Chmod(filepath.Dir(base), 0o755))
	r.must(filepath.WalkDir(base, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, nobody, nobody)
	}))
	program := filepath.Join(base, "child")
	if out, err := exec.Command("cp", os.Args[0], program).CombinedOutput(); err != nil {
		r.Fatalf("%v: %s", err, out)
	}
	r.must(os.Chmod(program, 0o755))
	cmd := r.command(program, j)
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	out, err := cmd.CombinedOutput()
	if err == nil {
		r.Fatalf("it went well: %s", out)
	}
	return string(out)
}

// TestFaultOtherFileSystem: a dataset that lies on another file system than the state directory is refused when the
// transfer is planned.
func TestFaultOtherFileSystem(t *testing.T) {
	root(t)
	both(t, func(t *testing.T, d sync.Direction) {
		r := emptyRig(t, d)
		mount(t, r.dst(), "size=8m")
		r.write(r.src(), 1)
		var device *sync.DeviceError
		if _, err := r.run(d, modes()); !errors.As(err, &device) {
			t.Fatalf("%v", err)
		}
		if entries, _ := os.ReadDir(r.dst()); len(entries) > 0 {
			t.Errorf("left behind: %v", entries)
		}
	})
}

// TestFaultSymlinkedDataset: a dataset directory that is a symlink is followed, on either side; the link stays.
func TestFaultSymlinkedDataset(t *testing.T) {
	both(t, func(t *testing.T, d sync.Direction) {
		r := emptyRig(t, d)
		for _, dir := range []string{r.src(), r.dst()} {
			real := filepath.Join(filepath.Dir(filepath.Dir(dir)), "elsewhere")
			r.must(os.MkdirAll(real, 0o755))
			r.must(os.MkdirAll(filepath.Dir(dir), 0o755))
			r.must(os.Symlink("../elsewhere", dir))
		}
		r.write(r.src(), 1)
		r.transferred()
		r.write(r.src(), 2)
		for v := 2; v < 4; v++ {
			r.next(v)
			if info, err := os.Lstat(r.dst()); err != nil || info.Mode().Type() != fs.ModeSymlink {
				t.Fatalf("the link is gone: %v", err)
			}
		}
	})
}
