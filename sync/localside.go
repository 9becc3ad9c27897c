package sync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// localSide is a root that this process reaches itself: the laptop's, or that of a `type: local` remote.
// Its locks die with the process, so there is nothing to keep alive.
type localSide struct {
	name, root, state string
	claim             *fileLock
	claimKey          string
	lock              *fileLock
	live              string // what lock is the lock of
}

var _ side = (*localSide)(nil)

// newLocalSide takes an absolute root. It touches nothing.
func newLocalSide(name, root string) side {
	return &localSide{name: name, root: root, state: filepath.Join(root, stateDir)}
}

func (s *localSide) Name() string              { return s.name }
func (s *localSide) Root() string              { return s.root }
func (s *localSide) Endpoint() remote.Endpoint { return remote.Endpoint{} }

func (s *localSide) Algorithms(context.Context) ([]string, error) {
	return []string{verify.BLAKE3, verify.SHA256}, nil
}

func (s *localSide) Walk(ctx context.Context, dir string, visit func(verify.Entry)) error {
	if err := errors.Join(ctx.Err(), s.sound(dir)); err != nil {
		return err
	}
	return verify.Walk(dir, visit)
}

func (s *localSide) Hash(ctx context.Context, dir, algorithm string, files []*verify.Entry, got func(string, verify.Digest, error)) error {
	if err := s.sound(dir); err != nil {
		return err
	}
	return verify.HashFiles(ctx, dir, algorithm, pathsOf(files), runtime.GOMAXPROCS(0), got)
}

func (s *localSide) HashPrefix(ctx context.Context, file, algorithm string, n int64) (verify.Digest, error) {
	if err := ctx.Err(); err != nil {
		return verify.Digest{}, err
	}
	return verify.HashPrefix(file, algorithm, n)
}

func (s *localSide) ReadRange(ctx context.Context, file string, off, n int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, size, err := openRegular(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if off < 0 {
		off = max(0, size+off)
	}
	if off >= size || n <= 0 {
		return nil, nil
	}
	b := make([]byte, min(n, size-off))
	m, err := f.ReadAt(b, off)
	if errors.Is(err, io.EOF) { // it was cut since
		err = nil
	}
	return b[:m], err
}

func (s *localSide) Close() error {
	ctx := context.Background()
	return errors.Join(s.Unlock(ctx), s.Release(ctx))
}

func (s *localSide) journalPath(key string) string { return filepath.Join(s.state, "journal", key) }
func (s *localSide) stagePath(key string) string   { return filepath.Join(s.state, "stage", key) }
func (s *localSide) runPath(key, run string) string {
	return filepath.Join(s.state, "stage", key, run)
}
func (s *localSide) generationsPath(key string) string {
	return filepath.Join(s.state, "generations", key)
}

// needClaim refuses what only the holder of the claim may do.
func (s *localSide) needClaim(key string) error {
	if s.claim == nil || s.claimKey != key {
		return fmt.Errorf("dataset %s is not claimed on %s", key, s.name)
	}
	return nil
}

// checkName keeps keys and run names to one path segment.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00\n") {
		return fmt.Errorf("%q is not a name", name)
	}
	return nil
}
