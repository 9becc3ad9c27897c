package sync

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/sync/local"
	"github.com/dnadesign-maintainers/usr/verify"
)

// hostileNames are what a shell, find, xargs or a line protocol may trip over.
func hostileNames() []string {
	names := []string{"-n", "a b", " lead", "trail ", "new\nline", "back\\slash", `quo"te`, "ap'os", "$(touch pwned)", "`id`", "*", "?",
		"[a]", "tab\there", "\\nnot", "semi;colon", "~", "#x", "é", "cr\r", "d ir/-rf", "d ir/..x", "%s", "a=b", "esc\x1b[31m"}
	if runtime.GOOS == "linux" { // APFS refuses what is not UTF-8
		names = append(names, "\xff\xfe", "d ir/\x80")
	}
	return names
}

var fileBehaviours = []behaviour{
	{"hostile names", func(d *bed) {
		d.must(d.s.Claim(d.Context(), d.key, 0))
		names := hostileNames()
		for _, n := range names {
			d.write(d.live+"/"+n, "data of "+n)
		}
		d.must(second(d.s.Stage(d.Context(), d.key, run1, d.live, false)))
		tree, copies := d.run(run1, "tree"), d.run(run1, "copies")
		d.must(d.s.Link(d.Context(), d.live, tree, names, false))
		d.must(d.s.Copy(d.Context(), d.live, copies, names))
		for _, n := range names {
			d.is(copies+"/"+n, "data of "+n)
			if d.inode(tree+"/"+n) != d.inode(d.live+"/"+n) || d.inode(copies+"/"+n) == d.inode(d.live+"/"+n) {
				d.Errorf("%q: linked and copied the wrong way round", n)
			}
		}
		m, err := listTree(d.Context(), d.s, tree)
		d.must(err)
		var listed []string
		for _, e := range m {
			if e.Kind == verify.File {
				listed = append(listed, e.Path)
			}
		}
		slices.Sort(names)
		if !slices.Equal(listed, names) {
			d.Errorf("listed %q, want %q", listed, names)
		}
		d.hashesAre(tree, names)
		d.absent(filepath.Join(d.root, "pwned"))
	}},
	{"hostile dataset names", func(d *bed) {
		for _, id := range []string{"-x y/$(touch pwned)", "it's/a \"b\" c", "100%/%2F"} {
			d := &bed{T: d.T, s: d.s, root: d.root, id: id, key: stateKey(id), live: filepath.Join(d.root, id)}
			d.write(d.live+"/records.parquet", "old")
			if v := d.survey(); !v.Exists || len(v.Entries) != 1 {
				d.Errorf("%q: %+v", id, v)
			}
			d.promoted(run1, remote.Promotion{Keep: true, Info: `{"it's":"\\n $(x)"}`})
			d.is(d.live+"/records.parquet", "new "+run1)
			d.is(d.generation(run1, "tree", "records.parquet"), "old")
			if g, err := d.s.Generations(d.Context(), d.key); err != nil || len(g) != 1 || g[0].Info != `{"it's":"\\n $(x)"}` {
				d.Errorf("%q: %+v, %v", id, g, err)
			}
			d.must(d.s.Unlock(d.Context()))
			d.must(d.s.Release(d.Context()))
		}
		d.absent(filepath.Join(d.root, "pwned"))
	}},
	{"a known listing is not told again", func(d *bed) {
		d.write(d.live+"/records.parquet", "rows")
		d.write(d.live+"/_derived/a b/part", "part")
		d.must(os.WriteFile(d.live+"/.usr.lock", nil, 0o644))
		again := func(known string) *remote.Survey {
			v, err := d.s.Survey(d.Context(), d.id, d.key, known)
			d.must(err)
			return v
		}
		first := d.survey()
		if v := again(first.Listing); !v.Same || v.Listing != first.Listing || len(v.Entries) > 1 || v.Now < first.Now {
			d.Errorf("again %+v, first %+v", v, first)
		}
		time.Sleep(50 * time.Millisecond) // more than a tick of the clock
		fi, err := os.Stat(d.live + "/_derived/a b/part")
		d.must(err)
		d.write(d.live+"/_derived/a b/part", "trap")
		d.must(os.Chtimes(d.live+"/_derived/a b/part", fi.ModTime(), fi.ModTime()))
		if v := again(first.Listing); v.Same || v.Listing == first.Listing || len(v.Entries) != len(first.Entries) {
			d.Errorf("after a change that keeps size and time: %+v", v)
		}
	}},
	{"hash goes on after an error", func(d *bed) {
		d.write(d.live+"/a", "a")
		d.write(d.live+"/z", "z")
		failed := map[string]bool{}
		d.must(d.s.Hash(d.Context(), d.live, verify.SHA256, sizeless("a", "gone", "z"), func(p string, g verify.Digest, err error) {
			failed[p] = err != nil
		}))
		if len(failed) != 3 || failed["a"] || failed["z"] || !failed["gone"] {
			d.Error(failed)
		}
		_, err := listTree(d.Context(), d.s, d.live+"/absent")
		if !errors.Is(err, fs.ErrNotExist) {
			d.Errorf("listing what is absent: %v", err)
		}
	}},
	{"ranges and prefixes", func(d *bed) {
		f := d.live + "/f"
		d.write(f, "0123456789")
		for _, c := range []struct {
			off, n int64
			want   string
		}{{0, 3, "012"}, {8, 9, "89"}, {-4, 4, "6789"}, {-4, 2, "67"}, {-99, 2, "01"}, {10, 1, ""}, {99, 5, ""}} {
			if b, err := d.s.ReadRange(d.Context(), f, c.off, c.n); string(b) != c.want || err != nil {
				d.Errorf("%d bytes at %d: %q, %v", c.n, c.off, b, err)
			}
		}
		_, err := d.s.ReadRange(d.Context(), f+"-absent", 0, 1)
		d.wantErr(err, "reading what is absent")
		for _, n := range []int64{0, 4, 10, 99} {
			got, err := d.s.HashPrefix(d.Context(), f, verify.SHA256, n)
			want, werr := verify.HashPrefix(f, verify.SHA256, n)
			if got != want || err != nil || werr != nil {
				d.Errorf("prefix of %d: %v, %v", n, err, werr)
			}
		}
	}},
	{"stage is like live", func(d *bed) {
		d.write(d.live+"/records.parquet", "old")
		d.must(os.Chmod(d.live, 0o750|fs.ModeSetgid))
		d.must(d.s.Claim(d.Context(), d.key, 0))
		d.must(second(d.s.Stage(d.Context(), d.key, run1, d.live, false)))
		d.modeIs(d.run(run1, "tree"), 0o2750)
		if fi, err := os.Stat(d.run(run1, "copies")); err != nil || !fi.IsDir() {
			d.Error(err)
		}
		d.wantErr(second(d.s.Stage(d.Context(), d.key, run1, d.live, false)), "the same stage again")

		beside := d.live + "-beside"
		d.must(os.Mkdir(beside, 0o777))
		var st unix.Stat_t
		err := unix.Stat(beside, &st)
		d.must(err)
		d.must(second(d.s.Stage(d.Context(), d.key, run2, d.live+"-absent", false)))
		d.modeIs(d.run(run2, "tree"), uint32(st.Mode)&0o7777)
		d.must(second(d.s.Stage(d.Context(), d.key, run3, d.live+"/in-setgid", false)))
		d.modeIs(d.run(run3, "tree"), uint32(st.Mode)&0o777|0o2000)
	}},
	{"links and copies", func(d *bed) {
		from, to, copies := d.live, d.live+"-to", d.live+"-copies"
		d.must(os.MkdirAll(from+"/empty/er", 0o755))
		d.must(os.MkdirAll(to, 0o755))
		d.must(os.MkdirAll(copies, 0o755))
		d.write(from+"/a/b/c", "c")
		d.must(os.Chmod(from+"/a/b/c", 0o640))
		stamp := time.Unix(1234567890, 123456789)
		d.must(os.Chtimes(from+"/a/b/c", stamp, stamp))
		d.must(d.s.Link(d.Context(), from, to, []string{"a", "a/b/c", "empty/er"}, false))
		d.must(d.s.Copy(d.Context(), from, copies, []string{"a/b/c", "empty/er"}))
		d.is(copies+"/a/b/c", "c")
		fi, err := os.Stat(copies + "/a/b/c")
		d.must(err)
		if !d.stamped(fi.ModTime().UnixNano(), stamp.UnixNano()) || fi.Mode() != 0o640 || d.inode(from+"/a/b/c") == d.inode(copies+"/a/b/c") {
			d.Errorf("the copy has %v %v", fi.ModTime(), fi.Mode())
		}
		if d.inode(from+"/a/b/c") != d.inode(to+"/a/b/c") || d.inode(to+"/empty/er") == 0 || d.inode(copies+"/empty/er") == 0 {
			d.Error("not linked")
		}
		d.wantErr(d.s.Link(d.Context(), from, to, []string{"a/b/c"}, false), "linking over a file")
		d.wantErr(d.s.Copy(d.Context(), from, copies, []string{"a/b/c"}), "copying over a file")
		d.wantErr(d.s.Link(d.Context(), from, to, []string{"gone"}, false), "linking what is absent")
		d.must(d.s.SetDirs(d.Context(), to, entries(0o2750, "a", "", "a/b")))
		d.modeIs(to, 0o2750)
		d.modeIs(to+"/a", 0o2750)
		d.modeIs(to+"/a/b", 0o2750)
		d.must(d.s.Flush(d.Context(), to, nil))
	}},
	{"remove stays inside", func(d *bed) {
		d.must(d.s.Claim(d.Context(), d.key, 0))
		d.write(d.live+"/records.parquet", "old")
		d.write(d.run(run1, "tree", "x"), "x")
		d.must(os.Symlink(d.live, d.run(run1, "out")))
		for _, dir := range []string{d.live, d.root, d.state(), d.state() + "/", d.state("stage") + "/../../" + d.id, d.state() + "/..",
			d.state() + "x", d.run(run1, "out", "records.parquet"), "", "/", filepath.Join(stateDir, "stage")} {
			d.wantErr(d.s.Remove(d.Context(), dir), dir)
		}
		d.must(os.Chmod(d.run(run1, "tree"), 0o555))
		d.must(d.s.Remove(d.Context(), d.run(run1)))
		if left, err := os.ReadDir(d.run(run1)); err != nil || len(left) != 1 || left[0].Name() != "out" {
			d.Errorf("what usr does not make is to stay: %v, %v", left, err)
		}
		d.must(os.Remove(d.run(run1, "out")))
		d.must(d.s.Remove(d.Context(), d.run(run1)))
		d.must(d.s.Remove(d.Context(), d.run(run1)))
		d.must(os.MkdirAll(d.run(run2, "old%new-1000"), 0o700)) // of a run that was killed while it made a directory
		d.must(d.s.Remove(d.Context(), d.run(run2)))
		d.absent(d.run(run2))
		d.absent(d.run(run1))
		d.is(d.live+"/records.parquet", "old")
	}},
}

func (d *bed) modeIs(path string, want uint32) {
	d.Helper()
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	if err != nil || uint32(st.Mode)&0o7777 != want {
		d.Errorf("%s has mode %o (%v), want %o", path, uint32(st.Mode)&0o7777, err, want)
	}
}

// sizeless are entries that Hash takes: the sizes only deal files out to processes.
func sizeless(paths ...string) (files []*verify.Entry) {
	for _, p := range paths {
		files = append(files, &verify.Entry{Path: p})
	}
	return files
}

// hashesAre compares what the side says with what package verify says here, for every algorithm of the side.
func (d *bed) hashesAre(dir string, paths []string) {
	d.Helper()
	algorithms, err := d.s.Algorithms(d.Context())
	d.must(err)
	if len(algorithms) == 0 {
		d.Fatal("no hash algorithm")
	}
	for _, a := range algorithms {
		want, got := map[string]verify.Digest{}, map[string]verify.Digest{}
		collect := func(m map[string]verify.Digest) func(string, verify.Digest, error) {
			return func(p string, g verify.Digest, err error) {
				if err != nil {
					d.Errorf("%q: %v", p, err)
				}
				m[p] = g
			}
		}
		d.must(verify.HashFiles(d.Context(), dir, a, paths, 1, collect(want)))
		d.must(d.s.Hash(d.Context(), dir, a, sizeless(paths...), collect(got)))
		for _, p := range paths {
			if want[p] != got[p] || got[p] == (verify.Digest{}) {
				d.Errorf("%s of %q: %x, want %x", a, p, got[p], want[p])
			}
		}
	}
}

func BenchmarkLink(b *testing.B) {
	from := b.TempDir()
	var paths []string
	for i := range 20000 {
		paths = append(paths, filepath.Join("d"+string(rune('a'+i%20)), "f"+string(rune('a'+i%7)), time.Unix(int64(i), 0).UTC().Format("150405")))
	}
	for _, p := range paths {
		os.MkdirAll(filepath.Dir(filepath.Join(from, p)), 0o755)
		if err := os.WriteFile(filepath.Join(from, p), nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	s := local.New("local", from, nil)
	for b.Loop() {
		to := b.TempDir()
		if err := s.Link(b.Context(), from, to, paths, false); err != nil {
			b.Fatal(err)
		}
	}
}
