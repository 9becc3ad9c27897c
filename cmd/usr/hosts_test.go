package main

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
)

// farBench is a bench whose remote "cluster" is the directory of that name behind a private sshd. profile is added to
// the remote's keys.
func farBench(t *testing.T, o remotetest.Options, profile ...string) (*bench, *remotetest.Server) {
	t.Helper()
	s, err := remotetest.Start(t.TempDir(), o)
	must(t, err)
	t.Cleanup(s.Stop)
	b := newBench(t)
	b.profile(s, profile...)
	return b, s
}

// profile writes the remotes file anew; keys given replace those of the same name.
func (b *bench) profile(s *remotetest.Server, keys ...string) {
	text := "remotes:\n  cluster:\n"
	for _, key := range append([]string{"type: ssh", "host: " + remotetest.Alias, "base_dir: " + b.path("cluster"), "ssh_config: " + s.ConfigFile()}, keys...) {
		name, _, _ := strings.Cut(key, ":")
		replaced := slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, name+":") && k != key })
		if !replaced {
			text += "    " + key + "\n"
		}
	}
	b.write("remotes.yaml", text)
}

// loop is what an operator does: preview, pull, annotate, push, and look again.
func (b *bench) loop() {
	b.t.Helper()
	const id = "densegen/x"
	b.dataset("cluster", id)
	stdout, _ := b.run(0, "diff", id, "cluster")
	wants(b.t, stdout, "remote-only")
	stdout, _ = b.run(0, "pull", id, "cluster", "-y")
	wants(b.t, stdout, "TRANSFERRED")
	must(b.t, dataset.Annotate(b.path("local", id)))
	stdout, _ = b.run(0, "push", id, "cluster", "-y")
	wants(b.t, stdout, "TRANSFERRED")
	stdout, stderr := b.run(0, "diff", id, "cluster", "--exit-code")
	wants(b.t, stdout, "in-sync")
	if stderr != "" {
		b.t.Errorf("stderr says %q", stderr)
	}
	here, err := contentOf(b.path("local", id))
	must(b.t, err)
	there, err := contentOf(b.path("cluster", id))
	must(b.t, err)
	if d := difference(here, there); d != "" {
		b.t.Errorf("the two sides differ at %s", d)
	}
}

// nothingRuns: the command is over on the server as well, and no ssh of it is left here.
func nothingRuns(t *testing.T, s *remotetest.Server) {
	t.Helper()
	nothingRunsAfter(t, s, 3*time.Second)
}

// nothingRunsAfter gives what runs on the server so long to end.
func nothingRunsAfter(t *testing.T, s *remotetest.Server, patience time.Duration) {
	t.Helper()
	for _, file := range globbed(t, "/proc/[0-9]*/cmdline") {
		text, _ := os.ReadFile(file)
		kept := strings.Contains(string(text), "[mux]") // as its own title says
		if strings.Contains(string(text), s.ConfigFile()) && !kept {
			t.Errorf("left here: %q", text)
		}
	}
	for begin := time.Now(); len(s.Commands()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > patience {
			for _, pid := range s.Commands() {
				text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
				t.Errorf("left on the server: %q", text)
			}
			return
		}
	}
}

// pathWith is a PATH that lacks programs and has others in the place of some.
func pathWith(t *testing.T, shims map[string]string, without ...string) map[string]string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bin")
	must(t, remotetest.HidePath(dir, without...))
	for name, script := range shims {
		must(t, remotetest.Shim(dir, name, script))
	}
	return map[string]string{"PATH": dir}
}

func TestOddHosts(t *testing.T) {
	for name, options := range map[string]func(*testing.T) remotetest.Options{
		"bash": func(*testing.T) remotetest.Options { return remotetest.Options{Shell: "bash"} },
		"dash": func(*testing.T) remotetest.Options { return remotetest.Options{Shell: "dash"} },
		"zsh":  func(*testing.T) remotetest.Options { return remotetest.Options{Shell: "zsh"} },
		"fish": func(*testing.T) remotetest.Options { return remotetest.Options{Shell: "fish"} },
		"tcsh": func(*testing.T) remotetest.Options { return remotetest.Options{Shell: "tcsh"} },
		"noise on stderr": func(*testing.T) remotetest.Options {
			return remotetest.Options{NoiseStderr: "stty: standard input: Inappropriate ioctl for device\n"}
		},
		"find without printf": func(t *testing.T) remotetest.Options {
			return remotetest.Options{Env: pathWith(t, map[string]string{"find": remotetest.Refuse(remotetest.Real("find"), "-printf", "-ignore_readdir_race")})}
		},
		"no b3sum, no openssl": func(t *testing.T) remotetest.Options {
			return remotetest.Options{Env: pathWith(t, nil, "b3sum", "openssl")}
		},
		"sh is mksh": func(t *testing.T) remotetest.Options { return shellIs(t, "mksh") },
		"sh is ksh":  func(t *testing.T) remotetest.Options { return shellIs(t, "ksh") },
		"nothing that exchanges": func(t *testing.T) remotetest.Options {
			return remotetest.Options{Env: pathWith(t, nil, "perl", "python3", "exch", "shasum")}
		},
		"busybox": func(t *testing.T) remotetest.Options {
			dir := filepath.Join(t.TempDir(), "bin")
			must(t, remotetest.BusyBox(dir, "rsync", "flock"))
			return remotetest.Options{Env: map[string]string{"PATH": dir}}
		},
		"rsync 3.1.3": func(t *testing.T) remotetest.Options {
			return remotetest.Options{Env: pathWith(t, map[string]string{"rsync": remotetest.Rsync313(remotetest.Real("rsync"))})}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, s := farBench(t, options(t))
			b.loop()
			if s.Connections() != 4 || s.Authentications() != 4 {
				t.Errorf("four commands took %d connections, %d authentications", s.Connections(), s.Authentications())
			}
			nothingRuns(t, s)
		})
	}
}

// shellIs is a host whose sh is another shell.
func shellIs(t *testing.T, name string) remotetest.Options {
	env := pathWith(t, nil, "sh")
	must(t, os.Symlink(remotetest.Real(name), filepath.Join(env["PATH"], "sh")))
	return remotetest.Options{Env: env}
}

// TestProfileKeys: every key about reaching the host is obeyed.
func TestProfileKeys(t *testing.T) {
	t.Parallel()
	other := filepath.Join(t.TempDir(), "my-rsync")
	log := filepath.Join(t.TempDir(), "log")
	must(t, remotetest.Shim(filepath.Dir(other), "my-rsync", remotetest.Counting(remotetest.Real("rsync"), log)))
	b, s := farBench(t, remotetest.Options{Env: pathWith(t, nil, "rsync")})
	bulk, err := remotetest.Start(t.TempDir(), remotetest.Options{})
	must(t, err)
	t.Cleanup(bulk.Stop)
	// No configuration but what the profile says: the host is an address, with another one for bulk data.
	known := filepath.Join(t.TempDir(), "known")
	text, err := os.ReadFile(s.KnownHosts())
	must(t, err)
	_, key, _ := strings.Cut(string(text), " ")
	bulkText, err := os.ReadFile(bulk.KnownHosts())
	must(t, err)
	_, bulkKey, _ := strings.Cut(string(bulkText), " ")
	must(t, os.WriteFile(known, fmt.Appendf(nil, "[127.0.0.1]:%d %s[localhost]:%d %s", s.Port(), key, bulk.Port(), bulkKey), 0o600))
	config := filepath.Join(t.TempDir(), "config")
	must(t, os.WriteFile(config, fmt.Appendf(nil, "Host localhost\n  Port %d\n  IdentityFile %s\nHost *\n  IdentityAgent none\n", bulk.Port(), bulk.KeyFile()), 0o600))
	b.vars["CLUSTER_KEY"] = s.KeyFile()
	b.profile(s, "host: 127.0.0.1", fmt.Sprintf("port: %d", s.Port()), "user: "+userName(), "ssh_config: "+config, "ssh_key_env: CLUSTER_KEY",
		"ssh_options: [UserKnownHostsFile="+known+"]", "rsync_path: "+other)
	b.loop()
	runs, err := os.ReadFile(log)
	must(t, err)
	if !strings.Contains(string(runs), "--server") {
		t.Errorf("rsync_path was not used: %q", runs)
	}

	// A transfer host takes the bytes, and nothing else.
	before := s.Connections()
	b.write("remotes.yaml", strings.Replace(b.read("remotes.yaml"), fmt.Sprintf("    port: %d\n", s.Port()), "    transfer_host: localhost\n", 1))
	must(t, os.WriteFile(config, fmt.Appendf(nil, "Host localhost\n  Port %d\n  IdentityFile %s\nHost 127.0.0.1\n  Port %d\nHost *\n  IdentityAgent none\n", bulk.Port(), bulk.KeyFile(), s.Port()), 0o600))
	must(t, dataset.Increment(b.path("cluster", "densegen/x"), 5))
	stdout, _ := b.run(0, "pull", "densegen/x", "cluster", "-y")
	wants(t, stdout, "TRANSFERRED")
	if s.Connections() != before+1 || bulk.Connections() != 1 {
		t.Errorf("%d connections to the host, %d to the transfer host", s.Connections()-before, bulk.Connections())
	}
	nothingRuns(t, s)
	nothingRuns(t, bulk)

	delete(b.vars, "CLUSTER_KEY")
	_, stderr := b.run(codeUsage, "diff", "densegen/x", "cluster")
	wants(t, stderr, "ssh_key_env", "CLUSTER_KEY is not set")
}

func (b *bench) read(name string) string {
	text, err := os.ReadFile(b.path(name))
	must(b.t, err)
	return string(text)
}

func userName() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

func globbed(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	must(t, err)
	return files
}

// A base directory that is not there is not taken for one without the dataset.
func TestDiffNamesMissingBase(t *testing.T) {
	b, s := farBench(t, remotetest.Options{})
	b.dataset("local", "densegen/x")
	b.profile(s, "base_dir: "+b.path("none"))
	_, stderr := b.run(0, "diff", "densegen/x", "cluster")
	wants(t, stderr, "usr: warning: cannot list the datasets of "+b.path("none")+": ", "No such file")
}
