package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/dnadesign-maintainers/usr/profiles"
	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/rsync"
	"github.com/dnadesign-maintainers/usr/sync"
	"github.com/dnadesign-maintainers/usr/verify"
)

// The exit codes.
const (
	codeDone        = 0
	codeDifference  = 1   // diff --exit-code or verify found a difference
	codeUsage       = 2   // usage, configuration, bad id
	codeUnreachable = 3   // remote unreachable: connection, authentication, a missing or too old tool
	codeLocked      = 4   // lock not obtained in time
	codeMismatch    = 5   // verification failed: nothing was promoted
	codeRefused     = 6   // refused: diverged history, changes that would be lost, nothing there, unsafe entry
	codeInterrupted = 7   // transfer interrupted: run the same command again
	codeDeclined    = 8   // declined
	codeOther       = 9   // anything else: disk full, permission, a bug
	codeStopped     = 130 // interrupted by the user
)

// usageError is a mistake in the command line or in what surrounds it.
type usageError struct{ why, hint string }

func (e *usageError) Error() string { return e.why }

// declinedError means that the answer was no, or that there was nobody to ask.
type declinedError struct {
	action string
	asked  bool
}

func (e *declinedError) Error() string {
	if e.asked {
		return "cannot " + e.action + ": declined"
	}
	return "cannot " + e.action + ": it would change files, and there is no terminal to ask on"
}

// noMatchError means that a glob matches no dataset.
type noMatchError struct{ pattern, side string }

func (e *noMatchError) Error() string {
	return fmt.Sprintf("cannot find datasets on %s: none matches %s", e.side, shown(e.pattern))
}

// replaceError means that a remote of the name exists and nobody agreed to replace it.
type replaceError struct {
	*profiles.ExistsError
	differences []profiles.Difference
}

func (e *replaceError) Error() string {
	var keys []string
	for _, d := range e.differences {
		keys = append(keys, fmt.Sprintf("%s (%s -> %s)", d.Key, orElse(d.Old, "none"), orElse(d.New, "none")))
	}
	return e.ExistsError.Error() + ", and it differs in " + strings.Join(keys, ", ")
}

func (e *replaceError) Unwrap() error { return e.ExistsError }

// unaskedError means that a follow met something that it may not do unasked.
type unaskedError struct{ relation sync.Relation }

func (e *unaskedError) Error() string {
	return fmt.Sprintf("cannot follow (%s): a person has to decide", e.relation)
}

// stoppedError means that the user stopped the command.
type stoppedError struct{ err error }

func (e *stoppedError) Error() string { return "cannot finish: stopped by the user" }
func (e *stoppedError) Unwrap() error { return e.err }

// failure is an error as users and scripts see it.
type failure struct {
	Code    int    `json:"code"`
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Hint    string `json:"hint"`

	Conflicts []movedData `json:"conflicts,omitempty"`
}

// fail says what went wrong and returns the exit code.
func (a *app) fail(err error) int {
	f := a.explain(err)
	a.progress.stop()
	a.logFailure(f)
	for _, file := range a.audits {
		_ = file.write(document{Data: a.partial, Error: &f}) // the first error is the one to report
	}
	if a.format == jsonFormat {
		_ = writeJSON(a.env.stdout, document{Data: a.partial, Error: &f})
	}
	a.tellConflicts(err)
	fmt.Fprintf(a.env.stderr, "usr: error: %s\nusr: hint: %s\n", f.Message, f.Hint)
	return f.Code
}

// logFailure logs a command that should have changed something and did not, for whoever asks in the morning what happened.
// It ignores its own failure, which does not matter beside the error at hand.
func (a *app) logFailure(f failure) {
	d := a.doing
	if d.root == "" || f.Code == codeUsage || !isDir(filepath.Join(d.root, ".usr-sync")) { // a failure makes nothing
		return
	}
	_ = sync.LogFailure(d.root, sync.LogEntry{Time: a.env.now().UTC(), Action: d.action, Dataset: d.dataset, Remote: d.remote,
		Forced: d.forced, Error: &sync.LogError{Code: f.Code, Kind: f.Kind, Message: f.Message}})
}

// explain is the one place where errors become exit codes, kinds and hints.
func (a *app) explain(err error) failure {
	code, kind, hint := a.classify(err)
	message := safe(err.Error())
	var listed *profiles.Error // breaks its lines itself
	if errors.As(err, &listed) {
		message = safeLines(err.Error())
	}
	return failure{Code: code, Kind: kind, Message: message, Hint: safe(hint), Conflicts: movedJSON(conflictsOf(err))}
}

func (a *app) classify(err error) (code int, kind, hint string) {
	if errors.Is(err, noCommandError{}) {
		return codeUsage, "usage", "begin with `usr remotes wizard`, or see the help of a command with `usr help COMMAND`"
	}
	var (
		usage       *usageError
		stopped     *stoppedError
		declined    *declinedError
		noMatch     *noMatchError
		badID       *sync.IDError
		root        *sync.RootError
		unasked     *unaskedError
		missing     *sync.MissingError
		unsafe      *sync.UnsafeError
		history     *sync.HistoryError
		conflict    *sync.ConflictError
		take        *sync.TakeError
		log         *sync.LogMergeError
		deletion    *sync.DeletionError
		mismatch    *sync.MismatchError
		space       *sync.SpaceError
		device      *sync.DeviceError
		interrupted *sync.InterruptedError
		noUndo      *sync.NothingToUndoError
		glob        *sync.GlobError
		noPath      *sync.NoPathError
		generation  *sync.GenerationError
		noHash      *sync.NoHashError
		connect     *remote.ConnectError
		tool        *remote.ToolError
		flood       *remote.FloodError
		lock        *remote.LockError
		planted     *remote.PlantedError
		noise       *remote.NoiseError
		copying     *rsync.Error
		path        *rsync.PathError
		onRemote    *remote.Error
		profile     *profiles.Error
		unknown     *profiles.UnknownError
		taken       *profiles.ExistsError
		pattern     *verify.PatternError
		parquet     *verify.ParquetError
		damage      *verify.DamageError
		events      *verify.EventError
	)
	switch {
	case errors.As(err, &stopped), errors.Is(err, context.Canceled):
		return codeStopped, "stopped", a.hintStopped()
	case errors.As(err, &usage):
		return codeUsage, "usage", usage.hint
	case errors.As(err, &declined):
		return codeDeclined, "declined", a.hintDeclined(declined)
	case errors.As(err, &unasked):
		return codeRefused, "history", "look at it with `" + a.lookCommand() + "`, then do it by hand: `" + a.doingCommand("pull") + "`"
	case errors.As(err, &noMatch):
		return codeRefused, "missing", "list the ids with " + a.idsCommands(noMatch.side)
	case errors.As(err, &badID):
		return codeUsage, "id", "an id is a path of one or two names below the root, such as densegen/my_dataset; list them with `" + a.listCommand(here) + "`"
	case errors.As(err, &glob):
		return codeUsage, "path", "name files relative to the dataset, such as meta.md, '_derived/**' or '*.yaml'"
	case errors.As(err, &noPath):
		return codeRefused, "missing", "see what is kept with `" + a.onward("generations", orElse(a.doing.dataset, "DATASET"), a.doing.remote) + "`"
	case errors.As(err, &generation):
		code, kind := codeOfGeneration(generation)
		return code, kind, a.hintGeneration(generation)
	case errors.As(err, &interrupted):
		return codeInterrupted, "interrupted", "run the same command again: what has arrived is kept and not sent twice"
	case errors.As(err, &mismatch):
		return codeMismatch, "verification", a.hintMismatch(mismatch)
	case errors.As(err, &history):
		return codeRefused, "history", a.hintHistory(history)
	case errors.As(err, &conflict):
		return codeRefused, "conflict", a.hintConflict(conflict)
	case errors.As(err, &take):
		return codeUsage, "usage", "leave out one of the two patterns that mean it, or make it narrower"
	case errors.As(err, &log):
		return codeRefused, "events", "look at the line with `" + "sed -n " + fmt.Sprint(log.Line) + "p .events.log` on both sides; an unfinished line is finished by its writer, so run the same command again"
	case errors.As(err, &deletion):
		return codeRefused, "deletion", a.hintDeletion(deletion)
	case errors.As(err, &missing):
		return codeRefused, "missing", a.hintMissing(missing)
	case errors.As(err, &unsafe) && unsafe.Names != "":
		return codeRefused, "unsafe", "rename them on " + unsafe.Side + ", or add one of each pair to the remote's `ignore` patterns"
	case errors.As(err, &unsafe):
		return codeRefused, "unsafe", "replace or remove them on " + unsafe.Side + " (symlinks, devices, pipes and sockets are never transferred), or add them to the remote's `ignore` patterns"
	case errors.As(err, &planted):
		return codeRefused, "unsafe", "see who put it there (`ls -ld " + shellWord(planted.Path) + "`), move it away (itself, not what it leads to), and run the same command again"
	case errors.As(err, &noUndo):
		return codeRefused, "nothing-to-undo", a.hintNoUndo(noUndo)
	case errors.As(err, &lock):
		return codeLocked, "lock", "wait until the other program is done and run the same command again, or wait longer with --lock-timeout 30m"
	case errors.As(err, &space):
		return codeOther, "space", a.hintSpace(space)
	case errors.As(err, &device):
		return codeOther, "device", "keep the dataset on the file system of its root: .usr-sync must be able to change places with it"
	case errors.As(err, &root):
		return codeUsage, "root", "give an existing directory with --root, or the remote's base_dir in the remotes file (`" + a.command("remotes", "list") + "`)"
	case errors.As(err, &unknown):
		return codeUsage, "config", a.hintUnknown(unknown)
	case errors.As(err, &taken):
		return codeUsage, "config", "add -y to replace it, or remove it first with `" + a.command("remotes", "remove", taken.Name) + "`, or choose another name"
	case errors.As(err, &profile):
		return codeUsage, "config", a.hintProfile(profile)
	case errors.As(err, &pattern):
		return codeUsage, "config", "correct the `" + pattern.Key + "` patterns of the remote in the remotes file"
	case errors.As(err, &path):
		return codeUsage, "path", "rename the file or directory, or correct base_dir and repo_root in the remotes file"
	case errors.As(err, &tool):
		return codeUnreachable, "tool", hintTool(tool.Tool, tool.Where)
	case errors.As(err, &noHash):
		return codeUnreachable, "tool", "install openssl or coreutils on " + noHash.Side + "; or compare by Parquet footer, size and time, knowingly: --verify auto"
	case errors.As(err, &noise):
		return codeUnreachable, "noise", "make the start-up files of the login shell print nothing when the shell is not interactive (~/.bashrc, ~/.cshrc)"
	case errors.As(err, &flood):
		return codeUnreachable, "flood", "if there really are so many files raise max_files of the remote in the remotes file; else see what the host's programs print"
	case errors.As(err, &connect):
		return codeUnreachable, "connection", a.hintConnect(connect)
	case errors.As(err, &copying):
		return a.classifyRsync(copying)
	case errors.As(err, &parquet):
		return codeMismatch, "parquet", "compare the bytes instead: --verify hash"
	case errors.As(err, &events):
		return codeMismatch, "verification", "mend the event log on the source (each line is one JSON object of at most 1 MiB)" + a.orForce(", or take it as it is with --force")
	case errors.As(err, &damage):
		return codeOther, "damage", "look at what is left with `" + a.doingCommand("verify") + "`"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return codeOther, "space", "make room (`df -h`, `quota -s`, `usr generations`), then run the same command again"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return codeOther, "permission", "check owner and mode of what is named above"
	case errors.As(err, &onRemote):
		return codeOther, "remote", a.hintDoctor()
	case errors.Is(err, exec.ErrNotFound):
		return codeUnreachable, "tool", "install it, or put it on the PATH"
	}
	return codeOther, "other", "run the same command again with --print-commands -v to see where it stops"
}

// classifyRsync classifies rsync's errors by its messages: its exit codes are ambiguous.
func (a *app) classifyRsync(err *rsync.Error) (code int, kind, hint string) {
	switch {
	case err.ToolMissing() && errors.Is(err, exec.ErrNotFound):
		return codeUnreachable, "tool", hintTool("rsync", "this host")
	case err.ToolMissing():
		return codeUnreachable, "tool", hintTool("rsync", a.remoteName())
	case err.Flooded():
		return codeUnreachable, "flood", "see what the host's start-up files and its rsync print without end"
	case err.TooLarge():
		return codeInterrupted, "interrupted", "run the same command again, which lists the files anew; if it stays so the host's rsync or file system lies"
	case err.NoSession():
		return codeUnreachable, "connection", "ask the administrators for MaxSessions 4 or more (10 is usual), or name another host for transfers as transfer_host in `" + a.command("remotes", "show", a.remoteName()) + "`"
	case err.Noise():
		return codeUnreachable, "noise", "make the start-up files of the login shell print nothing when the shell is not interactive (~/.bashrc, ~/.cshrc)"
	case err.NoSpace():
		return codeOther, "space", "make room at the destination, then run the same command again"
	case err.ReadOnly(), err.Permission():
		return codeOther, "permission", "check owner and mode of the files named above on both sides"
	case err.Transient(), err.Vanished():
		return codeInterrupted, "interrupted", "run the same command again: what has arrived is kept and not sent twice"
	}
	return codeOther, "rsync", "run the same command again with --print-commands to see what rsync is asked for"
}
