package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
	"github.com/dnadesign-maintainers/usr/sync"
	"github.com/dnadesign-maintainers/usr/verify"
)

// bench runs the program in this process, in an environment of its own.
type bench struct {
	t              *testing.T
	dir            string
	vars           map[string]string
	stdin          string
	terminal       bool
	width          int
	stdout, stderr bytes.Buffer
	clock          time.Time // zero: the true one
}

// newBench makes two roots, local and cluster, and a remotes file with the remote "cluster" of type local.
func newBench(t *testing.T) *bench {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	b := &bench{t: t, dir: dir, width: 80}
	for _, d := range []string{"local", "cluster"} {
		must(t, os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	b.write("remotes.yaml", "remotes:\n  cluster:\n    type: local\n    base_dir: "+b.path("cluster")+"\n")
	b.vars = map[string]string{"USR_REMOTES_PATH": b.path("remotes.yaml"), "DNADESIGN_USR_ROOT": b.path("local"), "HOME": dir}
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bench) path(elem ...string) string {
	return filepath.Join(append([]string{b.dir}, elem...)...)
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	must(b.t, os.MkdirAll(filepath.Dir(b.path(name)), 0o755))
	must(b.t, os.WriteFile(b.path(name), []byte(text), 0o644))
}

func (b *bench) dataset(root, id string) {
	b.t.Helper()
	must(b.t, dataset.Write(b.path(root, id), dataset.Options{ID: id}))
}

func (b *bench) now() time.Time {
	if b.clock.IsZero() {
		return time.Now()
	}
	return b.clock
}

func (b *bench) env() env {
	return env{
		stdin: strings.NewReader(b.stdin), stdout: &b.stdout, stderr: &b.stderr, dir: b.dir,
		getenv:     func(name string) string { return b.vars[name] },
		isTerminal: func(any) bool { return b.terminal }, width: func(any) int { return b.width }, now: b.now,
	}
}

// run expects the exit code.
func (b *bench) run(code int, args ...string) (stdout, stderr string) {
	b.t.Helper()
	return b.runContext(b.t.Context(), code, args...)
}

func (b *bench) runContext(ctx context.Context, code int, args ...string) (stdout, stderr string) {
	b.t.Helper()
	b.stdout.Reset()
	b.stderr.Reset()
	got := run(ctx, args, b.env())
	stdout, stderr = b.stdout.String(), b.stderr.String()
	if got != code {
		b.t.Fatalf("usr %q: exit code %d, not %d\n%s%s", args, got, code, stdout, stderr)
	}
	return stdout, stderr
}

func wants(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}

// A failure prints nothing on standard output, one error and one hint; in JSON, one object that says the same.
func TestFailures(t *testing.T) {
	for name, test := range map[string]struct {
		code int
		args []string
	}{
		"unknown command":      {codeUsage, []string{"pul"}},
		"unknown flag":         {codeUsage, []string{"pull", "a", "cluster", "--frce"}},
		"missing argument":     {codeUsage, []string{"pull", "a"}},
		"bad enum":             {codeUsage, []string{"diff", "a", "cluster", "--verify", "md5"}},
		"exit-code on pull":    {codeUsage, []string{"pull", "a", "cluster", "--exit-code"}},
		"absolute id":          {codeUsage, []string{"diff", "/x/y", "cluster"}},
		"control character":    {codeUsage, []string{"diff", "a\x1b[31m", "cluster"}},
		"newline":              {codeUsage, []string{"diff", "a\nb", "cluster"}},
		"not UTF-8":            {codeUsage, []string{"diff", "a\xff", "cluster"}},
		"archived":             {codeUsage, []string{"diff", "archived/x", "cluster"}},
		"unknown remote":       {codeUsage, []string{"diff", "a", "clutser"}},
		"glob of nothing":      {codeRefused, []string{"diff", "*", "cluster"}},
		"nothing there":        {codeRefused, []string{"pull", "a", "cluster", "-y"}},
		"nothing on any side":  {codeRefused, []string{"diff", "a", "cluster"}},
		"undo of nothing":      {codeRefused, []string{"undo", "a"}},
		"file, dataset flag":   {codeUsage, []string{"pull", "x.parquet", "cluster", "--no-verify-sidecars"}},
		"file, limit":          {codeUsage, []string{"pull", "x.parquet", "cluster", "--max-delete", "0"}},
		"bad limit":            {codeUsage, []string{"pull", "a", "cluster", "--max-delete", "101%"}},
		"file without repo":    {codeUsage, []string{"pull", "x.parquet", "cluster"}},
		"file, relative place": {codeUsage, []string{"pull", "x.parquet", "cluster", "--remote-path", "y"}},
		"file, glob place":     {codeUsage, []string{"pull", "x.parquet", "cluster", "--remote-path", "/y/*"}},
		"audit is a directory": {codeUsage, []string{"diff", "a", "cluster", "--audit-json-out", "local"}},
		"no audit directory":   {codeUsage, []string{"diff", "a", "cluster", "--audit-json-out", "remotes.yaml/x.json"}},
		"audit dir is a file":  {codeUsage, []string{"diff", "a", "cluster", "--audit-dir", "remotes.yaml"}},
		"both ways":            {codeUsage, []string{"pull", "a", "cluster", "--verify-sidecars", "--no-verify-sidecars"}},
		"relative base":        {codeUsage, []string{"diff", "a", "cluster", "--base-dir", "x"}},
		"help of nothing":      {codeUsage, []string{"help", "pul"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			stdout, stderr := b.run(test.code, test.args...)
			if stdout != "" {
				t.Errorf("standard output: %q", stdout)
			}
			lines := strings.Split(strings.TrimSpace(stderr), "\n")
			if len(lines) != 2 || !strings.HasPrefix(lines[0], "usr: error: cannot ") || len(lines[1]) < len("usr: hint: ")+5 {
				t.Errorf("standard error: %q", stderr)
			}
			stdout, _ = b.run(test.code, append([]string{"--format", "json"}, test.args...)...)
			checkErrorObject(t, stdout, test.code)
		})
	}
}

func checkErrorObject(t *testing.T, text string, code int) {
	t.Helper()
	var got map[string]any
	must(t, json.Unmarshal([]byte(text), &got))
	failed, _ := got["error"].(map[string]any)
	if got["usr_output_version"] != 1.0 || len(got) != 2 || len(failed) != 4 || failed["code"] != float64(code) ||
		failed["hint"] == "" || failed["kind"] == "" || failed["message"] == "" {
		t.Errorf("error object: %s", text)
	}
}

func TestGlobalFlagsStandAnywhere(t *testing.T) {
	b := newBench(t)
	b.dataset("cluster", "densegen/x")
	delete(b.vars, "DNADESIGN_USR_ROOT")
	for _, args := range [][]string{
		{"--root", "local", "--format", "json", "diff", "densegen/x", "cluster"},
		{"diff", "densegen/x", "cluster", "--root=local", "--format=json"},
		{"status", "--root", "local", "densegen/x", "--format", "json", "cluster"},
	} {
		stdout, _ := b.run(0, args...)
		wants(t, stdout, `"relation": "remote-only"`, `"transfer_state": "DIFF-ONLY"`)
	}
}

func TestHelpAndVersion(t *testing.T) {
	b := newBench(t)
	stdout, _ := b.run(0, "--help")
	wants(t, stdout, "Usage: usr", "diff", "status", "sync", "follow", "remotes", "--print-commands")
	stdout, _ = b.run(0, "pull", "--help")
	wants(t, stdout, "--[no-]verify-sidecars", "--strict-bootstrap-id", "--audit-json-out")
	stdout, _ = b.run(0, "--version")
	wants(t, stdout, "usr ")
	stdout, _ = b.run(0, "version", "--format", "json")
	wants(t, stdout, `"ssh": "OpenSSH`, `"rsync": "rsync 3`, `"commit": "`)
}

func TestModes(t *testing.T) {
	b := newBench(t)
	b.dataset("cluster", "densegen/x")
	for flags, want := range map[string]modesData{
		"":                               {"hash", "strict", "on"},
		"--verify-sidecars":              {"hash", "strict", "on"},
		"--no-verify-sidecars":           {"hash", "off", "off"},
		"--no-verify-derived-hashes":     {"hash", "strict", "off"},
		"--verify size":                  {"size", "strict", "on"},
		"--primary-only":                 {"hash", "off", "off"},
		"--skip-snapshots":               {"hash", "strict", "on"},
		"--verify parquet --rehash":      {"parquet", "strict", "on"},
		"--no-verify-sidecars --force":   {"hash", "off", "off"},
		"--lock-timeout 3 --bwlimit 10M": {"hash", "strict", "on"},
	} {
		args := append([]string{"pull", "densegen/x", "cluster", "--dry-run", "--format", "json"}, strings.Fields(flags)...)
		stdout, _ := b.run(0, args...)
		var got struct{ Data auditData }
		must(t, json.Unmarshal([]byte(stdout), &got))
		if got.Data.Verify != want {
			t.Errorf("%s: %+v, not %+v", flags, got.Data.Verify, want)
		}
	}
}

func TestContradictions(t *testing.T) {
	for _, flags := range []string{
		"--verify-sidecars --primary-only", "--verify-sidecars --skip-snapshots",
		"--verify-derived-hashes --primary-only", "--verify-derived-hashes --no-verify-sidecars",
		"--verify-sidecars --no-verify-sidecars", "--no-verify-derived-hashes --verify-derived-hashes",
	} {
		_, stderr := newBench(t).run(codeUsage, append([]string{"pull", "x", "cluster"}, strings.Fields(flags)...)...)
		wants(t, stderr, "they contradict each other")
	}
}

func TestConfirm(t *testing.T) {
	b := newBench(t)
	b.dataset("cluster", "densegen/x")
	b.terminal = true
	b.stdin = "n\n"
	_, stderr := b.run(codeDeclined, "pull", "densegen/x", "cluster")
	wants(t, stderr, "Pull densegen/x from cluster: +8 ~0 -0, 23 kB. Proceed? [y/N]", "records.parquet", "remote-only", "usr: hint:")
	if exists(b.path("local", "densegen")) {
		t.Error("a declined pull made a directory")
	}
	b.stdin = ""
	b.run(codeDeclined, "pull", "densegen/x", "cluster")
	b.stdin = "yes\n"
	stdout, _ := b.run(0, "pull", "densegen/x", "cluster", "--color", "never")
	wants(t, stdout, "state: TRANSFERRED", "─")
	if strings.Contains(stdout, "meta.md") || !strings.HasSuffix(stdout, "state: TRANSFERRED, +8 ~0 -0, 23 kB\n") {
		t.Errorf("the files are listed twice, or the state is not the last line:\n%s", stdout)
	}
	b.stdin = ""
	stdout, _ = b.run(0, "pull", "densegen/x", "cluster", "--color", "never")
	wants(t, stdout, "state: NO-OP")
}

func TestStoppedByTheUser(t *testing.T) {
	b := newBench(t)
	b.dataset("cluster", "densegen/x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	stdout, stderr := b.runContext(ctx, codeStopped, "pull", "densegen/x", "cluster", "-y")
	wants(t, stderr, "usr: hint: ")
	if stdout != "" {
		t.Errorf("standard output: %q", stdout)
	}
}

func TestColour(t *testing.T) {
	b := newBench(t)
	b.dataset("cluster", "densegen/x")
	for _, test := range []struct {
		terminal bool
		noColor  string
		flags    []string
		want     bool
	}{
		{true, "", nil, true},
		{true, "1", nil, false},
		{true, "1", []string{"--color", "always"}, true},
		{true, "", []string{"--color", "never"}, false},
		{false, "", nil, false},
		{false, "", []string{"--color", "always"}, false}, // plain has no colour
		{false, "", []string{"--format", "rich"}, false},
		{false, "", []string{"--format", "rich", "--color", "always"}, true},
		{true, "", []string{"--format", "plain"}, false},
	} {
		b.terminal, b.vars["NO_COLOR"] = test.terminal, test.noColor
		stdout, _ := b.run(0, append([]string{"diff", "densegen/x", "cluster"}, test.flags...)...)
		if got := strings.Contains(stdout, "\x1b["); got != test.want {
			t.Errorf("%+v: colour %v", test, got)
		}
	}
}

func TestAuditFile(t *testing.T) {
	b := newBench(t)
	b.dataset("cluster", "densegen/x")
	b.write("audit.json", "an earlier one")
	b.run(0, "pull", "densegen/x", "cluster", "-y", "--audit-json-out", "audit.json")
	text, err := os.ReadFile(b.path("audit.json"))
	must(t, err)
	var got map[string]any
	must(t, json.Unmarshal(text, &got))
	data := got["data"].(map[string]any)
	for _, key := range []string{"action", "transfer_state", "dataset", "verify", "primary", "meta", ".events.log", "_snapshots",
		"_derived", "_auxiliary", "remote", "relation", "fingerprint", "hash", "changes", "bytes_sent", "bytes_received",
		"ssh_sessions", "lock_held_s", "events_lock_held_s", "duration_s", "generation", "rows", "cols", "schema_changes"} {
		if _, ok := data[key]; !ok {
			t.Errorf("the audit has no %q", key)
		}
	}
	stdout, _ := b.run(codeRefused, "pull", "nothing/there", "cluster", "-y", "--audit-json-out", "audit.json", "--format", "json")
	text, err = os.ReadFile(b.path("audit.json"))
	must(t, err)
	if string(text) != stdout {
		t.Errorf("the audit file of a failure is not what was printed:\n%s\n%s", text, stdout)
	}
	b.run(0, "diff", "densegen/x", "cluster", "--audit-json-out", "/dev/null")
	if info, err := os.Stat("/dev/null"); err != nil || info.Mode().IsRegular() {
		t.Fatal("/dev/null was replaced")
	}
}

func TestOddNames(t *testing.T) {
	b := newBench(t)
	b.dataset("cluster", "densegen/x")
	for _, name := range []string{"a\nb", "\x1b[31mred", "\xff", "c1\u009b31m", "quote\"d", "arrow -> x"} {
		b.write(filepath.Join("cluster/densegen/x", name), "x")
	}
	for _, format := range []string{"plain", "rich", "json"} {
		stdout, _ := b.run(0, "diff", "densegen/x", "cluster", "-v", "--itemize", "--format", format)
		if i := strings.IndexFunc(stdout, func(r rune) bool {
			return r != '\n' && (r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\uFFFD')
		}); i >= 0 {
			t.Errorf("%s: control character at %q", format, stdout[i:min(i+20, len(stdout))])
		}
		if format == "json" && !json.Valid([]byte(stdout)) {
			t.Error("not JSON")
		}
	}
}

func TestCompletion(t *testing.T) {
	b := newBench(t)
	b.dataset("local", "densegen/x")
	for _, test := range []struct{ words, want string }{
		{"pu", "pull\npush\n"},
		{"pull dens", "densegen/x\n"},
		{"pull densegen/x clu", "cluster\n"},
		{"--root local pull densegen/x --verify pa", "parquet\n"},
		{"pull --no-verify-d", "--no-verify-derived-hashes\n"},
		{"remotes sh", "show\n"},
		{"remotes show c", "cluster\n"},
		{"completion ", "bash\nzsh\nfish\n"},
	} {
		stdout, _ := b.run(0, append([]string{completeCommand}, strings.Split(test.words, " ")...)...)
		if stdout != test.want {
			t.Errorf("%q: %q, not %q", test.words, stdout, test.want)
		}
	}
	for shell := range completionScripts {
		stdout, _ := b.run(0, "completion", shell)
		wants(t, stdout, completeCommand)
	}
}

func TestRootIsFoundUpwards(t *testing.T) {
	b := newBench(t)
	b.dataset("local", "densegen/x")
	delete(b.vars, "DNADESIGN_USR_ROOT")
	b.write("local/registry.yaml", "")
	inner := *b
	inner.dir = b.path("local", "densegen", "x")
	stdout, _ := inner.run(0, "datasets")
	wants(t, stdout, "densegen/x")
	b.write("package/__init__.py", "")
	b.dataset("package/datasets", "densegen/y")
	stdout, _ = b.run(0, "--root", "package", "datasets")
	wants(t, stdout, "densegen/y")
}

// The log tells what failed, in a window of time, and what was forced.
func TestLogOfFailures(t *testing.T) {
	b := newBench(t)
	b.dataset("cluster", "ns/a")
	b.dataset("cluster", "ns/b")
	b.run(0, "pull", "ns/*", "cluster", "-y")
	for _, id := range []string{"ns/a", "ns/b"} {
		must(t, dataset.Increment(b.path("cluster", id), 10))
	}
	must(t, dataset.Annotate(b.path("local/ns/b")))
	b.run(codeRefused, "pull", "ns/*", "cluster", "-y")
	b.run(codeRefused, "pull", "nothing", "cluster", "-y")
	b.run(codeUsage, "pull", "nothing", "clutser", "-y")
	b.run(0, "pull", "ns/b", "cluster", "-y", "--force")
	stdout, _ := b.run(0, "log", "--failed", "--since", "1d")
	wants(t, stdout, "FAILED (6) history", "cannot pull ns/b (diverged)", "FAILED (6) missing", "nothing")
	if strings.Contains(stdout, "ns/a") || strings.Contains(stdout, "clutser") {
		t.Errorf("what did not fail:\n%s", stdout)
	}
	stdout, _ = b.run(0, "log", "ns/*", "--format", "json")
	var doc struct {
		Data struct {
			Entries []sync.LogEntry `json:"entries"`
		}
	}
	must(t, json.Unmarshal([]byte(stdout), &doc))
	failed := slices.DeleteFunc(slices.Clone(doc.Data.Entries), func(e sync.LogEntry) bool { return e.Error == nil })
	if n := len(doc.Data.Entries); n != 5 || !doc.Data.Entries[0].Forced || len(failed) != 1 || failed[0].Error.Kind != "history" {
		t.Errorf("%d entries:\n%s", n, stdout)
	}
	stdout, _ = b.run(0, "log", "ns/b")
	wants(t, stdout, "pull --force")
	b.run(codeUsage, "log", "--since", "xd")
}

// A flag that a script's unset variable emptied is refused: the default in its place is another root, another base directory
// or another generation than meant.
func TestEmptiedFlags(t *testing.T) {
	b := newBench(t)
	for _, flag := range neverEmpty {
		args := []string{"pull", "densegen/x", "cluster", "-y"}
		if flag == "from" {
			args = []string{"undo", "densegen/x"}
		}
		_, stderr := b.run(codeUsage, append(args, "--"+flag+"=")...)
		wants(t, stderr, "cannot use --"+flag+": its value is empty", "usr: hint:")
	}
}

// Damage is not work that goes on to the other side: the next command is the one that repairs it.
func TestDamageAdvice(t *testing.T) {
	b := newBench(t)
	b.dataset("cluster", "densegen/x")
	b.run(0, "pull", "densegen/x", "cluster", "-y")
	time.Sleep(50 * time.Millisecond) // the stamps settle
	for i, root := range []string{"local", "cluster"} {
		file := b.path(root, "densegen/x/meta.md")
		info, err := os.Stat(file)
		must(t, err)
		text, err := os.ReadFile(file)
		must(t, err)
		must(t, os.WriteFile(file, append([]byte{text[0] ^ 1}, text[1:]...), 0o644))
		must(t, os.Chtimes(file, time.Time{}, info.ModTime()))
		stdout, _ := b.run(0, "diff", "densegen/x", "cluster")
		wants(t, stdout, "a sync repairs what is damaged "+[]string{"here", "there"}[i], "next: usr sync densegen/x cluster", "damaged: 1 file")
		b.run(0, "sync", "densegen/x", "cluster", "-y")
		if now, err := os.ReadFile(file); string(now) != string(text) {
			t.Errorf("%s: %q %v", root, now, err)
		}
	}
}

// The summary of a sync counts what both sides gained.
func TestSyncSummaryCountsBoth(t *testing.T) {
	b := newBench(t)
	b.dataset("local", "densegen/x")
	stdout, _ := b.run(0, "sync", "densegen/*", "cluster", "-y")
	wants(t, stdout, "TRANSFERRED  local-only     8     0     0  23 kB")
	b.dataset("local", "densegen/y")
	stdout, _ = b.run(0, "sync", "densegen/y", "cluster", "-y")
	wants(t, stdout, "here +0 ~0 -0, 0 B; there +8 ~0 -0, 23 kB")
}

// Cells are broken at spaces first, so that dates and sizes stay whole.
func TestCellsBreakAtSpaces(t *testing.T) {
	for width, want := range map[int]string{
		12: "modified,\n4.0 kB,\n2026-11-25\n09:27",
		10: "modified,\n4.0 kB,\n2026-11-25\n09:27",
		7:  "modifie\nd, 4.0\nkB,\n2026-\n11-25\n09:27",
	} {
		if got := broken("modified, 4.0 kB, 2026-11-25 09:27", width); got != want {
			t.Errorf("%d: %q, not %q", width, got, want)
		}
	}
}

// A schema that changed as a whole does not push the rest off the screen.
func TestSchemaLinesAreBounded(t *testing.T) {
	b := newBench(t)
	var changes []verify.SchemaChange
	for i := range changesShown + 5 {
		changes = append(changes, verify.SchemaChange{Column: fmt.Sprint("c", i), Change: verify.ColumnAdded, New: "int64"})
	}
	v := &audit{Report: &sync.Report{Tables: sync.Tables{Changes: changes}}}
	for _, o := range []opt{{}, {verbose: true}} {
		p := newPage(&b.stdout, false, false)
		v.printFacts(p, o)
		must(t, p.flush())
		lines := strings.Count(b.stdout.String(), "schema: ")
		if want := map[bool]int{false: changesShown + 1, true: len(changes)}[o.verbose]; lines != want {
			t.Errorf("%d lines, not %d", lines, want)
		}
		b.stdout.Reset()
	}
}

func TestCountedNouns(t *testing.T) {
	if got := doneText(sync.Done{Deed: "modified", Rows: 1, Cols: 2}, nil); got != "modified, 1 row, 2 columns" {
		t.Error(got)
	}
}

// What a transfer would be refused for is said by a diff.
func TestDiffNamesUnsafe(t *testing.T) {
	b := newBench(t)
	b.dataset("cluster", "densegen/x")
	must(t, os.Symlink("meta.md", b.path("cluster/densegen/x/link.md")))
	_, stderr := b.run(0, "diff", "densegen/x", "cluster")
	wants(t, stderr, `usr: warning: cannot transfer unsafe entries of cluster: "link.md (symlink)"`)
}

// A root that is not there is named once.
func TestMissingRoot(t *testing.T) {
	b := newBench(t)
	_, stderr := b.run(codeUsage, "--root", b.path("none"), "diff", "densegen/x", "cluster")
	wants(t, stderr, `cannot use the USR root "`+b.path("none")+`": no such file or directory`)
}

// An age without a unit would be seconds, and all that is kept would go.
func TestAgesNeedUnits(t *testing.T) {
	b := newBench(t)
	_, stderr := b.run(codeUsage, "generations", "--prune", "--older-than", "60", "-y")
	wants(t, stderr, `"60" has no unit`)
	_, stderr = b.run(codeUsage, "remotes", "add", "x", "--host", "h", "--base-dir", "/x", "--keep-unique", "30")
	wants(t, stderr, `"30" has no unit`)
}

// The hint of a glob that matches nothing on either side lists both.
func TestNoMatchOnEitherSide(t *testing.T) {
	_, stderr := newBench(t).run(codeRefused, "diff", "none/*", "cluster")
	wants(t, stderr, "cannot find datasets on either side: none matches none/*", "list the ids with `usr datasets` and `usr datasets cluster`")
}

// What a sync left for the next time is not for a pull, which would refuse it.
func TestSyncLeavesUnfinishedLine(t *testing.T) {
	b := newBench(t)
	b.dataset("cluster", "densegen/x")
	b.run(0, "pull", "densegen/x", "cluster", "-y")
	log, err := os.OpenFile(b.path("cluster/densegen/x/.events.log"), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = log.WriteString("{\"half")
	must(t, err)
	must(t, log.Close())
	stdout, stderr := b.run(0, "sync", "densegen/x", "cluster", "-y")
	wants(t, stdout, "state: SKIPPED")
	wants(t, stderr, "the last line of .events.log on cluster is not complete")
	if strings.Contains(stdout, "next:") {
		t.Errorf("proposes something:\n%s", stdout)
	}
}
