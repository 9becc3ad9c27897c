package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dnadesign-maintainers/usr/remote"
)

// writeUnique records in the directory of a run what of the old tree is nowhere else, and what it holds in place of what is
// new.
func writeUnique(run string, p remote.Promotion) error {
	err := writeDurably(filepath.Join(run, "unique"), nulTerminated(p.Unique))
	if err == nil && p.Sums != "" {
		err = writeDurably(filepath.Join(run, "sums"), p.Sums)
	}
	return err
}

func nulTerminated(paths []string) string {
	var b strings.Builder
	for _, path := range paths {
		b.WriteString(path)
		b.WriteByte(0)
	}
	return b.String()
}

func (s *Side) KeepLate(ctx context.Context, key, run string, paths []string) error {
	err := errors.Join(ctx.Err(), s.needClaim(key), checkName(run))
	if err == nil {
		err = s.sound(filepath.Join(s.generationsPath(key), run))
	}
	if err == nil {
		err = writeDurably(filepath.Join(s.generationsPath(key), run, "lately"), nulTerminated(paths))
	}
	if err != nil {
		return fmt.Errorf("cannot record what is late in the generation %s: %w", run, err)
	}
	return nil
}

func (s *Side) Thin(ctx context.Context, key string, runs ...string) error {
	err := s.needClaim(key)
	for _, run := range runs {
		rerr := errors.Join(ctx.Err(), checkName(run))
		if rerr == nil {
			rerr = s.inState(ownDir.thin, "generations", key, run)
		}
		if rerr != nil {
			err = errors.Join(err, fmt.Errorf("cannot thin the generation %s on %s: %w", run, s.name, rerr))
		}
	}
	return err
}

// thin gives the files that stay a second name in another directory, and then drops the tree as a whole: a death on the way
// leaves the one or the other.
func (d ownDir) thin() error {
	if fi, err := d.Lstat("tree"); err != nil || !fi.IsDir() {
		return IgnoreMissing(err)
	}
	if err := errors.Join(d.thinned(), d.erase("gone")); err != nil {
		return err
	}
	if err := d.Rename("tree", "gone"); err != nil {
		return err
	}
	return d.erase("gone")
}

// thinned gives what is to stay of the tree its second names.
func (d ownDir) thinned() error {
	var stay []string
	for _, name := range []string{"unique", "lately"} {
		text, err := Read(filepath.Join(d.path, name))
		if IgnoreMissing(err) != nil {
			return err
		}
		for path := range bytes.SplitSeq(text, []byte{0}) {
			if len(path) > 0 {
				stay = append(stay, string(path))
			}
		}
	}
	if len(stay) == 0 {
		return nil
	}
	return d.linkOnly(stay)
}

// linkOnly makes the directory of what is to stay of the tree. What is not there any more is passed over.
func (d ownDir) linkOnly(paths []string) error {
	tree, err := d.enter("tree")
	if err != nil {
		return err
	}
	defer tree.Close()
	like, err := tree.stat()
	if err != nil {
		return err
	}
	only, err := d.make("only", func(made ownDir) error { return made.give(uint32(like.Mode)&0o7777, like.Gid) })
	if err != nil {
		return err
	}
	defer only.Close()
	p := newPlacer(tree.path, only.path, func(src, dst string) error {
		if st, err := lstat(src); err != nil || isDir(st) {
			return IgnoreMissing(err)
		}
		return ignoreExisting(inWritable(filepath.Dir(dst), func() error {
			err := link(src, dst)
			if unlinkable(err) {
				return copyFile(src, dst)
			}
			return err
		}))
	})
	for _, path := range paths {
		err := tree.plain(filepath.Dir(path))
		if err == nil {
			err = p.place(path)
		}
		if IgnoreMissing(err) != nil {
			return err
		}
	}
	return nil
}

// plain refuses a directory of d that a link leads to.
func (d ownDir) plain(dir string) error {
	if dir == "." {
		return nil
	}
	if !filepath.IsLocal(dir) {
		return &os.PathError{Op: "enter", Path: dir, Err: unix.EINVAL}
	}
	at := ""
	for _, name := range strings.Split(dir, "/") {
		at = filepath.Join(at, name)
		fi, err := d.Lstat(at)
		if err != nil {
			return &fs.PathError{Op: "enter", Path: filepath.Join(d.path, at), Err: reason(err)}
		}
		if !fi.IsDir() {
			return planted(filepath.Join(d.path, at), fi.Mode())
		}
	}
	return nil
}
