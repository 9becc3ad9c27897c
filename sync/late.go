package sync

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/sync/local"
	"github.com/dnadesign-maintainers/usr/verify"
)

// late is what a writer that takes no lock did to the old tree between its listing and the switch.
type late struct {
	added   []string // new files
	changed []string // other files under old names, where the transfer kept what was there
	clashes []string // changes to files that the transfer replaced, or in place
	grew    bool     // the log that the transfer replaced has got more lines, which follow in live
	copied  Copied   // what was replaced in place and could have no second name
}

// carryIn looks once more at the old tree: a writer that takes no lock may have changed it after it was listed. What
// does not conflict with the transfer is carried into live; the rest stays in the generation. Both are reported, but
// for lock files and the like.
func (c *command) carryIn(ctx context.Context, done *promoted) {
	t := done.tree
	p := t.plan
	if !p.dst.survey.Exists {
		return
	}
	dst, live := t.dst, p.dst.survey.Live
	run := statePath(dst, "generations", c.key, t.run)
	tree := run + "/tree"
	l, err := t.lateChanges(ctx, run)
	if err != nil {
		c.warn("cannot look for late changes in %s: %v", run, err)
		return
	}
	done.report.Copied.join(l.copied)
	if l.grew {
		c.warn("%s: %s got lines during the switch; they follow in the new one", dst.Name(), list([]string{eventsPath}))
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
		if err := dst.KeepLate(ctx, c.key, t.run, l.clashes); err != nil {
			c.warn("%v", err)
		}
		c.warn("%s: %s changed without the lock during the switch; the late version is kept in %s", dst.Name(), list(l.clashes), run)
	}
}

// replaced reports whether another file has come under an old name; of those that writers change in place the old tree
// has copies.
func replaced(o, was *verify.Entry) bool { return o.Ino != was.Ino && !was.Class.InPlace() }

// lateChanges lists what the old tree has become since it was listed as live. Where the switch was in place that is what
// was replaced.
func (t *proven) lateChanges(ctx context.Context, run string) (l late, err error) {
	p := t.plan
	carried := map[string]bool{}
	for _, file := range p.dst.carry {
		carried[file] = true
	}
	var log *verify.Entry
	err = t.walkOld(ctx, run, func(o verify.Entry) {
		file, kept := strings.CutPrefix(o.Path, "tree/")
		if !kept {
			if _, late, _ := strings.Cut(o.Path, "/"); strings.HasPrefix(o.Path, local.LatePrefix) && o.Kind == verify.File {
				l.clashes = append(l.clashes, late)
			}
			return
		}
		o.Path = file
		was, it := p.dst.files.Find(o.Path), p.find(o.Path)
		if t.inPlace && t.numbers && it != nil && was != nil && o.Ino != was.Ino {
			l.copied.add(o.Size)
		}
		switch {
		case o.Kind != verify.File || carried[o.Path]:
		case o.Path == eventsPath && !p.how.modes.Force && (was == nil || o.Size > was.Size):
			log = &o
		case was == nil && p.orphans(o.Path):
			if !strings.HasSuffix(o.Path, "-shm") {
				l.clashes = append(l.clashes, o.Path)
			}
		case was == nil && path.Base(o.Path) != lockFile:
			l.added = append(l.added, o.Path)
		case was == nil || (o.Size == was.Size && o.Mtime == was.Mtime && (verify.Unique(was.Mtime, p.dst.survey.Now) || !replaced(&o, was))):
		case it != nil && it.origin == keep && o.Ino != was.Ino:
			l.changed = append(l.changed, o.Path)
		default:
			l.clashes = append(l.clashes, o.Path)
		}
	})
	if err != nil {
		return l, err
	}
	if log != nil {
		l.grew, err = t.followed(ctx, run, log)
		if err == nil && !l.grew {
			l.clashes = append(l.clashes, eventsPath)
		}
	}
	for _, paths := range []*[]string{&l.added, &l.changed, &l.clashes} {
		slices.Sort(*paths)
		*paths = slices.Compact(*paths) // a walk may report a name twice
	}
	return l, err
}

// walkOld visits what is in the directory of a run. Of many files it passes over those that live has as well: a name and an
// inode number tell that, without a look at each.
func (t *proven) walkOld(ctx context.Context, run string, visit func(verify.Entry)) error {
	p, side := t.plan, t.dst
	if !t.worthSpare(side, len(p.items)) {
		return side.Walk(ctx, run, visit)
	}
	below := strings.TrimPrefix(run, side.Root()+"/") + "/" // as Glance takes it
	var names []string
	err := side.Names(ctx, run, func(o verify.Entry) {
		it := p.find(strings.TrimPrefix(o.Path, "tree/"))
		if o.Kind == verify.File && (it == nil || it.origin != keep || it.Ino != o.Ino) {
			names = append(names, below+o.Path)
		}
	})
	if err != nil {
		return err
	}
	g, err := side.Glance(ctx, names, false)
	if err != nil {
		return err
	}
	for name, stamp := range g.Stamps {
		o, _ := remote.ParseStamp(stamp)
		o.Path, o.Kind = strings.TrimPrefix(name, below), verify.File
		visit(o)
	}
	return nil
}

// followed reports whether what the old log got since it was listed follows what was staged in live.
func (t *proven) followed(ctx context.Context, run string, log *verify.Entry) (bool, error) {
	p := t.plan
	var before, staged int64
	if was := p.dst.files.Find(eventsPath); was != nil {
		before = was.Size
	}
	if e := t.files.Find(eventsPath); e != nil {
		staged = e.Size
	}
	side, n := p.dst.side, log.Size-before
	late, err := side.ReadRange(ctx, run+"/tree/"+eventsPath, before, n)
	if err != nil {
		return false, err
	}
	there, err := side.ReadRange(ctx, p.dst.survey.Live+"/"+eventsPath, staged, n+1)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return bytes.HasPrefix(bytes.TrimPrefix(there, []byte{'\n'}), late), err
}
