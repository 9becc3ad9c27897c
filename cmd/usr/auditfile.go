package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// auditFile is a file that an audit is written to. It is opened before anything is contacted, so that a bad path stops the
// command before anything has happened, and replaced in one step at the end.
type auditFile struct {
	path    string
	pending *renameio.PendingFile
	direct  *os.File // a pipe or a device, which must not be replaced
	written bool
}

// openAudits prepares the files that the flags name, and their directories.
func (a *app) openAudits(flags auditFlags, s subject) error {
	var paths []string
	if flags.AuditJSONOut != "" {
		paths = append(paths, a.abs(flags.AuditJSONOut))
	}
	if flags.AuditDir != "" {
		paths = append(paths, filepath.Join(a.abs(flags.AuditDir), auditName(a.env.now(), a.doing.action, s)))
	}
	for _, path := range paths {
		f, err := newAuditFile(path)
		if err != nil {
			return err
		}
		a.audits = append(a.audits, f)
	}
	return nil
}

// auditName names a file by time, action and dataset, such as 20261123T141500.123456Z-pull-densegen%2Fx.json.
func auditName(now time.Time, action string, s subject) string {
	what := orElse(s.id, orElse(s.pattern, filepath.Base(s.file)))
	name := url.PathEscape(strings.ReplaceAll(what, "*", "_"))
	const most = 150
	return now.UTC().Format("20060102T150405.000000Z") + "-" + action + "-" + name[:min(len(name), most)] + ".json"
}

func newAuditFile(path string) (*auditFile, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	f := &auditFile{path: path}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, &usageError{why: "cannot write the audit to " + shown(path) + ": it is a directory", hint: "name a file with --audit-json-out, or the directory with --audit-dir"}
	case err == nil && !info.Mode().IsRegular():
		f.direct, err = os.OpenFile(path, os.O_WRONLY, 0)
		return f, cannotAudit(path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil { // less the umask
		return nil, &usageError{
			why:  "cannot write the audit to " + shown(path) + ": its directory cannot be made: " + cause(err).Error(),
			hint: "name a file in a directory that you may write to",
		}
	}
	f.pending, err = renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithPermissions(auditMode))
	return f, cannotAudit(path, err)
}

// cause returns the system's error without the path, which the message already names.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
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
