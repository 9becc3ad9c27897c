package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestListKindsAndStamps(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/records.parquet", "12345")
	write(t, dir+"/a/b", "")
	write(t, dir+"/a-b", "")
	stamp := time.Unix(1763900000, 123456789)
	err := errors.Join(
		os.Symlink("/etc", dir+"/link"), unix.Mkfifo(dir+"/fifo", 0o600), os.Mkdir(dir+"/shared", 0o755),
		unix.Chmod(dir+"/shared", 0o2775), os.Chtimes(dir+"/records.parquet", stamp, stamp), listen(t, dir+"/socket"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := List(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Entry{}
	var seen strings.Builder
	for _, e := range m {
		got[e.Path] = e
		fmt.Fprintf(&seen, "%c %s\n", e.Kind, e.Path)
	}
	if want := "d a\nf a-b\nf a/b\np fifo\nl link\nf records.parquet\nd shared\ns socket\n"; seen.String() != want {
		t.Errorf("got\n%swant\n%s", seen.String(), want)
	}
	if mode := got["shared"].Mode; mode != 0o2775 {
		t.Errorf("shared has mode %o", mode)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir+"/records.parquet", &st); err != nil {
		t.Fatal(err)
	}
	e := got["records.parquet"]
	if e.Size != 5 || e.Mtime != stamp.UnixNano() || e.Ctime != st.Ctim.Nano() || e.Ino != st.Ino || e.Dev != uint64(st.Dev) || e.Gid != st.Gid || e.Mode != 0o644 {
		t.Errorf("stamp %+v", e)
	}
}

func listen(t *testing.T, name string) error {
	l, err := net.Listen("unix", name)
	if err == nil {
		t.Cleanup(func() { l.Close() })
	}
	return err
}

func TestListHostileNames(t *testing.T) {
	dir := t.TempDir()
	want := []string{}
	for _, name := range hostileNames {
		write(t, dir+"/"+name+"/"+name, name)
		want = append(want, name, name+"/"+name)
	}
	slices.Sort(want)
	m, err := List(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, e := range m {
		got = append(got, e.Path)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestListErrors(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/file", "")
	if _, err := List(dir + "/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	if _, err := List(dir + "/file"); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file: %v", err)
	}
	if err := os.Symlink(dir, dir+"/self"); err != nil {
		t.Fatal(err)
	}
	if m, err := List(dir + "/self"); err != nil || len(m) != 2 {
		t.Errorf("through a symbolic link: %v, %v", m, err)
	}
}

// A reading error of a subdirectory cannot be had as root by its mode, so the lister is asked directly.
func TestListErrorNamesDirectory(t *testing.T) {
	err := listError("/d/a\nb", &fs.PathError{Op: "open", Path: "/d/a\nb", Err: unix.EACCES})
	if got := err.Error(); got != `cannot list "/d/a\nb": permission denied` || !errors.Is(err, fs.ErrPermission) {
		t.Error(got)
	}
}

func TestListDeep(t *testing.T) {
	dir := t.TempDir()
	deep := strings.Repeat("/d", 1500)
	write(t, dir+deep+"/f", "")
	if m, err := List(dir); err != nil || len(m) != 1501 {
		t.Errorf("%d entries, %v", len(m), err)
	}
}

func TestListWhileDirectoriesVanish(t *testing.T) {
	dir := t.TempDir()
	stop := make(chan struct{})
	var busy sync.WaitGroup
	busy.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			sub := fmt.Sprintf("%s/%d", dir, i%7)
			os.MkdirAll(sub+"/x/y", 0o755)
			os.WriteFile(sub+"/x/f", nil, 0o644)
			os.RemoveAll(sub)
			os.Symlink("/", sub)
			os.Remove(sub)
		}
	})
	for range 300 {
		m, err := List(dir)
		if err != nil {
			t.Error(err)
			break
		}
		if !slices.IsSortedFunc(m, ComparePaths) {
			t.Error("not sorted")
		}
	}
	close(stop)
	busy.Wait()
}

func BenchmarkList(b *testing.B) {
	dir := b.TempDir()
	const files = 20000
	for i := range files {
		name := filepath.Join(dir, fmt.Sprintf("_derived/ns%02d/part-%06d.parquet", i%40, i))
		if i < 40 {
			os.MkdirAll(filepath.Dir(name), 0o755)
		}
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := List(dir); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/files, "µs/file")
}
