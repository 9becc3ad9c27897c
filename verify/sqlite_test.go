package verify

import "testing"

func TestClassifyDatabases(t *testing.T) {
	c, err := NewClassifier(nil)
	if err != nil {
		t.Fatal(err)
	}
	listing := Manifest{
		{Path: "a/full", Kind: File}, {Path: "a/full-journal", Kind: File}, {Path: "a/full-shm", Kind: File, Size: 1}, {Path: "a/full-wal", Kind: File, Size: 1},
		{Path: "a/idle", Kind: File}, {Path: "a/idle-wal", Kind: File},
		{Path: "a/lone-shm", Kind: File, Size: 1}, {Path: "a/lone-wal", Kind: File},
		{Path: "a/tree", Kind: Directory}, {Path: "a/tree-shm", Kind: File},
		{Path: "a/x.sqlite-shm", Kind: File}, {Path: "a/y", Kind: File}, {Path: "a/y-wal", Kind: Directory},
	}
	c.Classify(listing)
	for _, e := range listing {
		want := Auxiliary
		switch e.Path {
		case "a/full-shm", "a/idle-wal", "a/x.sqlite-shm":
			want = Runtime
		}
		if e.Class != want {
			t.Errorf("%s is %v, want %v", e.Path, e.Class, want)
		}
	}
	for path, want := range map[string]string{"a/x": "a/x", "a/x-wal": "a/x", "a/x-shm": "a/x", "x-journal": "x", "-wal": "-wal", "a/-shm": "a/-shm"} {
		if got := Database(path); got != want {
			t.Errorf("%s belongs to %s, want %s", path, got, want)
		}
	}
}

func TestRebuildable(t *testing.T) {
	c, err := NewClassifier([]string{"*.tmp"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Rebuildable("_artifacts/ids.sqlite") {
		t.Error("without a pattern nothing is")
	}
	if c, err = c.WithRebuildable([]string{"_artifacts/ids.sqlite", "*.cache"}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"_artifacts/ids.sqlite": true, "_artifacts/ids.sqlite-wal": true, "_artifacts/ids.sqlite-journal": true,
		"_artifacts/ids.sqlite2": false, "a/ids.sqlite": false, "a/x.cache": true, "a/x.cache/y": true, ".DS_Store": false, "a.tmp": false} {
		if c.Rebuildable(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
	if c.Class("a.tmp") != Ignored {
		t.Error("what was ignored is not any more")
	}
	if _, err := c.WithRebuildable([]string{"*.parquet"}); err == nil || err.Error() != `cannot use rebuildable pattern "*.parquet": it would make light of records.parquet` {
		t.Error(err)
	}
}
