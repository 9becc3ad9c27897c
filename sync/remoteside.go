package sync

import (
	"context"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/shell"
)

// remoteSide is a root on another host, reached through the one shell of a connection, which is closed with the side.
// What is here is what the engine names its own way.
type remoteSide struct{ *shell.Session }

var _ side = remoteSide{}

func (r remoteSide) Survey(ctx context.Context, id, known string) (*remote.Survey, error) {
	return r.Session.Survey(ctx, id, stateKey(id), known)
}

func (r remoteSide) StageFile(ctx context.Context, file string, timeout time.Duration) (string, error) {
	dir := stageOf(file)
	return dir, r.Session.StageFile(ctx, file, dir, timeout)
}
