package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Access control lists are extended attributes on Linux. Where a directory has one, its group bits are the mask of that.
const (
	accessACL  = "system.posix_acl_access"
	defaultACL = "system.posix_acl_default"
)

func (s *Side) Dress(ctx context.Context, from, to string, dirs []string) error {
	err := s.sound(from, to)
	for _, dir := range dirs {
		if err = errors.Join(err, ctx.Err()); err != nil {
			break
		}
		err = dress(filepath.Join(from, dir), filepath.Join(to, dir))
	}
	if err != nil {
		return fmt.Errorf("cannot give directories of %s the attributes of those in %s: %w", to, from, err)
	}
	return nil
}

// dress makes a directory, if need be, and gives it the extended attributes of another one, and no more. Only a list that
// cannot be given is a failure: others would be let in, or shut out.
func dress(from, to string) error {
	st, err := stat(from)
	if err != nil || !isDir(st) {
		return IgnoreMissing(err)
	}
	if err := ignoreExisting(os.Mkdir(to, 0o777)); err != nil {
		return err
	}
	want := attributes(from)
	for _, name := range attributes(to) {
		if !slices.Contains(want, name) {
			unix.Lremovexattr(to, name)
		}
	}
	for _, name := range want {
		value, ok := attribute(from, name)
		if !ok {
			continue
		}
		if err := unix.Lsetxattr(to, name, value, 0); err != nil && (name == accessACL || name == defaultACL) {
			return &os.PathError{Op: "set " + name + " of", Path: to, Err: err}
		}
	}
	return nil
}

// attributes are the names of what is passed on: not the labels of a kernel.
func attributes(path string) []string {
	n, err := unix.Llistxattr(path, nil)
	if err != nil || n == 0 {
		return nil
	}
	b := make([]byte, n)
	if n, err = unix.Llistxattr(path, b); err != nil {
		return nil
	}
	names := strings.Split(strings.TrimSuffix(string(b[:n]), "\x00"), "\x00")
	return slices.DeleteFunc(names, func(name string) bool {
		return name == "" || strings.HasPrefix(name, "security.") || strings.HasPrefix(name, "system.") && name != accessACL && name != defaultACL
	})
}

func attribute(path, name string) (value []byte, ok bool) {
	n, err := unix.Lgetxattr(path, name, nil)
	if err != nil {
		return nil, false
	}
	value = make([]byte, n)
	n, err = unix.Lgetxattr(path, name, value)
	return value[:max(0, n)], err == nil
}

// inheritACL gives a directory a list of another one, for itself and for what is made in it, or none; there says whether that
// has it.
func inheritACL(from, name, to string) (there bool, err error) {
	value, there := attribute(from, name)
	for _, own := range []string{accessACL, defaultACL} {
		if !there {
			unix.Lremovexattr(to, own)
		} else if err := unix.Lsetxattr(to, own, value, 0); err != nil {
			return there, &os.PathError{Op: "set " + own + " of", Path: to, Err: err}
		}
	}
	return there, nil
}

// umask is this process's, which nothing changes.
var umask = func() uint32 {
	mask := unix.Umask(0o077)
	unix.Umask(mask)
	return uint32(mask)
}()
