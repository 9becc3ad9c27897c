package local

import (
	"context"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/dnadesign-maintainers/usr/verify"
)

func (s *Side) SetTime(_ context.Context, live string, listed verify.Entry, mtime int64) error {
	file := filepath.Join(live, listed.Path)
	now, err := verify.StatEntry(file)
	if err == nil && now.Kind == verify.File && verify.SameStamp(&now, &listed) {
		at := unix.NsecToTimespec(mtime)
		err = unix.UtimesNanoAt(unix.AT_FDCWD, file, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return fmt.Errorf("cannot set the time of %q in %s: %w", listed.Path, live, err)
	}
	return nil
}
