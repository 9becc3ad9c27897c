package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dnadesign-maintainers/usr/remote"
)

func (s *Side) Spare(ctx context.Context, key string) error {
	err := errors.Join(ctx.Err(), s.needClaim(key))
	if err == nil {
		err = s.makeState("spare", key)
	}
	if err != nil {
		return fmt.Errorf("cannot make %s: %w", filepath.Join(s.state, "spare", key), err)
	}
	return nil
}

func (s *Side) Drop(ctx context.Context, dir string, paths []string) error {
	err := s.inState(func(d ownDir) error { return d.drop(ctx, paths) }, strings.Split(strings.TrimPrefix(dir, s.state+"/"), "/")...)
	if err != nil {
		return fmt.Errorf("cannot remove from %s: %w", dir, err)
	}
	return nil
}

func (d ownDir) drop(ctx context.Context, paths []string) error {
	for _, path := range paths {
		err := ctx.Err()
		if err == nil {
			err = d.plain(filepath.Dir(path))
		}
		if err == nil {
			err = d.erase(path)
		}
		if IgnoreMissing(err) != nil {
			return err
		}
	}
	return nil
}

func (s *Side) UseSpare(ctx context.Context, key, run string) error {
	err := errors.Join(ctx.Err(), s.needClaim(key), checkName(run))
	if err == nil {
		err = s.inState(func(own ownDir) error { return own.useSpare(filepath.Join(s.state, "spare", key)) }, "stage", key, run)
	}
	if err != nil {
		return fmt.Errorf("cannot make the spare of %s the stage's: %w", key, err)
	}
	return nil
}

func (d ownDir) useSpare(spare string) error {
	st, err := lstat(filepath.Join(d.path, "tree"))
	if err == nil {
		err = d.Rename("tree", "gone")
	}
	if err == nil {
		err = renameNew(spare, filepath.Join(d.path, "tree"))
	}
	if err != nil {
		return err
	}
	tree, err := d.enter("tree")
	if err != nil {
		return err
	}
	defer tree.Close()
	return errors.Join(tree.give(uint32(st.Mode), st.Gid), d.erase("gone"))
}

func (s *Side) Retire(ctx context.Context, key, run string, drop []string) error {
	err := errors.Join(ctx.Err(), s.needClaim(key), checkName(run))
	if err == nil {
		err = s.inState(func(d ownDir) error { return s.retire(d, key, run) }, "generations", key)
	}
	if err == nil {
		err = s.inState(func(d ownDir) error { return d.drop(ctx, append(drop, remote.LockFile)) }, "spare", key)
	}
	if err != nil {
		return fmt.Errorf("cannot make the generation %s on %s the spare: %w", run, s.name, err)
	}
	return nil
}

// retire lets the tree of a generation be the spare, without what it had in place of what is new: that takes room.
func (s *Side) retire(generations ownDir, key, run string) error {
	d, err := generations.enter(run)
	if err != nil {
		return err
	}
	defer d.Close()
	parent, err := s.madeState("spare")
	if err != nil {
		return err
	}
	defer parent.Close()
	tree, err := d.enter("tree")
	if err != nil {
		return err
	}
	defer tree.Close()
	changes, err := readRecords(filepath.Join(d.path, "changes"))
	if err = IgnoreMissing(err); err != nil {
		return err
	}
	if err := errors.Join(d.thinned(), parent.erase(key)); err != nil {
		return err
	}
	if err := unix.Rename(tree.path, filepath.Join(parent.path, key)); err != nil {
		return &os.LinkError{Op: "rename", Old: tree.path, New: filepath.Join(parent.path, key), Err: err}
	}
	for _, c := range changes {
		if c.Kind == 'A' {
			continue
		}
		if err := tree.erase(c.Path); IgnoreMissing(err) != nil {
			return err
		}
	}
	return nil
}
