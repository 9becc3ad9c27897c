package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/rsync"
	"github.com/dnadesign-maintainers/usr/remote/shell"
	"github.com/dnadesign-maintainers/usr/verify"
)

// hostDoctor examines a host through its session, or a directory of this host (session is nil).
type hostDoctor struct {
	*Doctor
	*report
	session *shell.Session
	run     func(ctx context.Context, script string, args ...string) ([]byte, error)
	took    time.Duration // to connect

	trip    time.Duration // a round trip
	look    records       // of stage_look
	scratch string
}

// examine runs every check even when ctx ends meanwhile, for what was made has to be removed: a request takes a
// second or two at most. It stops between two checks.
func (h *hostDoctor) examine(ctx context.Context) {
	if err := h.reachable(ctx); err != nil {
		h.unreached(h.report, err)
		return
	}
	h.authentication()
	h.stages(ctx)
}

// stages are the checks that take the script. A connection that is lost on the way is the last finding.
func (h *hostDoctor) stages(ctx context.Context) {
	err := h.begin(ctx)
	checks := []func(context.Context) error{h.rsync, h.flock, h.hashes, h.lister, h.base, h.clock, h.transfer}
	if h.session == nil {
		checks = []func(context.Context) error{h.base}
	}
	for _, check := range checks {
		if err == nil && ctx.Err() == nil {
			err = check(context.WithoutCancel(ctx))
		}
	}
	if h.Compute.Command != "" && !h.SkipBase && err == nil && ctx.Err() == nil {
		err = h.compute(ctx)
	}
	if h.scratch != "" && err == nil {
		_, err = h.stage(context.WithoutCancel(ctx), "clean", h.scratch, h.look["made"])
	}
	if err != nil && ctx.Err() == nil {
		h.add(Fail, "connection", err.Error(), h.Hint(err))
	}
}

const stageTime = 30 * time.Second

// stage runs one stage of doctor.sh. What the host refuses is not an error: it is in the records or missing from them.
func (h *hostDoctor) stage(ctx context.Context, args ...string) (records, error) {
	ctx, cancel := context.WithTimeout(ctx, stageTime)
	defer cancel()
	out, err := h.run(ctx, doctorScript, args...)
	var refused *remote.Error
	if errors.As(err, &refused) {
		r := parseRecords(out)
		r["error"] = refused.Detail
		return r, nil
	}
	return parseRecords(out), err
}

// reachable measures a round trip.
func (h *hostDoctor) reachable(ctx context.Context) error {
	var trips []time.Duration
	for range 7 {
		begin := time.Now()
		if err := h.session.Ping(ctx); err != nil {
			return err
		}
		trips = append(trips, time.Since(begin))
	}
	slices.Sort(trips)
	h.trip = trips[len(trips)/2]
	f, err := h.session.Facts(ctx)
	if err != nil {
		return err
	}
	h.ok("reachable", "%s (%s %s), connected in %s, a round trip takes %s", f.Host, f.System, f.Machine,
		milliseconds(h.took), milliseconds(h.trip))
	return nil
}

func milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 10 {
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

func (h *hostDoctor) authentication() {
	socket, kept := h.session.Conn().Master()
	reused := h.session.Conn().Reused()
	switch {
	case !reused && h.Options.Interactive:
		h.ok("authentication", "new connection; what ssh had to ask, it asked at the terminal")
	case !reused:
		h.ok("authentication", "new connection, without a question (batch mode)")
	case kept:
		h.ok("authentication", "reuses the connection that usr keeps (%s)", remote.Escape(socket))
	default:
		h.ok("authentication", "reuses the live connection of your ssh configuration (%s)", remote.Escape(socket))
	}
}

// begin looks around and reports on the login shell.
func (h *hostDoctor) begin(ctx context.Context) error {
	base := h.Target.BaseDir
	if h.SkipBase {
		base = ""
	}
	var err error
	h.look, err = h.stage(context.WithoutCancel(ctx), "look", base, rand.Text()[:12])
	h.scratch = h.look["scratch"]
	if err != nil || h.session == nil {
		return err
	}
	h.loginShell()
	return nil
}

func (h *hostDoctor) loginShell() {
	shell := filepath.Base(orUnknown(h.look.line("shell")))
	if noise := h.session.Noise(); noise != "" {
		h.add(Fail, "login shell", shell+` prints on stdout: "`+noise+`"`, noiseAdvice)
		return
	}
	asked := h.Options.Interactive && !h.session.Conn().Reused() // then it is part of the conversation
	if said := oneLine(h.session.Conn().Said()); said != "" && !asked {
		h.ok("login shell", "%s; on stderr, which does no harm: \"%s\"", shell, said)
		return
	}
	h.ok("login shell", "%s, silent", shell)
}

const noiseAdvice = "print nothing from ~/.bashrc, ~/.cshrc, ~/.zshenv or config.fish unless the shell is interactive: rsync takes it for data"

func orUnknown(s string) string {
	if s == "" {
		return "not known"
	}
	return s
}

const rsyncAdvice = "`module load rsync` there, or an own build: give its path as rsync_path in the profile"

// rsync tries the options that a transfer passes, all of them, between two directories there.
func (h *hostDoctor) rsync(ctx context.Context) error {
	if h.scratch == "" {
		h.add(Warn, "rsync", "not tried: there is no directory to write in", "make a temporary directory there writable (/tmp, or $TMPDIR)")
		return nil
	}
	program := h.Target.RsyncPath
	if program == "" {
		program = "rsync"
	}
	copying, preview := trialRuns(h.scratch)
	var r records
	resume := ""
	for _, args := range [][]string{copying.Args("N"), preview.Args("N")} {
		var err error
		if r, err = h.stage(ctx, append([]string{"rsync", h.scratch, program}, args...)...); err != nil {
			return err
		}
		resume += r.line("resume")
		if r.has("missing") || r.has("refused") {
			break
		}
		if len(copying.Files) > 0 && !r.has("copied") {
			r["refused"] = "it reports success and has copied nothing"
			break
		}
		copying.Files = nil
	}
	h.judgeRsync(program, r)
	if !h.failed("rsync") {
		h.resume("resume", resume)
	}
	return nil
}

// resume says whether a file that was interrupted goes on; why is what rsync said where it does not.
func (r *report) resume(name, why string) {
	if why != "" {
		r.add(Warn, name, "an interrupted file begins anew: "+why,
			"receivers of 3.4.0 to 3.4.3, and of vendors who took fixes from there, are known for that: use another rsync for large files")
		return
	}
	r.ok(name, "an interrupted file goes on where it was")
}

func (h *hostDoctor) judgeRsync(program string, r records) {
	get := install(rsyncAdvice, "", "rsync", "rsync", "rsync")
	v, err := rsync.ParseVersion(r["version"])
	switch {
	case r.has("missing"):
		h.add(Fail, "rsync", remote.Escape(program)+" is not there (PATH of a non-interactive login)", get)
	case err == nil && v.Openrsync:
		h.add(Fail, "rsync", "it is openrsync, which lacks options that transfers need", "install rsync 3.1.3 or later: "+get)
	case r.has("refused"):
		h.add(Fail, "rsync", orUnknown(r.first("version"))+" refuses an option that is passed: "+r.line("refused"), "use rsync 3.1.3 or later: "+get)
	case err != nil:
		h.add(Warn, "rsync", err.Error()+"; it takes every option that is passed", "nothing, if transfers work; else "+get)
	default:
		h.rsyncVersion("rsync", v)
	}
}

func (h *hostDoctor) flock(ctx context.Context) error {
	f, err := h.session.Facts(ctx)
	if err == nil && f.Flock == "" {
		h.add(Fail, "flock", "flock(1) is not on PATH", install("install flock: package util-linux", "; every pull and push locks with it", "util-linux", "util-linux", "flock"))
	} else if err == nil && f.Flock == "perl" {
		h.ok("flock", "flock(1) is not there; perl locks in its place")
	} else if err == nil {
		h.ok("flock", "flock(1) is there")
	}
	return err
}

// hashSums are the digests of "abc".
var hashSums = map[string]string{
	"b3sum":     "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
	"openssl":   sha256ABC,
	"sha256sum": sha256ABC,
	"shasum":    sha256ABC,
}

const sha256ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

// slowHash is below what a file system delivers.
const slowHash = 100e6

// hashes measures each tool in the order in which they are preferred.
func (h *hostDoctor) hashes(ctx context.Context) error {
	f, err := h.session.Facts(ctx)
	if err != nil {
		return err
	}
	var saw []string
	best := 0.0
	for _, tool := range f.Hash {
		rate, err := h.hashRate(ctx, tool)
		if err != nil {
			return err
		}
		if rate == 0 {
			saw = append(saw, tool+" gives wrong digests")
			continue
		}
		best = max(best, rate)
		saw = append(saw, tool+" "+size(rate)+"/s")
	}
	const more = "install b3sum or openssl ("
	list := strings.Join(saw, ", ")
	switch {
	case best == 0:
		if list == "" {
			list = "none of b3sum, openssl, sha256sum, shasum"
		}
		h.add(Fail, "hash tools", list, "install one: "+install("coreutils or openssl", "", "coreutils openssl", "coreutils openssl", "b3sum"))
	case best < slowHash:
		h.add(Warn, "hash tools", list, more+packages("b3sum", "openssl", "b3sum")+"): hashing is slower than reading")
	default:
		h.ok("hash tools", "%s", list)
	}
	return nil
}

// compute has a shell on a compute node, as hashing would. Only a command that is not there keeps a remote from being used.
func (h *hostDoctor) compute(ctx context.Context) error {
	const row = "compute node"
	begin := time.Now()
	job, err := h.session.StartJob(ctx)
	var missing *remote.ToolError
	if errors.As(err, &missing) {
		h.add(Fail, row, err.Error(), "correct `compute` in the profile, or load the scheduler's module in a start-up file there")
		return nil
	} else if err != nil {
		if ctx.Err() == nil {
			h.add(Warn, row, err.Error(), "try `compute` of the profile by hand on the host, with /bin/sh behind it; until then the login node hashes")
		}
		return nil
	}
	defer job.Close()
	took := time.Since(begin)
	f, err := job.Facts(ctx)
	if err != nil || len(f.Hash) == 0 {
		return err
	}
	there := *h
	there.session, there.run = job, job.Run
	rate, err := there.hashRate(ctx, f.Hash[0])
	if err == nil {
		h.ok(row, "%s, had after %s, sees the base directory; %s %s/s", f.Host, milliseconds(took), f.Hash[0], size(rate))
	}
	return err
}

// hashRate is bytes a second over a generated stream, the round trip taken off; 0 if the tool is wrong.
func (h *hostDoctor) hashRate(ctx context.Context, tool string) (float64, error) {
	out, err := h.runStage(ctx, "hash", tool, "0")
	if err != nil || !strings.HasPrefix(string(out), hashSums[tool]) {
		return 0, err
	}
	rate := 0.0
	for n := int64(4 << 20); ; n = min(256<<20, int64(rate/8)) { // first to learn how much it does in an eighth of a second
		begin := time.Now()
		if _, err := h.runStage(ctx, "hash", tool, strconv.FormatInt(n, 10)); err != nil {
			return 0, err
		}
		last := rate > 0
		rate = float64(n) / max(time.Since(begin)-h.trip, time.Millisecond).Seconds()
		if last || rate < 20<<20 {
			return rate, nil
		}
	}
}

// runStage is stage for what prints no records; what the host refuses prints nothing.
func (h *hostDoctor) runStage(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, stageTime)
	defer cancel()
	out, err := h.run(ctx, doctorScript, args...)
	var refused *remote.Error
	if errors.As(err, &refused) {
		return nil, nil
	}
	return out, err
}

// lister lists a directory with odd names the way that datasets are listed.
func (h *hostDoctor) lister(ctx context.Context) error {
	f, err := h.session.Facts(ctx)
	if err != nil || h.scratch == "" {
		return err
	}
	tool := "find -printf (GNU)"
	if f.Lister == "stat" {
		tool = "find and stat (BSD, busybox)"
	}
	made, err := h.stage(ctx, "odd", h.scratch)
	if err != nil {
		return err
	}
	want := []string{"-n", "a b"}
	if made.has("feed") {
		want = append(want, "new\nline")
	}
	var names []string
	var stamp int64
	err = h.session.Walk(ctx, h.scratch+"/odd", func(e verify.Entry) {
		names = append(names, e.Path)
		stamp = max(stamp, e.Mtime%1e9)
	})
	slices.Sort(names)
	if connectionError(err) {
		return err
	}
	if err == nil && !slices.Equal(names, want) {
		err = fmt.Errorf("it lists %q", names)
	}
	if err != nil {
		h.add(Fail, "find", tool+": "+oneLine(err.Error()), "put GNU find (package findutils) or a BSD stat on the PATH of a non-interactive login")
		return nil
	}
	h.ok("find", "%s", tool)
	h.stamps("time stamps", stamp)
	return nil
}

// stamps says how fine time stamps of files are that were just made.
func (r *report) stamps(name string, stamp int64) {
	if verify.Fine(stamp) {
		r.ok(name, "files show fractions of a second")
		return
	}
	r.ok(name, "files show whole seconds: what was written within two seconds of a look is read again")
}

// connectionError tells the end of the session from what it was asked to do and could not.
func connectionError(err error) bool {
	var lost *remote.ConnectError
	return errors.As(err, &lost) || errors.Is(err, context.DeadlineExceeded)
}

// clock compares the clocks: the host's stands somewhere between question and answer.
func (h *hostDoctor) clock(ctx context.Context) error {
	begin := time.Now()
	out, err := h.runScript(ctx, `now; printf %s "$t"`)
	if err != nil {
		return err
	}
	trip := time.Since(begin)
	ns, perr := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if perr != nil {
		h.add(Warn, "clock", fmt.Sprintf("date prints %q", remote.Escape(string(out))), "make `date +%s` work there")
		return nil
	}
	skew := time.Unix(0, ns).Sub(begin.Add(trip / 2))
	if whole := ns%1e9 == 0; whole { // its date knows no fractions
		skew += time.Second / 2
	}
	h.judgeClock(skew)
	return nil
}

const allowedSkew = 2 * time.Second

func (h *hostDoctor) judgeClock(skew time.Duration) {
	side := "ahead of"
	if skew < 0 {
		side = "behind"
	}
	saw := fmt.Sprintf("%.1f s %s this host", skew.Abs().Seconds(), side)
	if skew.Abs() > allowedSkew {
		h.add(Warn, "clock", saw, "set the clocks of both hosts by NTP (`timedatectl`; administrators): times of files and logs mislead")
		return
	}
	h.ok("clock", "%s", saw)
}

func (h *hostDoctor) runScript(ctx context.Context, text string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, stageTime)
	defer cancel()
	return h.run(ctx, text)
}
