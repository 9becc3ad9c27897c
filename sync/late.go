package sync

import (
	"context"
	"path"
	"slices"

	"github.com/dnadesign-maintainers/usr/verify"
)

// late is what a writer that takes no lock did to the old tree between its listing and the switch.
type late struct {
	added   []string // new files
	changed []string // other files under old names, where the transfer kept what was there
	clashes []string // changes to files that the transfer replaced, or in place
}

// carryIn looks once more at the old tree: a writer that takes no lock may have changed it after it was listed. What
// does not conflict with the transfer is carried into live; the rest stays in the generation. Both are reported, but
// for lock files and the like.
func (c *command) carryIn(ctx context.Context, t *proven) {
	p := t.plan
	if !p.dst.survey.Exists {
		return
	}
	dst, live := t.dst, p.dst.survey.Live
	tree := statePath(dst, "generations", c.key, t.run, "tree")
	l, err := lateChanges(ctx, p, tree)
	if err != nil {
		c.warn("cannot look for late changes in %s: %v", tree, err)
		return
	}
	for _, file := range l.added {
		if err := dst.MoveIn(ctx, tree, live, file); err != nil {
			l.clashes = append(l.clashes, file)
		} else if c.classes.Class(file).Synced() {
			c.warn("%s: %s was written without the lock during the switch; carried into the new tree", dst.Name(), list([]string{file}))
		}
	}
	for _, file := range l.changed {
		if err := dst.SwapIn(ctx, tree, live, file); err != nil {
			l.clashes = append(l.clashes, file)
			continue
		}
		c.warn("%s: %s was replaced without the lock during the switch; the late version is carried into the new tree", dst.Name(), list([]string{file}))
	}
	if len(l.clashes) > 0 {
		c.warn("%s: %s changed without the lock during the switch; the late version is kept in %s", dst.Name(), list(l.clashes), path.Dir(tree))
	}
}

// replaced reports whether another file has come under an old name; of those that writers change in place the old tree
// has copies.
func replaced(o, was *verify.Entry) bool { return o.Ino != was.Ino && !was.Class.InPlace() }

// lateChanges lists what the old tree has become since it was listed as live.
func lateChanges(ctx context.Context, p *plan, tree string) (l late, err error) {
	carried := map[string]bool{}
	for _, file := range p.dst.carry {
		carried[file] = true
	}
	err = p.dst.side.Walk(ctx, tree, func(o verify.Entry) {
		was, it := p.dst.files.Find(o.Path), p.find(o.Path)
		switch {
		case o.Kind != verify.File || carried[o.Path]:
		case was == nil && path.Base(o.Path) != lockFile:
			l.added = append(l.added, o.Path)
		case was == nil || (o.Size == was.Size && o.Mtime == was.Mtime && (verify.Unique(was.Mtime, p.dst.survey.Now) || !replaced(&o, was))):
		case it != nil && it.origin == keep && o.Ino != was.Ino:
			l.changed = append(l.changed, o.Path)
		default:
			l.clashes = append(l.clashes, o.Path)
		}
	})
	for _, paths := range []*[]string{&l.added, &l.changed, &l.clashes} {
		slices.Sort(*paths)
		*paths = slices.Compact(*paths) // a walk may report a name twice
	}
	return l, err
}
