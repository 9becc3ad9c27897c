package rsync

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
)

// Error is a failed run of rsync. rsync's codes race (a refused connection is 255 or 12), so the methods below decide by
// code and messages. Whether the host is there at all, the caller finds out.
type Error struct {
	Code       int    // rsync's exit status; 127 if there is no rsync here; 128+n if signal n ended it
	Stderr     string // the telling lines of its messages, control characters escaped, joined by "; "
	Stalled    bool   // we ended it: no progress for Transfer.Stall
	Incomplete bool   // rsync met an I/O error, so deletions are missing from a Preview

	what string // "copy files"
	seen messages
	err  error // context.Canceled, exec.ErrNotFound …
}

func (e *Error) Error() string {
	what := e.what
	if what == "" {
		what = "copy files"
	}
	return fmt.Sprintf("cannot %s: %s", what, e.why())
}

func (e *Error) why() string {
	switch {
	case e.Stalled:
		return "no progress, rsync was stopped"
	case e.err != nil:
		return e.err.Error()
	case e.TooLarge():
		return "of a file far more came than its listing said"
	case e.NoSession():
		return "the host allows no second session on the connection (MaxSessions of its sshd)"
	case e.Stderr == "":
		return fmt.Sprintf("rsync exit code %d (%s)", e.Code, codeText(e.Code))
	}
	return fmt.Sprintf("%s (rsync exit code %d)", e.Stderr, e.Code)
}

// Unwrap returns ctx.Err() of a cancelled run, or exec.ErrNotFound if this host has no rsync.
func (e *Error) Unwrap() error { return e.err }

// Transient reports whether the same transfer may well succeed on a new connection.
func (e *Error) Transient() bool {
	if e.Stalled {
		return true
	}
	if e.err != nil || e.seen.failed > 0 || e.NoSpace() || e.ReadOnly() || e.Permission() || e.ToolMissing() || e.NoSession() || e.TooLarge() || e.has("host key") {
		return false
	}
	switch e.Code {
	case 10, 12, 20, 30, 255: // 20: a signal that was not ours, since e.err is nil
		return true
	}
	return false
}

// Vanished reports whether the only trouble was files that the source no longer has.
func (e *Error) Vanished() bool {
	return e.Code == 24 || e.Code == 23 && e.seen.vanished > 0 && e.seen.other == 0
}

// Unverified reports whether a file that rsync put together from a partial file or a basis was wrong twice.
func (e *Error) Unverified() bool { return e.has(unverifiedText) }

// NoSpace reports whether the receiving file system is full or the quota is used up.
func (e *Error) NoSpace() bool {
	return e.has("no space left on device") || e.has("disk quota exceeded") || e.has("disc quota exceeded")
}

// ReadOnly reports whether the receiving file system cannot be written.
func (e *Error) ReadOnly() bool { return e.has("read-only file system") }

// Permission reports whether a file, or the login itself, was denied.
func (e *Error) Permission() bool {
	return e.has("permission denied") || e.has("operation not permitted")
}

// ToolMissing reports whether there is no rsync: on this host if the error is also exec.ErrNotFound, else on the remote.
func (e *Error) ToolMissing() bool {
	return e.Code == 127 || slices.ContainsFunc(missingTexts, e.has)
}

// Flooded reports whether rsync printed without end.
func (e *Error) Flooded() bool { return errors.Is(e.err, errFlooded) }

// TooLarge reports whether a file was far larger than listed.
func (e *Error) TooLarge() bool { return e.has(tooLargeText) || e.Code == 128+int(syscall.SIGXFSZ) }

// NoSession reports whether the host allows no further session on the connection.
func (e *Error) NoSession() bool { return e.has(sessionText) }

// Noise reports whether the remote's start-up files print into rsync's protocol.
func (e *Error) Noise() bool { return e.has("is your shell clean") }

func (e *Error) has(text string) bool {
	return e.seen.has[text] || strings.Contains(strings.ToLower(e.Stderr), text)
}

func codeText(code int) string {
	switch {
	case code == 10 || code == 12 || code == 30 || code == 255:
		return "the connection broke"
	case code == 11:
		return "a file could not be read or written"
	case code == 20 || code > 128:
		return "ended by a signal"
	case code == 23:
		return "some files could not be copied"
	case code == 24:
		return "some files vanished"
	case code == 127:
		return "rsync not found"
	}
	return "see rsync(1)"
}
