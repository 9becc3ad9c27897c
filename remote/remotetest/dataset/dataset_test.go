package dataset

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	return info.Sys().(*syscall.Stat_t).Ino
}

func TestWriteIsReadableAndDeterministic(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	must(t, Write(one, Options{Rows: 120}))
	must(t, Write(two, Options{Rows: 120}))
	a, err := contents(one)
	must(t, err)
	b, err := contents(two)
	must(t, err)
	if len(a) != 8 || len(a) != len(b) {
		t.Errorf("%d and %d files", len(a), len(b))
	}
	for name := range a {
		if !bytes.Equal(a[name], b[name]) {
			t.Errorf("%s differs from run to run", name)
		}
	}
	rows, scored, err := readRecords(one)
	if err != nil || len(rows) != 120 || scored {
		t.Fatalf("%d rows, scored %v, %v", len(rows), scored, err)
	}
	if r := rows[7]; len(r.ID) != 36 || r.Length != int64(len(r.Sequence)) || r.CreatedAt.Before(epoch) {
		t.Errorf("row %+v", r)
	}
}

func TestIncrement(t *testing.T) {
	dir := t.TempDir()
	must(t, Write(dir, Options{Rows: 120}))
	before, err := contents(dir)
	must(t, err)
	records, log := inode(t, dir+"/records.parquet"), inode(t, dir+"/.events.log")
	must(t, Increment(dir, 60))
	if inode(t, dir+"/records.parquet") == records {
		t.Error("records.parquet was not replaced")
	}
	if inode(t, dir+"/.events.log") != log {
		t.Error(".events.log was replaced")
	}
	after, err := contents(dir)
	must(t, err)
	if !bytes.HasPrefix(after[".events.log"], before[".events.log"]) {
		t.Error("the log's history changed")
	}
	old, _, _ := readOf(t, before["records.parquet"])
	rows, _, err := readRecords(dir)
	if err != nil || len(rows) != 180 || rows[5] != old[5] {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	for _, name := range []string{"_snapshots/records-20260101T010000.parquet", "_derived/infer/part-002.parquet"} {
		if after[name] == nil {
			t.Errorf("no %s", name)
		}
	}
}

// TestSnapshots: the newest is the primary, stamp and all; five are kept.
func TestSnapshots(t *testing.T) {
	dir := t.TempDir()
	must(t, Write(dir, Options{Rows: 120}))
	for range 6 {
		must(t, Increment(dir, 10))
	}
	all, err := filepath.Glob(dir + "/_snapshots/*")
	must(t, err)
	if len(all) != 5 {
		t.Fatalf("%d snapshots", len(all))
	}
	primary, err := os.ReadFile(dir + "/records.parquet")
	must(t, err)
	newest, err := os.ReadFile(all[4])
	must(t, err)
	was, err := os.Stat(dir + "/records.parquet")
	must(t, err)
	is, err := os.Stat(all[4])
	must(t, err)
	if !bytes.Equal(primary, newest) || !was.ModTime().Equal(is.ModTime()) {
		t.Errorf("%s is not the primary: %v and %v", all[4], is.ModTime(), was.ModTime())
	}
}

func readOf(t *testing.T, text []byte) ([]Record, bool, error) {
	t.Helper()
	dir := t.TempDir()
	must(t, put(filepath.Join(dir, "records.parquet"), text))
	return readRecords(dir)
}

func TestAnnotateAndAddColumn(t *testing.T) {
	dir := t.TempDir()
	must(t, Write(dir, Options{}))
	must(t, Annotate(dir))
	parts, err := parquet.ReadFile[Overlay](dir + "/_derived/infer/part-002.parquet")
	if err != nil || len(parts) != 50 || parts[0].Score == nil {
		t.Errorf("%d rows, %v", len(parts), err)
	}
	must(t, AddColumn(dir))
	must(t, Increment(dir, 5))
	rows, err := parquet.ReadFile[Scored](dir + "/records.parquet")
	if err != nil || len(rows) != 105 || rows[0].Score != nil || rows[1].Score == nil {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

func TestWritersExcludeEachOther(t *testing.T) {
	dir := t.TempDir()
	must(t, Write(dir, Options{Rows: 10}))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 3 {
				if err := Increment(dir, 2); err != nil {
					t.Error(err)
				}
				if err := Append(dir); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if rows, _, err := readRecords(dir); err != nil || len(rows) != 34 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	log, err := os.ReadFile(dir + "/.events.log")
	must(t, err)
	for _, line := range bytes.Split(bytes.TrimSpace(log), []byte("\n")) {
		if !json.Valid(line) {
			t.Errorf("damaged line %q", line)
		}
	}
	if n := bytes.Count(log, []byte("\n")); n != 25 {
		t.Errorf("%d events", n)
	}
}

func TestMany(t *testing.T) {
	for _, size := range []int64{0, 100_000} {
		dir := t.TempDir()
		began := time.Now()
		must(t, Many(dir, 200, size))
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("200 files took %v", took)
		}
		files, err := contents(dir)
		must(t, err)
		if len(files) != 208 {
			t.Errorf("%d files", len(files))
		}
		one := files["_derived/ns1/part-000001.parquet"]
		if bytes.Equal(one, files["_derived/ns1/part-000009.parquet"]) || (size > 0 && int64(len(one)) != size) {
			t.Errorf("parts of %d bytes are alike", len(one))
		}
		table, err := parquet.OpenFile(bytes.NewReader(one), int64(len(one)), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
		if err != nil || table.NumRows() != 1 {
			t.Errorf("size %d: %v", size, err)
		} else if v, _ := table.Lookup("part"); v != "part-00000001" {
			t.Errorf("part %q", v)
		}
	}
}

func TestDemoFixturesAreCurrent(t *testing.T) {
	fresh := t.TempDir()
	must(t, Demo(fresh))
	want, err := contents(fresh)
	must(t, err)
	got, err := contents("../../../cmd/usr/demodata")
	must(t, err)
	total := 0
	for name, text := range want {
		total += len(text)
		if !bytes.Equal(got[name], text) {
			t.Errorf("cmd/usr/demodata/%s is not what gen writes; run go generate ./remote/remotetest/dataset/gen", name)
		}
	}
	if total > 60_000 {
		t.Errorf("the fixtures take %d bytes", total)
	}
}
