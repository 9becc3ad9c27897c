package sync

import (
	"context"
	"os"
	"path"
	"slices"

	"github.com/dnadesign-maintainers/usr/verify"
)

// carrier is what a side does with files that came into the old tree while the trees were switched.
type carrier interface {
	// MoveIn moves a file of the old tree to the same path of live, where none may be.
	MoveIn(ctx context.Context, old, live, path string) error
	// SwapIn exchanges a file of the old tree with the one at the same path of live. At every instant live has one.
	SwapIn(ctx context.Context, old, live, path string) error
}

// late is what a writer that takes no lock did to the old tree between its listing and the switch.
type late struct {
	added   []string // new files
	changed []string // other files under old names, where the transfer kept what was there
	clashes []string // changes to files that the transfer replaced, or in place
}

// carryIn looks once more at the old tree: a writer that takes no lock may have changed it after it was listed. What
// does not conflict with the transfer is carried into live; the rest stays in the generation. Both is said, but for
// lock files and the like.
func (t *transfer) carryIn(ctx context.Context, p *plan) {
	if !p.dst.survey.Exists {
		return
	}
	dst, live := p.dst.side, p.dst.survey.Live
	tree := statePath(dst, "generations", t.key, t.run, "tree")
	l, err := t.lateChanges(ctx, p, tree)
	if err != nil {
		t.warn("cannot look for late changes in %s: %v", tree, err)
		return
	}
	for _, file := range l.added {
		if err := dst.MoveIn(ctx, tree, live, file); err != nil {
			l.clashes = append(l.clashes, file)
		} else if t.classes.Class(file).Synced() {
			t.warn("%s: %s was written without the lock during the switch; carried into the new tree", dst.Name(), list([]string{file}))
		}
	}
	for _, file := range l.changed {
		if err := dst.SwapIn(ctx, tree, live, file); err != nil {
			l.clashes = append(l.clashes, file)
			continue
		}
		t.warn("%s: %s was replaced without the lock during the switch; the late version is carried into the new tree", dst.Name(), list([]string{file}))
	}
	if len(l.clashes) > 0 {
		t.warn("%s: %s changed without the lock during the switch; the late version is kept in %s", dst.Name(), list(l.clashes), path.Dir(tree))
	}
}

// lateChanges lists what the old tree has become since it was listed as live.
func (t *transfer) lateChanges(ctx context.Context, p *plan, tree string) (l late, err error) {
	carried := map[string]bool{}
	for _, file := range p.dst.carry {
		carried[file] = true
	}
	err = p.dst.side.Walk(ctx, tree, func(o verify.Entry) {
		was := p.dst.files.Find(o.Path)
		switch {
		case o.Kind != verify.File || carried[o.Path]:
		case was == nil && path.Base(o.Path) != ".usr.lock":
			l.added = append(l.added, o.Path)
		case was == nil || (o.Size == was.Size && o.Mtime == was.Mtime):
		case p.copied(o.Path) == nil && slices.Contains(p.keep, o.Path) && o.Ino != was.Ino:
			l.changed = append(l.changed, o.Path)
		default:
			l.clashes = append(l.clashes, o.Path)
		}
	})
	for _, paths := range []*[]string{&l.added, &l.changed, &l.clashes} {
		slices.Sort(*paths)
		*paths = slices.Compact(*paths) // a walk may tell a name twice
	}
	return l, err
}

func (s *localSide) MoveIn(_ context.Context, old, live, file string) error {
	p := newPlacer(old, live, renameNew)
	return p.place(file)
}

func (s *localSide) SwapIn(_ context.Context, old, live, file string) error {
	aside := path.Dir(old) + "/aside"
	if err := link(live+"/"+file, aside); err != nil {
		return err
	}
	if err := os.Rename(old+"/"+file, live+"/"+file); err != nil {
		return err
	}
	return os.Rename(aside, old+"/"+file)
}

func (r *remoteSide) MoveIn(ctx context.Context, old, live, file string) error {
	return r.carry(ctx, `mkdir -p -- "$2/${3%/*}" && ln -P -- "$1/$3" "$2/$3" && rm -f -- "$1/$3"`, old, live, "./"+file)
}

func (r *remoteSide) SwapIn(ctx context.Context, old, live, file string) error {
	return r.carry(ctx, `ln -P -- "$2/$3" "$1/../aside" && mv -f -- "$1/$3" "$2/$3" && mv -f -- "$1/../aside" "$1/$3"`, old, live, "./"+file)
}

func (r *remoteSide) carry(ctx context.Context, script string, args ...string) error {
	_, err := r.s.Run(ctx, script, args...)
	return err
}
