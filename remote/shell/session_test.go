package shell_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/shell"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
)

// server starts a private sshd.
func server(t *testing.T, o remotetest.Options) *remotetest.Server {
	t.Helper()
	s, err := remotetest.Start(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func target(s *remotetest.Server) ssh.Target {
	return ssh.Target{Name: "scc", Host: remotetest.Alias, ConfigFile: s.ConfigFile(), BatchMode: true}
}

func open(t *testing.T, tg ssh.Target, o shell.Options) *shell.Session {
	t.Helper()
	if o.Env == nil { // away from the connections of the person who tests
		o.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir())
	}
	c, err := shell.Open(context.Background(), tg, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func connect(t *testing.T) (*remotetest.Server, *shell.Session) {
	t.Helper()
	s := server(t, remotetest.Options{})
	return s, open(t, target(s), shell.Options{})
}

// dataset makes a small one below a new root.
func dataset(t *testing.T) (root, live string) {
	t.Helper()
	root = t.TempDir()
	live = filepath.Join(root, "ns", "ds")
	write(t, filepath.Join(live, "records.parquet"), "old records")
	write(t, filepath.Join(live, ".events.log"), "{1}\n{2}\n")
	write(t, filepath.Join(live, "meta.md"), "meta")
	write(t, filepath.Join(live, "_derived", "x", "part-1.parquet"), "part")
	return root, live
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func contents(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var background = context.Background()

// gone waits for the end of everything that runs on the server.
func gone(t *testing.T, s *remotetest.Server) {
	t.Helper()
	within(t, 3*time.Second, "nothing runs on the server", func() bool { return len(s.Commands()) == 0 })
}

func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for begin := time.Now(); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > limit {
			t.Fatalf("after %s it is still not so: %s", limit, what)
		}
	}
}

func TestSurvey(t *testing.T) {
	_, s := connect(t)
	root, live := dataset(t)
	v, err := surveyOf(s, root, "ns/ds", "ns%2Fds")
	check(t, err)
	if v.Live != live || !v.Exists || v.EventLines != 2 || !v.SameFS || v.Journal || v.Partial || len(v.Stages) > 0 {
		t.Errorf("%+v", v)
	}
	if v.FreeBytes <= 0 || v.FreeInodes <= 0 || time.Since(time.Unix(0, v.Now)).Abs() > time.Minute {
		t.Errorf("space %d %d, clock %d", v.FreeBytes, v.FreeInodes, v.Now)
	}
	var names []string
	for _, e := range v.Entries {
		names = append(names, string(e.Kind)+e.Path)
	}
	slices.Sort(names)
	want := "d_derived d_derived/x f.events.log f_derived/x/part-1.parquet fmeta.md frecords.parquet"
	if strings.Join(names, " ") != want {
		t.Errorf("listed %q", names)
	}
	v, err = surveyOf(s, root, "ns/other", "ns%2Fother")
	check(t, err)
	if v.Live != filepath.Join(root, "ns/other") || v.Exists || v.EventLines != -1 || !v.SameFS {
		t.Errorf("absent: %+v", v)
	}
}
