package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"usr": main})
}

// TestScript plays testdata/script against the built program, real rsync and ssh, and a private sshd.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/script",
		Setup: quietEnvironment,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"cluster": cmdCluster, "code": cmdCode, "dataset": cmdDataset, "increment": cmdIncrement,
			"annotate": cmdAnnotate, "same": cmdSame, "connections": cmdConnections, "terminal": cmdTerminal, "snapshot": cmdSnapshot,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// quietEnvironment keeps the variables of whoever runs the tests out of the scripts, which run in parallel.
func quietEnvironment(e *testscript.Env) error {
	for _, name := range []string{"DNADESIGN_USR_ROOT", "USR_REMOTES_PATH", "XDG_CONFIG_HOME", "DNADESIGN_REPO_ROOT", "USR_SYNC_STRICT_BOOTSTRAP_ID", "NO_COLOR"} {
		e.Setenv(name, "")
	}
	e.Values[benchKey{}] = &scriptBench{}
	e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
	return nil
}

// cluster starts a private sshd, and writes a remotes file with the remote bu-scc behind it (base_dir
// $WORK/cluster).
func cmdCluster(ts *testscript.TestScript, neg bool, args []string) {
	s, err := remotetest.Start(ts.MkAbs("sshd"), remotetest.Options{})
	ts.Check(err)
	ts.Defer(s.Stop)
	ts.Value(benchKey{}).(*scriptBench).server = s
	base := ts.MkAbs("cluster")
	ts.Check(os.MkdirAll(base, 0o755))
	ts.Check(os.MkdirAll(ts.MkAbs("local"), 0o755))
	file := ts.MkAbs("remotes.yaml")
	text := fmt.Sprintf("remotes:\n  bu-scc:\n    type: ssh\n    host: %s\n    ssh_config: %s\n    base_dir: %s\n", remotetest.Alias, s.ConfigFile(), base)
	ts.Check(os.WriteFile(file, []byte(text), 0o600))
	ts.Setenv("USR_REMOTES_PATH", file)
	ts.Setenv("DNADESIGN_USR_ROOT", ts.MkAbs("local"))
}

// scriptBench is what a script keeps from command to command.
type scriptBench struct{ server *remotetest.Server }

type benchKey struct{}

// connections N: the script's sshd has seen so many connections.
func cmdConnections(ts *testscript.TestScript, neg bool, args []string) {
	if got := strconv.Itoa(ts.Value(benchKey{}).(*scriptBench).server.Connections()); got != args[0] {
		ts.Fatalf("sshd has seen %s connections, not %s", got, args[0])
	}
}

// code N PROGRAM ARGS…: like exec, and the exit code is N.
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, not %s", got, args[0])
	}
}

// terminal ANSWERS N PROGRAM ARGS…: like code, on a terminal where the file ANSWERS is typed. What the terminal shows
// is standard output to the script.
func cmdTerminal(ts *testscript.TestScript, neg bool, args []string) {
	answers, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	program := filepath.SplitList(ts.Getenv("PATH"))[0] + "/" + args[2]
	cmd := exec.Command(program, args[3:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "USR_REMOTES_PATH", "DNADESIGN_USR_ROOT"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	tty, err := pty.Start(cmd)
	ts.Check(err)
	defer tty.Close()
	_, err = tty.Write(answers)
	ts.Check(err)
	_, _ = io.Copy(ts.Stdout(), tty) // ends with EIO when the program has closed the terminal
	_ = cmd.Wait()
	if got := strconv.Itoa(cmd.ProcessState.ExitCode()); got != args[1] {
		ts.Fatalf("exit code %s, not %s", got, args[1])
	}
}

func cmdDataset(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(dataset.Write(ts.MkAbs(args[0]), dataset.Options{}))
}

func cmdIncrement(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(dataset.Increment(ts.MkAbs(args[0]), 25))
}

func cmdAnnotate(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(dataset.Annotate(ts.MkAbs(args[0])))
}

// same A B: both trees hold the same files with the same bytes, locks aside.
func cmdSame(ts *testscript.TestScript, neg bool, args []string) {
	a, err := contentOf(ts.MkAbs(args[0]))
	ts.Check(err)
	b, err := contentOf(ts.MkAbs(args[1]))
	ts.Check(err)
	if diff := difference(a, b); (diff == "") == neg {
		ts.Fatalf("%s and %s: %q", args[0], args[1], diff)
	}
}

// snapshot DIR NAME remembers a whole directory, lock and state files and all; "snapshot -check DIR NAME" compares.
func cmdSnapshot(ts *testscript.TestScript, neg bool, args []string) {
	check := args[0] == "-check"
	if check {
		args = args[1:]
	}
	tree, err := wholeTree(ts.MkAbs(args[0]))
	ts.Check(err)
	file := ts.MkAbs(args[1])
	if !check {
		ts.Check(os.WriteFile(file, tree, 0o600))
		return
	}
	before, err := os.ReadFile(file)
	ts.Check(err)
	if !bytes.Equal(before, tree) {
		ts.Fatalf("%s changed:\n%s\n--- before\n%s", args[0], tree, before)
	}
}

func wholeTree(dir string) ([]byte, error) {
	var b bytes.Buffer
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintf(&b, "%s %v %d %v\n", path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	return b.Bytes(), err
}

func contentOf(dir string) (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".lock") {
			return err
		}
		text, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		files[rel] = string(text)
		return err
	})
	return files, err
}

func difference(a, b map[string]string) string {
	for name, text := range a {
		if other, ok := b[name]; !ok || other != text {
			return name
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			return name
		}
	}
	return ""
}
