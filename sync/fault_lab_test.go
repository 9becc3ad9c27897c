package sync_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/profiles"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// sharedRoot is a root that the members of a group share: ann and bob write, cat of another group reads. Each has an account of
// this machine, a local root of his own, and reaches the shared one over ssh or as a directory.
type sharedRoot struct {
	*testing.T
	dir, root string
	gid       int
	ssh       bool
	umask     string
	people    map[string]*person
}

type person struct {
	remotetest.User
	rig *rig
}

var labs atomic.Int32

// newSharedRoot makes the accounts, and the root with a mode. The sessions there have the umask.
func newSharedRoot(t *testing.T, ssh bool, mode os.FileMode, umask string) *sharedRoot {
	t.Helper()
	root(t)
	l := &sharedRoot{T: t, dir: t.TempDir(), ssh: ssh, umask: umask, people: map[string]*person{}}
	for dir := l.dir; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		l.must(os.Chmod(dir, 0o755))
	}
	suffix := fmt.Sprintf("%d-%d", os.Getpid(), labs.Add(1))
	group := "usrlab" + suffix
	l.account("groupadd", "groupdel", group)
	g, err := user.LookupGroup(group)
	l.must(err)
	l.gid, _ = strconv.Atoi(g.Gid)
	l.root = filepath.Join(l.dir, "shared")
	l.must(os.Mkdir(l.root, 0o755))
	l.must(os.Chown(l.root, 0, l.gid))
	l.chmod(l.root, mode)
	shell := filepath.Join(l.dir, "shell")
	l.must(os.WriteFile(shell, []byte("#!/bin/sh\numask "+umask+"\nPATH="+l.dir+"/bin:$PATH\nexec /bin/sh \"$@\"\n"), 0o755))
	program := filepath.Join(l.dir, "child")
	if out, err := exec.Command("cp", os.Args[0], program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"ann", "bob", "cat"} {
		args := []string{"-M", "-U", "-s", "/bin/sh", "-p", "*"}
		if name != "cat" {
			args = append(args, "-G", group)
		}
		l.account("useradd", "userdel", name+suffix, args...)
		u, err := user.Lookup(name + suffix)
		l.must(err)
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		p := &person{User: remotetest.User{Name: u.Username, UID: uint32(uid), GID: uint32(gid), Shell: "/bin/sh"}}
		if name != "cat" {
			p.Groups = []uint32{uint32(l.gid)}
		}
		r := &rig{T: t, local: filepath.Join(l.dir, name), remote: l.root, direction: sync.Push, profile: profiles.Default("lab")}
		r.profile.Type, r.profile.BaseDir = profiles.Local, l.root
		l.must(os.Mkdir(r.local, 0o755))
		if ssh {
			r.overSSH(remotetest.Options{User: &p.User, Shell: shell})
		} else {
			l.must(os.Chown(r.local, uid, gid))
		}
		p.rig = r
		l.people[name] = p
	}
	return l
}

func (l *sharedRoot) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *sharedRoot) chmod(path string, mode os.FileMode) { // as chmod(1) takes it
	l.Helper()
	l.must(syscall.Chmod(path, uint32(mode)))
}

// account makes an account or group, and removes it at the end. Another test may have the list of accounts locked.
func (l *sharedRoot) account(add, del, name string, args ...string) {
	l.Helper()
	try := func(argv ...string) (out []byte, err error) {
		for range 100 {
			if out, err = exec.Command(argv[0], argv[1:]...).CombinedOutput(); err == nil || !strings.Contains(string(out), "lock") {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		return out, err
	}
	if out, err := try(append(append([]string{add}, args...), name)...); err != nil {
		l.Fatalf("%s: %v: %s", add, err, out)
	}
	l.Cleanup(func() {
		if out, err := try(del, name); err != nil {
			l.Errorf("%s: %v: %s", del, err, out)
		}
	})
}

// does lets somebody do something, and returns what it said.
func (l *sharedRoot) does(who string, j job) (said string, err error) {
	l.Helper()
	p := l.people[who]
	j.Wordy = true
	cmd := p.rig.command(filepath.Join(l.dir, "shell"), j)
	cmd.Args = append(cmd.Args, "-c", filepath.Join(l.dir, "child"))
	if !l.ssh {
		cmd.SysProcAttr.Credential = p.Credential()
		l.must(exec.Command("chown", "-R", p.Name, p.rig.local).Run())
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// did is does that went well.
func (l *sharedRoot) did(who string, j job) (said string) {
	l.Helper()
	said, err := l.does(who, j)
	if err != nil {
		l.Fatalf("%s: %v: %s", who, err, said)
	}
	return said
}

// refused is does that failed with this word.
func (l *sharedRoot) refused(who string, j job, words ...string) {
	l.Helper()
	said, err := l.does(who, j)
	for _, word := range words {
		if err == nil || !strings.Contains(said, word) {
			l.Errorf("%s: %v, without %q: %s", who, err, word, said)
		}
	}
}

func (l *sharedRoot) sh(script string) string {
	l.Helper()
	out, err := exec.Command("sh", "-ec", "cd '"+l.root+"'; "+script).CombinedOutput()
	if err != nil {
		l.Fatalf("%s: %v: %s", script, err, out)
	}
	return string(out)
}

// write gives somebody's own dataset a version.
func (l *sharedRoot) write(who string, v int) {
	r := l.people[who].rig
	r.write(r.src(), v)
}

// is fails unless the shared dataset is a version, and nothing of a run is left in the root.
func (l *sharedRoot) is(v int) {
	l.Helper()
	r := l.people["ann"].rig
	r.is(r.dst(), v)
}

// sharedRoots runs a test over ssh and as a directory, under two umasks.
func sharedRoots(t *testing.T, mode os.FileMode, umasks []string, f func(*sharedRoot)) {
	t.Parallel()
	for _, ssh := range []bool{false, true} {
		for _, umask := range umasks {
			t.Run(fmt.Sprintf("%s-%s", map[bool]string{true: "ssh", false: "local"}[ssh], umask), func(t *testing.T) {
				t.Parallel()
				f(newSharedRoot(t, ssh, mode, umask))
			})
		}
	}
}

// TestFaultSharedRoot: ann and bob push over each other's files, which they may not link to and some of whose directories
// they may not write to; cat reads.
func TestFaultSharedRoot(t *testing.T) {
	push, pull := job{Direction: sync.Push}, job{Direction: sync.Pull, Force: true}
	sharedRoots(t, 0o2775, []string{"002", "022"}, func(l *sharedRoot) {
		l.write("ann", 1)
		l.did("ann", push)
		if l.umask == "022" {
			l.write("bob", 2)
			l.refused("bob", job{Direction: sync.Push, Force: true}, "/ns", "belongs to "+l.people["ann"].Name, "ermission denied")
			l.is(1)
			l.sh("find ns -type d -exec chmod g+w {} +")
		} else {
			l.sh("find ns -type f -exec chmod g-w {} +")
		}
		l.did("bob", pull)
		// Everything is ann's and 0644: nothing of it can have a second name. It stays in live, what is replaced is copied.
		l.write("bob", 2)
		if said := l.did("bob", push); !strings.Contains(said, "copied 6 files") {
			l.Errorf("in place: %s", said)
		}
		l.is(2)
		l.did("cat", pull)
		l.refused("cat", job{Direction: sync.Push, Undo: true}, "ermission denied")
		l.did("ann", pull)
		l.write("ann", 3)
		l.did("ann", push)
		l.is(3)
		l.did("bob", job{Direction: sync.Push, Undo: true})
		l.is(2)
		// Directories that bob may not write to: all of it is copied.
		l.did("bob", pull)
		l.sh("chown -R " + l.people["ann"].Name + " ns/faults; chmod -R g-w ns/faults; chmod g+w ns/faults; rm ns/faults/.usr.lock")
		l.write("bob", 4)
		if said := l.did("bob", push); !strings.Contains(said, "copied 3 files") {
			l.Errorf("by exchange: %s", said)
		}
		l.is(4)
		l.did("ann", pull)
		l.write("ann", 5)
		l.did("ann", push)
		l.is(5)
		l.did("cat", pull)
	})
}

// TestFaultColleagueDies: ann's run dies at some step, and bob's next run is none the worse for it.
func TestFaultColleagueDies(t *testing.T) {
	sharedRoots(t, 0o2775, []string{"002", "027"}, func(l *sharedRoot) {
		l.write("ann", 1)
		l.did("ann", job{Direction: sync.Push})
		l.sh("chmod -R a+rX,g+w ns")
		l.did("bob", job{Direction: sync.Pull})
		v := 1
		for at := 4; at < 40; at += shortOr(5, 1) {
			v++
			l.write("ann", v)
			said, err := l.does("ann", job{Direction: sync.Push, Force: true, DieAt: at})
			if err == nil {
				break
			}
			v++
			l.write("bob", v)
			l.did("bob", job{Direction: sync.Push, Force: true})
			l.is(v)
			if l.Failed() {
				l.Fatalf("at %d: %s", at, said)
			}
		}
		// bob, who has nothing to transfer, may not remove what she had received.
		l.did("bob", job{Direction: sync.Pull, Force: true})
		l.write("ann", v+1)
		if said, err := l.does("ann", job{Direction: sync.Push, Force: true, DieAt: 8}); err == nil {
			l.Fatalf("it did not die: %s", said)
		}
		if said := l.did("bob", job{Direction: sync.Push}); !strings.Contains(said, "NO-OP") {
			l.Error(said)
		}
	})
}

// TestFaultStateOfOne: ann's session is killed right after it has made any directory of the state directory. bob can use what
// is there.
func TestFaultStateOfOne(t *testing.T) {
	t.Parallel()
	for at := range 7 {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			t.Parallel()
			l := newSharedRoot(t, true, 0o2775, "022")
			l.write("ann", 1)
			count := filepath.Join(l.dir, "count")
			l.must(os.WriteFile(count, []byte(fmt.Sprint(at)), 0o666))
			l.chmod(count, 0o666)
			l.must(remotetest.Shim(filepath.Join(l.dir, "bin"), "mkdir", remotetest.Real("mkdir")+` "$@" || exit
[ "$(id -u)" = `+fmt.Sprint(l.people["ann"].UID)+` ] || exit 0
n=$(cat `+count+`)
[ "$n" -gt 0 ] || kill -9 -$(ps -o pgid= -p $$ | tr -d ' ')
echo $((n - 1)) >`+count))
			if said, err := l.does("ann", job{Direction: sync.Push, Once: true}); err == nil || strings.Contains(said, "TRANSFERRED") {
				t.Fatalf("it was not killed: %s", said)
			}
			l.write("bob", 2)
			l.did("bob", job{Direction: sync.Push})
			l.is(2)
		})
	}
}

// TestFaultSticky: in a sticky directory only ann can rename her dataset. bob switches it in place; where that is not allowed
// either, and where only some directory within is sticky, he is told so, and nothing is changed.
func TestFaultSticky(t *testing.T) {
	push := job{Direction: sync.Push, Force: true}
	sharedRoots(t, 0o3775, []string{"002"}, func(l *sharedRoot) {
		l.write("ann", 1)
		l.did("ann", push)
		l.sh("chmod 3775 ns")
		before := l.sh("stat -c %i ns/faults")
		l.write("bob", 2)
		l.did("bob", push)
		l.is(2)
		if after := l.sh("stat -c %i ns/faults"); after != before {
			l.Error("it was not switched in place")
		}
		l.write("bob", 3)
		belongs := "belongs to " + l.people["ann"].Name
		refused := func(words ...string) {
			l.refused("bob", push, append(words, belongs, "sticky", "ermission denied")...)
			l.is(2)
		}
		l.sh("chmod 3775 ns/faults")
		refused("/ns/faults ")
		l.sh("chmod 2775 ns/faults; chown -R " + l.people["ann"].Name + " ns/faults/_artifacts; chmod 3775 ns/faults/_artifacts")
		refused("replace plot.svg")
		l.sh("chmod 2775 ns; chmod -R g+w ns")
		l.did("bob", push) // by exchange, for which nothing in there has to be replaced
		l.is(3)
		l.write("ann", 4)
		l.sh("chown -R " + l.people["ann"].Name + " ns/faults")
		l.did("ann", push)
		l.is(4)
	})
}

// TestFaultOthersGeneration: bob may not remove what ann's runs have kept. It is named and stays until she comes by.
func TestFaultOthersGeneration(t *testing.T) {
	push := job{Direction: sync.Push, Force: true, Keep: 1}
	sharedRoots(t, 0o2775, []string{"002"}, func(l *sharedRoot) {
		l.write("ann", 1)
		l.did("ann", push)
		l.sh("chmod 2755 ns/faults/_views")
		v := 1
		step := func(who string) string {
			v++
			l.write(who, v)
			said := l.did(who, push)
			l.is(v)
			return said
		}
		step("ann")
		if said := step("bob"); !strings.Contains(said, "stays for now") || !strings.Contains(said, "ermission denied") {
			l.Errorf("bob: %s", said)
		}
		if said := step("ann"); strings.Contains(said, "stays for now") {
			l.Errorf("ann: %s", said)
		}
		if left := l.sh("find .usr-sync -name gone"); left != "" {
			l.Error(left)
		}
	})
}

// TestFaultLyingExchange: a host on which an exchange reports success and destroys what it is to exchange with. Datasets are
// switched in place there.
func TestFaultLyingExchange(t *testing.T) {
	bin := t.TempDir()
	r := emptyRig(t, sync.Push)
	r.overSSH(remotetest.Options{Env: map[string]string{"PATH": bin + ":" + os.Getenv("PATH")}})
	r.must(remotetest.Shim(bin, "perl", `from= to= next=
for a do
  case $next in
  from) from=$a next=to;;
  to) rm -rf "$a"; mv "$from" "$a"; exit 0;;
  esac
  [ "$a" != x ] || next=from
done
exec `+remotetest.Real("perl")+` "$@"`))
	for v := range 3 {
		r.write(r.src(), v+1)
		r.transferred()
		r.is(r.dst(), v+1)
	}
}

// TestFaultReadOnlySource: a dataset on a read-only mount, without a lock file, is pulled all the same.
func TestFaultReadOnlySource(t *testing.T) {
	root(t)
	for _, ssh := range []bool{false, true} {
		r := emptyRig(t, sync.Pull)
		mount(t, r.remote, "size=8m")
		r.write(r.src(), 1)
		if out, err := exec.Command("mount", "-o", "remount,ro", r.remote).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if ssh {
			r.overSSH(remotetest.Options{})
		}
		r.transferred()
		r.is(r.dst(), 1)
		if !r.warned("cannot be locked (read-only)") {
			t.Errorf("%v", r.warnings)
		}
	}
}
