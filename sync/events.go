package sync

import (
	"context"
	"errors"
	"io"

	"github.com/dnadesign-maintainers/usr/verify"
)

// tornLog is the source's event log if it was copied in the middle of somebody's line and has moved on since.
func (t *transfer) tornLog(ctx context.Context, p *plan, before *snapshot) (*verify.Entry, error) {
	staged, src := t.stage.files.Find(eventsPath), p.copied(eventsPath)
	if staged == nil || src == nil || staged.Size == 0 || staged.Digest != src.Digest || before.shows(src) {
		return nil, nil
	}
	last, err := p.dst.side.ReadRange(ctx, t.stage.tree+"/"+eventsPath, -1, 1)
	if err != nil || string(last) == "\n" {
		return nil, err
	}
	return src, nil
}

// acceptLog takes a staged event log that is a prefix of the source's for the source's: writers append to it
// without the dataset lock. Only whole lines count, and what grew before the lock is caught up once.
func (t *transfer) acceptLog(ctx context.Context, p *plan, round int) error {
	staged, src, dst := t.stage.files.Find(eventsPath), p.src.files.Find(eventsPath), p.dst.files.Find(eventsPath)
	switch {
	case staged == nil || src == nil || !t.modes.inScope(verify.Events) || !staged.Digest.Known():
		return nil
	case staged.Digest == src.Digest && staged.Size == src.Size, round == 0 && staged.Size < src.Size:
		return nil
	case dst != nil && staged.Size < dst.Size && !t.modes.Force:
		return nil
	}
	last, err := p.dst.side.ReadRange(ctx, t.stage.tree+"/"+eventsPath, -1, 1)
	if err != nil || string(last) != "\n" {
		return err
	}
	d, err := p.src.side.HashPrefix(ctx, p.src.survey.Live+"/"+eventsPath, t.algorithm, staged.Size)
	if err == nil && d == staged.Digest {
		src.Size, src.Mtime, src.Digest, src.Ctime = staged.Size, staged.Mtime, d, 0 // as of then; never cached
	}
	return err
}

// verifyEvents reads the lines that the destination's event log gains: each must be an event. A forced transfer
// takes them as they are, and says so.
func (t *transfer) verifyEvents(ctx context.Context, p *plan) error {
	staged, old := t.stage.files.Find(eventsPath), p.dst.files.Find(eventsPath)
	if p.copied(eventsPath) == nil || staged == nil || t.modes.levels()[verify.Events] != verify.Content || p.src.kept {
		return nil
	}
	in := &rangeReader{ctx: ctx, side: p.dst.side, file: t.stage.tree + "/" + eventsPath, end: staged.Size}
	if _, local := p.dst.side.(*localSide); !local { // the same bytes, and here
		in.side, in.file = p.src.side, p.src.survey.Live+"/"+eventsPath
	}
	var known int64                                             // lines that are not read again
	if old != nil && old.Size < staged.Size && !t.modes.Force { // history was found to hold: the rest is new
		in.off, known = old.Size, max(p.dst.survey.EventLines, 0)
	}
	_, err := verify.CheckEvents(in)
	var bad *verify.EventError
	if errors.As(err, &bad) {
		bad.Line += known
	}
	if bad != nil && t.modes.Force {
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
