package local

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/dnadesign-maintainers/usr/remote"
)

func (s *Side) Glance(ctx context.Context, names []string, ids bool) (*remote.Glance, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(s.root); err != nil {
		return nil, fmt.Errorf("cannot look at %s: %w", s.name, err)
	}
	g := &remote.Glance{Now: fsClock(), Stamps: make(map[string]string, len(names))}
	for _, name := range names {
		if st, err := stat(s.root + "/" + name); err == nil {
			g.Stamps[path.Clean(name)] = remote.Stamp(st.Size, st.Mtim.Nano(), st.Ctim.Nano(), st.Ino)
		}
	}
	if ids {
		g.IDs = s.primaries()
	}
	return g, nil
}

// primaries are the ids of the datasets, found without a look into any of them.
func (s *Side) primaries() (ids []string) {
	holds := func(id string) bool {
		fi, err := os.Stat(filepath.Join(s.root, id, primary))
		return err == nil && fi.Mode().IsRegular()
	}
	for _, top := range datasetDirs(s.root) {
		if top == "archived" {
			continue
		}
		if holds(top) {
			ids = append(ids, top)
			continue
		}
		for _, sub := range datasetDirs(filepath.Join(s.root, top)) {
			if id := top + "/" + sub; holds(id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}
