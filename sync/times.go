package sync

import (
	"context"

	"github.com/dnadesign-maintainers/usr/verify"
)

// bringTimes gives files of two equal sides the source's time if programs rely on it. That is not a change of the dataset:
// it affects no relation and needs no consent. A file of another user may refuse it and keeps its own time.
func (c *command) bringTimes(ctx context.Context, p *plan) {
	if p.src.kept != nil || c.asked.DryRun {
		return
	}
	verify.Join(p.src.files, p.dst.files, func(s, d *verify.Entry) {
		if s == nil || d == nil || timely(s, d) || !p.how.modes.inScope(s.Class) {
			return
		}
		if p.dst.side.SetTime(ctx, p.dst.survey.Live, *d, s.Mtime) == nil {
			d.Mtime = s.Mtime
		}
	})
}
