package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/dnadesign-maintainers/usr/profiles"
	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/rsync"
	"github.com/dnadesign-maintainers/usr/sync"
	"github.com/dnadesign-maintainers/usr/verify"
)

// known errors, at least one of each type.
var knownErrors = []struct {
	err  error
	code int
}{
	{&usageError{why: "cannot a: b", hint: "do this"}, 2},
	{&declinedError{action: "pull"}, 8},
	{&declinedError{action: "pull", asked: true}, 8},
	{&noMatchError{pattern: "x*", side: here}, 6},
	{&stoppedError{errors.New("x")}, 130},
	{context.Canceled, 130},
	{&sync.IDError{ID: "/x", Why: "it is absolute"}, 2},
	{&sync.RootError{Root: "/x", Err: fs.ErrNotExist}, 2},
	{&sync.MissingError{Side: "cluster", Path: "/x"}, 6},
	{&sync.MissingError{Side: "cluster", Path: "/x", File: true}, 6},
	{&sync.UnsafeError{Side: "cluster", Paths: []string{"x (symlink)"}}, 6},
	{&remote.PlantedError{Path: "/x/.usr-sync", Is: "a symbolic link"}, 6},
	{&sync.HistoryError{Relation: sync.Diverged, Direction: sync.Pull}, 6},
	{&sync.HistoryError{Relation: sync.LocalAhead, Direction: sync.Pull, Disjoint: []string{"x"}}, 6},
	{&sync.HistoryError{Relation: sync.LocalBehind, Direction: sync.Push, Disjoint: []string{"x"}}, 6},
	{&sync.HistoryError{Relation: sync.Unrelated, Direction: sync.Pull, Disjoint: []string{"x"}}, 6},
	{&sync.ConflictError{Remote: "cluster", Conflicts: []sync.Moved{{Path: "x"}}}, 6},
	{&sync.TakeError{Path: "x"}, 2},
	{&sync.LogMergeError{Side: "local", Line: 3, Why: "it is not complete"}, 6},
	{&remote.FloodError{Target: "cluster", Do: "list", More: "5000000 files"}, 3},
	{&sync.DeletionError{Action: "pull", Emptied: []verify.Class{verify.Derived}, Deleted: 12}, 6},
	{&sync.DeletionError{Action: "push", Deleted: 12, Of: 20}, 6},
	{&sync.DeletionError{Action: "undo", Deleted: 12, Of: 20}, 6},
	{&sync.MismatchError{Paths: []string{"x"}}, 5},
	{&sync.MismatchError{Paths: []string{"x"}, Moving: true}, 5},
	{&sync.SpaceError{Side: "local", Need: 2, Free: 1, Unit: "bytes"}, 9},
	{&sync.DeviceError{Side: "local", Live: "/x", State: "/y"}, 9},
	{&sync.InterruptedError{Err: &remote.ConnectError{Target: "cluster", Reason: remote.Lost}}, 7},
	{&sync.NothingToUndoError{Side: "local", Dataset: "x"}, 6},
	{&sync.GlobError{Glob: "../x", Why: "outside"}, 2},
	{&sync.NoPathError{Side: "local", Dataset: "x", Globs: []string{"y"}}, 6},
	{&sync.GenerationError{Side: "local", Run: "r", Is: sync.NoGeneration}, 2},
	{&sync.GenerationError{Side: "local", Run: "r", Is: sync.Going}, 4},
	{&sync.GenerationError{Side: "local", Run: "r", Is: sync.Damaged, File: "meta.md"}, 5},
	{&sync.GenerationError{Side: "local", Run: "r", Is: sync.Thinned}, 6},
	{&sync.NothingToUndoError{Side: "local", Dataset: "x", Changed: true}, 6},
	{&sync.NoHashError{Side: "cluster"}, 3},
	{&remote.ConnectError{Target: "cluster", Reason: remote.UnknownHost}, 3},
	{&remote.ConnectError{Target: "cluster", Reason: remote.Auth}, 3},
	{&remote.ConnectError{Target: "cluster", Reason: remote.HostKey}, 3},
	{&remote.ConnectError{Target: "cluster", Reason: remote.Timeout}, 3},
	{&remote.ConnectError{Target: "cluster", Reason: remote.Config}, 3},
	{&remote.ConnectError{Target: "cluster", Reason: remote.Sessions}, 3},
	{&remote.ConnectError{Target: "cluster", Reason: remote.NoShell}, 3},
	{&remote.ConnectError{Target: "cluster", Reason: remote.Other}, 3},
	{&remote.ToolError{Tool: "flock", Where: "cluster", Detail: "not found"}, 3},
	{&remote.ToolError{Tool: "ssh", Where: "this host", Detail: "not found"}, 3},
	{&remote.LockError{Path: "/x"}, 4},
	{&remote.NoiseError{Target: "cluster", Text: "hello"}, 3},
	{&rsync.Error{Code: 127}, 3},
	{&rsync.Error{Code: 12}, 7},
	{&rsync.Error{Code: 24}, 7},
	{&rsync.Error{Code: 11, Stderr: "write failed: No space left on device (28)"}, 9},
	{&rsync.Error{Code: 23, Stderr: "opendir failed: Permission denied (13)"}, 9},
	{&rsync.Error{Code: 2, Stderr: "is your shell clean?"}, 3},
	{&rsync.Error{Code: 4}, 9},
	{&rsync.PathError{Path: "a*", Why: "it holds a pattern"}, 2},
	{&remote.Error{Do: "list /x", Detail: "Permission denied"}, 9},
	{&remote.Error{Do: "list /x", Detail: "No space left on device"}, 9},
	{&remote.Error{Do: "list /x", Detail: "Input/output error"}, 9},
	{&profiles.Error{Problems: []profiles.Problem{{What: "x"}}}, 2},
	{&profiles.Error{Path: "/nonexistent", Problems: []profiles.Problem{{What: "x"}}}, 2},
	{&profiles.Error{Path: "/", Problems: []profiles.Problem{{What: "x"}}}, 2},
	{&profiles.UnknownError{What: "remote", Name: "x"}, 2},
	{&profiles.UnknownError{What: "remote", Name: "x", Known: []string{"y"}}, 2},
	{&profiles.UnknownError{What: "preset", Name: "x"}, 2},
	{&profiles.ExistsError{Name: "x"}, 2},
	{&verify.PatternError{Pattern: "[", Why: "x"}, 2},
	{&verify.ParquetError{Kind: verify.ParquetEmpty}, 5},
	{&verify.DamageError{}, 9},
	{&verify.EventError{}, 5},
	{&fs.PathError{Op: "open", Path: "/x", Err: fs.ErrPermission}, 9},
	{&fs.PathError{Op: "open", Path: "/x", Err: syscall.ENOSPC}, 9},
	{&fs.PathError{Op: "open", Path: "/x", Err: syscall.EDQUOT}, 9},
	{&fs.PathError{Op: "open", Path: "/x", Err: syscall.EROFS}, 9},
	{errors.New("surprise"), 9},
}

func TestEveryErrorHasCodeAndHint(t *testing.T) {
	for _, known := range knownErrors {
		for _, doing := range []doing{{}, {action: "pull", dataset: "densegen/x", remote: "cluster"}, {action: "push", dataset: "x", remote: "cluster"}, {action: "diff", dataset: "x"}} {
			a := &app{env: newBench(t).env(), doing: doing}
			f := a.explain(fmt.Errorf("wrapped: %w", known.err))
			if f.Code != known.code || len(f.Hint) < 6 || f.Kind == "" || f.Message == "" {
				t.Errorf("%T %v: %+v", known.err, known.err, f)
			}
		}
	}
}

// A typed error that is added to a package must be given a code and a hint here.
func TestNoTypedErrorIsForgotten(t *testing.T) {
	tested := map[string]bool{}
	for _, known := range knownErrors {
		if t := reflect.TypeOf(known.err); t.Kind() == reflect.Pointer {
			tested[filepath.Base(t.Elem().PkgPath())+"."+t.Elem().Name()] = true
		}
	}
	for _, dir := range []string{"../../sync", "../../remote", "../../remote/ssh", "../../remote/shell", "../../remote/rsync", "../../remote/doctor", "../../profiles", "../../verify"} {
		for _, name := range errorTypes(t, dir) {
			if full := filepath.Base(dir) + "." + name; !tested[full] {
				t.Errorf("%s is not among knownErrors", full)
			}
		}
	}
}

// errorTypes finds exported types with the method Error.
func errorTypes(t *testing.T, dir string) []string {
	t.Helper()
	files, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, file.Name()), nil, 0)
		must(t, err)
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Name.Name != "Error" || f.Recv == nil {
				continue
			}
			typ := f.Recv.List[0].Type
			if star, ok := typ.(*ast.StarExpr); ok {
				typ = star.X
			}
			if id, ok := typ.(*ast.Ident); ok && id.IsExported() {
				names = append(names, id.Name)
			}
		}
	}
	return names
}
