package sync

import (
	"context"
	"errors"
	"io"

	"github.com/dnadesign-maintainers/usr/sync/history"
	"github.com/dnadesign-maintainers/usr/verify"
)

// comparedLogs remembers how two event logs compared, until one of them is touched.
type comparedLogs struct {
	local, remote verify.Entry
	order         history.LogOrder
}

// logOrder compares the two event logs, which only ever grow, if that can matter.
func (c *command) logOrder(ctx context.Context, v view) (history.LogOrder, error) {
	if !v.local.present() || !v.remote.present() {
		return history.LogsEqual, nil
	}
	l, r := v.local.files.Find(eventsPath), v.remote.files.Find(eventsPath)
	if l != nil && r != nil && verify.SameStamp(l, &c.logs.local) && verify.SameStamp(r, &c.logs.remote) {
		return c.logs.order, nil
	}
	order, err := compareLogs(ctx, v)
	if err == nil && l != nil && r != nil && verify.Unique(l.Ctime, v.local.survey.Now) && verify.Unique(r.Ctime, v.remote.survey.Now) {
		c.logs = comparedLogs{local: *l, remote: *r, order: order}
	}
	return order, err
}

func compareLogs(ctx context.Context, v view) (history.LogOrder, error) {
	l, r := v.local.files.Find(eventsPath), v.remote.files.Find(eventsPath)
	switch {
	case l == nil && r == nil:
		return history.LogsEqual, nil
	case l == nil || (r != nil && l.Size == 0 && r.Size > 0):
		return history.LogsLocalShorter, nil
	case r == nil || (r.Size == 0 && l.Size > 0):
		return history.LogsRemoteShorter, nil
	}
	n := min(l.Size, r.Size)
	if v.how.algorithm == "" { // no host can hash: sizes decide
		n = 0
	}
	var dl, dr verify.Digest
	err := together(
		func() (err error) { dl, err = prefix(ctx, v.local, l, v.how.algorithm, n); return err },
		func() (err error) { dr, err = prefix(ctx, v.remote, r, v.how.algorithm, n); return err })
	if err != nil {
		return 0, err
	}
	switch {
	case dl != dr:
		return history.LogsForked, nil
	case l.Size < r.Size:
		return history.LogsLocalShorter, nil
	case l.Size > r.Size:
		return history.LogsRemoteShorter, nil
	}
	return history.LogsEqual, nil
}

func prefix(ctx context.Context, s *snapshot, e *verify.Entry, algorithm string, n int64) (verify.Digest, error) {
	if n == 0 || (e.Size == n && e.Digest.Known()) {
		return e.Digest, nil
	}
	return s.side.HashPrefix(ctx, s.survey.Live+"/"+e.Path, algorithm, n)
}

// tornLog returns the item of the source's event log if it was copied in the middle of a line and has grown since.
func (st *stage) tornLog(ctx context.Context, p *plan, before *snapshot) (*item, error) {
	staged, src := st.files.Find(eventsPath), p.incoming(eventsPath)
	if staged == nil || src == nil || src.origin != fetch || staged.Size == 0 || staged.Digest != src.Digest || before.shows(src.Entry) {
		return nil, nil
	}
	last, err := st.dst.ReadRange(ctx, st.tree+"/"+eventsPath, -1, 1)
	if err != nil || string(last) == "\n" {
		return nil, err
	}
	return src, nil
}

// acceptLog accepts a staged event log that is a prefix of the source's: writers append to it without the dataset lock. It
// accepts whole lines only, after one attempt to catch up with what came before the lock.
func (st *stage) acceptLog(ctx context.Context, p *plan, round int) error {
	staged, it, dst := st.files.Find(eventsPath), p.incoming(eventsPath), p.dst.files.Find(eventsPath)
	if staged == nil || it == nil || it.origin != fetch || !staged.Digest.Known() {
		return nil
	}
	src := it.Entry
	switch {
	case staged.Digest == src.Digest && staged.Size == src.Size, round == 0 && staged.Size < src.Size:
		return nil
	case dst != nil && staged.Size < dst.Size && !p.how.modes.Force:
		return nil
	}
	last, err := st.dst.ReadRange(ctx, st.tree+"/"+eventsPath, -1, 1)
	if err != nil || string(last) != "\n" {
		return err
	}
	d, err := p.src.side.HashPrefix(ctx, p.src.survey.Live+"/"+eventsPath, p.how.algorithm, staged.Size)
	if err == nil && d == staged.Digest {
		asOf(src, *staged)
	}
	return err
}

// asOf has a log that has grown stand for what it was. That is never cached.
func asOf(now *verify.Entry, then verify.Entry) {
	now.Size, now.Mtime, now.Digest, now.Ctime = then.Size, then.Mtime, then.Digest, 0
}

// acceptMerge accepts a staged event log that was merged of two logs which both have grown since. What has come to the local
// one follows at the switch; what has come to the remote's is for the next merge.
func (st *stage) acceptMerge(ctx context.Context, p, before *plan, round int) error {
	staged, it, was := st.files.Find(eventsPath), p.incoming(eventsPath), before.incoming(eventsPath)
	if round == 0 || staged == nil || it == nil || it.origin != merge || was == nil || was.origin != merge || staged.Digest == it.Digest || staged.Digest != was.Digest {
		return nil
	}
	now, then := p.dst.files.Find(eventsPath), *before.dst.files.Find(eventsPath)
	local, err := p.dst.side.HashPrefix(ctx, p.dst.survey.Live+"/"+eventsPath, p.how.algorithm, then.Size)
	if err != nil || then.Digest.Known() && local != then.Digest {
		return err
	}
	still, err := before.stillMerged(ctx, was)
	if err == nil && still {
		*it.Entry, it.parts = *was.Entry, was.parts
		p.merged.log = before.merged.log
		then.Digest = local
		asOf(now, then)
	}
	return err
}

// stillMerged reports whether both logs still begin with what a merged one was made of: the local one in its parts, the
// remote's with all but the local tail.
func (p *plan) stillMerged(ctx context.Context, it *item) (bool, error) {
	whole, err := sum(ctx, p.how.algorithm, it.parts)
	if err != nil || whole != it.Digest {
		return false, err
	}
	ours, err := sum(ctx, p.how.algorithm, it.parts[:len(it.parts)-1])
	if err != nil {
		return false, err
	}
	theirs, err := p.src.side.HashPrefix(ctx, p.src.survey.Live+"/"+eventsPath, p.how.algorithm, p.merged.log.whole)
	return theirs == ours, err
}

// proveEvents checks that each line that the destination's event log gains is an event. A forced transfer only warns.
func (t *proven) proveEvents(ctx context.Context) error {
	p := t.plan
	staged, old, it := t.stage.files.Find(eventsPath), p.dst.files.Find(eventsPath), p.incoming(eventsPath)
	if it == nil || it.origin == restore || staged == nil || p.how.modes.levels()[verify.Events] != verify.Content {
		return nil
	}
	in := &rangeReader{ctx: ctx, side: t.dst, file: t.tree + "/" + eventsPath, end: staged.Size}
	if t.dst.Far() { // the local copy has the same bytes
		in.side, in.file = p.src.side, p.src.survey.Live+"/"+eventsPath
	}
	var known int64                                                 // lines that are not read again
	if old != nil && old.Size < staged.Size && !p.how.modes.Force { // the staged log continues the old one
		in.off, known = old.Size, max(p.dst.survey.EventLines, 0)
	}
	if m := p.merged; m != nil && m.log.common > 0 && p.direction == Pull {
		in.off, known = m.log.common, m.log.Base
	}
	_, err := verify.CheckEvents(in)
	var bad *verify.EventError
	if errors.As(err, &bad) {
		bad.Line += known
	}
	if bad != nil && p.how.modes.Force {
		t.warn("%v", err)
		return nil
	}
	return err
}

// rangeReader reads a part of a side's file.
type rangeReader struct {
	ctx      context.Context
	side     side
	file     string
	off, end int64
}

func (r *rangeReader) Read(b []byte) (int, error) {
	const most = 1 << 20
	n := min(int64(len(b)), r.end-r.off, most)
	if n <= 0 {
		return 0, io.EOF
	}
	got, err := r.side.ReadRange(r.ctx, r.file, r.off, n)
	if err == nil && len(got) == 0 {
		err = io.EOF
	}
	r.off += int64(len(got))
	return copy(b, got), err
}
