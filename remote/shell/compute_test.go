package shell_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/shell"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
	"github.com/dnadesign-maintainers/usr/verify"
)

// cluster is a login node that hashes nothing itself, unless it is to: it has no tool for that. Any command that runs another
// with its streams does for a scheduler; the real ones are tried in package sync.
type cluster struct {
	*testing.T
	server  *remotetest.Server
	target  ssh.Target
	tools   string // a PATH with hash tools
	want    map[string]verify.Digest
	compute shell.Compute

	mu     sync.Mutex
	warned []string
}

func newCluster(t *testing.T, loginHashes bool) *cluster {
	t.Parallel()
	c := &cluster{T: t, tools: os.Getenv("PATH"), want: files(t, t.TempDir())}
	o := remotetest.Options{}
	if !loginHashes {
		bin := t.TempDir()
		check(t, remotetest.HidePath(bin, "b3sum", "openssl", "sha256sum", "shasum"))
		o.Env = map[string]string{"PATH": bin}
	}
	c.server = server(t, o)
	c.target = target(c.server)
	c.target.BaseDir = t.TempDir()
	c.want = files(t, c.dir())
	c.compute = shell.Compute{Command: "PATH=" + c.tools + " env", Wait: 20 * time.Second, Warn: func(text string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.warned = append(c.warned, text)
	}}
	return c
}

func (c *cluster) dir() string { return filepath.Join(c.target.BaseDir, "set") }

func (c *cluster) open() *shell.Session {
	return open(c.T, c.target, shell.Options{Compute: c.compute})
}

// listed is what the login node lists.
func (c *cluster) listed(s *shell.Session) (out []*verify.Entry) {
	c.Helper()
	check(c.T, s.Walk(background, c.dir(), func(e verify.Entry) {
		if e.Kind == verify.File {
			out = append(out, &e)
		}
	}))
	return out
}

// hash reports how many digests came, all of them right and none twice.
func (c *cluster) hash(ctx context.Context, s *shell.Session, listed []*verify.Entry, each func(n int)) (int, error) {
	c.Helper()
	got := map[string]bool{}
	err := s.Hash(ctx, c.dir(), verify.SHA256, listed, func(path string, d verify.Digest, err error) {
		if err != nil || d != c.want[path] || got[path] {
			c.Errorf("%q: %x, %v; twice: %v", path, d, err, got[path])
		}
		got[path] = true
		if each != nil {
			each(len(got))
		}
	})
	return len(got), err
}

func (c *cluster) all(ctx context.Context, s *shell.Session) {
	c.Helper()
	listed := c.listed(s)
	if n, err := c.hash(ctx, s, listed, nil); n != len(listed) || err != nil {
		c.Errorf("%d digests of %d, %v", n, len(listed), err)
	}
}

func (c *cluster) says(texts ...string) {
	c.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.warned) != len(texts) {
		c.Fatalf("warned %q, want %q", c.warned, texts)
	}
	for i, text := range texts {
		if !strings.Contains(c.warned[i], text) {
			c.Errorf("warned %q, want %q", c.warned[i], text)
		}
	}
}

// ended: no process has the text among its arguments, within some seconds.
func ended(t *testing.T, text string) {
	t.Helper()
	for range 200 {
		if exec.Command("pgrep", "-f", "--", text).Run() != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	out, _ := exec.Command("pgrep", "-af", "--", text).Output()
	t.Errorf("still there: %s", out)
}

// TestJob: what a command starts hashes every file, whatever its name, and nothing else of the host does. It may print
// before, says who waits, and leaves no file.
func TestJob(t *testing.T) {
	for _, slots := range []string{"", "NSLOTS=1 ", "SLURM_CPUS_ON_NODE=5 "} {
		t.Run(slots, func(t *testing.T) {
			c := newCluster(t, false)
			var queued []bool
			c.compute.Queued = func(since time.Time) { queued = append(queued, !since.IsZero()) }
			c.compute.Command = "echo 'Welcome to the queue'; echo 'job 7 is queued' >&2; " + slots + c.compute.Command
			before := c.server.Authentications()
			s := c.open()
			c.all(background, s)
			c.all(background, s) // by the same job
			c.says()
			if fmt.Sprint(queued) != "[true false]" {
				t.Errorf("told %v", queued)
			}
			if n := c.server.Authentications() - before; n != 1 {
				t.Errorf("%d authentications", n)
			}
			if left, _ := os.ReadDir(c.target.BaseDir); len(left) != 1 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestJobFrom: bytes are counted, and a queue is not waited in under a lock.
func TestJobFrom(t *testing.T) {
	c := newCluster(t, false)
	var size int64
	listed := c.listed(c.open())
	for _, e := range listed {
		size += e.Size
	}
	c.compute.From = 2 * size
	s := c.open()
	refused := func() {
		t.Helper()
		var none *remote.Error
		if err := s.Hash(background, c.dir(), verify.SHA256, listed, func(string, verify.Digest, error) {}); !errors.As(err, &none) {
			t.Errorf("the login node does not hash itself: %v", err)
		}
	}
	refused()
	_, err := s.Lock(background, t.TempDir(), time.Second, false)
	check(t, err)
	refused()
	check(t, s.Unlock(background))
	c.all(background, s)
	c.says()
}

// TestJobNotHad: whatever a command does in place of giving a shell, the login node hashes, and that is said once.
func TestJobNotHad(t *testing.T) {
	for name, test := range map[string]struct{ command, says string }{
		"ends at once":                  {`sh -c 'echo "no slots for you" >&2; exit 1'`, "ended with status 1 before it gave a shell: no slots for you"},
		"asks to be run again, for SGE": {`sh -c 'exit 99'`, "ended with status 99 before it gave a shell"},
		"is in error, for SGE":          {`sh -c 'exit 100'`, "ended with status 100 before it gave a shell"},
		"reports success":               {"true", "`true` ended with status 0 before it gave a shell"},
		"says it on its output":         {"echo sorry:", "ended with status 0 before it gave a shell: sorry: /bin/sh"},
		"asks":                          {`sh -c 'read x </dev/tty'`, "before it gave a shell"},
		"nonsense":                      {"(srun", "before it gave a shell"},
		"full queue":                    {"sleep 1000;", "no place in the queue within 500ms"},
		"without the file system":       {"PATH=BLIND:$PATH env", "does not see "},
		"files that are not the listed": {"PATH=OTHER:$PATH env", "sees other files in "},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, true)
			bin := t.TempDir()
			check(t, remotetest.Shim(filepath.Join(bin, "blind"), "cat", `echo "cat: $2: No such file or directory" >&2; exit 1`))
			check(t, remotetest.Shim(filepath.Join(bin, "other"), "stat", remotetest.Real("stat")+` "$@" | sed 's/ \([0-9]*\) \([0-9]*\) \(\.\/.*\)$/ 7\1 \2 \3/'`))
			c.compute.Command = strings.NewReplacer("BLIND", bin+"/blind", "OTHER", bin+"/other").Replace(test.command)
			if name == "full queue" {
				c.compute.Wait = 500 * time.Millisecond
			}
			s := c.open()
			c.all(background, s)
			c.all(background, s)
			c.says(test.says)
		})
	}
}

// TestJobCommandMissing: that is a mistake in the profile, not a full queue.
func TestJobCommandMissing(t *testing.T) {
	c := newCluster(t, true)
	c.compute.Command = "qrshh -now n"
	s := c.open()
	_, err := c.hash(background, s, c.listed(s), nil)
	var tool *remote.ToolError
	if !errors.As(err, &tool) || tool.Tool != "qrshh" {
		t.Errorf("%v", err)
	}
}

// TestJobKilled: the login node goes on from where a job stopped that is killed in the middle, and reads nothing that has a
// digest.
func TestJobKilled(t *testing.T) {
	c := newCluster(t, true)
	dir := t.TempDir()
	pid, log := filepath.Join(dir, "pid"), filepath.Join(dir, "log")
	for _, tool := range []string{"b3sum", "openssl", "sha256sum", "shasum"} {
		check(t, remotetest.Shim(dir, tool, fmt.Sprintf("for a do case $a in ./*) printf '%%s\\n' \"$a\" >>%s;; esac; done; exec %s \"$@\"", log, remotetest.Real(tool))))
	}
	c.server.Stop()
	c.server = server(t, remotetest.Options{Env: map[string]string{"PATH": dir + ":" + c.tools}})
	c.target.ConfigFile = c.server.ConfigFile()
	c.compute.Command = `sh -c 'echo $$ >` + pid + `; PATH=` + c.tools + ` exec "$@"' sh`
	s := c.open()
	listed := c.listed(s)
	var before []string // with a digest while the job lived
	got := map[string]bool{}
	err := s.Hash(background, c.dir(), verify.SHA256, listed, func(path string, d verify.Digest, err error) {
		if err != nil || d != c.want[path] || got[path] {
			t.Errorf("%q: %x, %v; twice: %v", path, d, err, got[path])
		}
		got[path] = true
		c.mu.Lock()
		if len(c.warned) == 0 {
			before = append(before, path)
		}
		c.mu.Unlock()
		if len(got) == 3 {
			check(t, exec.Command("kill", "-9", strings.TrimSpace(contents(t, pid))).Run())
		}
	})
	if len(got) != len(listed) || err != nil {
		t.Errorf("%d of %d, %v", len(got), len(listed), err)
	}
	c.says("the job on ")
	read := "\n" + contents(t, log)
	if len(before) < 3 || len(before) == len(listed) {
		t.Errorf("%d of %d were read by the job", len(before), len(listed))
	}
	for _, path := range before {
		if strings.Contains(read, "\n./"+path+"\n") {
			t.Errorf("%q was read again", path)
		}
	}
}

// TestJobHashers: as many processes hash as the job has cores, and no more.
func TestJobHashers(t *testing.T) {
	for slots, cores := range map[string]int{"NSLOTS=3": 3, "SLURM_CPUS_ON_NODE=2": 2} {
		t.Run(slots, func(t *testing.T) {
			c := newCluster(t, false)
			for i := range 6 {
				name := fmt.Sprintf("large-%d", i)
				text := strings.Repeat(name, 9<<20/len(name)+1) // a process each
				write(t, filepath.Join(c.dir(), name), text)
				c.want[name] = sha256.Sum256([]byte(text))
			}
			bin, at := t.TempDir(), t.TempDir()
			wait := fmt.Sprintf(`case "$*" in *large-*) ;; *) exec REAL "$@";; esac
echo >%[1]s/in.$$; n=0
while [ $n -lt 100 ] && [ "$(ls %[1]s | grep -c in)" -lt %[2]d ]; do sleep 0.1; n=$((n+1)); done
ls %[1]s | grep -c in >>%[1]s/most; sleep 0.3; REAL "$@"; mv %[1]s/in.$$ %[1]s/done.$$`, at, cores)
			for _, tool := range []string{"openssl", "sha256sum", "shasum"} {
				check(t, remotetest.Shim(bin, tool, strings.ReplaceAll(wait, "REAL", remotetest.Real(tool))))
			}
			c.compute.Command = slots + " PATH=" + bin + ":" + c.tools + " env"
			c.all(background, c.open())
			most := 0
			for _, n := range strings.Fields(contents(t, filepath.Join(at, "most"))) {
				found, err := strconv.Atoi(n)
				check(t, err)
				most = max(most, found)
			}
			if most != cores {
				t.Errorf("%d processes at once, want %d", most, cores)
			}
		})
	}
}

// TestJobEnds: with the command, when it is cancelled, while it waits, and when the line is cut. Its shell never ends with 99 or
// 100, by which SGE is told to run a job again, or that something is wrong with it.
func TestJobEnds(t *testing.T) {
	for _, how := range []string{"close", "cancel", "cancel in the queue", "cut"} {
		t.Run(how, func(t *testing.T) {
			c := newCluster(t, true)
			mark := filepath.Join(t.TempDir(), "job-mark")
			status := filepath.Join(t.TempDir(), "status")
			c.compute.Command = `sh -c '[ ! -e ` + mark + ` ] || sleep 1000; trap : INT TERM; "$@"; echo $? >` + status + `' ` + mark
			if how == "cancel in the queue" {
				write(t, mark, "")
			}
			ctx, cancel := context.WithCancel(background)
			defer cancel()
			relay, err := remotetest.Relay(net.JoinHostPort("127.0.0.1", fmt.Sprint(c.server.Port())), 0, 0)
			check(t, err)
			t.Cleanup(relay.Close)
			c.target.ConfigFile, err = c.server.WriteConfig("relayed", relay.Port())
			check(t, err)
			s := c.open()
			listed := c.listed(s)
			if how == "cancel in the queue" {
				time.AfterFunc(time.Second, cancel)
			}
			_, err = c.hash(ctx, s, listed, func(n int) {
				switch {
				case n == 1 && how == "cancel":
					cancel()
				case n == 1 && how == "cut":
					relay.Cut()
				}
			})
			if (how == "close") != (err == nil) {
				t.Errorf("%v", err)
			}
			if how == "close" {
				check(t, s.Close())
			}
			ended(t, mark)
			if how == "cancel in the queue" {
				return
			}
			if st := strings.TrimSpace(contents(t, status)); st == "99" || st == "100" || how == "close" && st != "0" {
				t.Errorf("the shell ended with status %s", st)
			}
		})
	}
}
