package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/dnadesign-maintainers/usr/"

// TestImportDirections holds the rooms of docs/design.md: what each package of ours may use of ours, and in which
// one each of the large libraries stands. Tests are free.
func TestImportDirections(t *testing.T) {
	may := map[string][]string{
		"cmd/usr":                       {"sync", "remote", "remote/ssh", "remote/shell", "remote/rsync", "remote/doctor", "verify", "profiles", "remote/remotetest"},
		"sync/local":                    {"remote", "verify"},
		"sync":                          {"sync/local", "sync/history", "remote", "remote/ssh", "remote/shell", "remote/rsync", "verify", "profiles"},
		"sync/history":                  {"remote", "verify"},
		"remote":                        {"verify"},
		"remote/ssh":                    {"remote"},
		"remote/shell":                  {"remote", "remote/ssh", "verify"},
		"remote/rsync":                  {"remote"},
		"remote/doctor":                 {"remote", "remote/ssh", "remote/shell", "remote/rsync", "verify"},
		"verify":                        {},
		"profiles":                      {},
		"remote/remotetest":             {},
		"remote/remotetest/dataset":     {},
		"remote/remotetest/dataset/gen": {"remote/remotetest/dataset"},
		"bench":                         {"sync", "verify", "profiles", "remote/remotetest", "remote/remotetest/dataset"},
	}
	only := map[string]string{
		"github.com/alecthomas/kong": "cmd/usr", "github.com/charmbracelet/lipgloss": "cmd/usr",
		"github.com/zeebo/blake3": "verify", "gopkg.in/yaml.v3": "profiles",
	}
	for pkg, imports := range packages(t) {
		allowed, known := may[pkg]
		if !known {
			t.Errorf("package %s has no place in the design", pkg)
		}
		for _, path := range imports {
			own, ours := strings.CutPrefix(path, module)
			if ours && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s", pkg, own)
			}
			for library, home := range only {
				if strings.HasPrefix(path+"/", library+"/") && pkg != home {
					t.Errorf("%s imports %s, which belongs in %s", pkg, path, home)
				}
			}
		}
	}
}

// packages lists the imports of every package of the module, without its tests.
func packages(t *testing.T) map[string][]string {
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		found[strings.TrimPrefix(words[0], module)] = words[1:]
	}
	if len(found) < 12 {
		t.Fatalf("only %d packages listed", len(found))
	}
	return found
}
