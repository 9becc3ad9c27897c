package main

import (
	"cmp"
	"context"
	"errors"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dnadesign-maintainers/usr/profiles"
	"github.com/dnadesign-maintainers/usr/sync"
)

// sides says where the DATASET of a command is looked for.
type sides int

const (
	hereOnly sides = iota
	thereOnly
	eitherSide
)

// source is where the data of a transfer comes from.
func source(d sync.Direction) sides {
	if d == sync.Pull {
		return thereOnly
	}
	return hereOnly
}

// name is the word for them in messages.
func (s sides) name(remote string) string {
	switch s {
	case hereOnly:
		return here
	case thereOnly:
		return remote
	}
	return "either side"
}

// ids lists the datasets there, each once.
func (s sides) ids(ctx context.Context, p *sync.Pair) ([]string, error) {
	var all []string
	for _, ofRemote := range []bool{false, true} {
		if (ofRemote && s == hereOnly) || (!ofRemote && s == thereOnly) {
			continue
		}
		ids, err := p.IDs(ctx, ofRemote)
		if err != nil {
			return nil, err
		}
		all = append(all, ids...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// member is a dataset that matches a pattern.
type member struct {
	id          string
	here, there bool // the sides that have it
}

// members lists the datasets of either side that match a pattern.
func members(ctx context.Context, p *sync.Pair, pattern string) (all []member, err error) {
	here, err := hereOnly.ids(ctx, p)
	if err != nil {
		return nil, err
	}
	there, err := thereOnly.ids(ctx, p)
	for _, id := range matching(pattern, slices.Compact(slices.Sorted(slices.Values(slices.Concat(here, there))))) {
		_, isHere := slices.BinarySearch(here, id)
		_, isThere := slices.BinarySearch(there, id)
		all = append(all, member{id, isHere, isThere})
	}
	return all, err
}

// lone reports whether only one side has it.
func (m member) lone() bool { return m.here != m.there }

// in reports whether it is where a command takes datasets from.
func (m member) in(s sides) bool {
	return s == eitherSide || s == hereOnly && m.here || s == thereOnly && m.there
}

// doNamed does a job on the dataset of an id. An id that exists as written comes first; else it may be the last name of
// exactly one dataset.
func (a *app) doNamed(ctx context.Context, p *sync.Pair, j job, s subject) (*sync.Report, error) {
	r, err := j.dataset(p, s.id, j.modes)
	if !j.absent(s, err) {
		return r, err
	}
	ids, lerr := j.source.ids(ctx, p)
	if lerr != nil {
		return nil, err // says enough
	}
	id, lerr := j.lastName(s, ids)
	if lerr != nil || id == "" {
		a.doing.nearest = profiles.Nearest(s.id, ids)
		return nil, cmp.Or(lerr, err)
	}
	a.doing.dataset = id
	return j.dataset(p, id, j.modes)
}

// absent reports whether the id exists neither where the job looked for it nor here.
func (j job) absent(s subject, err error) bool {
	var missing *sync.MissingError
	var noUndo *sync.NothingToUndoError
	var noPath *sync.NoPathError
	return (errors.As(err, &missing) || errors.As(err, &noUndo) || errors.As(err, &noPath)) && !isRegular(primaryOf(s.root, s.id))
}

func primaryOf(root, id string) string { return filepath.Join(root, id, "records.parquet") }

// lastName returns the one id that ends in the given name, "" if none does.
func (j job) lastName(s subject, ids []string) (string, error) {
	if strings.Contains(s.id, "/") {
		return "", nil
	}
	found := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return path.Base(id) != s.id })
	switch {
	case len(found) == 0 || found[0] == s.id:
		return "", nil
	case len(found) > 1:
		return "", &usageError{
			why:  "cannot tell which dataset " + shown(s.id) + " means: " + strings.Join(found, ", "),
			hint: "name one of them by its whole id",
		}
	case j.strict && !isRegular(primaryOf(s.root, found[0])):
		return "", &usageError{
			why:  "cannot take " + shown(s.id) + " for " + shown(found[0]) + ": with --strict-bootstrap-id a first pull needs the whole id",
			hint: "name it by its whole id",
		}
	}
	return found[0], nil
}
