package sync

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/dnadesign-maintainers/usr/sync/history"
	"github.com/dnadesign-maintainers/usr/verify"
)

// Two files merge line by line: the event log, and meta.md against its text in the common base.

// mostMeta is the largest meta.md, in bytes, that is merged and whose text is kept with the common base.
const mostMeta = 1 << 20

// mergeInside turns a row that both sides moved into a file made of both, into one side's file if the result is the same,
// or into a conflict.
func (c *command) mergeInside(ctx context.Context, v view, base *history.Base, m *merged, r *history.Row) (err error) {
	switch {
	case r.Path == eventsPath && r.Local != nil && r.Remote != nil:
		return c.mergeLogs(ctx, v, base, m, r)
	case r.Choice == history.Inside:
		return c.mergeMeta(ctx, v, base, m, r)
	}
	return nil
}

// put makes the row a file of the given parts, or one side's file if the result is the same.
func (m *merged) put(ctx context.Context, v view, r *history.Row, parts ...part) error {
	e := &verify.Entry{Path: r.Path, Kind: verify.File, Class: r.Class, Mtime: max(r.Local.Mtime, r.Remote.Mtime)}
	it := &item{Entry: e, origin: merge, parts: parts}
	for _, p := range parts {
		e.Size += int64(len(p.text)) + p.end - p.off
	}
	r.Choice, m.inside[r.Path] = history.Inside, it
	if v.how.algorithm == "" {
		return nil
	}
	var err error
	e.Digest, err = sum(ctx, v.how.algorithm, parts)
	return err
}

// mergeMeta merges by lines. It fails if what it reads is not what was listed.
func (c *command) mergeMeta(ctx context.Context, v view, base *history.Base, m *merged, r *history.Row) error {
	for _, s := range []*snapshot{v.local, v.remote} { // files of different sizes have no digest so far
		if e := s.files.Find(metaPath); !e.Digest.Known() {
			if err := c.hash(ctx, s, []*verify.Entry{e}, v.how.algorithm); err != nil {
				return err
			}
		}
	}
	local, err := c.metaText(ctx, v.local, v.how.algorithm)
	if err != nil {
		return err
	}
	remote, err := c.metaText(ctx, v.remote, v.how.algorithm)
	if err != nil {
		return err
	}
	text, ok := history.MergeText(base.Meta, local, remote)
	switch {
	case local == nil || remote == nil || !ok:
		r.Choice = history.Conflict
	case bytes.Equal(text, local):
		r.Choice = history.TakeLocal
	case bytes.Equal(text, remote):
		r.Choice = history.TakeRemote
	default:
		return m.put(ctx, v, r, part{text: text})
	}
	return nil
}

// metaText reads meta.md of a side; nil if it is missing, too long to be merged, or has no digest.
func (c *command) metaText(ctx context.Context, s *snapshot, algorithm string) ([]byte, error) {
	e := s.files.Find(metaPath)
	if e == nil || e.Size > mostMeta || !e.Digest.Known() || algorithm == "" {
		return nil, nil
	}
	text, err := s.side.ReadRange(ctx, s.survey.Live+"/"+metaPath, 0, e.Size)
	if err != nil {
		return nil, err
	}
	sum, err := verify.NewHash(algorithm)
	if err != nil {
		return nil, err
	}
	sum.Write(text)
	if !bytes.Equal(sum.Sum(nil), e.Digest[:]) {
		return nil, &movedError{paths: []string{metaPath}}
	}
	return append([]byte{}, text...), nil
}

// MergedEvents counts the parts of a merged event log, in lines.
type MergedEvents struct {
	Base, RemoteTail, LocalTail int64
	common, whole               int64 // bytes that both begin with; bytes of whole lines in the remote's log
	unfinished                  bool  // the remote's last line is, and local has no line of its own: its log is left alone
}

// mergeLogs puts the remote's new lines before the local ones. An unfinished last line of the remote waits for the next
// merge; the caller has waited for a local one.
func (c *command) mergeLogs(ctx context.Context, v view, base *history.Base, m *merged, r *history.Row) error {
	from, err := c.commonLog(ctx, v, base, r)
	if err != nil {
		return err
	}
	local, err := readTail(ctx, v.local, r.Local, from)
	if err != nil {
		return err
	}
	remote, err := readTail(ctx, v.remote, r.Remote, from)
	if err != nil {
		return err
	}
	if !bytes.HasSuffix(local, []byte("\n")) && len(local) > 0 {
		return &LogMergeError{Side: v.local.side.Name(), Line: c.lineOf(ctx, v, r, from) + int64(bytes.Count(local, []byte("\n"))), Why: "the last line is not complete"}
	}
	remote = remote[:bytes.LastIndexByte(remote, '\n')+1]
	common := commonLines(local, remote)
	prefix := from + int64(common)
	local, remote = local[common:], remote[common:]
	head := int64(history.Merged(local, remote))
	m.log.common, m.log.whole = prefix, prefix+int64(len(remote))
	m.log.RemoteTail, m.log.LocalTail = int64(bytes.Count(remote, []byte("\n"))), int64(bytes.Count(local[head:], []byte("\n")))
	m.log.unfinished = m.log.whole < r.Remote.Size && int64(len(local)) == head
	m.log.Base = max(0, v.local.survey.EventLines-int64(bytes.Count(local, []byte("\n"))))
	switch {
	case len(remote) == 0:
		r.Choice = history.TakeLocal
	case int64(len(local)) == head && m.log.whole == r.Remote.Size:
		r.Choice = history.TakeRemote
	default:
		here := part{side: v.local.side, file: v.local.survey.Live + "/" + eventsPath}
		first, last := here, here
		first.end = prefix
		last.off, last.end = prefix+head, r.Local.Size
		return m.put(ctx, v, r, first, part{text: remote}, last)
	}
	return nil
}

// commonLog returns how many bytes of both logs are known to be the same: the base's log, if both still begin with it.
func (c *command) commonLog(ctx context.Context, v view, base *history.Base, r *history.Row) (int64, error) {
	if !base.Covers(verify.Events) || v.how.algorithm == "" {
		return 0, nil
	}
	old := base.Files.Find(eventsPath)
	if old == nil || !old.Digest.Known() {
		return 0, nil
	}
	for _, s := range []struct {
		snap *snapshot
		log  *verify.Entry
	}{{v.local, r.Local}, {v.remote, r.Remote}} {
		d, err := prefix(ctx, s.snap, s.log, v.how.algorithm, min(old.Size, s.log.Size))
		if err != nil {
			return 0, err
		}
		if s.log.Size < old.Size || d != old.Digest {
			return 0, &LogMergeError{Side: s.snap.side.Name(), Line: c.lineOf(ctx, v, r, -1), Why: "it does not continue the log that both sides had"}
		}
	}
	return old.Size, nil
}

// lineOf returns the number of the line that begins at an offset of the local log; for a negative offset that of the first
// line in which the two logs differ. 0 means unknown.
func (c *command) lineOf(ctx context.Context, v view, r *history.Row, off int64) int64 {
	local, err := readTail(ctx, v.local, r.Local, 0)
	if err != nil {
		return 0
	}
	if off < 0 {
		remote, err := readTail(ctx, v.remote, r.Remote, 0)
		if err != nil {
			return 0
		}
		off = int64(commonLines(local, remote))
	}
	return int64(bytes.Count(local[:min(off, int64(len(local)))], []byte("\n"))) + 1
}

// readTail reads a log from an offset to its end as listed.
func readTail(ctx context.Context, s *snapshot, log *verify.Entry, from int64) ([]byte, error) {
	if log.Size-from > mostTail {
		return nil, fmt.Errorf("cannot merge %s: %s has %d bytes that the other side lacks", eventsPath, s.side.Name(), log.Size-from)
	}
	var text bytes.Buffer
	_, err := text.ReadFrom(&rangeReader{ctx: ctx, side: s.side, file: s.survey.Live + "/" + eventsPath, off: from, end: log.Size})
	if err == nil && int64(text.Len()) < log.Size-from {
		return nil, &movedError{paths: []string{eventsPath}}
	}
	return text.Bytes(), err
}

// mostTail bounds how much of a log is read for a merge. With a common base that is only what is new.
const mostTail = 512 << 20

// commonLines returns how many bytes of whole lines two texts begin with in common.
func commonLines(a, b []byte) (n int) {
	for i := 0; i < min(len(a), len(b)) && a[i] == b[i]; i++ {
		if a[i] == '\n' {
			n = i + 1
		}
	}
	return n
}

// lineWait is how long a merge waits for another program to finish its line of the local log.
const (
	lineWait  = 2 * time.Second
	linePause = 50 * time.Millisecond
)

// lookWhole looks at both sides, and again while the last line of the local log is unfinished.
func (c *command) lookWhole(ctx context.Context, before view) (view, error) {
	v, err := c.look(ctx, before)
	for waited := time.Duration(0); err == nil && waited < lineWait && unfinished(ctx, v.local); waited += linePause {
		select {
		case <-ctx.Done():
			return v, ctx.Err()
		case <-time.After(linePause):
		}
		v, err = c.look(ctx, v)
	}
	return v, err
}

func unfinished(ctx context.Context, s *snapshot) bool {
	log := s.files.Find(eventsPath)
	if log == nil || log.Size == 0 {
		return false
	}
	last, err := s.side.ReadRange(ctx, s.survey.Live+"/"+eventsPath, log.Size-1, 1)
	return err == nil && string(last) != "\n"
}
