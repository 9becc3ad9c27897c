package sync

import (
	"slices"

	"github.com/dnadesign-maintainers/usr/verify"
)

// allLight reports whether all items can be rebuilt.
func (p *plan) allLight(items []*item) bool {
	return !slices.ContainsFunc(items, func(it *item) bool { return !p.how.light(it.Path) })
}

// sayLeft warns of the files that a transfer leaves as they are.
func (c *command) sayLeft(p *plan) {
	var paths []string
	for _, path := range p.left {
		if p.src.files.Find(path) != nil || p.dst.files.Find(path) != nil {
			paths = append(paths, path)
		}
	}
	if len(paths) > 0 {
		c.warn("%s: %s stays as it was: a program is at work on it, and it can be rebuilt", p.dst.side.Name(), list(paths))
	}
}

// databases lists the databases among some files of the source, known by their names or by SQLite's files beside them.
func (p *plan) databases(items []*item) (found []string) {
	for _, it := range items {
		db := verify.Database(it.Path)
		beside := slices.ContainsFunc(p.src.carry, func(path string) bool { return path != db && verify.Database(path) == db })
		for _, part := range verify.Unit(db) {
			beside = beside || part != db && p.src.files.Find(part) != nil
		}
		if (beside || verify.NamedDatabase(db)) && !slices.Contains(found, db) {
			found = append(found, db)
		}
	}
	return found
}
