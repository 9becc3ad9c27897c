// Package history decides how the two sides of a dataset relate, and what a merge makes of both. Everything here is a
// function of manifests that the caller has read; nothing here opens a file.
package history

import (
	"slices"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// The files with rules of their own.
const (
	Primary = "records.parquet"
	Meta    = "meta.md"
	Events  = ".events.log"
)

// Direction is the direction of a transfer.
type Direction string

// The directions.
const (
	Pull Direction = "pull" // remote to local
	Push Direction = "push" // local to remote
)

// Sides holds one value for each end.
type Sides[T any] struct{ Local, Remote T }

// Base is the common base of a dataset and a place: the content that both sides had after the last success. A nil base
// means that no history is known.
type Base struct {
	Place     remote.Place    `json:"place,omitzero"` // zero in those of earlier versions
	Run       string          `json:"run"`
	Direction Direction       `json:"direction,omitempty"` // of the transfer that made it common
	Classes   []verify.Class  `json:"classes"`             // those that were equal then
	Print     string          `json:"print,omitempty"`     // fingerprint of the files, where all digests are known
	Meta      []byte          `json:"meta,omitempty"`      // text of meta.md, which merges by lines; nil where it is not known
	Table     *TableSize      `json:"table,omitempty"`     // of the primary; nil where it is not known
	Files     verify.Manifest `json:"-"`
	Algorithm string          `json:"-"` // of the digests as they were written
}

// TableSize is what a table has.
type TableSize struct {
	Rows int64 `json:"rows"`
	Cols int64 `json:"cols"`
}

// Covers reports whether the base records a class.
func (b *Base) Covers(c verify.Class) bool { return b != nil && slices.Contains(b.Classes, c) }

// Find returns the base's entry of a path that one of the two sides has, or nil.
func (b *Base) Find(l, r *verify.Entry) *verify.Entry {
	if b == nil {
		return nil
	}
	return b.Files.Find(verify.Either(l, r).Path)
}

// Moved reports whether a side changed a path since the base: e is the side's entry, nil if the file is gone.
func (b *Base) Moved(e *verify.Entry, path string, levels verify.Levels) bool {
	if b == nil {
		return true
	}
	old := b.Files.Find(path)
	if e == nil || old == nil {
		return (e == nil) != (old == nil)
	}
	switch levels.Compare(e, old) {
	case verify.Same:
		return false
	case verify.Different:
		return true
	}
	return e.Mtime != old.Mtime // digests of different algorithms and equal sizes: the time stamps decide
}

// Drifted reports whether a file has other bytes than the base under the same size and time stamp. If stamps have whole
// seconds, the file may have been written again in the second that it shows; that is no drift.
func (b *Base) Drifted(e *verify.Entry) bool {
	if b == nil || e == nil || !verify.Fine(e.Ctime) && !verify.Past(e.Mtime, e.Ctime) {
		return false
	}
	old := b.Files.Find(e.Path)
	return old != nil && old.Size == e.Size && old.Mtime == e.Mtime && old.Digest.Known() && e.Digest.Known() && old.Digest != e.Digest
}
