package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/rsync"
	"github.com/dnadesign-maintainers/usr/remote/shell"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
	"github.com/dnadesign-maintainers/usr/verify"
)

// fixedRsync has the fixes of January 2025 (CVE-2024-12084 to 12088 and 12747). Vendors carry them back to older ones.
var fixedRsync = rsync.Version{Major: 3, Minor: 4, Patch: 1}

// local looks at this host: the programs, and the root's file system.
func (d *Doctor) local(ctx context.Context, r *report) {
	if d.Target.Host != "" {
		d.localSSH(ctx, r)
	}
	localRsync(ctx, r)
	d.localRoot(ctx, r)
}

func (d *Doctor) localSSH(ctx context.Context, r *report) {
	const name = "local ssh"
	program, err := ssh.Find(d.Options.Env)
	if err != nil {
		r.add(Fail, name, "not found on PATH", "install the OpenSSH client ("+packages("openssh-client", "openssh-clients", "openssh")+")")
		return
	}
	cmd := exec.CommandContext(ctx, program, "-V")
	cmd.Env = d.Options.Env
	said, err := cmd.CombinedOutput()
	if err != nil {
		r.add(Fail, name, oneLine(string(said))+" ("+err.Error()+")", "reinstall the OpenSSH client, or put a working ssh first on PATH")
		return
	}
	r.ok(name, "%s", oneLine(string(said)))
}

const openrsyncSaw = "it is openrsync, which macOS has under rsync's name; it lacks options that transfers need"

func localRsync(ctx context.Context, r *report) {
	const name = "local rsync"
	get := "install rsync 3.1.3 or later (" + packages("rsync", "rsync", "rsync") + ")"
	v, err := rsync.LocalVersion(ctx)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		r.add(Fail, name, "not found on PATH", get)
		return
	case err != nil:
		r.add(Fail, name, oneLine(err.Error()), get)
		return
	case v.Openrsync:
		r.add(Fail, name, openrsyncSaw, "`brew install rsync`, and put its directory before /usr/bin on PATH (`brew --prefix rsync`)")
		return
	}
	resume, err := tryRsync(ctx)
	if err != nil {
		r.add(Fail, name, v.String()+": "+oneLine(err.Error()), get)
		return
	}
	r.rsyncVersion(name, v)
	r.resume("local resume", resume)
}

// rsyncVersion is the verdict on an rsync that takes our options.
func (r *report) rsyncVersion(name string, v rsync.Version) {
	saw := v.String() + ", takes every option that is passed"
	if v.Less(fixedRsync) {
		r.add(Warn, name, saw, "versions before 3.4.1 have known holes (CVE-2024-12084 and others) unless the vendor "+
			"fixed them, as Debian and RHEL did: keep its package up to date")
		return
	}
	r.add(OK, name, saw, "")
}

// tryRsync does a transfer and a preview between two small directories of this host, with every option that a real
// one passes. Half of the file has arrived before; resume is why it could not go on, if so.
func tryRsync(ctx context.Context) (resume string, err error) {
	dir, err := os.MkdirTemp("", "usr-doctor-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	t, p := trialRuns(dir)
	half := make([]byte, 100_000)
	for _, sub := range []string{t.FromDir, filepath.Join(t.ToDir, t.PartialDir), t.Basis[0]} {
		err = errors.Join(err, os.MkdirAll(sub, 0o700))
	}
	err = errors.Join(err, os.WriteFile(filepath.Join(t.FromDir, trialFile), append(half, "x\n"...), 0o600),
		os.WriteFile(filepath.Join(t.ToDir, t.PartialDir, trialFile), half, 0o600))
	if err != nil {
		return "", err
	}
	t.Command = func(argv []string) {
		if resume = ""; !slices.Contains(argv, "--partial-dir="+t.PartialDir) { // it had to be run again
			resume = "rsync could not verify it"
		}
	}
	if _, err := t.Run(ctx); err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(t.ToDir, trialFile)); err != nil {
		return "", fmt.Errorf("it reports success and has copied nothing: %w", err)
	}
	_, err = p.Run(ctx)
	return resume, err
}

const trialFile = "file"

// trialRuns are runs of rsync within one host that use every option of those between two.
func trialRuns(dir string) (rsync.Transfer, rsync.Preview) {
	sub := func(name string) string { return filepath.Join(dir, name) }
	return rsync.Transfer{FromDir: sub("from"), ToDir: sub("to"), Files: []string{trialFile}, Basis: []string{sub("basis")},
			PartialDir: "partial", Bwlimit: "100m"},
		rsync.Preview{FromDir: sub("from"), ToDir: sub("to"), Exclude: []string{rsync.ExcludePath("x[")}}
}

// localRoot tries the lock that every writer of a dataset takes, and what its file system can do.
func (d *Doctor) localRoot(ctx context.Context, r *report) {
	if d.Root == "" {
		r.add(Warn, "local root", "there is none at or above the working directory",
			"name it with --root DIR or $DNADESIGN_USR_ROOT: every command on datasets needs it")
		return
	}
	info, err := os.Stat(d.Root)
	if err == nil && !info.IsDir() {
		err = errors.New("it is not a directory")
	}
	if err != nil {
		r.add(Fail, "local root", remote.Escape(d.Root)+": "+reasonOf(err), "make it (`mkdir -p "+remote.Escape(quote(d.Root))+"`), or name another with --root")
		return
	}
	r.ok("local root", "%s", remote.Escape(d.Root))
	scratch, err := os.MkdirTemp(d.Root, ".usr-doctor-")
	if err != nil {
		r.add(Fail, "local flock", "cannot write in the root: "+reasonOf(err), "make the root writable for you: pull and the hash cache write there")
		return
	}
	defer os.RemoveAll(scratch)
	if err := tryFlock(filepath.Join(scratch, "lock")); err != nil {
		r.add(Fail, "local flock", oneLine(err.Error()), flockAdvice)
		return
	}
	r.ok("local flock", "one holder at a time, free when released")
	e, err := verify.StatEntry(filepath.Join(scratch, "lock"))
	if err == nil {
		r.stamps("local time stamps", e.Mtime)
	}
	r.names("local names", namings(scratch))
	h := &hostDoctor{Doctor: d, report: r, run: runHere, scratch: filepath.Join(scratch, "traits")}
	if saw, err := h.stage(ctx, "traits", h.scratch); err == nil {
		r.fileSystem("local file system", saw.line("type"), saw, h.exchanges(saw))
	}
}

// namings tries in a directory of ours which names are one.
func namings(dir string) (are []string) {
	make := func(name string) error { return os.WriteFile(filepath.Join(dir, name), nil, 0o600) }
	exists := func(name string) bool { _, err := os.Lstat(filepath.Join(dir, name)); return err == nil }
	if make("a") == nil && exists("A") {
		are = append(are, "case")
	}
	if make("\u00e9") == nil && exists("e\u0301") {
		are = append(are, "form")
	}
	if make("\xff") != nil {
		are = append(are, "utf8")
	}
	return are
}

const flockAdvice = "keep the root on a file system with flock(2): a local disk; NFS with its lock service; Lustre mounted with -o flock"

// tryFlock takes the lock twice: by two open files, which exclude each other as two processes do, and by flock(1)
// where there is one.
func tryFlock(path string) error {
	first, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer first.Close()
	second, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer second.Close()
	if err := flock(first); err != nil {
		return fmt.Errorf("cannot take a lock: %w", err)
	}
	if err := flock(second); !errors.Is(err, syscall.EWOULDBLOCK) {
		return errors.New("two open files hold the same lock")
	}
	if program, err := exec.LookPath("flock"); err == nil && exec.Command(program, "-n", path, "true").Run() == nil {
		return errors.New("two processes hold the same lock")
	}
	if err := syscall.Flock(int(first.Fd()), syscall.LOCK_UN); err != nil {
		return fmt.Errorf("cannot release a lock: %w", err)
	}
	if err := flock(second); err != nil {
		return fmt.Errorf("a released lock stays held: %w", err)
	}
	return nil
}

func flock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

func reasonOf(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return remote.Escape(err.Error())
}

// directory examines the base directory of a remote that is a directory of this host, by the same script.
func (d *Doctor) directory(ctx context.Context, r *report) {
	h := &hostDoctor{Doctor: d, report: r, run: runHere}
	h.stages(ctx)
}

// runHere runs a script as a session does, in a shell of this host.
func runHere(ctx context.Context, text string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", shell.Functions() + "shift 2\n" + text, "usr", "-", "0"}, args...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		err = &remote.Error{Do: "run a command", Detail: oneLine(said.String() + "\n" + err.Error())}
	}
	return out, err
}
