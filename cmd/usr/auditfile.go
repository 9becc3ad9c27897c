package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// auditFile is the file of --audit-json-out. It is opened before the command contacts anything, so that a path that
// cannot be written stops the command while nothing has happened; it is replaced in one step at the end.
type auditFile struct {
	path    string
	pending *renameio.PendingFile
	direct  *os.File // a pipe or a device, which must not be replaced
	written bool
}

// openAudit prepares the audit file; nil if none is asked for.
func (a *app) openAudit(path string) error {
	if path == "" {
		return nil
	}
	f, err := newAuditFile(a.abs(path))
	if err != nil {
		return err
	}
	a.audit = f
	return nil
}

func newAuditFile(path string) (*auditFile, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	f := &auditFile{path: path}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, &usageError{why: "cannot write the audit to " + shown(path) + ": it is a directory", hint: "name a file with --audit-json-out"}
	case err == nil && !info.Mode().IsRegular():
		f.direct, err = os.OpenFile(path, os.O_WRONLY, 0)
		return f, cannotAudit(path, err)
	case !isDir(filepath.Dir(path)):
		return nil, &usageError{
			why:  "cannot write the audit to " + shown(path) + ": there is no directory " + shown(filepath.Dir(path)),
			hint: "make it first: `mkdir -p " + shellWord(filepath.Dir(path)) + "`",
		}
	}
	f.pending, err = renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithPermissions(auditMode))
	return f, cannotAudit(path, err)
}

const auditMode fs.FileMode = 0o644 // less the umask

func cannotAudit(path string, err error) error {
	if err != nil {
		return fmt.Errorf("cannot write the audit to %s: %w", shown(path), err)
	}
	return nil
}

// write puts a document into the file, once.
func (f *auditFile) write(doc document) error {
	if f.written {
		return nil
	}
	f.written = true
	if f.direct != nil {
		err := writeJSON(f.direct, doc)
		if cerr := f.direct.Close(); err == nil {
			err = cerr
		}
		return cannotAudit(f.path, err)
	}
	defer f.pending.Cleanup()
	if err := writeJSON(io.Writer(f.pending), doc); err != nil {
		return cannotAudit(f.path, err)
	}
	return cannotAudit(f.path, f.pending.CloseAtomicallyReplace())
}
