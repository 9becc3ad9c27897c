package sync_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	stdsync "sync"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

const bulkPart = "_derived/bulk/part-00.parquet"

// slowPush pushes 3 MB over a line of 1 MB/s and tells how many bytes the host hashed once they were all there.
func slowPush(t *testing.T, shim func(root string) string) (*rig, int64, error) {
	t.Helper()
	r := emptyRig(t, sync.Push)
	r.overSSH(remotetest.Options{})
	r.write(r.src(), 1)
	for i := range 12 {
		name := strings.Replace(bulkPart, "00", fmt.Sprintf("%02d", i), 1)
		r.must(replaceFile(filepath.Join(r.src(), name), strings.Repeat(fmt.Sprintf("part %d|", i), 32<<10)))
	}
	if shim != nil {
		bin := t.TempDir()
		r.must(remotetest.Shim(bin, "rsync", shim(r.remote)))
		t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	}
	var mu stdsync.Mutex
	var late int64
	r.observe = func(e sync.Event) {
		mu.Lock()
		defer mu.Unlock()
		if p, ok := e.(sync.Progressed); ok && strings.HasPrefix(p.Phase, "hash ") && p.Phase != "hash local" {
			late = max(late, p.Total)
		}
	}
	m := modes()
	m.Bwlimit = "1024"
	_, err := r.run(sync.Push, m)
	return r, late, err
}

// TestPushHashesWhileItSends: most of a stage on a host is hashed before its last file is there.
func TestPushHashesWhileItSends(t *testing.T) {
	r, late, err := slowPush(t, nil)
	r.must(err)
	r.same()
	if late == 0 || late > 2<<20 {
		t.Errorf("%d bytes were hashed after the transfer", late)
	}
}

// TestPushFlippedAfterHash: a byte of a file that was hashed while others were under way, changed under the same size
// and time stamp, is found.
func TestPushFlippedAfterHash(t *testing.T) {
	_, _, err := slowPush(t, func(root string) string {
		return remotetest.FlipByte(remotetest.Real("rsync"), root, bulkPart, true)
	})
	var mismatch *sync.MismatchError
	if !errors.As(err, &mismatch) || mismatch.Moving || !slices.Contains(mismatch.Paths, bulkPart) {
		t.Fatalf("%v", err)
	}
}
