package sync_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/doctor"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
	"github.com/dnadesign-maintainers/usr/sync"
)

// fileSystems are those that a kernel and FUSE have on the machines of the tests, each with the script that mounts it at $m;
// $d is a directory for what it takes. What the doctor says of it is to be true. The short form has one that links and shows
// another inode, and one that does not link; the long form has all whose programs are there.
var fileSystems = []struct {
	name, tool, mount string
	says              string
	short             bool
}{
	{"ext4", "mkfs.ext4", onExt4, "in one step, files are linked, copies take room, access lists stay", false},
	{"ext3", "mkfs.ext3", "truncate -s 64M $d/image; mkfs.ext3 -q -F -I 128 $d/image; mount -o loop $d/image $m", "in one step, files are linked, copies take room, access lists stay", false},
	{"xfs", "mkfs.xfs", onXFS, "in one step, files are linked, copies share blocks, access lists stay", false},
	{"btrfs", "mkfs.btrfs", "truncate -s 128M $d/image; mkfs.btrfs -q $d/image; mount -o loop $d/image $m", "in one step, files are linked, copies share blocks, access lists stay", false},
	{"tmpfs", "mount", "mount -t tmpfs -o size=64m tmpfs $m", "in one step, files are linked, copies take room, access lists stay", false},
	{"overlay", "mount", "mount -t tmpfs tmpfs $d; mkdir $d/lower $d/upper $d/work; mount -t overlay -o lowerdir=$d/lower,upperdir=$d/upper,workdir=$d/work overlay $m", "in one step, files are linked, copies take room, access lists stay", false},
	{"fuse-overlayfs", "fuse-overlayfs", "mkdir $d/lower $d/upper $d/work; fuse-overlayfs -o lowerdir=$d/lower,upperdir=$d/upper,workdir=$d/work $m", "in one step, files are linked, copies take room, access lists stay", false},
	{"bindfs", "bindfs", "mkdir $d/real; bindfs $d/real $m", "in place, files are linked, copies take room, access lists stay", false},
	{"mergerfs", "mergerfs", "mkdir $d/one $d/two; mergerfs $d/one:$d/two $m", "in place, each link is another inode, copies take room, access lists stay", true},
	{"unionfs", "unionfs", "mkdir $d/one $d/two; unionfs -o cow $d/one=RW:$d/two=RO $m", "in place, each link is another inode, copies take room, no access lists", false},
	{"gocryptfs", "gocryptfs", "mkdir $d/real; echo pass >$d/pass; gocryptfs -q -init -scryptn 10 -passfile $d/pass $d/real; gocryptfs -q -passfile $d/pass $d/real $m", "in one step, files are linked, copies take room, access lists stay", false},
	{"sshfs", "sshfs", "mkdir $d/real; sshfs -F $config " + remotetest.Alias + ":$d/real $m", "in place, each link is another inode, copies take room, no access lists", false},
	{"ntfs", "mkntfs", "truncate -s 64M $d/image; mkntfs -q -F $d/image; ntfs-3g $d/image $m", "in place, files are linked, copies take room, no access lists", false},
	{"exfat", "mkfs.exfat", "truncate -s 64M $d/image; mkfs.exfat $d/image; mount.exfat-fuse $(losetup -f --show $d/image) $m", "in place, no hard links, copies take room, no access lists", true},
}

const onXFS = "truncate -s 320M $d/image; mkfs.xfs -q $d/image; mount -o loop $d/image $m"

// mounted is a directory on such a file system.
func mounted(t *testing.T, script string) string {
	t.Helper()
	root(t)
	d, m := t.TempDir(), filepath.Join(t.TempDir(), "m")
	if err := os.Mkdir(m, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-ec", script)
	cmd.Env = append(os.Environ(), "d="+d, "m="+m)
	if strings.Contains(script, "$config") {
		s, err := remotetest.Start(t.TempDir(), remotetest.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Stop)
		cmd.Env = append(cmd.Env, "config="+s.ConfigFile())
	}
	t.Cleanup(func() {
		exec.Command("sh", "-c", "umount -l "+m+"; umount -l "+d+"; for l in $(losetup -j "+d+"/image | cut -d: -f1); do losetup -d $l; done").Run()
	})
	out, err := os.Create(filepath.Join(filepath.Dir(m), "said")) // what stays in the background would keep a pipe open
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		t.Fatalf("%v: %s", err, said)
	}
	if exec.Command("mountpoint", "-q", m).Run() != nil {
		t.Fatal("it is not mounted")
	}
	return m
}

// TestFaultFileSystems: the whole cycle at a destination on each kind of file system: as the root of a pull, and as that of a
// host. USR_FAULTS_DIR is a directory on one more.
func TestFaultFileSystems(t *testing.T) {
	t.Parallel()
	for _, kind := range fileSystems {
		if _, err := exec.LookPath(kind.tool); !kind.short && (!longFaults() || err != nil) {
			continue
		}
		both(t, func(t *testing.T, d sync.Direction) {
			t.Run(kind.name, func(t *testing.T) {
				t.Parallel()
				r := emptyRig(t, d)
				r.rooted(mounted(t, kind.mount))
				if says := r.doctor(); says != kind.says {
					t.Errorf("the doctor says %q", says)
				}
				r.cycle(kind.name != "exfat")
			})
		})
	}
	if given := os.Getenv("USR_FAULTS_DIR"); given != "" {
		both(t, func(t *testing.T, d sync.Direction) {
			r := emptyRig(t, d)
			dir, err := os.MkdirTemp(given, "usr-faults-")
			r.must(err)
			t.Cleanup(func() { os.RemoveAll(dir) })
			r.rooted(dir)
			t.Logf("the doctor says %q", r.doctor())
			r.cycle(true)
		})
	}
}

// rigOn is a rig whose destination is on a file system of its own and has version 1.
func rigOn(t *testing.T, d sync.Direction, mount string) *rig {
	t.Helper()
	r := emptyRig(t, d)
	r.rooted(mounted(t, mount))
	r.write(r.src(), 1)
	r.transferred()
	return r
}

// rooted has the root of the destination in a directory; that of a push is reached over ssh.
func (r *rig) rooted(dir string) {
	r.Helper()
	dir = filepath.Join(dir, "root")
	r.must(os.Mkdir(dir, 0o755))
	if r.direction == sync.Push {
		r.remote, r.profile.BaseDir = dir, dir
		r.overSSH(remotetest.Options{})
	} else {
		r.local = dir
	}
}

// doctor is what it says of the destination's file system.
func (r *rig) doctor() string {
	r.Helper()
	d := doctor.Doctor{Root: r.local, Options: ssh.Options{Env: os.Environ()}, Hint: func(error) string { return "" }}
	row := "local file system"
	if r.direction == sync.Push {
		d.Target = ssh.Target{Host: r.profile.Host, ConfigFile: r.profile.SSHConfig, BaseDir: r.remote}
		row = "file system"
	} else {
		d.Target.BaseDir = r.remote
	}
	found, err := d.Run(context.Background())
	r.must(err)
	for _, f := range found {
		if f.State == doctor.Fail {
			r.Errorf("%s: %s", f.Name, f.Saw)
		}
		if _, says, ok := strings.Cut(f.Saw, ": switched "); ok && f.Name == row {
			return says
		}
	}
	return ""
}

// cycle is all that people do to a dataset, with a few deaths. Not every file system takes a tab in a name.
func (r *rig) cycle(tabs bool) {
	r.Helper()
	versions := map[int]map[string]string{}
	write := func(v int) {
		r.write(r.src(), v)
		if !tabs {
			r.must(os.RemoveAll(filepath.Join(r.src(), "_registry")))
		}
		versions[v] = r.content(r.src())
	}
	is := func(v int) {
		r.Helper()
		if !equalTrees(r.content(r.dst()), versions[v]) {
			r.Fatalf("it is not version %d", v)
		}
	}
	write(1)
	r.transferred()
	is(1)
	if rep := r.transferred(); rep.State != sync.NoOp {
		r.Errorf("again: %s", rep.State)
	}
	write(2)
	r.transferred()
	is(2)
	if out, err := r.command(os.Args[0], job{Undo: true}).CombinedOutput(); err != nil {
		r.Fatalf("undo: %v: %s", err, out)
	}
	is(1)
	r.transferred()
	is(2)
	for i, at := range []int{13, 17, 21} {
		write(i + 3)
		cmd, out := r.child(job{DieAt: at})
		if err := cmd.Wait(); err == nil {
			r.Fatalf("it did not die at %d: %s", at, out)
		}
		r.transferred()
		is(i + 3)
	}
	if rep := r.diff(); rep.Relation != sync.InSync || len(rep.Changes) > 0 {
		r.Errorf("at the end: %s, %v", rep.Relation, rep.Changes)
	}
	p := r.open()
	defer p.Close()
	if rep, err := p.Verify(r.Context(), faultID, modes()); err != nil || len(rep.Changes) > 0 {
		r.Errorf("verify: %v", err)
	}
	r.clean()
}

// TestFaultLinksUsedUp: a file that has as many names as there can be (EMLINK) stays in live.
func TestFaultLinksUsedUp(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d sync.Direction) {
		t.Parallel()
		r := rigOn(t, d, onExt4)
		r.sh(filepath.Dir(r.dst()), `mkdir ../../names; python3 -c 'import os
for n in range(64999): os.link("faults/_artifacts/constant", "../../names/%d" % n)'`)
		r.write(r.src(), 2)
		r.transferred()
		r.is(r.dst(), 2)
		r.next(2)
	})
}

// TestFaultProject: a dataset in a project of its own (quotas), into which nothing of another can be moved.
func TestFaultProject(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d sync.Direction) {
		t.Parallel()
		r := rigOn(t, d, onXFS)
		r.sh(r.dst(), "chattr -R -p 42 .; chattr -R +P .")
		r.write(r.src(), 2)
		var other *sync.DeviceError
		if _, err := r.run(r.direction, modes()); !errors.As(err, &other) {
			t.Error(err)
		}
		r.is(r.dst(), 1)
		r.sh(r.state(), "chattr -R -p 42 .; find . -type d -exec chattr +P {} +")
		r.next(2)
	})
}
