package sync_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// TestFaultMarked: what marks files of a stage after they were read, and leaves their bytes and times alone, condemns nothing:
// a scanner of viruses, macOS's provenance, a backup. Neither do the files in which macOS keeps attributes on exFAT and SMB.
func TestFaultMarked(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
		r := emptyRig(t, d)
		if ssh {
			r.overSSH(remotetest.Options{})
		}
		r.write(r.src(), 1)
		r.transferred()
		r.write(r.src(), 2)
		marked := 0
		r.atStep(sync.StepBegan{Step: sync.StepVerify}, func() {
			trees, _ := filepath.Glob(r.state("stage", faultKey, "*", "tree"))
			for _, tree := range trees {
				filepath.WalkDir(tree, func(path string, e fs.DirEntry, err error) error {
					if err == nil && e.Type().IsRegular() {
						fi, err := e.Info()
						r.must(err)
						r.must(os.Chtimes(path, time.Now(), fi.ModTime())) // moves the change time
						marked++
					}
					return nil
				})
				r.must(os.WriteFile(filepath.Join(tree, "._records.parquet"), []byte("attributes"), 0o644))
			}
		})
		r.transferred()
		if marked == 0 {
			t.Fatal("nothing was marked")
		}
		r.is(r.dst(), 2)
	})
}
