package sync

import (
	"context"
	"encoding/json"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
)

// forcedStays is how long a generation stays that a --force made: what it holds may exist nowhere else.
const forcedStays = 30 * 24 * time.Hour

// prune drops the journal and the generations beyond keep, which counts only those that may go by now.
func (c *command) prune(ctx context.Context, s side, keep int) error {
	kept, err := s.Generations(ctx, c.key)
	if err != nil {
		return err
	}
	return s.Settle(ctx, c.key, keep, forcedRuns(kept, c.o.Now())...)
}

// forcedRuns are the runs of the generations that stay because they were forced.
func forcedRuns(kept []remote.Generation, now time.Time) (runs []string) {
	for _, g := range kept {
		var info generationInfo
		if json.Unmarshal([]byte(g.Info), &info) == nil && info.Forced && now.Sub(info.Time) < forcedStays {
			runs = append(runs, g.Run)
		}
	}
	return runs
}
