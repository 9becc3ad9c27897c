// Package remote is the vocabulary for a host that holds datasets: the arguments and results of a side of a transaction,
// and the errors that callers decide on. The packages below it do the work: ssh, shell, rsync and doctor.
package remote

import (
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"
)

// Reason is why a host could not be reached or was lost.
type Reason string

// The reasons that ssh's messages distinguish.
const (
	UnknownHost Reason = "the host name is not known"
	Refused     Reason = "connection refused"
	Unreachable Reason = "no route to the host"
	Timeout     Reason = "no answer in time"
	Auth        Reason = "authentication failed"
	HostKey     Reason = "the host key is not the one on record"
	NewHost     Reason = "the host key is not known yet"
	Sessions    Reason = "the host refuses further sessions on the connection"
	NoShell     Reason = "no usable shell"
	Config      Reason = "ssh rejects its configuration"
	Lost        Reason = "connection lost"
	Silent      Reason = "the host says nothing any more, though the line is up"
	Other       Reason = "ssh failed"
)

// ConnectError means that there is no (or no longer a) connection. Detail is ssh's own line, escaped.
type ConnectError struct {
	Target string // the remote's name
	Host   string
	Reason Reason
	Detail string
	Status int // exit status of ssh, -1 if a signal ended it or it is not known
}

func (e *ConnectError) Error() string {
	return "cannot reach " + e.Target + ": " + withDetail(string(e.Reason), e.Detail)
}

// FloodError means that a host sends more than it could need to. The connection is closed.
type FloodError struct {
	Target string // the remote's name
	Do     string // what was to be done
	More   string // the bound that it exceeded: "5000000 files" or a number of bytes
}

func (e *FloodError) Error() string {
	return fmt.Sprintf("cannot %s: %s sends more than %s", e.Do, e.Target, e.More)
}

// ToolError means that a program that is needed is missing or unusable on Where ("this host" or a host name).
type ToolError struct{ Tool, Where, Detail string }

func (e *ToolError) Error() string {
	return fmt.Sprintf("cannot use %s on %s: %s", e.Tool, e.Where, e.Detail)
}

// LockError means that a lock was not obtained in time. Holder describes who has it, "" if that is not known.
type LockError struct {
	Path   string
	Waited time.Duration
	Holder string
}

func (e *LockError) Error() string {
	holder := e.Holder
	if holder == "" {
		holder = "another process"
	}
	return fmt.Sprintf("cannot lock %s: after %s it is still held by %s", Escape(e.Path), e.Waited.Round(time.Millisecond), holder)
}

// PlantedError means that something else lies where usr keeps its own, such as a symlink that leads elsewhere. Nothing is
// read, written or removed through it.
type PlantedError struct {
	Path string
	Is   string // what it is, such as "a symbolic link"
}

func (e *PlantedError) Error() string {
	return fmt.Sprintf("cannot use %s: it is %s", Escape(e.Path), e.Is)
}

// NoiseError means that the login shell prints on stdout before a command runs, which breaks rsync as well.
// Text is what it prints, escaped and shortened.
type NoiseError struct{ Target, Text string }

func (e *NoiseError) Error() string {
	return fmt.Sprintf(`cannot talk to %s: its login shell prints "%s"`, e.Target, e.Text)
}

// Error is a request that the remote shell carried out and that failed there. It unwraps to fs.ErrNotExist,
// fs.ErrExist, fs.ErrPermission, syscall.ENOSPC, syscall.EDQUOT or syscall.EXDEV where the remote's words say so.
type Error struct {
	Do     string // what was to be done, such as "list /data/x"
	Detail string // the remote's own words, escaped, lines joined by "; "
	Status int    // exit status of the request; see the script for its meanings
}

func (e *Error) Error() string { return "cannot " + e.Do + ": " + e.Detail }

func (e *Error) Unwrap() error { return systemError(e.Detail) }

// systemError recognizes the C locale's texts, which every program of the remote side runs under, and dash's own.
func systemError(text string) error {
	for _, known := range []struct {
		words string
		err   error
	}{
		{"No space left on device", syscall.ENOSPC},
		{"Disk quota exceeded", syscall.EDQUOT},
		{"Disc quota exceeded", syscall.EDQUOT},
		{"Permission denied", fs.ErrPermission},
		{"Operation not permitted", fs.ErrPermission},
		{"File exists", fs.ErrExist},
		{"ross-device link", syscall.EXDEV},
		{"No such file", fs.ErrNotExist},
		{"Directory nonexistent", fs.ErrNotExist},
	} {
		if strings.Contains(text, known.words) {
			return known.err
		}
	}
	return nil
}

func withDetail(text, detail string) string {
	if detail == "" {
		return text
	}
	return text + ": " + detail
}
