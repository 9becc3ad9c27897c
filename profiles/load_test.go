package profiles

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// write makes a remotes file of text.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "remotes.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, text string) *File {
	t.Helper()
	f, err := Load(write(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func remote(t *testing.T, f *File, name string) Remote {
	t.Helper()
	r, err := f.Remote(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEveryKey(t *testing.T) {
	f := load(t, `
remotes:
  full:
    type: ssh
    host: scc1.bu.edu
    user: me
    base_dir: /project//lab/me/datasets//
    port: 2222
    batch_mode: false
    ssh_key_env: USR_KEY
    ssh_config: ~/.ssh/other
    ssh_options: [Compression=yes, "ServerAliveInterval 5"]
    transfer_host: scc-globus.bu.edu
    rsync_path: /opt/rsync 3/bin/rsync
    repo_root: /project/repo/
    local_repo_root: ~/repo
    bwlimit: 1.5M
    streams: 4
    keep_generations: 0
    max_files: 20
    compute: srun -n1 -c2
    compute_from: 1500M
    compute_wait: 90s
    keep_unique: 60d
    lock_timeout: 90
    control_persist: 10m
    ignore: ["*.tmp", scratch/]
  mount:
    type: local
    base_dir: /mnt/data
`)
	full := Remote{
		Name: "full", Type: SSH, Host: "scc1.bu.edu", User: "me", BaseDir: "/project/lab/me/datasets",
		Port: 2222, SSHKeyEnv: "USR_KEY", SSHConfig: "~/.ssh/other",
		SSHOptions:   []string{"Compression=yes", "ServerAliveInterval 5"},
		TransferHost: "scc-globus.bu.edu", RsyncPath: "/opt/rsync 3/bin/rsync",
		RepoRoot: "/project/repo", LocalRepoRoot: "~/repo", Bwlimit: "1.5M", Streams: 4, MaxFiles: 20,
		Compute: "srun -n1 -c2", ComputeFrom: 1500 << 20, ComputeWait: 90 * time.Second,
		KeepUnique: 60 * 24 * time.Hour, LockTimeout: 90 * time.Second, ControlPersist: 10 * time.Minute, Ignore: []string{"*.tmp", "scratch/"},
	}
	mount := Default("mount")
	mount.Type, mount.BaseDir = Local, "/mnt/data"
	for _, want := range []Remote{full, mount} {
		if diff := cmp.Diff(want, remote(t, f, want.Name)); diff != "" {
			t.Error(diff)
		}
	}
	if got := f.Names(); !slices.Equal(got, []string{"full", "mount"}) {
		t.Errorf("names %v", got)
	}
}

func TestNullIsTheDefault(t *testing.T) {
	var b strings.Builder
	b.WriteString("remotes:\n  a:\n    host: h\n    base_dir: /d\n")
	for _, k := range keys {
		if k.name != "host" && k.name != "base_dir" {
			b.WriteString("    " + k.name + ": null\n")
		}
	}
	want := Default("a")
	want.Host, want.BaseDir = "h", "/d"
	if diff := cmp.Diff(want, remote(t, load(t, b.String()), "a")); diff != "" {
		t.Error(diff)
	}
}

func TestEarlierToolsFile(t *testing.T) {
	f := load(t, `---
remotes:
  bu-scc:
    type: ssh
    host: scc1.bu.edu
    user: esouth
    base_dir: /project/dunlop/usr/datasets
    ssh_key_env: null
    batch_mode: yes
    repo_root: null
    local_repo_root: null
  untyped: &base
    host: h
    user: null
    base_dir: /data
  merged:
    <<: *base
    host: other
  unfinished:
    type: null
    host: null
    user: null
    base_dir: null
    batch_mode: null
    ssh_key_env:
    repo_root: ~
    local_repo_root: ''
`)
	if r := remote(t, f, "bu-scc"); !r.BatchMode || r.User != "esouth" {
		t.Errorf("%+v", r)
	}
	if r := remote(t, f, "untyped"); r.Type != SSH || r.User != "" {
		t.Errorf("%+v", r)
	}
	if r := remote(t, f, "merged"); r.Host != "other" || r.BaseDir != "/data" {
		t.Errorf("%+v", r)
	}
	r, err := f.Remote("unfinished")
	var wrong *Error
	if !errors.As(err, &wrong) || len(wrong.Problems) != 2 || wrong.Problems[0].Line != 21 || r.Name != "unfinished" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestNoRemotes(t *testing.T) {
	texts := []string{"", "\n", "# nothing yet\n", "---\n", "remotes:\n", "remotes: {}\n", "remotes: null", "remotes: ~ # none\n"}
	for _, text := range texts {
		if f := load(t, text); len(f.Names()) != 0 {
			t.Errorf("%q: %v", text, f.Names())
		}
	}
}

func TestMistakes(t *testing.T) {
	const head = "remotes:\n  a:\n    host: h\n    base_dir: /d\n"
	one := func(line string) string { return head + "    " + line + "\n" }
	tests := []struct{ name, text, want string }{
		{"unknown key", one("bath_mode: true"), `line 5: remotes.a.bath_mode: unknown key; the nearest known one is "batch_mode"`},
		{"unknown, far", one("colour: red"), `line 5: remotes.a.colour: unknown key`},
		{"unknown, dashes", one("rsync-path: x"), `line 5: remotes.a.rsync-path: unknown key; the nearest known one is "rsync_path"`},
		{"unknown, longer", one("username: x"), `line 5: remotes.a.username: unknown key; the nearest known one is "user"`},
		{"unknown, escaped", one(`"x\e[1m": 1`), `line 5: remotes.a."x\x1b[1m": unknown key`},
		{"unknown at the top", "remote:\n  a: 1\nremotes: {}\n", `line 1: remote: unknown key; the nearest known one is "remotes"`},
		{"merge at the top", "<<: {}\nremotes: {}\n", `line 1: "<<": unknown key`},
		{"duplicate key", one("host: g"), `line 5: remotes.a.host: duplicate key, first on line 3`},
		{"duplicate remote", head + "  a:\n    host: h\n    base_dir: /d\n", `line 5: remotes.a: duplicate key, first on line 2`},
		{"missing host", "remotes:\n  a:\n    base_dir: /d\n", `line 2: remotes.a.host: missing key`},
		{"missing base_dir", "remotes:\n  a:\n    type: local\n", `line 2: remotes.a.base_dir: missing key`},
		{"remote name", "remotes:\n  -a: {host: h, base_dir: /d}\n", `line 2: remotes.-a: the name of a remote must be letters, digits, '.', '_' and '-', and not begin with '.' or '-'`},
		{"key is no name", one("[a]: b"), `line 5: remotes.a.?: a key must be a name, is a list`},
		{"remote is null", "remotes:\n  a:\n", `line 2: remotes.a: must be a mapping, is null`},
		{"remotes is a list", "remotes:\n- a\n", `line 1: remotes: must be a mapping of names to remotes, is a list`},
		{"merge of a text", one("<<: x"), `line 5: remotes.a.<<: must name a mapping, is the text "x"`},
		{"type", one("type: shh"), `line 5: remotes.a.type: must be ssh or local, is "shh"; the nearest known one is "ssh"`},
		{"type is a list", one("type: [ssh]"), `line 5: remotes.a.type: must be text, is a list`},
		{"user is a number", one("user: 42"), `line 5: remotes.a.user: must be text, is the number 42, to be written in quotes`},
		{"user is an option", one("user: -l"), `line 5: remotes.a.user: must be letters, digits, '.', '_' and '-', and not begin with '.' or '-', is "-l"`},
		{"transfer_host", one("transfer_host: me@h"), `line 5: remotes.a.transfer_host: must be letters, digits, '.', '_' and '-', and not begin with '.' or '-', is "me@h"`},
		{"port", one("port: 70000"), `line 5: remotes.a.port: must be a number from 1 to 65535, is 70000`},
		{"port is huge", one("port: 99999999999999999999"), `line 5: remotes.a.port: must be a whole number, is the number 99999999999999999999`},
		{"port is text", one(`port: "22"`), `line 5: remotes.a.port: must be a whole number, is the text "22"`},
		{"batch_mode", one("batch_mode: 1"), `line 5: remotes.a.batch_mode: must be true or false, is the number 1`},
		{"batch_mode is text", one(`batch_mode: "yes"`), `line 5: remotes.a.batch_mode: must be true or false, is the text "yes"`},
		{"ssh_key_env", one("ssh_key_env: ~/.ssh/key"), `line 5: remotes.a.ssh_key_env: must be the name of an environment variable (which holds the path), letters, digits and '_', is "~/.ssh/key"`},
		{"ssh_config", one("ssh_config: config"), `line 5: remotes.a.ssh_config: must be an absolute path or begin with "~/", is "config"`},
		{"ssh_options", one("ssh_options: Compression=yes"), `line 5: remotes.a.ssh_options: must be a list of texts, is the text "Compression=yes"`},
		{"ssh option", one("ssh_options:\n    - A=b\n    - -v"), `line 7: remotes.a.ssh_options[1]: must be an ssh option as in "Key=Value" or "Key Value", is "-v"`},
		{"ssh option without value", one("ssh_options: [Compression]"), `line 5: remotes.a.ssh_options[0]: must be an ssh option as in "Key=Value" or "Key Value", is "Compression"`},
		{"ssh option is a number", one("ssh_options: [22]"), `line 5: remotes.a.ssh_options[0]: must be text, is the number 22, to be written in quotes`},
		{"rsync_path", one("rsync_path: -x"), `line 5: remotes.a.rsync_path: must not begin with '-', is "-x"`},
		{"rsync_path control", one(`rsync_path: "a\nb"`), `line 5: remotes.a.rsync_path: must not hold control characters, is "a\nb"`},
		{"repo_root", one("repo_root: repo"), `line 5: remotes.a.repo_root: must be an absolute path, is "repo"`},
		{"local_repo_root", one("local_repo_root: repo"), `line 5: remotes.a.local_repo_root: must be an absolute path or begin with "~/", is "repo"`},
		{"bwlimit", one("bwlimit: fast"), `line 5: remotes.a.bwlimit: must be a rate as rsync takes it, such as 500 (KiB a second) or "1.5M", is "fast"`},
		{"bwlimit negative", one("bwlimit: -5"), `line 5: remotes.a.bwlimit: must be a rate as rsync takes it, such as 500 (KiB a second) or "1.5M", is "-5"`},
		{"streams", one("streams: 0"), `line 5: remotes.a.streams: must be a number from 1 to 1000000, is 0`},
		{"keep_generations", one("keep_generations: -1"), `line 5: remotes.a.keep_generations: must be a number from 0 to 1000000, is -1`},
		{"lock_timeout", one("lock_timeout: soon"), `line 5: remotes.a.lock_timeout: must be a duration such as 5m, 90s or 30d, or whole seconds, is "soon"`},
		{"lock_timeout negative", one("lock_timeout: -5m"), `line 5: remotes.a.lock_timeout: must be a duration such as 5m, 90s or 30d, or whole seconds, is "-5m"`},
		{"keep_unique", one("keep_unique: 30 days"), `line 5: remotes.a.keep_unique: must be a duration such as 5m, 90s or 30d, or whole seconds, is "30 days"`},
		{"compute that is an option", one("compute: -n1"), `line 5: remotes.a.compute: must not begin with '-', is "-n1"`},
		{"compute of two lines", one(`compute: "srun\nsh"`), `line 5: remotes.a.compute: must not hold control characters, is "srun\nsh"`},
		{"compute_from", one("compute_from: 20 gigs"), `line 5: remotes.a.compute_from: must be a number of bytes such as 20G or 500M, is "20 gigs"`},
		{"compute_from negative", one("compute_from: -1"), `line 5: remotes.a.compute_from: must be a number of bytes such as 20G or 500M, is "-1"`},
		{"compute_from too large", one("compute_from: 9999999999T"), `line 5: remotes.a.compute_from: must be a number of bytes such as 20G or 500M, is "9999999999T"`},
		{"compute_wait", one("compute_wait: long"), `line 5: remotes.a.compute_wait: must be a duration such as 5m, 90s or 30d, or whole seconds, is "long"`},
		{"keep_unique without a unit", one("keep_unique: 30"), `line 5: remotes.a.keep_unique: must have a unit, such as 30d or 12h, is 30`},
		{"keep_unique negative", one("keep_unique: -1d"), `line 5: remotes.a.keep_unique: must be a duration such as 5m, 90s or 30d, or whole seconds, is "-1d"`},
		{"control_persist", one("control_persist: true"), `line 5: remotes.a.control_persist: must be a duration such as 5m, 90s or 30d, or whole seconds, is the truth value true`},
		{"ignore", one(`ignore: [""]`), `line 5: remotes.a.ignore[0]: must be a pattern without control characters, is ""`},
		{"a list", "- a\n- b\n", `line 1: must be a mapping with the key remotes, is a list`},
		{"a text", "hello\n", `line 1: must be a mapping with the key remotes, is the text "hello"`},
		{"no remotes", "{}\n", `line 1: remotes: missing key`},
		{"binary", "PAR1\n\x00\x01", `line 2: is not a text file: control character 0x00`},
		{"not UTF-8", "# a\n\xff\xfe", `line 2: is not UTF-8 text: byte 0xff`},
		{"two documents", head + "---\nremotes: {}\n", `line 5: is not YAML: more than one document`},
		{"indentation", head + "   user: y\n", `line 5: is not YAML: did not find expected key`},
		{"open bracket", head + "    ignore: [x\n    user: y\n", `line 5: is not YAML: did not find expected ',' or ']'`},
		{"no colon", "remotes:\n  a:\n    host: x\n    user y\n    base_dir: /x\n", `line 4: is not YAML: could not find expected ':'`},
		{"tab", "remotes:\n\ta: 1\n", `line 2: is not YAML: found character that cannot start any token`},
		{"unknown anchor", "remotes:\n  a: *x\n", `line 2: is not YAML: unknown anchor 'x' referenced`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := write(t, test.text)
			_, err := Load(path)
			var wrong *Error
			if !errors.As(err, &wrong) {
				t.Fatalf("error is %v", err)
			}
			if want := "cannot read remotes file " + path + ": " + test.want; err.Error() != want {
				t.Errorf("\n got %s\nwant %s", err, want)
			}
		})
	}
}

func TestBaseDir(t *testing.T) {
	dirs := map[string]string{
		"/": "/", "/a/": "/a", "/a b/ö": "/a b/ö", "/a/..b/c.": "/a/..b/c.",
		"a/b": "absolute", "~/data": "absolute", `"/a*"`: "hold any", "/a?": "hold any", "/[a]": "hold any", `/a\b`: "hold any",
		`"/a\tb"`: "control", "/a/../b": "segments", "/./a": "segments", "/a/..": "segments", `""`: "absolute",
	}
	for dir, want := range dirs {
		f, err := Load(write(t, "remotes:\n  a:\n    type: local\n    base_dir: "+dir+"\n"))
		if err != nil {
			if !strings.Contains(err.Error(), "line 4: remotes.a.base_dir: ") || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", dir, err)
			}
		} else if got := remote(t, f, "a").BaseDir; got != want {
			t.Errorf("%s: %q, want %q", dir, got, want)
		}
	}
}

func TestMistakesTogether(t *testing.T) {
	path := write(t, "remotes:\n  a:\n    hots: h\n    base_dir: d\n  b:\n    type: local\n    base_dir: /d\n    port: no\n")
	_, err := Load(path)
	want := "cannot read remotes file " + path + `: 4 mistakes
  line 2: remotes.a.host: missing key
  line 3: remotes.a.hots: unknown key; the nearest known one is "host"
  line 4: remotes.a.base_dir: must be an absolute path, is "d"
  line 8: remotes.b.port: must be a whole number, is the text "no"`
	if err == nil || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
}

func TestNotAFile(t *testing.T) {
	dir := t.TempDir()
	var wrong *Error
	if _, err := Load(dir); !errors.As(err, &wrong) || !strings.HasSuffix(err.Error(), ": is a directory") {
		t.Errorf("directory: %v", err)
	}
	missing := filepath.Join(dir, "missing.yaml")
	if _, err := Load(missing); !errors.As(err, &wrong) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("a read made the file")
	}
	if _, err := Load(write(t, strings.Repeat("#\n", maxSize))); !errors.As(err, &wrong) {
		t.Errorf("large: %v", err)
	}
}

func TestUnknownRemote(t *testing.T) {
	f := load(t, "remotes:\n  bu-scc: {host: h, base_dir: /d}\n  lab: {type: local, base_dir: /d}\n")
	_, err := f.Remote("bu_sc")
	var unknown *UnknownError
	if !errors.As(err, &unknown) || unknown.Nearest != "bu-scc" {
		t.Fatal(err)
	}
	if want := `cannot find remote "bu_sc": known are bu-scc, lab; the nearest known one is "bu-scc"`; err.Error() != want {
		t.Error(err)
	}
}
