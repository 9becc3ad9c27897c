package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
)

// brokenPrimaries are contents of records.parquet that are no table.
func brokenPrimaries(t *testing.T, good string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(good)
	must(t, err)
	gigabytes := "PAR1" + strings.Repeat("x", 100) + "\xff\xff\xff\x7fPAR1"
	return map[string]string{
		"empty": "", "text": "id,sequence\n1,ACGT\n", "truncated": string(text[:len(text)/2]), "cut in the footer": string(text[:len(text)-3]),
		"encrypted": string(text[:len(text)-4]) + "PARE", "magic only": "PAR1", "gigabytes": gigabytes, "garbled footer": garbled(text),
	}
}

func garbled(text []byte) string {
	out := []byte(string(text))
	for i := len(out) - 200; i < len(out)-8; i++ {
		out[i] ^= 0xa5
	}
	return string(out)
}

// TestBrokenPrimaries: under --verify hash a primary that is no table is a file like any other, with a warning; under
// --verify parquet it is a clear error.
func TestBrokenPrimaries(t *testing.T) {
	b := newBench(t)
	b.dataset("cluster", "densegen/good")
	for name, text := range brokenPrimaries(t, b.path("cluster/densegen/good/records.parquet")) {
		t.Run(name, func(t *testing.T) {
			id := "broken/" + strings.ReplaceAll(name, " ", "-")
			b.dataset("cluster", id)
			b.write(filepath.Join("cluster", id, "records.parquet"), text)
			_, stderr := b.run(0, "diff", id, "cluster")
			wants(t, stderr, "usr: warning: cannot read records.parquet on cluster as Parquet: ")
			for _, command := range []string{"diff", "pull"} {
				stdout, stderr := b.run(codeMismatch, command, id, "cluster", "--verify", "parquet", "--format", "json")
				checkErrorObject(t, stdout, codeMismatch)
				wants(t, stderr, "usr: error: cannot read records.parquet on cluster as Parquet: ", "usr: hint: ", "--verify hash")
			}
			if exists(b.path("local", id)) {
				t.Error("something was made here")
			}
			stdout, stderr := b.run(0, "pull", id, "cluster", "-y", "--format", "json")
			wants(t, stdout, "TRANSFERRED", "as Parquet")
			if n := strings.Count(stderr, "usr: warning: "); n != 1 {
				t.Errorf("%d warnings:\n%s", n, stderr)
			}
			b.run(0, "verify", id, "cluster")
			b.run(0, "datasets")
			must(t, dataset.Write(b.path("cluster", id), dataset.Options{ID: id})) // repaired
			b.run(0, "pull", id, "cluster", "-y", "--verify", "parquet", "--force")
		})
	}
}

// TestVerifyModes: which file a mode looks into.
func TestVerifyModes(t *testing.T) {
	for mode, want := range map[string]string{"hash": "TRANSFERRED", "auto": "TRANSFERRED", "size": "NO-OP", "parquet": "NO-OP"} {
		b := newBench(t)
		b.dataset("cluster", "densegen/x")
		b.run(0, "pull", "densegen/x", "cluster", "-y")
		file := b.path("cluster/densegen/x/records.parquet")
		info, err := os.Stat(file)
		must(t, err)
		text, err := os.ReadFile(file)
		must(t, err)
		text[200] ^= 1
		must(t, os.WriteFile(file, text, 0o644))
		must(t, os.Chtimes(file, info.ModTime(), info.ModTime()))
		stdout, _ := b.run(0, "pull", "densegen/x", "cluster", "-y", "--verify", mode)
		wants(t, stdout, "state: "+want)
	}
}

// TestAutoFallsBack: a host without any hash tool is compared by footer, size and time, which is said; a primary
// without a footer by size and time alone; and without "auto" it is an error that names what to install.
func TestAutoFallsBack(t *testing.T) {
	b := newBench(t)
	bin := filepath.Join(t.TempDir(), "bin")
	must(t, remotetest.HidePath(bin, "b3sum", "openssl", "sha256sum", "shasum", "sha256", "python3", "perl"))
	s, err := remotetest.Start(filepath.Join(t.TempDir(), "sshd"), remotetest.Options{Env: map[string]string{"PATH": bin}})
	must(t, err)
	t.Cleanup(s.Stop)
	b.vars["PATH"] = os.Getenv("PATH")
	b.write("remotes.yaml", "remotes:\n  cluster:\n    type: ssh\n    host: "+remotetest.Alias+"\n    base_dir: "+b.path("cluster")+
		"\n    ssh_config: "+s.ConfigFile()+"\n")
	b.dataset("cluster", "densegen/x")
	_, stderr := b.run(codeUnreachable, "diff", "densegen/x", "cluster")
	wants(t, stderr, "usr: error: cannot hash files on cluster", "usr: hint: install", "--verify auto")
	pull := func(warnings ...string) auditData {
		t.Helper()
		stdout, stderr := b.run(0, "pull", "densegen/x", "cluster", "-y", "--verify", "auto", "--format", "json")
		wants(t, stderr, warnings...)
		var got struct{ Data auditData }
		must(t, json.Unmarshal([]byte(stdout), &got))
		conforms(t, auditSchema(t, true), stdout)
		return got.Data
	}
	if got := pull("usr: warning: cannot hash files on cluster"); got.State != "TRANSFERRED" || got.Verify.Primary != "parquet" {
		t.Errorf("%s, %+v", got.State, got.Verify)
	}
	must(t, dataset.Increment(b.path("cluster/densegen/x"), 5))
	if got := pull("usr: warning: cannot hash files on cluster"); got.State != "TRANSFERRED" || *got.Rows.Remote != 105 {
		t.Errorf("%s, %+v", got.State, got.Rows)
	}
	if got := pull(); got.State != "NO-OP" {
		t.Error(got.State)
	}
	b.write("cluster/densegen/x/records.parquet", "no table")
	if got := pull("by size and time"); got.State != "TRANSFERRED" || got.Verify.Primary != "size" {
		t.Errorf("%s, %+v", got.State, got.Verify)
	}
	_, stderr = b.run(codeUnreachable, "verify", "densegen/x", "cluster")
	wants(t, stderr, "cannot hash files on cluster")
}

// TestVerifyManyAndFiles: verify takes globs and files as the other commands do.
func TestVerifyManyAndFiles(t *testing.T) {
	b := newBench(t)
	for _, id := range []string{"densegen/x", "densegen/y"} {
		b.dataset("cluster", id)
	}
	b.run(0, "pull", "densegen/*", "cluster", "-y")
	stdout, _ := b.run(0, "verify", "densegen/*", "cluster")
	wants(t, stdout, "verify of 2 datasets", "in sync")
	b.write("local/densegen/y/meta.md", "changed")
	b.run(1, "verify", "densegen/*", "cluster")
	file := b.path("cluster/densegen/x/records.parquet")
	args := []string{"verify", "local/densegen/x/records.parquet", "cluster", "--remote-path"}
	stdout, _ = b.run(0, append(args, file, "-v")...)
	wants(t, stdout, "action: verify", "in-sync", "rows: 100 local, 100 remote")
	must(t, dataset.Increment(b.path("cluster/densegen/x"), 5))
	stdout, _ = b.run(1, append(args, file, "--format", "json")...)
	conforms(t, auditSchema(t, true), stdout)
	b.write("other.parquet", "no table")
	_, stderr := b.run(codeMismatch, "push", "other.parquet", "cluster", "-y", "--verify", "parquet", "--remote-path", b.path("cluster/other.parquet"))
	wants(t, stderr, "cannot read other.parquet on local as Parquet")
	b.run(0, "pull", "table.parquet", "cluster", "-y", "--verify", "parquet", "--remote-path", file)
}
