package sync

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
	"github.com/dnadesign-maintainers/usr/sync/local"
)

// localBed is a bed on a root of its own.
func localBed(t *testing.T) *bed {
	root := t.TempDir()
	s := local.New("local", root, nil)
	t.Cleanup(func() { s.Close() })
	return &bed{T: t, s: s, root: root, id: "a", key: stateKey("a"), live: filepath.Join(root, "a")}
}

func TestLockNamesHolder(t *testing.T) {
	d := localBed(t)
	path := d.live + "/.usr.lock"
	d.write(path, "")
	d.holder(pythonCommand(path)...)
	_, err := d.s.Lock(t.Context(), d.live, 0, false)
	var locked *remote.LockError
	if !errors.As(err, &locked) {
		t.Fatal(err)
	}
	host, _ := os.Hostname()
	want := `^python3[0-9.]* -c import fcntl.* \(pid \d+, since \d\d:\d\d:\d\d\) on ` + regexp.QuoteMeta(host) + `$`
	if runtime.GOOS == "darwin" {
		want = "^$"
	}
	if !regexp.MustCompile(want).MatchString(locked.Holder) {
		t.Errorf("%q does not match %s", locked.Holder, want)
	}
}

func TestLockIsCancelledPromptly(t *testing.T) {
	d := localBed(t)
	path := d.live + "/.usr.lock"
	d.write(path, "")
	d.holder(flockCommand(path)...)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	begin := time.Now()
	_, err := d.s.Lock(ctx, d.live, time.Minute, false)
	if !errors.Is(err, context.Canceled) || time.Since(begin) > 3*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

func TestSharedRootHasSharedState(t *testing.T) {
	d := localBed(t)
	d.must(os.Chmod(d.root, 0o775))
	d.write(d.live+"/records.parquet", "old")
	d.promoted(run1, remote.Promotion{Keep: true})
	for _, dir := range []string{d.state(), d.state("journal"), d.state("stage", d.key), d.state("generations", d.key), d.generation(run1)} {
		d.modeIs(dir, 0o2770)
	}
	d.modeIs(d.live, uint32(0o755))
}

func TestPromoteWaitsForSettle(t *testing.T) {
	d := localBed(t)
	d.oldDataset()
	d.promoted(run1, remote.Promotion{Keep: true})
	d.restage(run2, false)
	p := remote.Promotion{Key: d.key, Run: run2, Live: d.live, Keep: true}
	d.wantErr(second(d.s.Promote(t.Context(), p)), "a journal stands")
	d.is(d.live+"/records.parquet", "new "+run1)
	d.must(d.s.Settle(t.Context(), d.key, 1))
	d.must(second(d.s.Promote(t.Context(), p)))
}

func TestDamagedJournalIsKept(t *testing.T) {
	d := localBed(t)
	d.oldDataset()
	d.must(d.s.Claim(t.Context(), d.key, 0))
	d.write(d.state("journal", d.key), "run="+run1+"\n")
	_, err := d.s.Recover(t.Context(), d.key)
	d.wantErr(err, "a damaged journal")
	d.is(d.state("journal", d.key), "run="+run1+"\n")
}

// TestUnwritableDirectories: what the owner made read-only is replaced and removed all the same.
func TestUnwritableDirectories(t *testing.T) {
	d := localBed(t)
	d.oldDataset()
	d.must(os.Chmod(d.live+"/_artifacts", 0o555))
	d.must(os.Chmod(d.live+"/_derived", 0o555))
	d.staged(run1, false)
	d.must(d.s.SetDirs(t.Context(), d.run(run1, "tree"), entries(0o555, "_artifacts", "_derived")))
	d.must(second(d.s.Promote(t.Context(), remote.Promotion{Key: d.key, Run: run1, Live: d.live, Keep: true, Carry: carried})))
	d.keptOld(run1)
	d.modeIs(d.live+"/_derived", 0o555)
	d.modeIs(d.generation(run1, "tree", "_artifacts"), 0o555)
	d.must(d.s.Settle(t.Context(), d.key, 0))
	d.absent(d.generation(run1))
	d.must(os.Chmod(d.live+"/_artifacts", 0o755))
	d.must(os.Chmod(d.live+"/_derived", 0o755))
}

// TestFooterIsReadAgain: a line that was lost while a footer was read says nothing of the file.
func TestFooterIsReadAgain(t *testing.T) {
	d := localBed(t)
	d.must(dataset.Write(d.live, dataset.Options{}))
	lost := &lostOnce{side: d.s}
	v, err := d.s.Survey(t.Context(), d.id, d.key, "")
	d.must(err)
	v.Now += int64(time.Hour) // its stamps can be trusted
	snap := &snapshot{side: lost, survey: v, files: v.Entries}
	c := &command{footers: map[string]footer{}}
	var away *remote.ConnectError
	if _, err := c.table(t.Context(), snap); !errors.As(err, &away) {
		t.Fatal(err)
	}
	for range 2 {
		if table, err := c.table(t.Context(), snap); err != nil || table.Rows == 0 {
			t.Fatalf("%+v %v", table, err)
		}
	}
	if lost.reads != 2 {
		t.Errorf("%d reads", lost.reads)
	}
}

// lostOnce loses the line at the first read.
type lostOnce struct {
	side
	reads int
}

func (l *lostOnce) ReadRange(ctx context.Context, file string, off, n int64) ([]byte, error) {
	if l.reads++; l.reads == 1 {
		return nil, &remote.ConnectError{Target: "lab", Reason: remote.Lost}
	}
	return l.side.ReadRange(ctx, file, off, n)
}
