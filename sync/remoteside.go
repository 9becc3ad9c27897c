package sync

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// remoteSide is a root on another host, reached through the one shell of a connection.
type remoteSide struct {
	name, root string
	conn       *remote.Conn
	s          *remote.Session
}

var (
	_ side     = (*remoteSide)(nil)
	_ fileSide = (*remoteSide)(nil)
)

// newRemoteSide takes an absolute root and a connection, which is closed with the side.
func newRemoteSide(name, root string, c *remote.Conn) side {
	return &remoteSide{name: name, root: filepath.Clean(root), conn: c, s: c.Session()}
}

func (r *remoteSide) Name() string              { return r.name }
func (r *remoteSide) Root() string              { return r.root }
func (r *remoteSide) Endpoint() remote.Endpoint { return r.conn.Endpoint() }

func (r *remoteSide) Close() error { return r.conn.Close() }

func (r *remoteSide) Algorithms(ctx context.Context) ([]string, error) {
	facts, err := r.s.Facts(ctx)
	return facts.Algorithms(), err
}

func (r *remoteSide) Survey(ctx context.Context, id, known string) (*survey, error) {
	var m verify.Manifest
	begin := func() { m = m[:0] }
	v, err := r.s.Survey(ctx, r.root, id, stateKey(id), known, begin, func(e remote.Entry) { m = append(m, fromRemote(e)) })
	if err != nil {
		return nil, err
	}
	slices.Sort(v.Stages)
	at := place{Host: r.conn.Hostname(), Dir: v.Root, Root: v.RootID}
	return &survey{Place: at, Live: v.Live, Exists: v.Exists, Entries: verify.InOrder(m), EventLines: v.EventLines, Journal: v.Journal, Stages: v.Stages,
		Partial: v.Partial, SameFS: v.SameFS, FreeBytes: v.FreeBytes, FreeInodes: v.FreeInodes, Now: v.Now,
		Listing: v.Listing, Same: v.Same}, nil
}

func (r *remoteSide) Walk(ctx context.Context, dir string, visit func(verify.Entry)) error {
	return r.s.List(ctx, dir, func(e remote.Entry) { visit(fromRemote(e)) })
}

func fromRemote(e remote.Entry) verify.Entry {
	return verify.Entry{Path: e.Path, Kind: verify.Kind(e.Kind), Mode: uint16(e.Mode & 0o7777), Gid: e.Gid, Size: e.Size, Mtime: e.Mtime,
		Ctime: e.Ctime, Dev: e.Dev, Ino: e.Ino}
}

func (r *remoteSide) Hash(ctx context.Context, dir, algorithm string, files []*verify.Entry, got func(string, verify.Digest, error)) error {
	for some := range slices.Chunk(files, remote.HashBatch) {
		sized := make([]remote.Sized, len(some))
		for i, e := range some {
			sized[i] = remote.Sized{Path: e.Path, Size: e.Size}
		}
		err := r.s.Hash(ctx, dir, algorithm, sized, func(path string, sum remote.Sum, err error) { got(path, sum, err) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *remoteSide) HashPrefix(ctx context.Context, file, algorithm string, n int64) (verify.Digest, error) {
	return r.s.HashPrefix(ctx, file, algorithm, n)
}

func (r *remoteSide) ReadRange(ctx context.Context, file string, off, n int64) ([]byte, error) {
	return r.s.ReadRange(ctx, file, off, n)
}

func (r *remoteSide) Claim(ctx context.Context, key string, timeout time.Duration) error {
	return r.s.Claim(ctx, r.root, key, timeout)
}

func (r *remoteSide) Lock(ctx context.Context, live string, timeout time.Duration, readOnly bool) (bool, error) {
	return r.s.Lock(ctx, live, timeout, readOnly)
}

func (r *remoteSide) Locked(ctx context.Context) error  { return r.s.Locked(ctx) }
func (r *remoteSide) Unlock(ctx context.Context) error  { return r.s.Unlock(ctx) }
func (r *remoteSide) Release(ctx context.Context) error { return r.s.Release(ctx) }

func (r *remoteSide) Recover(ctx context.Context, key string) (recovered, error) {
	run, forward, err := r.s.Recover(ctx, r.root, key)
	return recovered{Run: run, Forward: forward}, err
}

func (r *remoteSide) Stage(ctx context.Context, key, run, live string) error {
	return r.s.Stage(ctx, r.root, key, run, live)
}

func (r *remoteSide) Link(ctx context.Context, from, to string, paths []string) error {
	return r.s.Link(ctx, from, to, paths)
}

func (r *remoteSide) Copy(ctx context.Context, from, to string, paths []string) error {
	return r.s.Copy(ctx, from, to, paths)
}

func (r *remoteSide) SetDirs(ctx context.Context, dir string, dirs []verify.Entry) error {
	plain := make([]remote.Entry, len(dirs))
	for i, e := range dirs {
		plain[i] = remote.Entry{Path: e.Path, Mode: uint32(e.Mode), Gid: e.Gid}
	}
	return r.s.SetDirs(ctx, dir, plain)
}

func (r *remoteSide) Flush(ctx context.Context, dir string) error { return r.s.Flush(ctx, dir) }

func (r *remoteSide) Promote(ctx context.Context, p promotion) error {
	return r.s.Promote(ctx, r.root, remote.Promotion(p))
}

func (r *remoteSide) Settle(ctx context.Context, key string, keep int, spared ...string) error {
	return r.s.Settle(ctx, r.root, key, keep, spared...)
}

func (r *remoteSide) Remove(ctx context.Context, dir string) error {
	return r.s.Remove(ctx, r.root, dir)
}

func (r *remoteSide) MoveIn(ctx context.Context, old, live, file string) error {
	return r.s.MoveIn(ctx, old, live, file)
}

func (r *remoteSide) SwapIn(ctx context.Context, old, live, file string) error {
	return r.s.SwapIn(ctx, old, live, file)
}

func (r *remoteSide) Generations(ctx context.Context, key string) ([]generation, error) {
	kept, err := r.s.Generations(ctx, r.root, key)
	var found []generation
	for _, g := range kept {
		found = append(found, generation(g))
	}
	return found, err
}

func (r *remoteSide) Datasets(ctx context.Context) ([]datasetInfo, error) {
	there, err := r.s.Datasets(ctx, r.root)
	var found []datasetInfo
	for _, d := range there {
		found = append(found, datasetInfo(d))
	}
	return found, err
}

func (r *remoteSide) Stat(ctx context.Context, file string) (verify.Entry, error) {
	e, err := r.s.Stat(ctx, file)
	e.Path = file
	return fromRemote(e), err
}

func (r *remoteSide) StageFile(ctx context.Context, file string, timeout time.Duration) (string, error) {
	dir := stageOf(file)
	return dir, r.s.StageFile(ctx, file, dir, timeout)
}

func (r *remoteSide) CopyAs(ctx context.Context, to string, files []placement) error {
	return r.s.CopyAs(ctx, to, files)
}

func (r *remoteSide) PromoteFile(ctx context.Context, dir, name, file string) error {
	return r.s.PromoteFile(ctx, dir, name, file)
}

func (r *remoteSide) DropFile(ctx context.Context, dir string) error { return r.s.DropFile(ctx, dir) }
