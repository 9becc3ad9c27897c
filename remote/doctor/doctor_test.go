package doctor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/doctor"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/shell"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
)

// examine has the doctor look at a host with a new base directory and root.
func examine(t *testing.T, tg ssh.Target, change func(*doctor.Doctor)) []doctor.Finding {
	t.Helper()
	d := &doctor.Doctor{
		Options: ssh.Options{Env: append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir())},
		Target:  tg, Root: t.TempDir(),
		Hint: func(err error) string { return "hint" },
	}
	if change != nil {
		change(d)
	}
	begin := time.Now()
	found, err := d.Run(context.Background())
	check(t, err)
	t.Logf("%s\n%s", time.Since(begin), transcript(found))
	for _, dir := range []string{d.Root, d.Target.BaseDir} {
		empty(t, dir)
	}
	for _, f := range found {
		if (f.State != doctor.OK) != (f.Do != "") {
			t.Errorf("%s is %s, and what to do is %q", f.Name, f.State, f.Do)
		}
	}
	return found
}

func transcript(found []doctor.Finding) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%-4s %s: %s", f.State, f.Name, f.Saw)
		if f.Do != "" {
			fmt.Fprintf(&b, " -> %s", f.Do)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("%s is left in %s", e.Name(), dir)
	}
}

// expect compares a transcript with patterns, one a row, each of which is anchored.
func expect(t *testing.T, found []doctor.Finding, patterns string) {
	t.Helper()
	rows := strings.Split(strings.TrimSpace(transcript(found)), "\n")
	want := slices.DeleteFunc(strings.Split(patterns, "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
	for i := range max(len(rows), len(want)) {
		if i >= len(rows) || i >= len(want) {
			t.Fatalf("%d rows, want %d:\n%s", len(rows), len(want), strings.Join(rows, "\n"))
		}
		if !regexp.MustCompile("^" + strings.TrimSpace(want[i]) + "$").MatchString(rows[i]) {
			t.Errorf("%s\ndoes not match\n%s", rows[i], strings.TrimSpace(want[i]))
		}
	}
}

const localRows = `
	ok   local ssh: OpenSSH_.*
	ok   local rsync: rsync \S+, takes every option that is passed
	ok   local resume: an interrupted file goes on where it was
	ok   local root: /.*
	ok   local flock: one holder at a time, free when released
	ok   local time stamps: files show fractions of a second
	ok   local names: names are kept as they are
	ok   local file system: ` + traits + `
`

func TestDoctorHealthy(t *testing.T) {
	t.Parallel()
	s := server(t, remotetest.Options{})
	tg := target(s)
	tg.BaseDir = t.TempDir()
	found := examine(t, tg, nil)
	expect(t, found, localRows+remoteRows(nil)+baseRows(nil)+lastRows)
	if s.Authentications() != 1 || s.Connections() != 1 {
		t.Errorf("%d connections, %d authentications", s.Connections(), s.Authentications())
	}
	gone(t, s)
}

// rows are patterns, some of them changed.
func rows(all []string, changed map[string]string) string {
	var b strings.Builder
	for _, row := range all {
		name, _, _ := strings.Cut(row[5:], ":")
		if c, ok := changed[name]; ok {
			row = c
		}
		b.WriteString(row + "\n")
	}
	return b.String()
}

func remoteRows(changed map[string]string) string {
	return rows([]string{
		`ok   reachable: \S+ \(Linux \S+\), connected in .* ms, a round trip takes \S+ ms`,
		`ok   authentication: new connection, without a question \(batch mode\)`,
		`ok   login shell: \w+, silent`,
		`ok   rsync: rsync .*, takes every option that is passed`,
		`ok   resume: an interrupted file goes on where it was`,
		`ok   flock: flock\(1\) is there`,
		`\w+ +hash tools: b3sum [0-9.]+ [kMG]B/s, openssl [0-9.]+ [kMG]B/s, sha256sum [0-9.]+ [kMG]B/s, shasum .*/s.*`,
		`ok   find: find -printf \(GNU\)`,
		`ok   time stamps: files show fractions of a second`,
	}, changed)
}

func baseRows(changed map[string]string) string {
	return rows([]string{
		`ok   base directory: /.*`,
		`ok   registry: neither root has a registry.yaml`,
		`ok   free space: \d+ .B and \d+ inodes free \(quotas apart\)`,
		`ok   base writable: a file and a directory made, renamed and removed`,
		`ok   file system: ` + traits,
		`ok   rename: a directory renamed out of .usr-sync and back`,
		`ok   exchange: a dataset is switched as a whole: .*, by (perl|python3)`,
		`ok   lock: of two processes one gets it, the other when it is released`,
		`ok   names: names are kept as they are`,
	}, changed)
}

// bare are the traits seen by a host without perl, python3 and setfacl.
const bare = `ok   file system: \w+: switched in place, files are linked, copies (take room|share blocks), access lists (stay|not tried)`

const traits = `\w+: switched in one step, files are linked, copies (take room|share blocks), (access lists stay|no access lists)`

const (
	clockRow = `ok   clock: 0\.\d s (ahead of|behind) this host` + "\n"
	lastRows = clockRow + `ok   transfer: a file sent by rsync in \d+ ms`
)

// without is a PATH that lacks some programs; those in shims come in their place.
func without(t *testing.T, shims map[string]string, names ...string) map[string]string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bin")
	check(t, remotetest.HidePath(dir, names...))
	for name, script := range shims {
		check(t, remotetest.Shim(dir, name, script))
	}
	return map[string]string{"PATH": dir}
}

// TestDoctorComputeNode: the command is tried, and what it gives or why it gives nothing is a row.
func TestDoctorComputeNode(t *testing.T) {
	t.Parallel()
	for command, row := range map[string]string{
		"env":          `ok   compute node: \S+, had after .* m?s, sees the base directory; \w+ .*/s`,
		"false":        "warn compute node: cannot hash on a compute node: `false` ended with status 1 .* -> try .*",
		"qrshh -now n": `fail compute node: .*qrshh.* -> correct .*`,
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			tg := target(server(t, remotetest.Options{}))
			tg.BaseDir = t.TempDir()
			found := examine(t, tg, func(d *doctor.Doctor) { d.Compute = shell.Compute{Command: command, Wait: time.Minute} })
			expect(t, found, localRows+remoteRows(nil)+baseRows(nil)+lastRows+"\n"+row)
		})
	}
}

func TestDoctorFinds(t *testing.T) {
	for _, c := range []struct {
		name         string
		options      func(*testing.T) remotetest.Options
		remote, base map[string]string
		last         string
	}{
		{
			name: "no flock", options: missing("flock"),
			remote: map[string]string{"flock": `fail flock: .* -> install flock: package util-linux \(Debian: apt install util-linux; RHEL: .*; Homebrew: .*`},
			base:   map[string]string{"lock": `fail lock: not tried: there is no flock\(1\) -> .*`},
			last:   lastRows,
		},
		{
			name: "no rsync", options: missing("rsync"),
			remote: map[string]string{"resume": "", "rsync": "fail rsync: rsync is not there .* -> `module load rsync` there, .* rsync_path .*Debian: apt install rsync.*"},
			last:   clockRow,
		},
		{
			name: "noise on stdout", options: with(remotetest.Options{Noise: "Welcome to the\x1b[31m cluster\n"}),
			remote: map[string]string{"login shell": `fail login shell: \w+ prints on stdout: "Welcome to the\\x1b\[31m cluster\\x0a" -> print nothing .*`},
			last:   clockRow,
		},
		{
			name: "noise on stderr", options: with(remotetest.Options{NoiseStderr: "tput: no TERM\n"}),
			remote: map[string]string{"login shell": `ok   login shell: \w+; on stderr, which does no harm: "tput: no TERM"`},
			last:   lastRows,
		},
		{
			name: "tcsh", options: with(remotetest.Options{Shell: "tcsh"}),
			remote: map[string]string{"login shell": `ok   login shell: tcsh, silent`},
			last:   lastRows,
		},
		{
			name: "fish", options: with(remotetest.Options{Shell: "fish"}),
			remote: map[string]string{"login shell": `ok   login shell: fish, silent`},
			last:   lastRows,
		},
		{
			name: "rsync 3.1.3", options: replaced("rsync", remotetest.Rsync313),
			remote: map[string]string{"rsync": `warn rsync: rsync 3.1.3, takes every option that is passed -> .*vendor.*`},
			last:   lastRows,
		},
		{
			name: "rsync that cannot resume", options: replaced("rsync", func(real string) string { return remotetest.Unverified(real, "to", "/dev/null", true) }),
			remote: map[string]string{"resume": `warn resume: an interrupted file begins anew: ERROR: .* failed verification .* -> receivers of 3.4.0 to 3.4.3, .*`},
			last:   lastRows,
		},
		{
			name: "files with whole seconds", options: replaced("find", func(real string) string {
				return `for a do shift; set -- "$@" "$(printf %s "$a" | sed 's/%\([TC]\)@/%\1s.0000000000/g')"; done` + "\nexec " + real + ` "$@"`
			}),
			remote: map[string]string{"time stamps": `ok   time stamps: files show whole seconds: .*`},
			last:   lastRows,
		},
		{
			name: "busybox", options: busybox("rsync", "flock"),
			remote: map[string]string{"hash tools": `\w+ +hash tools: sha256sum .*/s.*`, "find": `ok   find: find and stat \(BSD, busybox\)`},
			base:   map[string]string{"file system": bare, "exchange": `warn exchange: .* neither perl nor python3 .*`},
			last:   strings.Replace(lastRows, "0", "\\d", 1),
		},
		{
			name: "busybox alone", options: busybox("rsync"),
			remote: map[string]string{"hash tools": `\w+ +hash tools: sha256sum .*/s.*`, "find": `ok   find: find and stat \(BSD, busybox\)`,
				"flock": `fail flock: .* -> install flock: package util-linux .*`},
			base: map[string]string{"file system": bare, "exchange": `warn exchange: .* neither perl nor python3 .*`, "lock": `fail lock: not tried: .*`},
			last: strings.Replace(lastRows, "0", "\\d", 1),
		},
		{
			name: "openrsync", options: replaced("rsync", remotetest.OpenRsync),
			remote: map[string]string{"resume": "", "rsync": `fail rsync: it is openrsync, .* -> .*`},
			last:   clockRow,
		},
		{
			name: "ancient rsync", options: replaced("rsync", func(real string) string { return remotetest.Refuse(real, "--outbuf") }),
			remote: map[string]string{"resume": "", "rsync": `fail rsync: rsync  version .* refuses an option that is passed: rsync: --outbuf=L: unknown option.* -> .*`},
			last:   clockRow,
		},
		{
			name: "no tool for hashes", options: missing("b3sum", "openssl", "sha256sum", "shasum"),
			remote: map[string]string{"hash tools": `fail hash tools: none of .* -> install one: coreutils or openssl .*`},
			last:   lastRows,
		},
		{
			name: "a broken tool", options: replaced("b3sum", func(real string) string { return "echo 0  -" }),
			remote: map[string]string{"hash tools": `\w+ +hash tools: b3sum gives wrong digests, openssl .*`},
			last:   lastRows,
		},
		{
			name: "nothing exchanges", options: missing("perl", "python3", "exch", "shasum"),
			remote: map[string]string{"hash tools": `\w+ +hash tools: b3sum .*, openssl .*, sha256sum .*/s.*`},
			base:   map[string]string{"file system": bare, "exchange": `warn exchange: a dataset is switched in place, .* -> have one of them on the PATH .*`},
			last:   lastRows,
		},
		{
			name: "little room", options: replaced("df", func(real string) string {
				return "case $1 in -Pk|-Pi) echo head; echo /dev/x 100 90 10 90% /;; *) exec " + real + ` "$@";; esac`
			}),
			base: map[string]string{"free space": `warn free space: 10 kB and 10 inodes free -> make room .*`},
			last: lastRows,
		},
		{
			name: "locks that exclude nobody", options: replaced("flock", func(real string) string { return "exit 0" }),
			base: map[string]string{"lock": `fail lock: two processes hold the same lock -> .*Lustre.*`},
			last: lastRows,
		},
		{
			name: "clock", options: replaced("date", func(real string) string { return "exec " + real + ` -d "5 seconds ago" "$@"` }),
			last: `warn clock: [45]\.\d s behind this host -> .*NTP.*` + "\n" + `ok   transfer: .*`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := server(t, c.options(t))
			tg := target(s)
			tg.BaseDir = t.TempDir()
			found := examine(t, tg, nil)
			expect(t, found, localRows+remoteRows(c.remote)+baseRows(c.base)+c.last)
			if s.Connections() != 1 {
				t.Errorf("%d connections", s.Connections())
			}
			gone(t, s)
		})
	}
}

func TestDoctorBaseDirectory(t *testing.T) {
	t.Parallel()
	user, err := remotetest.OrdinaryUser()
	check(t, err)
	s := server(t, remotetest.Options{User: &user})
	tg := target(s)
	tg.BaseDir = t.TempDir() // the tester's own
	check(t, os.Chmod(filepath.Dir(tg.BaseDir), 0o755))
	found := examine(t, tg, nil)
	expect(t, found, localRows+remoteRows(nil)+strings.Join(strings.SplitAfter(baseRows(nil), "\n")[:3], "")+
		`ok   file system: \w+`+"\n"+
		`fail base writable: .*Permission denied -> pull works without; .*`+"\n"+lastRows)

	check(t, os.Chmod(tg.BaseDir, 0o700))
	found = examine(t, tg, nil)
	expect(t, found, localRows+remoteRows(nil)+`fail base directory: .*Permission denied -> ask its owner .*`+"\n"+lastRows)

	tg.BaseDir += "/it's none"
	found = examine(t, tg, nil)
	expect(t, found, localRows+remoteRows(nil)+`fail base directory: .* -> .*`+"\n"+lastRows)

	found = examine(t, tg, func(d *doctor.Doctor) { d.SkipBase = true })
	expect(t, found, localRows+remoteRows(nil)+lastRows)
	gone(t, s)
}

func TestDoctorTransferHost(t *testing.T) {
	t.Parallel()
	control, bulk := server(t, remotetest.Options{}), server(t, remotetest.Options{})
	config := filepath.Join(t.TempDir(), "config")
	write(t, config, contents(t, control.ConfigFile())+strings.ReplaceAll(contents(t, bulk.ConfigFile()), "Host "+remotetest.Alias+"\n", "Host transfer\n"))
	tg := target(control)
	tg.ConfigFile, tg.TransferHost, tg.BaseDir = config, "transfer", t.TempDir()
	expect(t, examine(t, tg, nil), localRows+remoteRows(nil)+baseRows(nil)+clockRow+`ok   transfer host: a file sent by rsync in .*`)
	if bulk.Authentications() != 1 || control.Authentications() != 1 {
		t.Errorf("%d and %d authentications", bulk.Authentications(), control.Authentications())
	}
	tg.TransferHost = "127.0.0.1"
	tg.Options = []string{"ConnectTimeout=5", "Port=1"}
	tg.Port = control.Port()
	skip := func(d *doctor.Doctor) { d.SkipBase = true }
	tg.Options = nil
	expect(t, examine(t, tg, skip), localRows+remoteRows(nil)+clockRow+`fail transfer host: .* -> correct transfer_host .*`)
}

// TestDoctorIsStopped: what was made is removed all the same.
func TestDoctorIsStopped(t *testing.T) {
	t.Parallel()
	s := server(t, remotetest.Options{})
	tg := target(s)
	tg.BaseDir = t.TempDir()
	d := &doctor.Doctor{Target: tg, Options: ssh.Options{Env: append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir())}, Hint: func(error) string { return "" }}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if made, _ := filepath.Glob(tg.BaseDir + "/.usr-sync/doctor-*"); len(made) > 0 {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if found, err := d.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", found, err)
	}
	empty(t, tg.BaseDir)
	gone(t, s)
}

// TestDoctorQuota: what a group may use is a row of its own; one that is nearly used up is a warning.
func TestDoctorQuota(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "bin")
	check(t, remotetest.HidePath(dir))
	check(t, remotetest.Shim(dir, "quota", "printf 'Disk quotas for group lab (gid 100):\\n/dev/sdx 1000 0 2000000000 - 5 0 0\\n/dev/sdy 1999 0 2000 - 5 0 0\\n'\n"))
	tg := target(server(t, remotetest.Options{Env: map[string]string{"PATH": dir}}))
	tg.BaseDir = t.TempDir()
	space := "ok   free space: .*\nok   group quota: lab may use 2.* on /dev/sdx, and uses 1.*\nwarn group quota: lab may use 2.* on /dev/sdy, and uses 2.* -> make room: .*usr generations.*"
	expect(t, examine(t, tg, nil), localRows+remoteRows(map[string]string{"hash tools": ".*hash tools: .*"})+baseRows(map[string]string{"free space": space})+lastRows)
}

func TestDoctorOfADirectory(t *testing.T) {
	t.Parallel()
	tg := ssh.Target{Name: "mount", BaseDir: t.TempDir()}
	here := rows([]string{
		`ok   local rsync: .*`, `ok   local resume: .*`, `ok   local root: /.*`, `ok   local flock: .*`, `ok   local time stamps: .*`, `ok   local names: .*`, `ok   local file system: .*`,
	}, nil)
	expect(t, examine(t, tg, nil), here+baseRows(map[string]string{"exchange": `ok   exchange: .*, by this program`}))
	tg.BaseDir += "/none"
	expect(t, examine(t, tg, nil), here+`fail base directory: .*No such file or directory -> make it there .*`)
}

func TestDoctorUnreached(t *testing.T) {
	t.Parallel()
	s := server(t, remotetest.Options{})
	for _, c := range []struct{ option, rows string }{
		{"HostName=no-such-host.invalid", `fail reachable: cannot reach scc: the host name is not known: .* -> hint`},
		{"Port=1", `fail reachable: cannot reach scc: connection refused: .* -> hint`},
		{"PubkeyAuthentication=no", "ok   reachable: cluster answers\n" + `fail authentication: cannot reach scc: authentication failed: .* -> hint`},
	} {
		tg := target(s)
		tg.Options = []string{c.option}
		expect(t, examine(t, tg, nil), localRows+c.rows)
	}
}

func TestDoctorOfThisHost(t *testing.T) {
	s := server(t, remotetest.Options{})
	tg := target(s)
	tg.Options = []string{"Port=1"}
	path := func(env map[string]string) { t.Setenv("PATH", env["PATH"]) }

	shims := map[string]string{"rsync": remotetest.OpenRsync(remotetest.Real("rsync"))}
	path(without(t, shims))
	found := examine(t, tg, func(d *doctor.Doctor) { d.Root += "/none" })
	expect(t, found, `
	ok   local ssh: .*
	fail local rsync: it is openrsync, which macOS has .* -> .brew install rsync., .*
	fail local root: /.*: no such file or directory -> make it \(.mkdir -p .*
	fail reachable: .*`)
}

func with(o remotetest.Options) func(*testing.T) remotetest.Options {
	return func(*testing.T) remotetest.Options { return o }
}

func missing(names ...string) func(*testing.T) remotetest.Options {
	return func(t *testing.T) remotetest.Options { return remotetest.Options{Env: without(t, nil, names...)} }
}

func busybox(with ...string) func(*testing.T) remotetest.Options {
	return func(t *testing.T) remotetest.Options {
		dir := filepath.Join(t.TempDir(), "bin")
		check(t, remotetest.BusyBox(dir, with...))
		return remotetest.Options{Env: map[string]string{"PATH": dir}}
	}
}

func replaced(name string, script func(real string) string) func(*testing.T) remotetest.Options {
	return func(t *testing.T) remotetest.Options {
		return remotetest.Options{Env: without(t, map[string]string{name: script(remotetest.Real(name))})}
	}
}

// server starts a private sshd.
func server(t *testing.T, o remotetest.Options) *remotetest.Server {
	t.Helper()
	s, err := remotetest.Start(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func target(s *remotetest.Server) ssh.Target {
	return ssh.Target{Name: "scc", Host: remotetest.Alias, ConfigFile: s.ConfigFile(), BatchMode: true}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func contents(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// gone waits for the end of everything that runs on the server.
func gone(t *testing.T, s *remotetest.Server) {
	t.Helper()
	within(t, 3*time.Second, "nothing runs on the server", func() bool { return len(s.Commands()) == 0 })
}

func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for begin := time.Now(); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > limit {
			t.Fatalf("after %s it is still not so: %s", limit, what)
		}
	}
}

// TestDoctorOfRegistries: two roots with other registries drift apart by themselves.
func TestDoctorOfRegistries(t *testing.T) {
	t.Parallel()
	tg, root := ssh.Target{Name: "mount", BaseDir: t.TempDir()}, t.TempDir()
	sees := func(want string) {
		t.Helper()
		found, err := (&doctor.Doctor{Target: tg, Root: root}).Run(t.Context())
		check(t, err)
		for _, f := range found {
			if f.Name == "registry" {
				if got := string(f.State) + " " + f.Saw; !strings.HasPrefix(got, want) {
					t.Errorf("%s, want %s", got, want)
				}
				return
			}
		}
		t.Errorf("no row: %v", found)
	}
	check(t, os.WriteFile(root+"/registry.yaml", []byte("a: 1\n"), 0o644))
	sees("warn only one of the roots")
	check(t, os.WriteFile(tg.BaseDir+"/registry.yaml", []byte("a: 2\n"), 0o644))
	sees("warn registry.yaml differs")
	check(t, os.WriteFile(tg.BaseDir+"/registry.yaml", []byte("a: 1\n"), 0o644))
	sees("ok registry.yaml is the same")
}
