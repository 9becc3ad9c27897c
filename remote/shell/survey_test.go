package shell_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/shell"
)

func surveyOf(s *shell.Session, root, id, key string) (*remote.Survey, error) {
	return surveyAgain(s, root, id, key, "")
}

func surveyAgain(s *shell.Session, root, id, key, known string) (*remote.Survey, error) {
	return s.At(root).Survey(background, id, key, known)
}

// TestSurveySame: a listing that is known is not told again, and one that differs in no more than a change time is.
func TestSurveySame(t *testing.T) {
	_, s := connect(t)
	root, live := dataset(t)
	first, err := surveyOf(s, root, "ns/ds", "ns%2Fds")
	check(t, err)
	again, err := surveyAgain(s, root, "ns/ds", "ns%2Fds", first.Listing)
	check(t, err)
	if first.Listing == "" || first.Same || !again.Same || again.Listing != first.Listing || len(again.Entries) > 0 || again.EventLines != 2 {
		t.Errorf("first %+v, again %+v", first, again)
	}
	name := filepath.Join(live, "meta.md")
	fi, err := os.Stat(name)
	check(t, err)
	time.Sleep(50 * time.Millisecond) // more than a tick of the clock
	text, err := os.ReadFile(name)
	check(t, err)
	check(t, os.WriteFile(name, append(text[:len(text)-1], '!'), 0o644))
	check(t, os.Chtimes(name, fi.ModTime(), fi.ModTime()))
	other, err := surveyAgain(s, root, "ns/ds", "ns%2Fds", first.Listing)
	check(t, err)
	if other.Same || other.Listing == first.Listing || len(other.Entries) != len(first.Entries) {
		t.Errorf("after a change that keeps size and time: %+v", other)
	}
}

// TestSurveys: what many surveys tell in one round trip is what each tells by itself, whatever sh the host has, and what is
// odd about one keeps no other from being told.
func TestSurveys(t *testing.T) {
	for _, sh := range []string{"dash", "bash"} {
		t.Run(sh, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			check(t, os.Symlink(remotetest.Real(sh), filepath.Join(dir, "sh")))
			s := server(t, remotetest.Options{Env: map[string]string{"PATH": dir + ":" + os.Getenv("PATH")}})
			session := open(t, target(s), shell.Options{})
			root, _ := dataset(t)
			session.At(root)
			write(t, filepath.Join(root, "registry.yaml"), "a: 1\n")
			ids := []string{"ns/ds", "ns/absent", "no such/absent", "link", "planted", "file", "dead", "empty", "odd"}
			for i := range 60 { // more than one group
				ids = append(ids, fmt.Sprintf("many %d/it's $(x) \\ %d", i%3, i))
				write(t, filepath.Join(root, ids[len(ids)-1], "records.parquet"), "r")
				write(t, filepath.Join(root, ids[len(ids)-1], ".events.log"), "{}\n{}\n")
			}
			check(t, os.Symlink(filepath.Join(root, "ns"), filepath.Join(root, "link")))
			write(t, filepath.Join(root, "file"), "")
			write(t, filepath.Join(root, "planted/records.parquet"), "r")
			write(t, filepath.Join(root, "odd/a\nb/c d\x01"), "r")
			check(t, os.Symlink("/nowhere", filepath.Join(root, "odd/.events.log")))
			check(t, os.MkdirAll(filepath.Join(root, "empty"), 0o755))
			state := filepath.Join(root, ".usr-sync")
			write(t, filepath.Join(state, "journal/dead"), "run=x\n")
			for _, run := range []string{"20260102T000000.000000Z-abcdef", "20260101T000000.000000Z-abcdef"} {
				check(t, os.MkdirAll(filepath.Join(state, "stage/dead", run), 0o755))
			}
			write(t, filepath.Join(state, "stage/dead/partial/x"), "r")
			check(t, os.Symlink("/tmp", filepath.Join(state, "stage/planted")))
			all, err := session.Surveys(background, ids, ids)
			check(t, err)
			alone := map[string]bool{"planted": true, "file": true}
			for i, id := range ids {
				if (all[i] == nil) != alone[id] {
					t.Errorf("%s: %+v", id, all[i])
				}
				one, err := surveyOf(session, root, id, id)
				if (err != nil) != alone[id] {
					t.Fatalf("%s: %v", id, err)
				}
				if all[i] == nil {
					continue
				}
				if all[i].Now > one.Now || all[i].FreeBytes <= 0 {
					t.Errorf("%s: %d bytes, at %d and then at %d", id, all[i].FreeBytes, all[i].Now, one.Now)
				}
				for _, v := range []*remote.Survey{all[i], one} {
					v.Now, v.FreeBytes, v.FreeInodes = 0, 0, 0
				}
				if diff := cmp.Diff(one, all[i]); diff != "" {
					t.Errorf("%s (-by itself +among many):\n%s", id, diff)
				}
			}
		})
	}
}

// TestSurveysUnread: a group that cannot be read to its end, or is too large to be told at once, is not told at all.
func TestSurveysUnread(t *testing.T) {
	bin := t.TempDir()
	real := remotetest.Real("find")
	check(t, remotetest.Shim(bin, "find", fmt.Sprintf("#!/bin/sh\n%s \"$@\"\nst=$?\ncase $* in *bad*) exit 1;; esac\nexit $st\n", real)))
	s := server(t, remotetest.Options{Env: map[string]string{"PATH": bin + ":" + os.Getenv("PATH")}})
	session := open(t, target(s), shell.Options{})
	root, _ := dataset(t)
	session.At(root)
	var ids []string
	for i := range 160 {
		ids = append(ids, fmt.Sprintf("d%d", i))
		switch i {
		case 60:
			ids[i] = "bad"
		case 110:
			for j := range 13_000 {
				write(t, filepath.Join(root, ids[i], fmt.Sprintf("%0250d", j)), "")
			}
		}
		write(t, filepath.Join(root, ids[i], "records.parquet"), "r")
	}
	all, err := session.Surveys(background, ids, ids)
	check(t, err)
	for i, v := range all {
		if told := i < 50 || i >= 150; (v != nil) != told || told && len(v.Entries) != 1 {
			t.Errorf("%s: %+v", ids[i], v)
		}
	}
	check(t, session.Ping(background))
}
