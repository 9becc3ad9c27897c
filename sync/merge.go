package sync

import (
	"context"
	"slices"

	"github.com/dnadesign-maintainers/usr/sync/history"
	"github.com/dnadesign-maintainers/usr/verify"
)

// Takes decide conflicts: whose version of a path the merged dataset has.
type Takes struct{ Local, Remote *verify.Patterns }

// choose says which side a path is to be taken from.
func (t Takes) choose(path string) (history.Choice, error) {
	switch local, remote := t.Local.Match(path), t.Remote.Match(path); {
	case local && remote:
		return history.Conflict, &TakeError{Path: path}
	case local:
		return history.TakeLocal, nil
	case remote:
		return history.TakeRemote, nil
	}
	return history.Conflict, nil
}

// merged is what becomes of both sides: a row a path in which they differ, and the files that are made of both.
type merged struct {
	rows   []history.Row
	inside map[string]*item
	log    MergedEvents
}

// mergeOf compares both sides and decides what each of them gains, but for conflicts that nobody decided.
func (c *command) mergeOf(ctx context.Context, v view, base *history.Base, h compared) (*merged, error) {
	m := &merged{inside: map[string]*item{}}
	m.rows = history.Merge(v.local.files, v.remote.files, base, h.logs, v.how.modes.levels(), v.how.modes.inScope)
	m.rows = slices.DeleteFunc(m.rows, func(r history.Row) bool { return v.how.light(r.Path) && r.Remote == nil })
	for i := range m.rows { // what a program can make again is never in conflict, and never pushed
		if v.how.light(m.rows[i].Path) {
			m.rows[i].Choice = history.TakeRemote
		}
	}
	for i := range m.rows {
		if err := c.mergeInside(ctx, v, base, m, &m.rows[i]); err != nil {
			return nil, err
		}
	}
	if err := history.Resolve(m.rows, m.together(v), c.asked.Take.choose); err != nil {
		return nil, err
	}
	return m, nil
}

// together tells which names of the merged dataset either side takes for one, beside those that are the same on both.
func (m *merged) together(v view) func(standing []string) [][2]string {
	here, there := v.local.survey.Names, v.remote.survey.Names
	if !here.Case && !here.Form && !there.Case && !there.Form {
		return nil
	}
	rows := m.rows
	var same []string
	for i := range v.local.files {
		path := v.local.files[i].Path
		for len(rows) > 0 && rows[0].Path < path {
			rows = rows[1:]
		}
		if len(rows) == 0 || rows[0].Path != path {
			same = append(same, path)
		}
	}
	return func(standing []string) [][2]string {
		all := slices.Concat(same, standing)
		slices.Sort(all)
		return append(here.Together(all), there.Together(all)...)
	}
}

func (m *merged) conflicts() (rows []history.Row) {
	for _, r := range m.rows {
		if r.Choice == history.Conflict {
			rows = append(rows, r)
		}
	}
	return rows
}

// gains lists what one side of a merge gains: local what the remote has, or the other way round.
func (m *merged) gains(d Direction) (changes []Change) {
	for _, r := range m.rows {
		src, dst := r.Remote, r.Local
		own := history.TakeLocal
		if d == Push {
			src, dst, own = dst, src, history.TakeRemote
		}
		if r.Choice == own || r.Choice == history.Conflict || d == Push && m.leavesLog(&r) {
			continue
		}
		if it := m.inside[r.Path]; r.Choice == history.Inside {
			src = it.Entry
		}
		ch := Change{Path: r.Path, Class: r.Class, Kind: Modified}
		switch {
		case src == nil:
			ch.Kind, ch.Bytes = Deleted, dst.Size
		case dst == nil:
			ch.Kind, ch.Bytes = Added, src.Size
		default:
			ch.Bytes = src.Size
		}
		changes = append(changes, ch)
	}
	return changes
}

// leavesLog reports whether the remote's log stays as it is: it has all that local has, and a line that is not finished.
func (m *merged) leavesLog(r *history.Row) bool {
	return m.log.unfinished && r.Path == eventsPath
}

// report tells a merge by its numbers.
func (m *merged) report() *MergeReport {
	r := &MergeReport{FromLocal: len(m.gains(Push)), FromRemote: len(m.gains(Pull)), Conflicts: len(m.conflicts()), Events: m.log}
	for i := range m.rows {
		if row := &m.rows[i]; row.Decided {
			r.Resolved++
			r.Paths = append(r.Paths, movedOf(row))
		}
	}
	return r
}

var outcomes = map[history.Choice]string{history.Conflict: "conflict", history.TakeLocal: "local", history.TakeRemote: "remote", history.Inside: "merged"}

// movedOf tells a row, but for what only reading a table tells.
func movedOf(r *history.Row) Moved {
	done := func(e *verify.Entry, deed history.Deed) Done {
		d := Done{Deed: string(deed), Rows: -1, Cols: -1}
		if e != nil {
			d.Size, d.Mtime = e.Size, e.Mtime
		}
		return d
	}
	return Moved{Path: r.Path, Class: r.Class, Here: done(r.Local, r.Here), There: done(r.Remote, r.There), Outcome: outcomes[r.Choice]}
}

// lost counts the conflicts that a side lost: what it had is in its generation alone.
func (m *merged) lost(d Direction) (n int) {
	for _, r := range m.rows {
		if r.Decided && r.Choice == map[Direction]history.Choice{Pull: history.TakeRemote, Push: history.TakeLocal}[d] {
			n++
		}
	}
	return n
}

// planMerge plans the local half of a merge: local gets what the remote has gained, and keeps its own.
func planMerge(v view, h history.Standing, m *merged) *plan {
	p := &plan{view: v, direction: Pull, history: h, merged: m}
	p.src, p.dst = v.ends(Pull)
	rows := m.rows
	verify.Join(p.src.files, p.dst.files, func(r, l *verify.Entry) {
		path := verify.Either(r, l).Path
		if len(rows) == 0 || rows[0].Path != path {
			if l != nil {
				p.add(l, keep)
			}
			return
		}
		row := &rows[0]
		rows = rows[1:]
		switch {
		case row.Choice == history.Inside:
			p.items = append(p.items, *m.inside[path])
		case row.Choice == history.TakeLocal && l != nil:
			p.add(l, keep)
		case row.Choice == history.TakeRemote && r != nil:
			p.add(r, fetch)
		}
	})
	p.changes = m.gains(Pull)
	p.mergeDirectories()
	return p
}

// mergeDirectories keeps what directories stand empty on either side, and those of local that hold a file. One that a
// file takes the place of goes.
func (p *plan) mergeDirectories() {
	var files verify.Manifest
	for i := range p.items {
		files = append(files, *p.items[i].Entry)
	}
	verify.Join(p.src.dirs, p.dst.dirs, func(r, l *verify.Entry) {
		path := verify.Either(r, l).Path
		switch {
		case files.Find(path) != nil:
		case l != nil && (hasFileBelow(files, path) || !hasFileBelow(p.dst.files, path)):
			p.keptDirs = append(p.keptDirs, path)
		case l == nil && p.how.modes.inScope(r.Class) && !hasFileBelow(p.src.files, path) && !hasFileBelow(files, path):
			p.newDirs = append(p.newDirs, path)
		}
	})
}

// mergedBase is the common base once local is merged and the remote is not: what the remote holds, so that local is
// ahead, but for what is damaged there. Its log counts in whole lines, for that is how much of it local has.
func (c *command) mergedBase(ctx context.Context, run string, p *plan) (*history.Base, error) {
	next := nextBase(run, p, append(verify.Manifest{}, p.src.files...))
	for i := range next.Files {
		if e := &next.Files[i]; p.base.Drifted(e) { // damage is no content that both had
			*e, next.Print = *p.base.Files.Find(e.Path), ""
		}
	}
	log := next.Files.Find(eventsPath)
	if log != nil && p.merged.log.whole > 0 {
		// What it was listed with may be the digest of more: a log grows while it is read.
		d, err := p.src.side.HashPrefix(ctx, p.src.survey.Live+"/"+log.Path, p.how.algorithm, p.merged.log.whole)
		if err != nil {
			return nil, err
		}
		log.Size, log.Digest, next.Print = p.merged.log.whole, d, ""
	}
	var err error
	next.Table = c.tableSize(ctx, p.src)
	next.Meta, err = c.metaText(ctx, p.src, p.how.algorithm)
	return next, err
}

// hashRest completes the remote's digests: they are the common base of a merge.
func (c *command) hashRest(ctx context.Context, p *plan) error {
	levels := p.how.modes.levels()
	var unread []*verify.Entry
	for _, e := range unknown(p.src.files) {
		if levels[e.Class] == verify.Content && p.how.modes.inScope(e.Class) {
			unread = append(unread, e)
		}
	}
	return c.broken(p.view, c.hash(ctx, p.src, unread, p.how.algorithm))
}
