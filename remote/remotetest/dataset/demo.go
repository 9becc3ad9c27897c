package dataset

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
)

// Demo writes the fixtures of `usr demo` below out: bootstrap is a whole dataset of 120 rows; increment and
// annotation hold what the next two writers change, each file whole but for .events.log, which holds only the
// lines to append.
func Demo(out string) error {
	work, err := os.MkdirTemp("", "usr-demodata-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := Write(work, Options{ID: "densegen/demo", Rows: 120}); err != nil {
		return err
	}
	before := map[string][]byte{}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"bootstrap", func() error { return nil }},
		{"increment", func() error { return Increment(work, 60) }},
		{"annotation", func() error { return Annotate(work) }},
	} {
		if err := step.do(); err != nil {
			return err
		}
		if before, err = saveChanges(before, work, filepath.Join(out, step.name)); err != nil {
			return err
		}
	}
	return nil
}

// saveChanges copies to out what differs from before and returns what is there now.
func saveChanges(before map[string][]byte, dir, out string) (map[string][]byte, error) {
	now, err := contents(dir)
	if err != nil {
		return nil, err
	}
	for name, text := range now {
		if bytes.Equal(before[name], text) {
			continue
		}
		if name == ".events.log" {
			text = bytes.TrimPrefix(text, before[name])
		}
		if err := put(filepath.Join(out, name), text); err != nil {
			return nil, err
		}
	}
	return now, nil
}

// contents reads all files of a dataset but its locks.
func contents(dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || slices.Contains([]string{".usr.lock", ".events.lock"}, e.Name()) {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[name], err = os.ReadFile(path)
		return err
	})
	return files, err
}
