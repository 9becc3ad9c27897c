package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// takeFence takes the lock that the earlier tool holds, shared, through its own transfers, where there is one; nil where
// there is none. That tool makes it under the dataset's lock, which the caller holds, so that none can appear meanwhile. It
// outlives that lock: an rsync whose session is gone still has it. One that this user
// can neither make nor open guards nothing of his.
func takeFence(ctx context.Context, live string, timeout time.Duration) (*fileLock, error) {
	path := filepath.Join(live, transferLock)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	l, err := waitLock(ctx, path, timeout)
	if errors.Is(err, errUnlockable) {
		return nil, nil
	}
	return l, err
}
