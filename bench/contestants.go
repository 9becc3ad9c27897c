package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
)

// contestant is one way to bring a dataset up to date.
type contestant struct {
	name  string
	needs string // a program
	once  bool   // so slow that one round has to do
	argv  func(b *bench, from, to string) []string
}

// contestants, the yardstick first. All of them are to leave the destination exactly as the source is, deletions
// included.
func contestants() []contestant {
	return []contestant{
		{"rsync -a", "rsync", false, func(b *bench, from, to string) []string { return b.rsync(from, to) }},
		{"rsync -a --checksum", "rsync", false, func(b *bench, from, to string) []string { return b.rsync(from, to, "--checksum") }},
		{"rsync -a + sha256sum", "sha256sum", false, (*bench).rsyncAndHash},
		{"usr", "", false, (*bench).transfer},
		{"rclone sync + check", "rclone", true, (*bench).rclone},
		{"unison", "unison", true, (*bench).unison},
	}
}

// chosen leaves out what is not wanted or not there. The yardstick stays.
func (b *bench) chosen() []contestant {
	return slices.DeleteFunc(contestants(), func(c contestant) bool {
		if c.name != "rsync -a" && b.only != "" && !b.named(c.name) {
			return true
		}
		if c.needs == "" {
			return false
		}
		_, err := exec.LookPath(c.needs)
		if err != nil {
			fmt.Fprintf(b.stdout, "%s is left out: %v\n", c.name, err)
		}
		return err != nil
	})
}

func (b *bench) named(name string) bool {
	return slices.ContainsFunc(strings.Split(b.only, ","), func(s string) bool { return strings.HasPrefix(name, s) })
}

func (b *bench) rsync(from, to string, more ...string) []string {
	argv := append([]string{"rsync", "-a", "--delete", "-e", "ssh -F " + b.config}, more...)
	if b.push {
		return append(argv, "--", from+"/", remotetest.Alias+":"+to+"/")
	}
	return append(argv, "--", remotetest.Alias+":"+from+"/", to+"/")
}

// rsyncAndHash is what a careful operator does: copy, hash on both ends at the same time, compare.
func (b *bench) rsyncAndHash(from, to string) []string {
	here, there := to, from
	if b.push {
		here, there = from, to
	}
	list := func(dir string) string {
		return "cd " + quote(dir) + " && find . -type f ! -name '*.lock' -print0 | xargs -0 -n64 sha256sum | sort -k2"
	}
	script := strings.Join([]string{
		strings.Join(quoteAll(b.rsync(from, to)), " ") + " || exit",
		"ssh -F " + quote(b.config) + " " + remotetest.Alias + " " + quote(list(there)) + " >" + quote(b.path("there.sums")) + " &",
		"(" + list(here) + ") >" + quote(b.path("here.sums")),
		"wait && cmp " + quote(b.path("here.sums")) + " " + quote(b.path("there.sums")),
	}, "\n")
	return []string{"sh", "-c", script}
}

// transfer is usr; its profile was written by profile.
func (b *bench) transfer(from, to string) []string {
	action, root := "pull", to
	if b.push {
		action, root = "push", from
	}
	return []string{b.usr, "--root", strings.TrimSuffix(root, "/"+datasetID), "--remotes-config", b.path("remotes.yaml"), action, datasetID, remotetest.Alias, "-y"}
}

// profile writes the remotes file for usr; root is the remote one, more are further lines of the profile.
func (b *bench) profile(root string, more ...string) error {
	text := fmt.Sprintf("remotes:\n  %s:\n    type: ssh\n    host: %s\n    user: %s\n    base_dir: %s\n    ssh_config: %s\n",
		remotetest.Alias, remotetest.Alias, firstLine("id", "-un"), root, b.config)
	for _, line := range more {
		text += "    " + line + "\n"
	}
	return os.WriteFile(b.path("remotes.yaml"), []byte(text), 0o600)
}

// rclone has an ssh of its own and needs the known_hosts entry under the address.
func (b *bench) rclone(from, to string) []string {
	remote := fmt.Sprintf(":sftp,host=127.0.0.1,port=%d,user=%s,key_file='%s',shell_type=unix:", b.port(), firstLine("id", "-un"), b.server.KeyFile())
	if b.push {
		to = remote + to
	} else {
		from = remote + from
	}
	tail := quoteAll([]string{from, to, "--exclude", "*.lock"})
	sync := append([]string{"rclone", "sync", "--retries", "1"}, tail...)
	check := append([]string{"rclone", "check"}, tail...)
	return []string{"sh", "-c", strings.Join(sync, " ") + " && " + strings.Join(check, " ")}
}

func (b *bench) unison(from, to string) []string {
	remote := func(dir string) string { return "ssh://" + remotetest.Alias + "/" + dir }
	if b.push {
		to = remote(to)
	} else {
		from = remote(from)
	}
	return []string{"unison", from, to, "-force", from, "-batch", "-ui", "text", "-confirmbigdel=false", "-times", "-silent",
		"-ignore", "Name *.lock", "-sshargs", "-F " + b.config}
}

// dest is a contestant's own place for the dataset.
func (b *bench) dest(c contestant) string {
	name := strings.Map(func(r rune) rune {
		if r == ' ' || r == '+' {
			return '-'
		}
		return r
	}, c.name)
	return b.path("dest", name, datasetID)
}

// ready prepares one run of a contestant.
func (b *bench) ready(c contestant, more ...string) error {
	root := b.path("source")
	if b.push {
		root = filepath.Dir(filepath.Dir(b.dest(c)))
	}
	parent := filepath.Dir(b.dest(c))
	if c.name == "usr" {
		parent = filepath.Dir(parent)
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	if err := b.profile(root, more...); err != nil {
		return err
	}
	return b.warm()
}

// warm writes as much as the dataset and takes it away again. On a memory file system of a virtual machine, memory
// that was not used for a while comes from the host page by page, which costs more than the copy: without this, and
// without deleting each contestant's old copy right before its new one, whoever plays second is the slower one.
func (b *bench) warm() error {
	f, err := os.Create(b.path("warm"))
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	chunk := make([]byte, 1<<20)
	for left := b.room; left > 0; left -= int64(len(chunk)) {
		if _, err := f.Write(chunk); err != nil {
			return err
		}
	}
	return nil
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func quoteAll(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = quote(w)
	}
	return out
}
