package sync_test

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnadesign-maintainers/usr/sync"
	"github.com/dnadesign-maintainers/usr/verify"
)

var (
	previewSeed   = flag.Uint64("preview.seed", uint64(time.Now().UnixNano()), "seed of the first pair of trees")
	previewRounds = flag.Int("preview.rounds", 15, "pairs of trees")
)

// oddNames are file names that shells, rsync's formats, terminals and JSON trip over.
var oddNames = []string{
	"a\nb", "-dash", "--delete", "'single'", `"double"`, "*", "?", "[a-z]", "{a,b}", "a -> b", `\#012`, "#x", ";y", "$(z)", "`z`",
	"\x01\x1b[31mred\x07", "\x1b]0;title\x07", "\xff\xfe", "caf\xe9", "\u009b31m", "\u202egnp", " lead", "trail ", "tab\there", "cr\r",
	"%s%n", "a:b", "~", "!", "\\", "\\\\", "..x", "...", "x.", "é", "e\u0301", "日本", strings.Repeat("n", 255), strings.Repeat("日", 85),
}

// TestPreviewIsExact: what diff lists is what the transfer then changes, no more and no less, for random pairs of
// trees. Run it again with -preview.seed N -preview.rounds 1.
func TestPreviewIsExact(t *testing.T) {
	for i := range *previewRounds {
		seed := *previewSeed + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) { newPairOfTrees(t, seed).check() })
	}
}

func TestPreviewIsExactOverSSH(t *testing.T) {
	for i := range min(*previewRounds, 3) {
		seed := *previewSeed + 1000 + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			p := newPairOfTrees(t, seed)
			p.overSSH()
			p.check()
		})
	}
}

// pairOfTrees is a dataset on both sides whose copies went apart at random.
type pairOfTrees struct {
	*lab
	r *rand.Rand
}

func newPairOfTrees(t *testing.T, seed uint64) *pairOfTrees {
	p := &pairOfTrees{lab: newLab(t), r: rand.New(rand.NewPCG(seed, 0))}
	there, here := filepath.Join(p.remote, id), filepath.Join(p.local, id)
	p.must(os.MkdirAll(filepath.Dir(here), 0o755))
	for range p.r.IntN(12) {
		p.add(there)
	}
	out, err := exec.Command("cp", "-a", there, filepath.Dir(here)).CombinedOutput() // os.CopyFS wants UTF-8
	if err != nil {
		p.Fatalf("cp: %s", out)
	}
	if p.r.IntN(3) == 0 { // they have met
		_, err := p.transfer(sync.Pull, modes())
		p.must(err)
	}
	sides := [][]string{{there}, {here}, {there, here}}[p.r.IntN(3)]
	for range p.r.IntN(10) {
		p.change(sides[p.r.IntN(len(sides))])
	}
	return p
}

// somewhere is a directory in which files of one class lie; "" is the dataset's own.
func (p *pairOfTrees) somewhere() string {
	dirs := []string{"", "_snapshots", "_derived", "_derived/infer", "_artifacts", "_registry/a/b", "-odd\n dir"}
	return dirs[p.r.IntN(len(dirs))]
}

func (p *pairOfTrees) name() string {
	switch p.r.IntN(6) {
	case 0:
		return ".DS_Store" // never synchronized, never counted
	case 1, 2:
		return fmt.Sprintf("part-%d.parquet", p.r.IntN(6))
	}
	return oddNames[p.r.IntN(len(oddNames))]
}

func (p *pairOfTrees) add(root string) {
	path := filepath.Join(root, p.somewhere(), p.name())
	if os.MkdirAll(filepath.Dir(path), 0o755) == nil {
		_ = os.WriteFile(path, p.bytes(), 0o644) // a directory of that name may be in the way
	}
}

func (p *pairOfTrees) bytes() []byte {
	b := make([]byte, p.r.IntN(3)*p.r.IntN(2000))
	for i := range b {
		b[i] = byte(p.r.Uint32())
	}
	return b
}

// change does to a tree what writers and accidents do.
func (p *pairOfTrees) change(root string) {
	path := p.file(root)
	info, err := os.Lstat(path)
	p.must(err)
	switch p.r.IntN(8) {
	case 0, 1:
		p.add(root)
	case 2:
		p.must(os.Remove(path))
	case 3: // touched only
		p.must(os.Chtimes(path, time.Time{}, info.ModTime().Add(time.Hour)))
	case 4:
		p.edit(path, info)
	case 5: // nothing but the content tells
		p.edit(path, info)
		p.must(os.Chtimes(path, time.Time{}, info.ModTime()))
	case 6: // a file becomes a directory
		p.must(os.Remove(path))
		p.must(os.MkdirAll(filepath.Join(path, "inner"), 0o755))
		p.must(os.WriteFile(filepath.Join(path, "inner", "x"), p.bytes(), 0o644))
	case 7: // a directory becomes a file
		if dir := filepath.Dir(path); dir != root {
			p.must(os.RemoveAll(dir))
			p.must(os.WriteFile(dir, p.bytes(), 0o644))
		}
	}
	p.log(root)
}

// edit keeps the size.
func (p *pairOfTrees) edit(path string, info fs.FileInfo) {
	b, err := os.ReadFile(path)
	p.must(err)
	if len(b) > 0 {
		b[p.r.IntN(len(b))] ^= byte(1 + p.r.IntN(255))
	}
	p.must(os.WriteFile(path, b, info.Mode()))
}

// log appends an event now and then, as a writer does.
func (p *pairOfTrees) log(root string) {
	if p.r.IntN(3) == 0 {
		f, err := os.OpenFile(filepath.Join(root, ".events.log"), os.O_APPEND|os.O_WRONLY, 0)
		p.must(err)
		fmt.Fprintf(f, "{\"n\": %d}\n", p.r.IntN(100))
		p.must(f.Close())
	}
}

// file picks one that is neither the primary nor the log: without them there is no dataset, or no legal history.
func (p *pairOfTrees) file(root string) string {
	var paths []string
	for rel := range p.everything(root) {
		if rel != "records.parquet" && rel != ".events.log" && !strings.HasPrefix(filepath.Base(rel), ".usr.") && rel != ".events.lock" {
			paths = append(paths, rel)
		}
	}
	slices.Sort(paths)
	if len(paths) == 0 {
		p.must(os.WriteFile(filepath.Join(root, "one"), nil, 0o644))
		return filepath.Join(root, "one")
	}
	return filepath.Join(root, paths[p.r.IntN(len(paths))])
}

// everything reads a tree, files that are never synchronized included.
func (p *pairOfTrees) everything(root string) map[string]string {
	files := map[string]string{}
	p.must(filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(root, path)
		files[rel] = string(b)
		return err
	}))
	return files
}

func (p *pairOfTrees) modes() sync.Modes {
	m := modes()
	m.Force = true
	switch p.r.IntN(5) {
	case 0:
		m.PrimaryOnly, m.Sidecars, m.ContentHashes = true, false, false
	case 1:
		m.SkipSnapshots = true
	}
	return m
}

func (p *pairOfTrees) check() {
	m := p.modes()
	d, err := p.with(func(pair *sync.Pair) (*sync.Report, error) { return pair.Diff(context.Background(), id, m) })
	p.must(err)
	src, dst := filepath.Join(p.remote, id), filepath.Join(p.local, id)
	if d.Direction == sync.Push {
		src, dst = dst, src
	}
	before, source := p.everything(dst), p.everything(src)
	r, err := p.transfer(d.Direction, m)
	var unsafe *sync.UnsafeError
	if errors.As(err, &unsafe) && strings.Contains(err.Error(), "in the place of a file") {
		if !maps.Equal(before, p.everything(dst)) {
			p.Errorf("%v, and yet something changed", err)
		}
		return
	}
	p.must(err)
	after := p.everything(dst)
	if diff := cmp.Diff(encoded(changesOf(before, after)), encoded(listed(d.Changes))); diff != "" {
		p.Errorf("%s (-what changed +what diff listed):\n%s", d.Direction, diff)
	}
	if diff := cmp.Diff(d.Changes, r.Changes, cmp.FilterPath(func(path cmp.Path) bool { return path.Last().String() == ".Flags" }, cmp.Ignore())); diff != "" {
		p.Errorf("diff and %s list different things:\n%s", d.Direction, diff)
	}
	if wantNoOp := len(d.Changes) == 0; wantNoOp != (r.State == sync.NoOp) {
		p.Errorf("%d changes and %s", len(d.Changes), r.State)
	}
	if !maps.Equal(source, p.everything(src)) {
		p.Error("the source changed")
	}
	p.unlisted(before, after)
	again, err := p.with(func(pair *sync.Pair) (*sync.Report, error) { return pair.Diff(context.Background(), id, m) })
	p.must(err)
	if len(again.Changes) > 0 {
		p.Errorf("still to be changed: %v", again.Changes)
	}
}

// unlisted: what is never synchronized stays as it is, and nothing of ours is left in the dataset.
func (p *pairOfTrees) unlisted(before, after map[string]string) {
	classes, err := verify.NewClassifier(nil)
	p.must(err)
	for path, text := range before {
		if got, ok := after[path]; !classes.Class(path).Synced() && (!ok || got != text) {
			p.Errorf("%q is gone or changed", path)
		}
	}
}

// changesOf are the differences of two trees, of what is synchronized.
func changesOf(before, after map[string]string) map[string]sync.ChangeKind {
	classes, _ := verify.NewClassifier(nil)
	kinds := map[string]sync.ChangeKind{}
	for path, text := range after {
		if old, ok := before[path]; !ok {
			kinds[path] = sync.Added
		} else if old != text {
			kinds[path] = sync.Modified
		}
	}
	for path := range before {
		if _, ok := after[path]; !ok {
			kinds[path] = sync.Deleted
		}
	}
	maps.DeleteFunc(kinds, func(path string, _ sync.ChangeKind) bool { return !classes.Class(path).Synced() })
	return kinds
}

func listed(changes []sync.Change) map[string]sync.ChangeKind {
	kinds := map[string]sync.ChangeKind{}
	for _, c := range changes {
		kinds[c.Path] = c.Kind
	}
	return kinds
}

// encoded makes odd names fit for a comparison that is printed.
func encoded(kinds map[string]sync.ChangeKind) map[string]sync.ChangeKind {
	out := map[string]sync.ChangeKind{}
	for path, kind := range kinds {
		out[fmt.Sprintf("%.60q %s", path, base64.StdEncoding.EncodeToString([]byte(path[max(0, len(path)-6):])))] = kind
	}
	return out
}
