package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

func (s *Side) Stat(ctx context.Context, file string) (verify.Entry, error) {
	if err := ctx.Err(); err != nil {
		return verify.Entry{}, err
	}
	e, err := verify.StatEntry(file)
	if err != nil {
		return e, fmt.Errorf("cannot look at %s on %s: %w", strconv.Quote(file), s.name, err)
	}
	return e, nil
}

func (s *Side) StageFile(ctx context.Context, file string, timeout time.Duration) (string, error) {
	dir := remote.FileStage(file)
	err := errors.Join(ctx.Err(), os.MkdirAll(filepath.Dir(file), 0o777))
	if err == nil {
		err = s.claimFile(ctx, dir, timeout)
	}
	var busy *remote.LockError
	if err != nil && !errors.As(err, &busy) {
		err = fmt.Errorf("cannot make a stage for %s on %s: %w", strconv.Quote(file), s.name, err)
	}
	return dir, err
}

// claimFile claims the stage of a single file. A run that ends meanwhile removes the directory with its lock, which is
// then made anew.
func (s *Side) claimFile(ctx context.Context, dir string, timeout time.Duration) error {
	for {
		if err := ignoreExisting(os.Mkdir(dir, 0o700)); err != nil {
			return err
		}
		if fi, err := os.Lstat(dir); err == nil && !fi.IsDir() {
			return planted(dir, fi.Mode())
		}
		l, err := waitLock(ctx, filepath.Join(dir, "lock"), timeout)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			s.claim, s.claimKey = l, dir
		}
		return err
	}
}

func (s *Side) PromoteFile(ctx context.Context, dir, name, file string) error {
	err := errors.Join(ctx.Err(), syncDirs(filepath.Join(dir, name)))
	if err == nil {
		err = os.Rename(filepath.Join(dir, name), file)
	}
	if err == nil {
		err = errors.Join(syncDirs(filepath.Dir(file)), s.DropFile(ctx, dir))
	}
	if err != nil {
		return fmt.Errorf("cannot promote %s on %s: %w", strconv.Quote(file), s.name, err)
	}
	return nil
}

func (s *Side) DropFile(_ context.Context, dir string) error {
	if !remote.IsFileStage(dir) {
		return fmt.Errorf("cannot remove %s: it is not a stage", strconv.Quote(dir))
	}
	return removeTree(dir)
}
