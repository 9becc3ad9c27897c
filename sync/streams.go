package sync

import (
	"cmp"
	"context"
	"slices"
	stdsync "sync"

	"golang.org/x/sync/errgroup"

	"github.com/dnadesign-maintainers/usr/remote/rsync"
	"github.com/dnadesign-maintainers/usr/verify"
)

// split deals files out to n streams with about the same bytes each: the largest first, to the stream that has least so
// far. A fixed cost per file keeps many small files from gathering in one stream.
func split(want []*verify.Entry, n int) [][]string {
	if n = max(1, min(n, len(want))); n == 1 {
		return [][]string{pathsOf(want)}
	}
	const perFile = 4096
	bySize := slices.SortedFunc(slices.Values(want), func(a, b *verify.Entry) int {
		return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.Path, b.Path))
	})
	streams, load := make([][]string, n), make([]int64, n)
	for _, e := range bySize {
		least := slices.Index(load, slices.Min(load))
		streams[least] = append(streams[least], e.Path)
		load[least] += e.Size + perFile
	}
	for _, s := range streams {
		slices.Sort(s)
	}
	return streams
}

// runStreams runs one rsync a stream, all over the one connection, each with the list that the far side has of it, if any.
// It calls the callbacks one at a time.
func runStreams(ctx context.Context, t rsync.Transfer, streams [][]string, lists []string) (rsync.Stats, error) {
	if len(streams) == 1 {
		t.Files, t.List = streams[0], lists[0]
		return t.Run(ctx)
	}
	var mu stdsync.Mutex
	var total rsync.Stats
	progress := make([]int64, len(streams))
	done := t.Done
	g, ctx := errgroup.WithContext(ctx)
	for i, files := range streams {
		one := t
		one.Files, one.List = files, lists[i]
		one.Done = func(it rsync.Item) { mu.Lock(); defer mu.Unlock(); done(it) }
		one.Progress = func(n int64) {
			mu.Lock()
			defer mu.Unlock()
			progress[i] = n
			var sum int64
			for _, p := range progress {
				sum += p
			}
			t.Progress(sum)
		}
		g.Go(func() error {
			stats, err := one.Run(ctx)
			mu.Lock()
			defer mu.Unlock()
			total.Sent += stats.Sent
			total.Received += stats.Received
			return err
		})
	}
	err := g.Wait()
	return total, err
}
