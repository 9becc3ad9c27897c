package sync_test

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"
	stdsync "sync"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// many is more files than a list is handed to rsync's standard input for.
const many = 1100

// writeMany adds parts to a dataset.
func (r *rig) writeMany(dir string, n int) {
	r.Helper()
	for i := range n {
		r.must(replaceFile(filepath.Join(dir, fmt.Sprintf("_derived/ns%d/part-%d.parquet", i%3, i)), fmt.Sprintf("part %d\n", i)))
	}
}

// TestPushOfManyListsThere: a sender reads its own standard input byte by byte, so the names of a push of many files lie on
// the far side; each stream has its own, and they go with the stage.
func TestPushOfManyListsThere(t *testing.T) {
	t.Parallel()
	r := emptyRig(t, sync.Push)
	r.overSSH(remotetest.Options{})
	r.profile.Streams = 2
	r.write(r.src(), 1)
	r.writeMany(r.src(), 2*many)
	var mu stdsync.Mutex
	var lists []string
	r.observe = func(e sync.Event) {
		mu.Lock()
		defer mu.Unlock()
		if ran, ok := e.(sync.Ran); ok {
			for _, arg := range ran.Argv {
				if list, ok := strings.CutPrefix(arg, "--files-from="); ok {
					lists = append(lists, path.Dir(list))
				}
			}
		}
	}
	r.transferred()
	r.same()
	r.clean()
	if len(lists) != 2 || lists[0] != lists[1] || !strings.HasPrefix(lists[0], ":"+r.state("stage")) {
		t.Errorf("%q", lists)
	}
}
