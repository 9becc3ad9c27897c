package sync

import (
	"context"
	"path"
	"strings"

	"github.com/dnadesign-maintainers/usr/verify"
)

// report makes the audit of a plan, tables included.
func (c *command) report(ctx context.Context, p *plan, action string, state State) (*Report, error) {
	r := c.audit(p, action, state)
	return r, c.describeTables(ctx, r, p.shown())
}

// shown returns the view that a report describes. An undo is a change from the tree before it (the "local" one) to the kept
// tree (the "remote" one), on either side.
func (p *plan) shown() view {
	if p.src.kept != nil {
		return view{local: p.dst, remote: p.src, how: p.how}
	}
	return p.view
}

// audit makes the audit of a plan without the tables. Its counts are those before the action.
func (c *command) audit(p *plan, action string, state State) *Report {
	v := p.shown()
	r := &Report{
		Action: action, State: state, Dataset: c.id, Remote: c.remoteName(),
		Direction: p.direction, Relation: p.history.Relation, Modes: v.how.modes, Algorithm: v.how.algorithm,
		Changes: p.changes, Reused: p.toReuse(), Damaged: Sides[[]string](p.history.Drift),
		Events: Lines{Local: max(v.local.survey.EventLines, 0), Remote: max(v.remote.survey.EventLines, 0)},
	}
	rows := map[verify.Class]*ClassReport{}
	for _, cl := range synced {
		r.Classes = append(r.Classes, ClassReport{Class: cl, InScope: v.how.modes.inScope(cl)})
	}
	for i := range r.Classes {
		rows[r.Classes[i].Class] = &r.Classes[i]
	}
	countFiles(rows, v, v.how.modes.levels())
	for _, ch := range p.changes {
		rows[ch.Class].count(ch)
	}
	r.Snapshots = countSnapshots(v)
	r.dirs = Sides[[]string]{Local: pathsIn(v.local.dirs), Remote: pathsIn(v.remote.dirs)}
	r.Print = Sides[string]{Local: fingerprint(v.local.files), Remote: fingerprint(v.remote.files)}
	return r
}

func countFiles(rows map[verify.Class]*ClassReport, v view, levels verify.Levels) {
	verify.Join(v.local.files, v.remote.files, func(l, r *verify.Entry) {
		e := verify.Either(l, r)
		row := rows[e.Class]
		if l != nil {
			row.Tally.Local.Files++
			row.Tally.Local.Bytes += l.Size
		}
		if r != nil {
			row.Tally.Remote.Files++
			row.Tally.Remote.Bytes += r.Size
		}
		switch name := within(e.Class, e.Path); {
		case r == nil:
			row.LocalOnly = append(row.LocalOnly, name)
		case l == nil:
			row.RemoteOnly = append(row.RemoteOnly, name)
		}
		if levels[e.Class] == verify.Content && e.Digest.Known() {
			row.Hashed++
		}
	})
}

func (c *ClassReport) count(change Change) {
	switch change.Kind {
	case Added:
		c.Added++
	case Modified:
		c.Modified++
	case Deleted:
		c.Deleted++
		return
	}
	c.Bytes += change.Bytes
}

// countSnapshots compares by name: snapshots are named by their time, records-YYYYMMDDThhmmss….parquet.
func countSnapshots(v view) SnapshotCount {
	newest := ""
	for i := range v.local.files {
		if e := &v.local.files[i]; e.Class == verify.Snapshots {
			newest = max(newest, path.Base(e.Path))
		}
	}
	var n SnapshotCount
	for i := range v.remote.files {
		if e := &v.remote.files[i]; e.Class == verify.Snapshots {
			n.Remote++
			if path.Base(e.Path) > newest {
				n.NewerThanLocal++
			}
		}
	}
	return n
}

// fingerprint returns "" for no files, and if a digest is not known.
func fingerprint(m verify.Manifest) string {
	if len(m) == 0 {
		return ""
	}
	return verify.Fingerprint(m)
}

// within returns the path below its class's directory, as reports name it.
func within(c verify.Class, path string) string {
	switch c {
	case verify.Snapshots:
		return strings.TrimPrefix(path, "_snapshots/")
	case verify.Derived:
		return strings.TrimPrefix(path, "_derived/")
	}
	return path
}

func pathsIn(m verify.Manifest) []string {
	out := make([]string, len(m))
	for i := range m {
		out[i] = m[i].Path
	}
	return out
}
