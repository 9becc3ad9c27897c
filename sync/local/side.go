// Package local is the side of a transfer that this process reaches by system calls.
//
//	side.go      the side: what it is called, reading and hashing
//	survey.go    what is known of a dataset; the datasets of a root
//	state.go     the state directory, in which nothing is trusted for its path
//	lock.go      run lock and dataset lock
//	stage.go     stages, links and copies
//	landing.go   hashing what arrives
//	promote.go   the switch, with switch.go
//	recover.go   journals, and what dead runs left; generations
//	single.go    single files (FILE mode)
//	own.go       files that this host keeps for itself
package local

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

// Side is a root that this process reaches itself: the laptop's, or that of a `type: local` remote.
// Its locks die with the process, so there is nothing to keep alive.
type Side struct {
	name, root, state string
	waiting           func(remote.Waiting) // called while a lock is waited for
	claim             *fileLock
	claimKey          string
	lock              *fileLock
	fence             *fileLock // beside it
	live              string    // what lock is the lock of
}

// New takes an absolute root, and what is to be called while a lock is waited for, which may be nil. It touches nothing.
func New(name, root string, waiting func(remote.Waiting)) *Side {
	return &Side{name: name, root: root, waiting: waiting, state: filepath.Join(root, remote.StateDir)}
}

func (s *Side) Name() string { return s.name }
func (s *Side) Root() string { return s.root }
func (s *Side) Far() bool    { return false }

func (s *Side) Endpoint(context.Context) (remote.Endpoint, error) { return remote.Endpoint{}, nil }

func (s *Side) Algorithms(context.Context) ([]string, error) {
	return []string{verify.BLAKE3, verify.SHA256}, nil
}

func (s *Side) Walk(ctx context.Context, dir string, visit func(verify.Entry)) error {
	if err := errors.Join(ctx.Err(), s.sound(dir)); err != nil {
		return err
	}
	return verify.Walk(dir, visit)
}

func (s *Side) Names(ctx context.Context, dir string, visit func(verify.Entry)) error {
	if err := errors.Join(ctx.Err(), s.sound(dir)); err != nil {
		return err
	}
	return verify.WalkNames(dir, visit)
}

func (s *Side) Hash(ctx context.Context, dir, algorithm string, files []*verify.Entry, got func(string, verify.Digest, error)) error {
	if err := s.sound(dir); err != nil {
		return err
	}
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = f.Path
	}
	return verify.HashFiles(ctx, dir, algorithm, paths, runtime.GOMAXPROCS(0), got)
}

func (s *Side) HashPrefix(ctx context.Context, file, algorithm string, n int64) (verify.Digest, error) {
	if err := ctx.Err(); err != nil {
		return verify.Digest{}, err
	}
	return verify.HashPrefix(file, algorithm, n)
}

func (s *Side) ReadRange(ctx context.Context, file string, off, n int64) ([]byte, error) {
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

func (s *Side) Close() error {
	ctx := context.Background()
	return errors.Join(s.Unlock(ctx), s.Release(ctx))
}

func (s *Side) journalPath(key string) string { return filepath.Join(s.state, "journal", key) }
func (s *Side) stagePath(key string) string   { return filepath.Join(s.state, "stage", key) }
func (s *Side) runPath(key, run string) string {
	return filepath.Join(s.state, "stage", key, run)
}
func (s *Side) generationsPath(key string) string {
	return filepath.Join(s.state, "generations", key)
}

// needClaim refuses what only the holder of the claim may do.
func (s *Side) needClaim(key string) error {
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
