package sync_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// folding mounts a file system over a directory that takes names which differ in case for one, and refuses what is not
// UTF-8: exFAT, which asks for a block device.
func folding(t *testing.T, dir string) {
	t.Helper()
	root(t)
	image := filepath.Join(t.TempDir(), "image")
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v: %s", name, args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run("truncate", "-s", "64M", image)
	run("mkfs.exfat", image)
	device := run("losetup", "-f", "--show", image)
	t.Cleanup(func() { exec.Command("losetup", "-d", device).Run() })
	run("mount.exfat-fuse", device, dir)
	t.Cleanup(func() {
		for range 50 {
			if exec.Command("umount", dir).Run() == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Errorf("%s stays mounted", dir)
	})
}

// TestFaultFolding: names that the destination takes for one, or does not take, are found in the plan and named; nothing
// is written. An id in other letters is not the dataset that lies there.
func TestFaultFolding(t *testing.T) {
	for _, over := range []string{"local", "ssh"} {
		both(t, func(t *testing.T, d sync.Direction) {
			if over == "ssh" && d == sync.Pull {
				return // the destination is this side
			}
			t.Run(over, func(t *testing.T) {
				r := emptyRig(t, d)
				dstRoot := strings.TrimSuffix(r.dst(), "/"+faultID)
				folding(t, dstRoot)
				if over == "ssh" {
					r.overSSH(remotetest.Options{})
				}
				r.must(os.Mkdir(filepath.Join(dstRoot, ".usr-sync"), 0o700))
				r.write(r.src(), 1)
				r.must(os.RemoveAll(filepath.Join(r.src(), "_registry"))) // exFAT takes no tab
				for _, c := range []struct{ paths, named string }{
					{"_artifacts/Plot.svg", `_artifacts/Plot.svg (is one with _artifacts/plot.svg there)`},
					{"_Artifacts/new", `_Artifacts (is one with _artifacts there)`},
					{"_derived/x\xff.parquet", `(is not UTF-8)`},
				} {
					path := filepath.Join(r.src(), c.paths)
					r.must(replaceFile(path, "new\n"))
					var unsafe *sync.UnsafeError
					_, err := r.run(d, modes())
					if !errors.As(err, &unsafe) || !strings.Contains(strings.Join(unsafe.Paths, "\n"), c.named) {
						t.Errorf("%q: %v", c.paths, err)
					}
					if left, _ := filepath.Glob(dstRoot + "/.usr-sync/stage/*"); len(left) > 0 {
						t.Errorf("%q: left: %q", c.paths, left)
					}
					if _, err := os.Stat(r.dst()); err == nil {
						t.Errorf("%q: something is there", c.paths)
					}
					r.must(os.Remove(path))
					os.Remove(filepath.Dir(path))
				}

				for path, text := range r.content(r.src()) {
					r.must(replaceFile(filepath.Join(r.dst(), path), text))
				}
				p := r.open()
				defer p.Close()
				r.must(replaceFile(filepath.Join(r.local, faultID, "_derived/b.parquet"), "here\n"))
				r.must(replaceFile(filepath.Join(r.remote, faultID, "_derived/B.parquet"), "there\n"))
				var conflict *sync.ConflictError
				if _, err := p.Sync(r.Context(), faultID, modes()); !errors.As(err, &conflict) || len(conflict.Conflicts) != 2 {
					t.Errorf("a sync of two that are one there: %v", err)
				}
				r.must(os.MkdirAll(filepath.Join(filepath.Dir(filepath.Dir(r.src())), "NS"), 0o755))
				r.must(os.Rename(r.src(), filepath.Join(filepath.Dir(filepath.Dir(r.src())), "NS/faults")))
				var unsafe *sync.UnsafeError
				if _, err := p.Transfer(r.Context(), "NS/faults", d, modes()); !errors.As(err, &unsafe) || !strings.Contains(err.Error(), "differs in case") {
					t.Errorf("an id in other letters: %v", err)
				}
			})
		})
	}
}
