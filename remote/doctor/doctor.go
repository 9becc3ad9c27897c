// Package doctor tries what a transfer is going to need.
package doctor

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/shell"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
)

//go:embed doctor.sh
var doctorText string

var doctorScript = shell.StripComments(doctorText)

// State is the verdict on one finding.
type State string

// The verdicts. Only Fail keeps a remote from being used.
const (
	OK   State = "ok"
	Warn State = "warn"
	Fail State = "fail"
)

// Finding is one row of the doctor: what was tried, how it went, what was seen and what to do about it ("" for nothing).
// Saw and Do are one line each, safe to print. Names are unique in a report; those about this host begin with "local ".
type Finding struct {
	Name  string
	State State
	Saw   string
	Do    string
}

// Doctor tries on this host and on a remote whatever a transfer is going to need, over one connection. It leaves
// nothing behind.
type Doctor struct {
	Target  ssh.Target // Host "" is a directory of this host: Target.BaseDir
	Options ssh.Options
	Root    string // local USR root; "" if there is none
	// SkipBase leaves the base directory alone: what needs a directory is tried in a temporary one.
	SkipBase bool
	// Compute is the profile's command for a shell on a compute node, and how long it may wait for a place. Neither its
	// From nor its functions are used.
	Compute shell.Compute
	// Hint says what to do about an error of the connection.
	Hint func(error) string
}

// Run returns the findings in the order they were made. Its error is that of a context that ended; whatever else
// goes wrong is a finding.
func (d *Doctor) Run(ctx context.Context) ([]Finding, error) {
	r := &report{}
	d.local(ctx, r)
	if d.Target.Host == "" {
		d.directory(ctx, r)
		return r.found, context.Cause(ctx)
	}
	begin := time.Now()
	s, err := shell.Open(ctx, d.Target, shell.Options{Options: d.Options, Noisy: true, Compute: d.Compute})
	if err != nil {
		d.unreached(r, err)
		return r.found, context.Cause(ctx)
	}
	defer s.Close()
	h := &hostDoctor{Doctor: d, report: r, session: s, run: s.Run, took: time.Since(begin)}
	h.examine(ctx)
	return r.found, context.Cause(ctx)
}

// report collects findings.
type report struct{ found []Finding }

func (r *report) add(state State, name, saw, do string) {
	r.found = append(r.found, Finding{Name: name, State: state, Saw: saw, Do: do})
}

func (r *report) ok(name, saw string, args ...any) { r.add(OK, name, fmt.Sprintf(saw, args...), "") }

// unreached is the end of the report: how far the connection came.
func (d *Doctor) unreached(r *report, err error) {
	name := "reachable"
	if e, ok := err.(*remote.ConnectError); ok && e.Reason == remote.Auth {
		r.ok("reachable", "%s answers", e.Host)
		name = "authentication"
	}
	r.add(Fail, name, err.Error(), d.Hint(err))
}

// packages names what provides a program, for those who may install it.
func packages(debian, rhel, brew string) string {
	return fmt.Sprintf("Debian: apt install %s; RHEL: dnf install %s; Homebrew: brew install %s", debian, rhel, brew)
}

// install is advice for a remote, where most people may install nothing.
func install(tool, why, debian, rhel, brew string) string {
	return fmt.Sprintf("%s (%s), or ask the administrators for it%s", tool, packages(debian, rhel, brew), why)
}

// records are what doctor.sh puts.
type records map[string]string

func parseRecords(out []byte) records {
	r := records{}
	for _, field := range strings.Split(string(out), "\x00") {
		if name, value, ok := strings.Cut(field, "="); ok {
			r[name] = value
		}
	}
	return r
}

func (r records) has(name string) bool { _, ok := r[name]; return ok }

// line is a value fit for one line: its first lines, escaped.
func (r records) line(name string) string { return oneLine(r[name]) }

// first is the first line of a value.
func (r records) first(name string) string {
	line, _, _ := strings.Cut(r[name], "\n")
	return oneLine(line)
}

// lineBytes is what is shown of a line.
const lineBytes = 500

func oneLine(text string) string {
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
	if len(lines) > 3 {
		lines = lines[:3]
	}
	for i, l := range lines {
		lines[i] = remote.Escape(strings.TrimSpace(l[:min(len(l), lineBytes)]))
	}
	return strings.Join(lines, "; ")
}

// quote makes one word of a shell's command line.
func quote(word string) string { return remote.CommandLine([]string{word}) }

// size renders bytes or a rate of them.
func size(n float64) string {
	for _, unit := range []string{"B", "kB", "MB", "GB", "TB"} {
		if n < 1000 || unit == "TB" {
			if n < 10 && unit != "B" {
				return fmt.Sprintf("%.1f %s", n, unit)
			}
			return fmt.Sprintf("%.0f %s", n, unit)
		}
		n /= 1000
	}
	return ""
}
