package sync_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

const ownPart = "_derived/mine/part.parquet"

// lostAtSource has a file on both sides that the source then has no more, while its log goes on: by the common base a
// fast-forward that deletes it.
func lostAtSource(t *testing.T, d sync.Direction, ssh bool) *rig {
	r := emptyRig(t, d)
	if ssh {
		r.overSSH(remotetest.Options{})
	}
	r.write(r.src(), 1)
	r.must(replaceFile(filepath.Join(r.src(), ownPart), "mine\n"))
	r.transferred()
	return r
}

func (r *rig) lose() {
	r.Helper()
	r.must(os.Remove(filepath.Join(r.src(), ownPart)))
	r.must(appendTo(filepath.Join(r.src(), ".events.log"), event(2)))
}

// deletes reports whether the transfer deletes the file, or refuses and leaves it.
func (r *rig) deletes(want bool) {
	r.Helper()
	_, err := r.run(r.direction, modes())
	_, serr := os.Stat(filepath.Join(r.dst(), ownPart))
	var refused *sync.HistoryError
	if want && (err != nil || serr == nil) || !want && (!errors.As(err, &refused) || serr != nil) {
		r.Fatalf("deleted: %v, %v; want %v", serr, err, want)
	}
}

func (r *rig) copyTree(from, to string) {
	r.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		r.Fatalf("%v: %s", err, out)
	}
}

// TestFaultAnotherPlace: a common base holds for a host and a base directory, whatever the profile is called.
func TestFaultAnotherPlace(t *testing.T) {
	another := func(r *rig) {
		r.copyTree(r.remote, r.remote+"-2")
		r.remote += "-2"
		r.profile.BaseDir = r.remote
	}
	for name, c := range map[string]struct {
		move func(*rig)
		same bool
	}{
		"nothing else":           {func(*rig) {}, true},
		"another base directory": {another, false},
		"a copy in its place": {func(r *rig) {
			r.copyTree(r.remote, r.remote+"-2")
			r.must(os.Rename(r.remote, r.remote+"-3"))
			r.must(os.Rename(r.remote+"-2", r.remote))
		}, false},
		"another name":            {func(r *rig) { r.profile.Name = "renamed" }, true},
		"another spelling":        {func(r *rig) { r.must(os.Symlink(r.remote, r.remote+"-link")); r.profile.BaseDir = r.remote + "-link" }, true},
		"another host":            {func(r *rig) { r.profile.SSHOptions = []string{"HostName=localhost"} }, false},
		"another alias of it":     {func(r *rig) { r.alias("another") }, true},
		"other name, other place": {func(r *rig) { another(r); r.profile.Name = "renamed" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
				if !ssh && (strings.HasSuffix(name, "host") || strings.HasSuffix(name, "of it")) {
					return // there is no host
				}
				r := lostAtSource(t, d, ssh)
				c.move(r)
				r.lose()
				r.deletes(c.same)
			})
		})
	}
}

// alias gives the host a second name.
func (r *rig) alias(name string) {
	r.Helper()
	config, err := os.ReadFile(r.profile.SSHConfig)
	r.must(err)
	two := strings.ReplaceAll(string(config), "Host "+remotetest.Alias, "Host "+remotetest.Alias+" "+name)
	r.profile.SSHConfig = filepath.Join(r.TempDir(), "ssh_config")
	r.must(os.WriteFile(r.profile.SSHConfig, []byte(two), 0o600))
	r.profile.Host = name
}

// TestFaultBaseLost: without a base what only the destination has is its own, however long the source's log.
func TestFaultBaseLost(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
		r := lostAtSource(t, d, ssh)
		r.lose()
		r.must(os.RemoveAll(filepath.Join(r.local, ".usr-sync", "base")))
		r.deletes(false)
		m := modes()
		m.Force = true
		_, err := r.run(d, m)
		r.must(err)
		r.same()
		r.undone(modes())
		if _, err := os.Stat(filepath.Join(r.dst(), ownPart)); err != nil {
			t.Error(err)
		}
		r.clean()
	})
}

// TestFaultUndoPlace: an undo puts the base of the place back, under whatever name the transfer was made.
func TestFaultUndoPlace(t *testing.T) {
	both(t, func(t *testing.T, d sync.Direction) {
		r := lostAtSource(t, d, false)
		r.lose()
		r.deletes(true)
		r.profile.Name = "renamed"
		r.undone(modes())
		r.deletes(true) // as before the undo: the source's deletion, not the destination's addition
		r.undone(modes())
		r.undone(modes())
		r.same()
	})
}

// oldBase turns the common base into an earlier version's, which did not know of what place it was.
func (r *rig) oldBase() {
	r.Helper()
	found, err := filepath.Glob(filepath.Join(r.local, ".usr-sync", "base", "*", faultKey))
	r.must(err)
	if len(found) != 1 {
		r.Fatalf("%d bases", len(found))
	}
	data, err := os.ReadFile(found[0])
	r.must(err)
	head, rest, _ := strings.Cut(string(data), "\n")
	fields := map[string]any{}
	r.must(json.Unmarshal([]byte(head), &fields))
	delete(fields, "place")
	line, err := json.Marshal(fields)
	r.must(err)
	r.must(os.RemoveAll(filepath.Dir(found[0])))
	r.must(replaceFile(filepath.Join(r.local, ".usr-sync", "base", "lab", faultKey), string(line)+"\n"+rest))
}

// TestFaultOlderBase: a base without a place counts where the remote is exactly what it says, so that it cannot
// be another's; where both sides are equal it is replaced by one with a place.
func TestFaultOlderBase(t *testing.T) {
	t.Run("the remote moved", func(t *testing.T) {
		r := lostAtSource(t, sync.Pull, false)
		r.oldBase()
		r.lose()
		r.deletes(false)
	})
	t.Run("local moved", func(t *testing.T) {
		r := lostAtSource(t, sync.Push, false)
		r.oldBase()
		r.lose()
		r.deletes(true)
	})
	t.Run("equal first", func(t *testing.T) {
		both(t, func(t *testing.T, d sync.Direction) {
			r := lostAtSource(t, d, false)
			r.oldBase()
			r.transferred()
			r.lose()
			r.deletes(true)
			r.undone(modes())
			r.deletes(true)
		})
	})
	t.Run("undo across", func(t *testing.T) {
		both(t, func(t *testing.T, d sync.Direction) {
			r := newRig(t, d)
			r.write(r.src(), 2)
			r.transferred()
			r.oldBase()
			r.transferred()
			r.undone(modes())
			if rel := r.diff().Relation; rel == sync.InSync || rel == map[sync.Direction]sync.Relation{sync.Pull: sync.LocalAhead, sync.Push: sync.LocalBehind}[d] {
				t.Errorf("%s: what was undone is taken for a change", rel)
			}
		})
	})
}

// TestFaultPartialKeepsBase: a partial transfer of equal sides leaves what the base says of the other classes.
func TestFaultPartialKeepsBase(t *testing.T) {
	both(t, func(t *testing.T, d sync.Direction) {
		r := lostAtSource(t, d, false)
		m := modes()
		m.PrimaryOnly = true
		_, err := r.run(d, m)
		r.must(err)
		r.lose()
		r.deletes(true)
	})
}

// TestFaultEmptiedSource: a purged or unmounted source empties no class of the destination, -y or not.
func TestFaultEmptiedSource(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
		r := emptyRig(t, d)
		if ssh {
			r.overSSH(remotetest.Options{})
		}
		r.write(r.src(), 1)
		for i := range 8 {
			r.must(replaceFile(filepath.Join(r.src(), fmt.Sprintf("_derived/more/part-%d.parquet", i)), "more\n"))
		}
		r.transferred()
		r.write(r.src(), 2)
		r.must(os.RemoveAll(filepath.Join(r.src(), "_derived")))
		before := r.content(r.dst())
		for range 2 {
			var refused *sync.DeletionError
			if _, err := r.run(d, modes()); !errors.As(err, &refused) || refused.Deleted != 10 {
				t.Fatal(err)
			}
			if !equalTrees(r.content(r.dst()), before) {
				t.Fatal("the destination changed")
			}
		}
		m := modes()
		m.Force = true
		_, err := r.run(d, m)
		r.must(err)
		r.same()
		r.clean()
	})
}

// TestFaultMaxDelete: a limit holds for transfers and undos alike.
func TestFaultMaxDelete(t *testing.T) {
	both(t, func(t *testing.T, d sync.Direction) {
		r := lostAtSource(t, d, false)
		r.lose()
		m := modes()
		r.must(m.MaxDelete.UnmarshalText([]byte("0")))
		var refused *sync.DeletionError
		if _, err := r.run(d, m); !errors.As(err, &refused) || refused.Deleted != 1 {
			t.Fatal(err)
		}
		r.deletes(true)
		r.undone(m) // adds
		if _, err := r.undo(m); !errors.As(err, &refused) || refused.Deleted != 1 {
			t.Fatal(err)
		}
		r.undone(modes())
		r.same()
		r.clean()
	})
}
