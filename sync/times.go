package sync

import (
	"context"

	"github.com/dnadesign-maintainers/usr/verify"
)

// bringTimes gives files of two equal sides the source's time where programs go by it. That is no change of a dataset: it
// shows in no relation and asks for no consent. Another user's file may refuse it, and then keeps its own.
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
