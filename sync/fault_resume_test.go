package sync_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// TestFaultResumeUnverified: an interrupted large file arrives with an rsync that cannot go on with a partial file in an
// absolute directory, and it goes on; with one that cannot use a partial file at all it comes anew, in the same run.
func TestFaultResumeUnverified(t *testing.T) {
	for name, any := range map[string]bool{"absolute": false, "any": true} {
		t.Run(name, func(t *testing.T) {
			const size = 20 << 20
			r := emptyRig(t, sync.Pull)
			relay := r.overRelay(0)
			r.write(r.src(), 1)
			r.noise("_derived/big.parquet", size)
			_, down := relay.Bytes()
			cmd, _ := r.child(job{})
			for now := down; now-down < size/2; _, now = relay.Bytes() {
				time.Sleep(time.Millisecond)
			}
			killTree(cmd.Process.Pid)
			cmd.Wait()
			bin, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
			r.must(remotetest.Shim(bin, "rsync", remotetest.Unverified(remotetest.Real("rsync"), filepath.Join(r.local, ".usr-sync/stage"), log, any)))
			t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			_, down = relay.Bytes()
			r.transferred()
			_, now := relay.Bytes()
			if !any && now-down > size*3/4 {
				t.Errorf("%d of %d bytes after half of them", now-down, size)
			}
			if _, err := os.Stat(log); any != (err == nil) {
				t.Errorf("did it fail to go on? %v", err)
			}
			r.same()
			r.clean()
			if _, err := os.Lstat(filepath.Join(r.dst(), "_derived", ".usr-partial")); err == nil {
				t.Error("a partial directory was promoted")
			}
		})
	}
}

// TestFaultHashingResumed: what a host has read when a diff or a pull is stopped is not read again by the next command, nor
// by the next attempt where its line is cut.
func TestFaultHashingResumed(t *testing.T) {
	for _, how := range []string{"diff", "pull", "pull of files of one size", "pull cut"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			const large, known = 8, 3
			r := emptyRig(t, sync.Pull)
			log := filepath.Join(t.TempDir(), "log")
			relay := r.relayed(r.overSSH(remotetest.Options{Env: map[string]string{"PATH": hashTools(t, log, "sleep 0.3") + ":" + os.Getenv("PATH")}}), 0)
			r.write(r.src(), 1)
			for i := range large {
				size := largeSize + i
				if how == "pull of files of one size" { // which are read before anything is copied
					size = largeSize
				}
				r.noise(fmt.Sprintf("%s%d", largeName, i), int64(size))
			}
			if how == "diff" {
				r.must(os.MkdirAll(filepath.Dir(r.dst()), 0o755))
				r.copyTree(r.src(), r.dst())
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			seen := 0
			r.observe = func(e sync.Event) {
				if p, ok := e.(sync.Progressed); !ok || p.Phase != "hash "+r.profile.Name {
					return
				}
				if seen++; seen == known {
					if how == "pull cut" {
						relay.Cut()
					} else {
						cancel()
					}
				}
			}
			p := r.open()
			var err error
			if how == "diff" {
				_, err = p.Diff(ctx, faultID, modes())
			} else {
				_, err = p.Transfer(ctx, faultID, sync.Pull, modes())
			}
			p.Close()
			if (how == "pull cut") != (err == nil) {
				t.Fatal(err)
			}
			r.observe = nil
			if err != nil && how != "diff" {
				r.transferred()
			}
			if rep := r.diff(); rep.Relation != sync.InSync {
				t.Error(rep.Relation)
			}
			reads := readsByLine(t, log)
			if len(reads) == 0 || reads[0] < known {
				t.Fatalf("read %v", reads)
			}
			again := 0
			for _, n := range reads[1:] {
				again += n
			}
			if again > large-known {
				t.Errorf("%d large files of %d were read over later lines, though %d had digests", again, large, known)
			}
		})
	}
}

// Large files are hashed by a process each, before all others.
const (
	largeName = "_artifacts/large-"
	largeSize = 9 << 20
)

// hashTools are hash tools that note the connection and the name of each file, and then do what before says.
func hashTools(t *testing.T, log, before string) string {
	t.Helper()
	bin := t.TempDir()
	for _, tool := range []string{"b3sum", "openssl", "sha256sum", "shasum"} {
		script := fmt.Sprintf("for a do case $a in ./*) echo \"$SSH_CONNECTION|$a\" >>%s;; esac; done\n%s\nexec %s \"$@\"", log, before, remotetest.Real(tool))
		if err := remotetest.Shim(bin, tool, script); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

// readsByLine is how many large files were read over each connection, in the order of these.
func readsByLine(t *testing.T, log string) (reads []int) {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var lines []string
	for l := range strings.Lines(string(text)) {
		line, name, _ := strings.Cut(l, "|./")
		if !strings.HasPrefix(name, largeName) {
			continue
		}
		i := slices.Index(lines, line)
		if i < 0 {
			i = len(lines)
			lines, reads = append(lines, line), append(reads, 0)
		}
		reads[i]++
	}
	return reads
}
