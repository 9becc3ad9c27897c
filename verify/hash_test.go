package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const emptyBLAKE3 = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"

func TestHashFilesHostileNames(t *testing.T) {
	dir := t.TempDir()
	for _, name := range hostileNames {
		write(t, dir+"/"+name, "content of "+name)
	}
	seen := map[string]bool{}
	err := HashFiles(t.Context(), dir, SHA256, hostileNames, 3, func(path string, d Digest, err error) {
		if err != nil || d != sha256.Sum256([]byte("content of "+path)) || seen[path] {
			t.Errorf("%q: %x, %v, seen before: %v", path, d, err, seen[path])
		}
		seen[path] = true
	})
	if err != nil || len(seen) != len(hostileNames) {
		t.Errorf("%d of %d files, %v", len(seen), len(hostileNames), err)
	}
}

func TestHashSizes(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int{0, 1, 1024, hashBuffer - 1, hashBuffer, hashBuffer + 1, 3*hashBuffer + 7} {
		write(t, dir+"/f", strings.Repeat("x", size))
		want := sha256.Sum256([]byte(strings.Repeat("x", size)))
		got, errs := hashAll(t, dir, SHA256, "f")
		prefix, err := HashPrefix(dir+"/f", SHA256, int64(size)+1)
		if got["f"] != want || errs["f"] != nil || prefix != want || err != nil {
			t.Errorf("size %d: %x, %v, prefix %x, %v", size, got["f"], errs["f"], prefix, err)
		}
	}
	write(t, dir+"/f", "")
	if got, _ := hashAll(t, dir, BLAKE3, "f"); fmt.Sprintf("%x", got["f"]) != emptyBLAKE3 {
		t.Errorf("BLAKE3 of nothing is %x", got["f"])
	}
}

// b3sum is what the other side hashes with: both must mean the same by a digest.
func TestHashAgreesWithB3sum(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/f", strings.Repeat("0123456789", 123457))
	out, err := exec.CommandContext(t.Context(), "b3sum", "--no-names", dir+"/f").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := hashAll(t, dir, BLAKE3, "f"); fmt.Sprintf("%x\n", got["f"]) != string(out) {
		t.Errorf("%x here, %s there", got["f"], out)
	}
}

func hashAll(t *testing.T, dir, algorithm string, paths ...string) (map[string]Digest, map[string]error) {
	t.Helper()
	digests, errs := map[string]Digest{}, map[string]error{}
	err := HashFiles(t.Context(), dir, algorithm, paths, 0, func(path string, d Digest, err error) {
		digests[path], errs[path] = d, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return digests, errs
}

func TestHashRefusals(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/real", "x")
	err := errors.Join(unix.Mkfifo(dir+"/fifo", 0o600), os.Symlink("real", dir+"/link"), listen(t, dir+"/socket"))
	if err != nil {
		t.Fatal(err)
	}
	digests, errs := hashAll(t, dir, BLAKE3, "fifo", "link", "socket", ".", "../x", "/etc/passwd", "none", "", "n\x00l", "real")
	for path, err := range errs {
		if (err == nil) != (path == "real") || (digests[path] == Digest{}) != (path != "real") {
			t.Errorf("%q: %x, %v", path, digests[path], err)
		}
	}
	for _, path := range []string{"fifo", "link", "socket", "."} {
		if !errors.Is(errs[path], errNotRegular) {
			t.Errorf("%q: %v", path, errs[path])
		}
	}
	if !errors.Is(errs["none"], fs.ErrNotExist) {
		t.Error(errs["none"])
	}
	if _, err := HashPrefix(dir+"/fifo", BLAKE3, 1); !errors.Is(err, errNotRegular) {
		t.Error(err)
	}
	if err := HashFiles(t.Context(), dir, "md5", nil, 0, nil); err == nil {
		t.Error("md5 is no algorithm of ours")
	}
}

func TestHashPrefix(t *testing.T) {
	name := t.TempDir() + "/f"
	write(t, name, "hello world")
	for n, want := range map[int64]string{0: "", 5: "hello", 11: "hello world", 1 << 62: "hello world"} {
		if d, err := HashPrefix(name, SHA256, n); err != nil || d != sha256.Sum256([]byte(want)) {
			t.Errorf("%d bytes: %x, %v", n, d, err)
		}
	}
	if _, err := HashPrefix(name, SHA256, -1); err == nil {
		t.Error("a negative length was accepted")
	}
	if _, err := HashPrefix(name+"x", SHA256, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestHasherStampsAreThoseOfAListing(t *testing.T) {
	dir := t.TempDir()
	got := map[string]Hashed{}
	h, err := NewHasher(t.Context(), dir, BLAKE3, 2, func(r Hashed) { got[r.Path] = r })
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		name := fmt.Sprint(i)
		write(t, dir+"/"+name, name)
		h.Add(name)
	}
	if err := h.Wait(); err != nil {
		t.Fatal(err)
	}
	m, err := List(dir)
	if err != nil || len(m) != 50 {
		t.Fatal(m, err)
	}
	for _, e := range m {
		r := got[e.Path]
		e.Digest = r.Entry.Digest
		if r.Err != nil || r.Entry != e || e.Digest == (Digest{}) {
			t.Errorf("hashed %+v, listed %+v", r, e)
		}
	}
}

func TestHasherWaitsForARename(t *testing.T) {
	dir := t.TempDir()
	var got []Hashed
	grace := []time.Duration{5 * time.Millisecond, 500 * time.Millisecond}
	h, err := newHasher(t.Context(), dir, BLAKE3, 1, grace, func(r Hashed) { got = append(got, r) })
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/.f.x1", "x")
	h.Add("f", "never")
	time.Sleep(20 * time.Millisecond)
	if err := os.Rename(dir+"/.f.x1", dir+"/f"); err != nil {
		t.Fatal(err)
	}
	if err := h.Wait(); err != nil || len(got) != 2 || got[0].Err != nil || !errors.Is(got[1].Err, fs.ErrNotExist) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestHashNoticesAWriter(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/f", strings.Repeat("x", 64<<20))
	stop, begun := make(chan struct{}), make(chan struct{})
	var busy sync.WaitGroup
	busy.Go(func() {
		f, err := os.OpenFile(dir+"/f", os.O_RDWR, 0)
		if err != nil {
			t.Error(err)
			close(begun)
			return
		}
		defer f.Close()
		close(begun)
		for {
			select {
			case <-stop:
				return
			default:
				f.WriteAt([]byte("y"), 1)
				time.Sleep(time.Millisecond)
			}
		}
	})
	<-begun
	digests, errs := hashAll(t, dir, SHA256, "f")
	close(stop)
	busy.Wait()
	if !errors.Is(errs["f"], ErrChanged) || digests["f"] != (Digest{}) {
		t.Errorf("%x, %v", digests["f"], errs["f"])
	}
}

func TestHashCancel(t *testing.T) {
	dir := t.TempDir()
	sparse, err := os.Create(dir + "/big")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sparse.Truncate(1<<40), sparse.Close()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	begin := time.Now()
	err = HashFiles(ctx, dir, BLAKE3, []string{"big", "big", "big"}, 2, func(path string, _ Digest, err error) { t.Error(path, err) })
	if !errors.Is(err, context.Canceled) || time.Since(begin) > time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
	idle, err := NewHasher(ctx, dir, BLAKE3, 2, func(r Hashed) { t.Error(r) })
	if err != nil {
		t.Fatal(err)
	}
	if err := idle.Wait(); err != nil {
		t.Errorf("nothing was left to do, yet %v", err)
	}
}

func FuzzHashPrefix(f *testing.F) {
	f.Add([]byte("hello"), int64(3))
	f.Fuzz(func(t *testing.T, content []byte, n int64) {
		if n < 0 {
			return
		}
		name := t.TempDir() + "/f"
		write(t, name, string(content))
		d, err := HashPrefix(name, SHA256, n)
		if want := sha256.Sum256(content[:min(n, int64(len(content)))]); err != nil || d != want {
			t.Errorf("%x, %v; want %x", d, err, want)
		}
	})
}

func TestFingerprint(t *testing.T) {
	d := Digest(sha256.Sum256(nil))
	m := Manifest{
		{Path: ".usr.lock", Kind: File, Class: Runtime},
		{Path: "_derived", Kind: Directory, Class: Derived, Mtime: 7},
		{Path: "_derived/x", Kind: File, Class: Derived, Size: 3, Digest: d, Mtime: 9, Mode: 0o644},
		{Path: "records.parquet", Kind: File, Class: Primary, Size: 5, Digest: d},
	}
	was := Fingerprint(m)
	// The canonical form, written out.
	flat := "usr-fingerprint 1\x00derived\x003\x00" + hex.EncodeToString(d[:]) + "\x00_derived/x\x00primary\x005\x00" + hex.EncodeToString(d[:]) + "\x00records.parquet\x00"
	name := t.TempDir() + "/flat"
	write(t, name, flat)
	if want, err := HashPrefix(name, BLAKE3, 1<<20); err != nil || was != fmt.Sprintf("blake3:%x", want) {
		t.Errorf("%s, want %x, %v", was, want, err)
	}
	for what, change := range map[string]func(e *Entry){
		"path": func(e *Entry) { e.Path += "x" }, "class": func(e *Entry) { e.Class = Auxiliary },
		"size": func(e *Entry) { e.Size++ }, "digest": func(e *Entry) { e.Digest[31]++ },
	} {
		other := slices.Clone(m)
		change(&other[2])
		if Fingerprint(other) == was {
			t.Errorf("the %s does not count", what)
		}
	}
	other := slices.Clone(m[2:])
	other[0].Mtime, other[0].Mode, other[0].Ino = 1, 0o600, 99
	if Fingerprint(other) != was {
		t.Error("something counts that should not")
	}
	other[1].Digest = Digest{}
	if got := Fingerprint(other); got != "" {
		t.Errorf("with an unknown digest it is %q", got)
	}
}

func BenchmarkHashFiles(b *testing.B) {
	for _, algorithm := range []string{BLAKE3, SHA256} {
		for _, shape := range []struct{ files, size int }{{16, 16 << 20}, {4000, 1 << 10}} {
			b.Run(fmt.Sprintf("%s/%dx%dkB", algorithm, shape.files, shape.size>>10), func(b *testing.B) {
				dir := b.TempDir()
				paths := make([]string, shape.files)
				for i := range paths {
					paths[i] = fmt.Sprint(i)
					write(b, dir+"/"+paths[i], strings.Repeat("x", shape.size))
				}
				b.SetBytes(int64(shape.files * shape.size))
				b.ReportAllocs()
				for b.Loop() {
					err := HashFiles(b.Context(), dir, algorithm, paths, 0, func(path string, _ Digest, err error) {
						if err != nil {
							b.Error(err)
						}
					})
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
