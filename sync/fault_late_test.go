package sync_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// TestFaultLateWriters: writers without the lock change the destination between its listing and the switch. New
// files, and new versions of files that the transfer keeps, are carried into live; what conflicts stays in the
// generation. All of it is said, and nothing is lost.
func TestFaultLateWriters(t *testing.T) {
	t.Parallel()
	for _, over := range []string{"local", "ssh"} {
		both(t, func(t *testing.T, d sync.Direction) {
			t.Run(over, func(t *testing.T) { lateWriters(t, d, over == "ssh") })
		})
	}
}

func lateWriters(t *testing.T, d sync.Direction, ssh bool) {
	r := emptyRig(t, d)
	if ssh {
		r.overSSH(remotetest.Options{})
	}
	r.write(r.src(), 1)
	r.must(replaceFile(filepath.Join(r.src(), "_artifacts/appended"), "one\n"))
	r.transferred()
	r.must(replaceFile(filepath.Join(r.src(), "records.parquet"), "primary 2\n"))
	late := map[string]string{
		"_derived/late/part.parquet":   "late\n",
		"_artifacts/it's [new]":        "late\n",
		".usr.lease.77":                "",
		"_derived/same/part-0.parquet": "late version\n",
		"_artifacts/constant":          "late version\n",
		"meta.md":                      "late version\n",
	}
	r.atStep(sync.StepBegan{Step: sync.StepPromote}, func() {
		for path, text := range late {
			r.must(replaceFile(filepath.Join(r.dst(), path), text))
		}
		r.must(appendTo(filepath.Join(r.dst(), "_artifacts/appended"), "two\n"))
		r.must(replaceFile(filepath.Join(r.dst(), "records.parquet"), "late primary\n"))
	})
	rep := r.transferred()
	for path, text := range late {
		if got, err := os.ReadFile(filepath.Join(r.dst(), path)); string(got) != text {
			t.Errorf("%s: %q %v", path, got, err)
		}
		if !strings.Contains(path, "lease") && !r.warned(strings.Split(path, "/")[0]) {
			t.Errorf("no word of %s: %q", path, r.warnings)
		}
	}
	live, kept := r.content(r.dst()), r.content(r.state("generations", faultKey, rep.Generation, "tree"))
	if live["records.parquet"] != "primary 2\n" || live["_artifacts/appended"] != "one\ntwo\n" {
		t.Errorf("live: %q", live)
	}
	if kept["records.parquet"] != "late primary\n" || kept["meta.md"] != "meta 1\n" || kept["_artifacts/constant"] != "constant\n" ||
		kept["_derived/same/part-0.parquet"] != "constant\n" || kept["_artifacts/appended"] != "one\n" {
		t.Errorf("the generation: %q", kept)
	}
	r.clean()
}

// TestFaultMovingDestination: a kept file that is written to or removed without the lock once it was listed makes
// the run look again; nothing of the change is lost.
func TestFaultMovingDestination(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"append", "remove", "replace"} {
		both(t, func(t *testing.T, d sync.Direction) {
			t.Run(how, func(t *testing.T) {
				r := newRig(t, d)
				r.must(replaceFile(filepath.Join(r.src(), "records.parquet"), "primary 2\n"))
				path := filepath.Join(r.dst(), "_artifacts/constant")
				before := sync.StepBegan{Step: sync.StepVerify}
				if how == "remove" {
					before.Step = sync.StepLink
				}
				r.atStep(before, func() {
					switch how {
					case "append":
						r.must(appendTo(path, "more\n"))
					case "remove":
						r.must(os.Remove(path))
					case "replace":
						r.must(replaceFile(path, "other\n"))
					}
				})
				_, err := r.run(d, modes())
				if how == "replace" { // the link in the stage is the old file: the late version is carried in
					r.must(err)
					if text, _ := os.ReadFile(path); string(text) != "other\n" {
						t.Errorf("%q", text)
					}
				} else if err == nil { // the destination is ahead now
					t.Error("a change was overwritten")
				}
				r.clean()
			})
		})
	}
}

// TestFaultMovingSource: a source that changes under the lock is caught up with, and given up when it never rests.
func TestFaultMovingSource(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d sync.Direction) {
		for _, times := range []int{3, 1000} {
			r := newRig(t, d)
			r.write(r.src(), 2)
			n := 0
			r.observe = func(e sync.Event) {
				if e == (sync.StepBegan{Step: sync.StepCatchUp}) && n < times {
					n++
					r.must(replaceFile(filepath.Join(r.src(), "meta.md"), strings.Repeat("x", n)))
				}
			}
			_, err := r.run(d, modes())
			if times == 3 {
				r.must(err)
				r.same()
				continue
			}
			if m, ok := err.(*sync.MismatchError); !ok || !m.Moving || m.Paths[0] != "meta.md" {
				t.Fatalf("%v", err)
			}
			r.is(r.dst(), 1)
		}
	})
}
