package sync_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
	"github.com/dnadesign-maintainers/usr/verify"
)

// ofEachClass is a file of every class.
var ofEachClass = map[verify.Class]string{
	verify.Primary:   "records.parquet",
	verify.Meta:      "meta.md",
	verify.Events:    ".events.log",
	verify.Snapshots: "_snapshots/records-20260101T000001.parquet",
	verify.Derived:   "_derived/changing/part-0.parquet",
	verify.Auxiliary: "_registry/odd [name] ü\t.yaml",
}

// drift changes the last digit of a file under the same size and time stamp.
func (r *rig) drift(path string) {
	r.Helper()
	info, err := os.Stat(path)
	r.must(err)
	text, err := os.ReadFile(path)
	r.must(err)
	i := slices.IndexFunc(text, func(b byte) bool { return b >= '0' && b <= '9' })
	text[i] = '9'
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	r.must(err)
	_, err = f.Write(text)
	r.must(err)
	r.must(f.Close())
	r.must(os.Chtimes(path, time.Time{}, info.ModTime()))
}

// TestFaultSilentDrift: bytes that changed under the same size and time stamp, on either side and in every class,
// are seen by a diff that has every digest in its cache, and are repaired by a transfer.
func TestFaultSilentDrift(t *testing.T) {
	t.Parallel()
	for class, path := range ofEachClass {
		both(t, func(t *testing.T, d sync.Direction) {
			for _, where := range []string{"source", "destination"} {
				t.Run(class.String()+" "+where, func(t *testing.T) {
					t.Parallel()
					r := newRig(t, d)
					time.Sleep(50 * time.Millisecond) // the stamps settle
					r.diff()
					dir := r.dst()
					if where == "source" {
						dir = r.src()
					}
					r.drift(filepath.Join(dir, path))
					rep := r.diff()
					if len(rep.Changes) != 1 || rep.Changes[0].Path != path || !slices.Contains(rep.Silent, path) {
						t.Fatalf("changes %v, silent %q", rep.Changes, rep.Silent)
					}
					m := modes()
					m.Force = where == "source" && class == verify.Events // to the other side's log it is another history
					rep, err := r.run(d, m)
					r.must(err)
					if !slices.Contains(rep.Unique, path) { // the good version, or the damaged one
						t.Errorf("unique %q", rep.Unique)
					}
					r.same()
					if rel := r.diff().Relation; rel != sync.InSync {
						t.Errorf("relation %s", rel)
					}
					if where == "destination" {
						r.is(r.dst(), 1)
					}
				})
			}
		})
	}
}

// TestFaultFlippedByte: a byte that changes in the stage after rsync has checked it, size and time kept, is found
// before anything is promoted.
func TestFaultFlippedByte(t *testing.T) {
	for _, over := range []string{"local", "ssh"} {
		for class, path := range ofEachClass {
			if over == "ssh" && class != verify.Primary && class != verify.Events && !longFaults() {
				continue
			}
			both(t, func(t *testing.T, d sync.Direction) {
				t.Run(over+" "+class.String(), func(t *testing.T) { flipped(t, d, over == "ssh", path) })
			})
		}
	}
}

func flipped(t *testing.T, d sync.Direction, ssh bool, path string) {
	r := emptyRig(t, d)
	if ssh {
		r.overSSH(remotetest.Options{})
	}
	r.write(r.src(), 1)
	r.transferred()
	r.must(os.RemoveAll(filepath.Join(r.src(), "_snapshots")))
	r.write(r.src(), 2)
	r.must(replaceFile(filepath.Join(r.src(), path), tree(2)[path]+map[bool]string{true: event(3)}[path == ".events.log"]))
	if path == ofEachClass[verify.Snapshots] {
		r.must(replaceFile(filepath.Join(r.src(), path), "snapshot 7\n"))
	}
	bin := t.TempDir()
	root := filepath.Dir(filepath.Dir(r.dst()))
	r.must(remotetest.Shim(bin, "rsync", remotetest.FlipByte(remotetest.Real("rsync"), root, path, true)))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	var mismatch *sync.MismatchError
	if _, err := r.run(d, modes()); !errors.As(err, &mismatch) || mismatch.Moving || !slices.Contains(mismatch.Paths, path) {
		t.Fatalf("%v", err)
	}
	r.is(r.dst(), 1)
	r.clean()
}
