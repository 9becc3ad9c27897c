package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// demoStep is a remark, what another program does, a command line, or all of these.
type demoStep struct {
	say     string
	write   func(*demo) error // what somebody else writes before the command
	command string            // of usr, without the program's name
	code    int               // the exit code that it must have
	says    []string          // words that its output must hold
	check   func(*demo) error // what must be so afterwards
}

func (s demoStep) line() string { return "usr " + s.command }

// demoSteps is the runbook's loop.
func demoSteps() []demoStep {
	const both = demoDataset + " " + demoRemote
	increment := func(d *demo) error { return demoWrite(d.cluster, "increment") }
	annotation := func(d *demo) error { return demoWrite(d.local, "annotation") }
	return []demoStep{
		{say: "Is everything there that a transfer needs?", command: "remotes doctor --remote " + demoRemote, says: []string{"base directory"}},
		{say: "Where does the remote point?", command: "remotes show " + demoRemote, says: []string{"base_dir"}},

		{say: "The cluster has a dataset that this machine does not have.", command: "diff " + both, says: []string{"remote-only"}},
		{say: "Pull all of it.", command: "pull " + both + " -y", says: []string{"TRANSFERRED"}, check: (*demo).sameTrees},

		{say: "A batch job on the cluster now appends 60 rows, a snapshot, an overlay and an event.", write: increment},
		{say: "What would a pull change?", command: "diff " + both, says: []string{"local-behind"}},
		{say: "Pull the increment.", command: "pull " + both + " -y", says: []string{"TRANSFERRED"}, check: (*demo).sameTrees},
		{say: "Once more: nothing is left to do.", command: "pull " + both + " -y", says: []string{"NO-OP"}},

		{say: "An analysis on this machine now adds an overlay and an event.", write: annotation},
		{say: "What would a push change?", command: "diff " + both, says: []string{"local-ahead"}},
		{say: "Push the annotation.", command: "push " + both + " -y", says: []string{"TRANSFERRED"}, check: (*demo).sameTrees},
		{say: "Are both sides equal? The exit code says so, too.", command: "diff " + both + " --exit-code", says: []string{"in-sync"}},

		{say: "Second thoughts: put back on the cluster what the push replaced.", command: "undo " + both, check: (*demo).undone},
		{say: "Sync does whichever of the two is needed, or both.", command: "sync " + both + " -y", says: []string{"TRANSFERRED"}, check: (*demo).sameTrees},
		{say: "What was done?", command: "log " + demoDataset, says: []string{"pull", "push", "undo"}},
	}
}

// demoWrite adds a part of the fixtures to the demo's dataset below a root as writers of datasets do: under .usr.lock,
// each file under another name first, the event log in place under .events.lock.
func demoWrite(root, part string) error {
	dataset := filepath.Join(root, demoDataset)
	if err := os.MkdirAll(dataset, 0o755); err != nil {
		return err
	}
	return demoLocked(filepath.Join(dataset, ".usr.lock"), func() error {
		top := "demodata/" + part
		return fs.WalkDir(demoData, top, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			text, err := demoData.ReadFile(path)
			if err != nil {
				return err
			}
			return demoPut(dataset, strings.TrimPrefix(path, top+"/"), text)
		})
	})
}

func demoPut(dataset, name string, text []byte) error {
	path := filepath.Join(dataset, name)
	if name == ".events.log" {
		return demoLocked(filepath.Join(dataset, ".events.lock"), func() error { return demoAppend(path, text) })
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".tmp", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

func demoAppend(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// demoLocked never removes the lock file: others may wait on its inode.
func demoLocked(path string, do func() error) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("cannot lock %s: %w", path, err)
	}
	return do()
}

// sameTrees compares both datasets byte for byte, without any code of the program.
func (d *demo) sameTrees() error {
	local, err := demoTree(d.local)
	if err != nil {
		return err
	}
	cluster, err := demoTree(d.cluster)
	if err != nil {
		return err
	}
	if !bytes.Equal(local, cluster) {
		return errors.New("the two trees are not equal")
	}
	d.tell("(Compared byte for byte by the demo itself: both trees are equal.)")
	return nil
}

// undone checks that the cluster lacks the annotation again, and that this machine still has it.
func (d *demo) undone() error {
	const overlay = demoDataset + "/_derived/infer/part-003.parquet"
	_, there := os.Stat(filepath.Join(d.cluster, overlay))
	_, here := os.Stat(filepath.Join(d.local, overlay))
	if !errors.Is(there, fs.ErrNotExist) || here != nil {
		return errors.New("the cluster does not hold what it held before the push")
	}
	return nil
}

// demoTree returns all of a dataset's files but the locks in one text.
func demoTree(root string) ([]byte, error) {
	var all []byte
	dir := filepath.Join(root, demoDataset)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || slices.Contains([]string{".usr.lock", ".events.lock"}, e.Name()) {
			return err
		}
		text, err := os.ReadFile(path)
		all = fmt.Appendf(all, "%q %q\n", strings.TrimPrefix(path, dir), text)
		return err
	})
	return all, err
}
