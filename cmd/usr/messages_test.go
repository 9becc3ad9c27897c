package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestDocumentedMessages: what this package and the exported error types of the others say begins as a message in
// docs/troubleshooting.md does.
func TestDocumentedMessages(t *testing.T) {
	var explained []string
	for _, m := range regexp.MustCompile("`(cannot [^`]*)`").FindAllStringSubmatch(doc(t, "troubleshooting.md"), -1) {
		explained = append(explained, m[1])
	}
	checked := 0
	for message, where := range messages(t) {
		checked++
		begins := regexp.MustCompile("^" + message)
		found := false
		for _, e := range explained {
			found = found || begins.MatchString(e)
		}
		if !found {
			t.Errorf("%s: docs/troubleshooting.md does not have %s", where, message)
		}
	}
	if checked < 60 {
		t.Errorf("only %d messages were found", checked)
	}
}

// messages finds the messages as patterns, with the place of each.
func messages(t *testing.T) map[string]string {
	found := map[string]string{}
	for _, dir := range []string{".", "../../sync", "../../remote", "../../remote/rsync", "../../profiles", "../../verify"} {
		files := token.NewFileSet()
		//lint:ignore SA1019 build tags do not matter here
		packages, err := parser.ParseDir(files, dir, nil, 0)
		must(t, err)
		for _, p := range packages {
			for name, f := range p.Files {
				if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "demo") { // a demo's failure is a bug
					continue
				}
				for _, d := range f.Decls {
					if dir == "." || isPublicError(d) {
						ast.Inspect(d, func(n ast.Node) bool {
							pattern, whole := messagePattern(n)
							if strings.HasPrefix(pattern, "cannot ") && len(strings.ReplaceAll(pattern, ".+", "")) > len("cannot : ") {
								found[pattern] = files.Position(n.Pos()).String()
							}
							return !whole
						})
					}
				}
			}
		}
	}
	delete(found, "cannot write JSON: .+") // to a standard output that is closed
	return found
}

// isPublicError reports whether a declaration is the Error method of an exported type.
func isPublicError(d ast.Decl) bool {
	f, is := d.(*ast.FuncDecl)
	if !is || f.Recv == nil || f.Name.Name != "Error" {
		return false
	}
	of := f.Recv.List[0].Type
	if star, is := of.(*ast.StarExpr); is {
		of = star.X
	}
	name, is := of.(*ast.Ident)
	return is && name.IsExported()
}

var verbs = regexp.MustCompile(`%\w`)

// messagePattern is a pattern for a text that is put together of literals and others; whole: nothing below it is one.
func messagePattern(n ast.Node) (pattern string, whole bool) {
	switch n := n.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(n.Value)
		if n.Kind != token.STRING || err != nil {
			return "", false
		}
		return verbs.ReplaceAllString(regexp.QuoteMeta(text), ".+"), true
	case *ast.BinaryExpr:
		if n.Op != token.ADD {
			return "", false
		}
		left, leftWhole := messagePattern(n.X)
		right, rightWhole := messagePattern(n.Y)
		if left == "" && !leftWhole {
			left = ".+"
		}
		if right == "" && !rightWhole {
			right = ".+"
		}
		return left + right, true
	}
	return "", false
}
