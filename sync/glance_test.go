package sync

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync/local"
)

// TestGlance holds both kinds of side against the same trees: what is there, what is not, odd names, and the datasets.
func TestGlance(t *testing.T) {
	root := t.TempDir()
	far, _ := connectSide(t, root, remotetest.Options{})
	near := local.New("local", root, nil)
	odd := "ns/a/_derived/it's \"odd\"\n$x\\"
	for _, dir := range []string{odd, "b", "ns/no", "archived/c"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"ns/a/records.parquet", "ns/a/.events.log", "b/records.parquet", "archived/c/records.parquet"} {
		if err := os.WriteFile(filepath.Join(root, file), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{"ns/a/.", "ns/a/.events.log", "ns/a/records.parquet", "ns/a/meta.md", odd, "nothing/."}
	look := func() map[string]string {
		t.Helper()
		n, err := near.Glance(t.Context(), names, true)
		if err != nil {
			t.Fatal(err)
		}
		f, err := far.Glance(t.Context(), names, true)
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(n.Stamps, f.Stamps) || len(n.Stamps) != 4 {
			t.Errorf("near %q, far %q", n.Stamps, f.Stamps)
		}
		slices.Sort(n.IDs)
		slices.Sort(f.IDs)
		if want := []string{"b", "ns/a"}; !slices.Equal(n.IDs, want) || !slices.Equal(f.IDs, want) {
			t.Errorf("ids: near %q, far %q", n.IDs, f.IDs)
		}
		return f.Stamps
	}
	before := look()
	if err := os.WriteFile(filepath.Join(root, odd, "part"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if after := look(); maps.Equal(before, after) {
		t.Error("a new part is not seen")
	}
	if g, err := far.Glance(t.Context(), nil, false); err != nil || len(g.IDs)+len(g.Stamps) > 0 {
		t.Errorf("%v, %v", g, err)
	}
}
