package sync

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/sync/history"
	"github.com/dnadesign-maintainers/usr/verify"
)

// uniqueFiles lists what the old tree has and neither the new tree nor the common base of before, what is deleted, but for
// snapshots, which are pruned, and what damage of the source takes the place of. Where a digest is not known size and time
// stamp speak. The log lives on where the new one continues it.
func uniqueFiles(p *plan, after verify.Manifest) (paths []string) {
	verify.Join(p.dst.files, after, func(old, next *verify.Entry) {
		if old == nil || next != nil && (sameFile(old, next) || old.Path == eventsPath && p.continuesLog()) {
			return
		}
		if it := p.find(old.Path); it != nil && it.origin == merge { // which has it
			return
		}
		deleted := next == nil && old.Class != verify.Snapshots
		if deleted || !p.inBase(old) || p.base.Drifted(next) {
			paths = append(paths, old.Path)
		}
	})
	return paths
}

// after is the new tree as it is planned.
func (p *plan) after() verify.Manifest {
	all := make(verify.Manifest, len(p.items))
	for i := range p.items {
		all[i] = *p.items[i].Entry
	}
	return all
}

// hashUnique completes the digests of what only the generation will have: whoever restores it is to know that it is whole.
func (c *command) hashUnique(ctx context.Context, p *plan, after verify.Manifest) error {
	var unread []*verify.Entry
	for _, path := range uniqueFiles(p, after) {
		if e := p.dst.files.Find(path); !e.Digest.Known() && p.how.algorithm != "" {
			unread = append(unread, e)
		}
	}
	return c.hash(ctx, p.dst, unread, p.how.algorithm)
}

func sameFile(a, b *verify.Entry) bool {
	if a.Digest.Known() && b.Digest.Known() {
		return a.Size == b.Size && a.Digest == b.Digest
	}
	return a.Size == b.Size && a.Mtime == b.Mtime
}

// inBase reports whether a file of the destination is as a common base has it.
func (p *plan) inBase(e *verify.Entry) bool {
	return slices.ContainsFunc(append(p.bases, p.base), func(b *history.Base) bool {
		if !b.Covers(e.Class) {
			return false
		}
		was := b.Files.Find(e.Path)
		return was != nil && sameFile(was, e)
	})
}

// continuesLog reports whether the log of the source begins with that of the destination.
func (p *plan) continuesLog() bool {
	moved := p.history.Remote
	if p.direction == Push {
		moved = p.history.Local
	}
	return slices.Contains(moved, eventsPath)
}

// mostSums bounds what a generation records of its files.
const mostSums = 10_000

// sums is a manifest of what the old tree has in place of what is new, for whoever restores it; "" where it would be long.
func sums(p *plan) string {
	var was verify.Manifest
	for _, ch := range p.changes {
		if old := p.dst.files.Find(ch.Path); ch.Kind != Added && old != nil && old.Digest.Known() {
			was = append(was, *old)
		}
	}
	var text strings.Builder
	if len(was) == 0 || len(was) > mostSums || verify.WriteManifest(&text, p.how.algorithm, sorted(was)) != nil {
		return ""
	}
	return text.String()
}

// A generation ends in one of these ways once it is one of many.
type fate uint8

const (
	stays fate = iota
	thins      // to what only it holds
	goes
)

// fateOf decides about a generation that came when so many whole ones were newer.
func fateOf(g remote.Generation, newer, keep int, age, keepUnique time.Duration) fate {
	switch {
	case g.Whole && newer < keep:
		return stays
	case g.Unique == 0 && g.Late == 0, age >= keepUnique:
		return goes
	case g.Whole && g.Unique > 0:
		return thins
	}
	return stays // there is no less of it, or it does not record what is unique
}

// fates decides about the generations of a dataset, newest first.
func fates(kept []remote.Generation, keep int, keepUnique func(generationInfo) time.Duration, now time.Time) []fate {
	out := make([]fate, len(kept))
	newer := 0
	for i, g := range kept {
		info := infoOf(g)
		out[i] = fateOf(g, newer, keep, now.Sub(info.Time), keepUnique(info))
		if g.Whole {
			newer++
		}
	}
	return out
}

// infoOf is what a generation records of itself. One that does not, or is damaged, has the time of its name.
func infoOf(g remote.Generation) (info generationInfo) {
	if json.Unmarshal([]byte(g.Info), &info) != nil || info.Time.IsZero() {
		info = generationInfo{}
		info.Time, _ = time.Parse(runTime, strings.SplitN(g.Run, "-", 2)[0])
	}
	info.Run = g.Run
	return info
}

// keepUnique is how long a generation's unique files stay: as the profile says, or without one as long as that of its
// transfer did.
func (c *command) keepUnique(info generationInfo) time.Duration {
	if c.remote != nil {
		return c.o.KeepUnique
	}
	return max(c.o.KeepUnique, info.KeepUnique)
}

// prune drops the journal, thins the generations beyond keep and drops those of which nothing is to stay. With many files
// in the new tree one that goes becomes the spare. It reports whether another tree went, which moves the change times of
// what live shares with it.
func (c *command) prune(ctx context.Context, s side, keep int, after verify.Manifest) (gone bool, err error) {
	kept, err := s.Generations(ctx, c.key)
	if err != nil {
		return false, err
	}
	fates := fates(kept, keep, c.keepUnique, c.o.Now())
	for i, g := range kept {
		if fates[i] == stays || !g.Whole {
			continue
		}
		if gone || !c.worthSpare(s, len(after)) || c.o.NoExchange || infoOf(g).Partial {
			gone = true
			continue
		}
		if err := s.Retire(ctx, c.key, g.Run, inPlace(after)); err != nil {
			return false, err
		}
	}
	return gone, c.carryOutFates(ctx, s, kept, fates)
}

// inPlace are the files that writers change in place: of those generations have copies.
func inPlace(m verify.Manifest) (paths []string) {
	for i := range m {
		if m[i].Class.InPlace() {
			paths = append(paths, m[i].Path)
		}
	}
	return paths
}

func (c *command) carryOutFates(ctx context.Context, s side, kept []remote.Generation, fates []fate) error {
	var stay, thin []string
	for i, g := range kept {
		switch fates[i] {
		case thins:
			thin = append(thin, g.Run)
			fallthrough
		case stays:
			stay = append(stay, g.Run)
		}
	}
	var err error
	if len(thin) > 0 {
		err = s.Thin(ctx, c.key, thin...)
	}
	return errors.Join(err, s.Settle(ctx, c.key, 0, stay...))
}
