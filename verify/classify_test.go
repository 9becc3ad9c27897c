package verify

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestClass(t *testing.T) {
	c, err := NewClassifier([]string{"*.tmp", "scratch*", "exact", "[ab]?.bin", "_artifacts/old", "/notes", "**/deep/x*", "cache/", "_v/**/t"})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]Class{
		"records.parquet": Primary, "meta.md": Meta, ".events.log": Events,
		"x/records.parquet": Auxiliary, "x/meta.md": Auxiliary, "_derived/.events.log": Derived,
		"_snapshots": Snapshots, "_snapshots/records-1.parquet": Snapshots, "_snapshotsx": Auxiliary,
		"_derived": Derived, "_derived/infer": Derived, "_derived/infer/part-1.parquet": Derived, "x/_derived/y": Auxiliary,
		"_registry": Auxiliary, "readme": Auxiliary, "records.parquet.1": Auxiliary,
		".usr.lock": Runtime, ".events.lock": Runtime, ".usr.transfer.lock": Runtime, ".usr.lease.host.1": Runtime,
		".usr.lease.x/owner": Runtime, ".usr.lockx": Auxiliary, "_derived/.usr.lock": Runtime, "a/.usr.lease.x": Runtime, "a/.usr.lease.x/owner": Runtime,
		"_derived/infer/.sidecar.lock": Runtime, "a/b/.usr.transfer.lock": Runtime, "a/.events.lock": Runtime, "a/x.usr.lease.x": Auxiliary,
		"_artifacts/ids.sqlite-shm": Runtime, "_derived/x.db-shm": Runtime, "_artifacts/ids.sqlite": Auxiliary,
		"_artifacts/ids.sqlite-wal": Auxiliary, "_artifacts/results-shm": Auxiliary, "_artifacts/ids.sqlite-shm/x": Auxiliary,
		".DS_Store": Ignored, "_derived/.DS_Store": Ignored, "._records.parquet": Ignored, "a/._d/x": Ignored,
		"Thumbs.db": Ignored, "a/Thumbs.db": Ignored, "thumbs.db": Auxiliary, ".nfs0001": Ignored, ".fuse_hidden1": Ignored,
		".ipynb_checkpoints": Ignored, "a/.ipynb_checkpoints/b/c": Ignored, ".ipynb": Auxiliary,
		"x.tmp": Ignored, "_derived/x.tmp": Ignored, "x.tmp/y": Ignored, "x.tmpl": Auxiliary, ".tmp": Ignored,
		"scratch": Ignored, "scratch1/x": Ignored, "exact": Ignored, "a/exact/b": Ignored, "exactly": Auxiliary,
		"a1.bin": Ignored, "c1.bin": Auxiliary, "_artifacts/old": Ignored, "_artifacts/old/x/y": Ignored,
		"_artifacts/older": Auxiliary, "x/_artifacts/old": Auxiliary, "notes": Ignored, "notes/a": Ignored, "a/notes": Auxiliary,
		"deep/xy": Ignored, "a/b/deep/xy/z": Ignored, "deep": Auxiliary, "cache/f": Ignored, "_v/t": Ignored, "_v/a/b/t/c": Ignored,
		"bad\xff.tmp": Ignored, "line\nbreak": Auxiliary, "_derived/\xff": Derived,
	} {
		if got := c.Class(path); got != want {
			t.Errorf("%q is %v, want %v", path, got, want)
		}
	}
}

func TestClassMethods(t *testing.T) {
	for c := Primary; c <= Ignored; c++ {
		if want := c != Runtime && c != Ignored; c.Synced() != want {
			t.Errorf("%v synced: %v", c, !want)
		}
		if want := strings.Contains("meta events auxiliary", c.String()); c.InPlace() != want {
			t.Errorf("%v in place: %v", c, !want)
		}
	}
	if got := fmt.Sprint(Primary, Ignored, Class(99)); got != "primary ignored class 99" {
		t.Error(got)
	}
}

func TestBadPatterns(t *testing.T) {
	for _, pattern := range []string{"", "/", "[a", "x/[", "{a", `a\`, "!keep", "../x", "a//b", "./a", "*", "**", "*/", "*.parquet",
		"/*", "**/*", "records.parquet", "/records.parquet/", ".*", ".events.*"} {
		_, err := NewClassifier([]string{"fine", pattern})
		var bad *PatternError
		if !errors.As(err, &bad) || bad.Pattern != pattern {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}

func FuzzClassifier(f *testing.F) {
	for _, name := range hostileNames {
		f.Add(name, "dir/"+name)
	}
	f.Fuzz(func(t *testing.T, pattern, path string) {
		c, err := NewClassifier([]string{pattern})
		if err != nil {
			return
		}
		if got := c.Class(primaryName); got != Primary {
			t.Errorf("with %q the primary is %v", pattern, got)
		}
		if c.Class(path) == Ignored && c.Class(path+"/below") == Auxiliary {
			t.Errorf("%q ignores %q but not what is below", pattern, path)
		}
	})
}

func BenchmarkClass(b *testing.B) {
	c, err := NewClassifier([]string{"*.tmp", "scratch*", "_artifacts/old"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		c.Class("_derived/infer/2026/part-000123.parquet")
	}
}
