package rsync

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
)

func TestPreview(t *testing.T) {
	far, _ := clusterEnd(t, remotetest.Options{})
	for name, ends := range map[string]Preview{"local": {}, "pull": {From: far}, "push": {To: far}} {
		b := newBed(t)
		old, new := time.Unix(1700000000, 1), time.Unix(1700000000, 2)
		for _, n := range []string{"same", "touched", "sub/x"} {
			put(t, filepath.Join(b.src, n), []byte("12"))
			put(t, filepath.Join(b.live, n), []byte("12"))
			_ = os.Chtimes(filepath.Join(b.src, n), old, old)
			_ = os.Chtimes(filepath.Join(b.live, n), old, old)
		}
		_ = os.Chtimes(filepath.Join(b.src, "touched"), new, new)
		_ = os.Chmod(filepath.Join(b.src, "same"), 0o600)
		put(t, filepath.Join(b.src, "added"), []byte("1"))
		put(t, filepath.Join(b.live, "olddir/gone"), []byte("1"))
		put(t, filepath.Join(b.live, ".usr.lock"), nil)
		var lines []string
		p := ends
		p.FromDir, p.ToDir, p.Exclude = b.src, b.live, []string{ExcludePath(".usr.lock")}
		p.Itemize = func(line string) { lines = append(lines, line) }
		items, err := p.Run(t.Context())
		got := map[string]string{}
		for _, it := range items {
			if !it.Dir || it.Flags == deleting {
				got[it.Path] = it.Flags
			}
		}
		if err != nil || len(got) != 4 || got["touched"] == "" || got["added"] == "" || got["touched"][1:] != "f..t......" || got["added"][1:] != "f+++++++++" || got["olddir"] != deleting || got["olddir/gone"] != deleting {
			t.Errorf("%s: %v %v", name, got, err)
		}
		if !slices.Contains(lines, "*deleting   olddir/gone") || !slices.ContainsFunc(lines, func(l string) bool { return strings.HasSuffix(l, "f+++++++++ added") }) {
			t.Errorf("%s: %q", name, lines)
		}
	}
}

func TestPreviewIntoNothing(t *testing.T) {
	b := newBed(t)
	put(t, filepath.Join(b.src, "f"), []byte("1"))
	items, err := Preview{FromDir: b.src, ToDir: filepath.Join(b.live, "not/yet/there")}.Run(t.Context())
	if err != nil || len(items) < 1 || items[len(items)-1].Path != "f" {
		t.Errorf("%+v %v", items, err)
	}
	if list, _ := os.ReadDir(b.live); len(list) != 0 {
		t.Errorf("the preview made %v", list)
	}
}

// TestExcludePath: the pattern of each hostile name takes away that one file.
func TestExcludePath(t *testing.T) {
	b := newBed(t)
	names := []string{"dir/plain"}
	for _, n := range hostileNames {
		put(t, filepath.Join(b.src, n), nil)
		if len(n) < 50 {
			names = append(names, "in "+n+"/"+n)
		}
	}
	for _, n := range names {
		put(t, filepath.Join(b.src, n), nil)
	}
	names = append(names, hostileNames...)
	for i := range 2 {
		p := Preview{FromDir: b.src, ToDir: b.stage}
		var want []string
		for j, n := range names {
			if j%2 == i {
				p.Exclude = append(p.Exclude, ExcludePath(n))
			} else {
				want = append(want, n)
			}
		}
		items, err := p.Run(t.Context())
		var got []string
		for _, it := range items {
			if !it.Dir {
				got = append(got, it.Path)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v\ngot  %q\nwant %q", err, got, want)
		}
	}
}
