package sync_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// TestFaultShapes: files become directories and directories files, directories come and go, by a transfer, its undo and the
// undo of that. The generation of a switch in place holds what was replaced and no more; live, its lock files and what does
// not change are what they were.
func TestFaultShapes(t *testing.T) {
	everySwitch(t, func(t *testing.T, r *rig) {
		r.profile.KeepGenerations = 1
		for path, text := range map[string]string{"_artifacts/file": "f\n", "_artifacts/dir/one": "1\n", "_artifacts/dir/deep/two": "2\n",
			"_artifacts/going/away/three": "3\n", "_artifacts/odd \n\ttwo": "odd\n", "_derived/.DS_Store": "mine"} {
			r.must(replaceFile(filepath.Join(r.src(), path), text))
		}
		r.must(os.MkdirAll(filepath.Join(r.src(), "_artifacts/empty before"), 0o755))
		r.transferred()
		r.must(replaceFile(filepath.Join(r.dst(), "_artifacts/.DS_Store"), "theirs"))
		r.must(os.WriteFile(filepath.Join(r.dst(), ".events.lock"), nil, 0o644))
		before := r.content(r.dst())
		inode := func(path string) uint64 {
			n, err := os.Stat(filepath.Join(r.dst(), path))
			r.must(err)
			return n.Sys().(*syscall.Stat_t).Ino
		}
		paths := []string{".usr.lock", ".events.lock", "_artifacts/constant", "_artifacts/.DS_Store"}
		inPlace := strings.Contains(t.Name(), "in_place")
		if inPlace {
			paths = append(paths, ".", "_artifacts")
		}
		var was []uint64
		for _, path := range paths {
			was = append(was, inode(path))
		}

		for _, path := range []string{"_artifacts/file", "_artifacts/dir", "_artifacts/going", "_artifacts/empty before", "_artifacts/odd \n\ttwo"} {
			r.must(os.RemoveAll(filepath.Join(r.src(), path)))
		}
		for path, text := range map[string]string{"_artifacts/file/in/it": "now a directory\n", "_artifacts/dir": "now a file\n",
			"_artifacts/new/a/b": "b\n", "_artifacts/new/c": "c\n", "records.parquet": "primary new\n", "_artifacts/odd \nthree\t": "odd\n"} {
			r.must(replaceFile(filepath.Join(r.src(), path), text))
		}
		r.must(os.MkdirAll(filepath.Join(r.src(), "_artifacts/empty after/below"), 0o755))
		rep := r.transferred()
		after := r.content(r.src())
		same := func(want map[string]string, gone ...string) {
			t.Helper()
			r.sameTree(want)
			for i, path := range paths {
				if inode(path) != was[i] {
					t.Errorf("%s is another one", path)
				}
			}
			for _, path := range gone {
				if _, err := os.Lstat(filepath.Join(r.dst(), path)); err == nil {
					t.Errorf("%s is there", path)
				}
			}
		}
		same(after, "_artifacts/going", "_artifacts/empty before")
		if _, err := os.Stat(filepath.Join(r.dst(), "_artifacts/empty after/below")); err != nil {
			t.Error(err)
		}
		kept := r.content(r.state("generations", faultKey, rep.Generation, "tree"))
		if inPlace {
			if got := slices.Sorted(maps.Keys(kept)); !slices.Equal(got, []string{"_artifacts/dir/deep/two", "_artifacts/dir/one", "_artifacts/file",
				"_artifacts/going/away/three", "_artifacts/odd \n\ttwo", "records.parquet"}) {
				t.Errorf("kept: %q", got)
			}
		}
		for path, text := range kept {
			if before[path] != text {
				t.Errorf("kept %s: %q", path, text)
			}
		}
		r.undone(modes())
		same(before, "_artifacts/new", "_artifacts/file/in")
		r.undone(modes())
		same(after, "_artifacts/going")

		// A part of a tree that has rotted is not put back.
		m := modes()
		m.PrimaryOnly = true
		r.must(replaceFile(filepath.Join(r.src(), "records.parquet"), "primary newer\n"))
		r.must(replaceFile(filepath.Join(r.src(), "meta.md"), "meta of the source\n"))
		rep, err := r.run(r.direction, m)
		r.must(err)
		if got := r.content(r.dst()); got["records.parquet"] != "primary newer\n" || got["meta.md"] != after["meta.md"] {
			t.Errorf("of the primary alone: %q, %q", got["records.parquet"], got["meta.md"])
		}
		rotten := r.state("generations", faultKey, rep.Generation, "tree/records.parquet")
		r.must(os.WriteFile(rotten, []byte("primary ned\n"), 0o644))
		var mismatch *sync.MismatchError
		if _, err := r.undo(modes()); !errors.As(err, &mismatch) {
			t.Errorf("what has rotted is put back: %v", err)
		}
		r.must(os.WriteFile(rotten, []byte("primary new\n"), 0o644))
		r.undone(modes())
		same(after)
	})
}

// TestFaultLateInPlace: what a writer without the lock puts in the place of what is replaced is kept in the generation, and
// said; also where it comes between a kill and the next command.
func TestFaultLateInPlace(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d sync.Direction) {
		r := newRig(t, d)
		r.options = func(o *sync.Options) { o.NoExchange = true }
		r.write(r.src(), 2)
		r.atStep(sync.StepBegan{Step: sync.StepPromote}, func() {
			r.must(replaceFile(filepath.Join(r.dst(), "records.parquet"), "late primary\n"))
			r.must(replaceFile(filepath.Join(r.dst(), "_views/view-2"), "late view\n"))
			r.must(replaceFile(filepath.Join(r.dst(), "_artifacts/constant"), "late constant\n"))
		})
		rep := r.transferred()
		kept := r.content(r.state("generations", faultKey, rep.Generation, "tree"))
		if kept["records.parquet"] != "late primary\n" || kept["_views/view-2"] != "late view\n" || !r.warned("the late version is kept in") {
			t.Errorf("kept: %q, said: %q", kept, r.warnings)
		}
		want := tree(2)
		want["_artifacts/constant"] = "late constant\n" // it is no business of the transfer
		r.sameTree(want)
		r.restored("records.parquet", "late primary\n")

		r = newRig(t, d)
		r.write(r.src(), 2)
		at := r.numberOf("began promote") - 2
		cmd, _ := r.child(job{DieAt: at, NoExchange: true})
		if cmd.Wait() == nil {
			t.Fatal("it lived")
		}
		runs, err := os.ReadDir(r.state("stage", faultKey))
		r.must(err)
		run := runs[len(runs)-1].Name()
		steps := placeSteps(r, run, 3)
		for _, step := range steps[:2] {
			r.must(step())
		}
		saved := false
		for _, path := range []string{"_artifacts/plot.svg", "_derived/changing/part-0.parquet", "records.parquet"} {
			if _, err := os.Stat(r.state("stage", faultKey, run, "old", path)); err == nil {
				saved = true
			}
			r.must(replaceFile(filepath.Join(r.dst(), path), "later "+path))
		}
		if !saved {
			t.Fatal("nothing was saved")
		}
		r.diff()
		r.is(r.dst(), 3)
		var found []string
		for _, dir := range []string{"tree", "late.1"} {
			for _, text := range r.content(r.state("generations", faultKey, run, dir)) {
				if strings.HasPrefix(text, "later ") {
					found = append(found, dir)
				}
			}
		}
		if slices.Sort(found); !slices.Equal(found, []string{"late.1", "tree", "tree"}) || !r.warned("what others wrote meanwhile") {
			t.Errorf("found in %q, said: %q", found, r.warnings)
		}
		for _, path := range []string{"_artifacts/plot.svg", "_derived/changing/part-0.parquet", "records.parquet"} {
			r.restored(path, "later "+path)
		}
		r.oneName()
	})
}

// TestFaultAddedMeanwhile: another program makes a file under the very name that the transfer adds, in the moment before
// the switch in place brings that in. It is kept in the generation, and said.
func TestFaultAddedMeanwhile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"Late.pm": `package Late;
sub late { my $to = $_[1]; if ($to =~ m{faults/_views/view-2$} && $to !~ /usr-sync/ && !-e $to) { open my $f, ">", $to; print $f "late view\n"; close $f } }
BEGIN { *CORE::GLOBAL::rename = sub { late(@_); CORE::rename($_[0], $_[1]) }; *CORE::GLOBAL::link = sub { late(@_); CORE::link($_[0], $_[1]) } }
1;
`, "sitecustomize.py": `import os
def late(do):
    def done(a, b, **k):
        to = os.fsdecode(b)
        if to.endswith("faults/_views/view-2") and "usr-sync" not in to and not os.path.exists(to):
            with open(to, "w") as f: f.write("late view\n")
        return do(a, b, **k)
    return done
os.rename, os.link = late(os.rename), late(os.link)
`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, renamer := range []string{"perl", "python3"} {
		t.Run(renamer, func(t *testing.T) {
			t.Parallel()
			env := map[string]string{"PERL5LIB": dir, "PERL5OPT": "-MLate"}
			r := emptyRig(t, sync.Push)
			if renamer == "python3" {
				bin := filepath.Join(t.TempDir(), "bin")
				r.must(remotetest.HidePath(bin, "perl"))
				env = map[string]string{"PYTHONPATH": dir, "PATH": bin}
			}
			r.overSSH(remotetest.Options{Env: env})
			r.options = func(o *sync.Options) { o.NoExchange = true }
			r.write(r.src(), 1)
			r.transferred()
			r.write(r.src(), 2)
			r.replace(filepath.Join(r.dst(), "_views/view-0"), "so that the directory is there\n")
			r.replace(filepath.Join(r.src(), "_views/view-0"), "so that the directory is there\n")
			rep := r.transferred()
			r.sameTree(r.content(r.src()))
			kept := r.content(r.state("generations", faultKey, rep.Generation, "tree"))
			if kept["_views/view-2"] != "late view\n" || !r.warned("the late version is kept in") {
				t.Errorf("kept: %q, said: %q", kept["_views/view-2"], r.warnings)
			}
		})
	}
}
