package sync_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// syncRig is a rig with version 1 on both sides, over ssh, and a script before the host's sync, which finds the real one
// as $real, and a log to write.
func syncRig(t *testing.T, script string) (r *rig, log string) {
	t.Helper()
	bin := t.TempDir()
	log = filepath.Join(bin, "log")
	r = emptyRig(t, sync.Push)
	r.overSSH(remotetest.Options{Env: map[string]string{"PATH": bin + ":" + os.Getenv("PATH")}})
	r.write(r.src(), 1)
	r.transferred()
	r.must(remotetest.Shim(bin, "sync", "real="+remotetest.Real("sync")+"\nlog="+log+"\nlive="+r.dst()+"\n"+script))
	return r, log
}

// TestFaultFlushFails: a flush of the host that failed fails the push, and nothing is promoted. One that the file system
// cannot be asked for does not.
func TestFaultFlushFails(t *testing.T) {
	for text, fails := range map[string]bool{"Input/output error": true, "No space left on device": true, "Disk quota exceeded": true,
		"Invalid argument": false, "Function not implemented": false} {
		t.Run(text, func(t *testing.T) {
			r, _ := syncRig(t, `[ $# -gt 0 ] || exec "$real"; echo "sync: error syncing '$2': `+text+`" >&2; exit 1`)
			r.write(r.src(), 2)
			_, err := r.run(sync.Push, modes())
			if fails != (err != nil) || fails && !strings.Contains(err.Error(), text) {
				t.Errorf("%v", err)
			}
			if fails {
				r.is(r.dst(), 1)
			} else {
				r.is(r.dst(), 2)
			}
		})
	}
}

// TestFaultFlushOurs: a push of a handful of files flushes these and their directories, and waits for nobody else's data;
// of many files everything is flushed, before the locks.
func TestFaultFlushOurs(t *testing.T) {
	r, log := syncRig(t, `[ "$1" = -- ] || { flock -n "$live/.usr.lock" true && echo "all unlocked" || echo "all locked"; } >>$log
[ "$1" != -- ] || echo "own $*" >>$log
exec "$real" "$@"`)
	r.write(r.src(), 2)
	r.transferred()
	text, _ := os.ReadFile(log)
	if said := string(text); strings.Contains(said, "all") || !strings.Contains(said, "./tree/records.parquet\n") || !strings.Contains(said, "./tree/_derived ") {
		t.Errorf("a handful: %s", said)
	}
	os.Remove(log)
	for i := range 100 {
		r.noise(fmt.Sprintf("_derived/more/part-%d.parquet", i), 100)
	}
	r.transferred()
	text, _ = os.ReadFile(log)
	if said := string(text); !strings.Contains(said, "all unlocked") || strings.Contains(said, "all locked") || strings.Contains(said, "part-7.parquet") {
		t.Errorf("many: %s", said)
	}
	r.same()
}
