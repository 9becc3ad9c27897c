package sync

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// warnOfRegistries warns once, until one of them changes again, that the registry.yaml of the two roots differ. usr never
// writes one.
func (c *command) warnOfRegistries(v view) {
	l, r := v.local.survey, v.remote.survey
	if l.Registry == "" || r.Registry == "" {
		return
	}
	now, file := l.Registry+" "+r.Registry+"\n", filepath.Join(c.store.dir, "cache", "registry", placeName(r.Place))
	before, err := os.ReadFile(file)
	if string(before) == now || err != nil && l.Registry == r.Registry {
		return
	}
	if l.Registry != r.Registry {
		c.warn("%s", c.registryWarning(l, r))
	}
	c.store.local.Replace(file, func(w io.Writer) error { _, err := io.WriteString(w, now); return err }) // else it is said again
}

func (c *command) registryWarning(l, r *remote.Survey) string {
	name, here, there := c.remote.Name(), filepath.Join(c.o.Root, "registry.yaml"), filepath.Join(r.Place.Dir, "registry.yaml")
	if c.login != "" {
		there = c.login + ":" + there
	}
	copying := func(from, to string) string {
		return "copy it with `" + remote.CommandLine([]string{"rsync", "-t", from, to}) + "`"
	}
	switch verify.NoRegistry {
	case l.Registry:
		return fmt.Sprintf("the local root has no registry.yaml, and %s has one: programs cannot write overlays here without it; %s", name, copying(there, here))
	case r.Registry:
		return fmt.Sprintf("%s has no registry.yaml, and the local root has one: programs cannot write overlays there without it; %s", name, copying(here, there))
	}
	return fmt.Sprintf("registry.yaml of the local root and of %s differ: the next overlay that is written on either side rewrites records.parquet there, and the two diverge by themselves; "+
		"compare them, and make them one", name)
}
