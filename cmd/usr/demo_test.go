package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
)

// playDemo runs `usr demo` and fails if it leaves anything in the temporary directory.
func playDemo(t *testing.T, ctx context.Context, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var out, err bytes.Buffer
	code = run(ctx, append([]string{"demo"}, args...), env{
		stdin: strings.NewReader(""), stdout: &out, stderr: &err, getenv: os.Getenv, dir: temp, now: time.Now,
		isTerminal: func(any) bool { return false }, width: func(any) int { return 0 },
	})
	left, rerr := os.ReadDir(temp)
	if rerr != nil || len(left) > 0 {
		t.Errorf("the demo left %v behind (%v)", left, rerr)
	}
	return code, out.String(), err.String()
}

func TestDemo(t *testing.T) {
	code, stdout, stderr := playDemo(t, t.Context())
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
	for _, want := range []string{
		"The cluster of this demo is a private sshd", "$ usr pull densegen/demo demo-cluster -y\n", "TRANSFERRED", "NO-OP",
		"$ usr diff densegen/demo demo-cluster --exit-code\n", "both trees are equal",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("it does not say %q:\n%s", want, stdout)
		}
	}
}

func TestDemoWithoutServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bin")
	if err := remotetest.HidePath(path, "ssh-keygen"); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", path)
	code, stdout, stderr := playDemo(t, t.Context(), "--format", "json")
	var said struct {
		Data struct {
			Transport string
			Steps     []struct{ Command string }
		}
	}
	if err := json.Unmarshal([]byte(stdout), &said); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v\n%s\n%s", code, err, stdout, stderr)
	}
	if said.Data.Transport != "local" || len(said.Data.Steps) < 11 {
		t.Errorf("it says %+v", said.Data)
	}
}

// A step that does not do what it should ends the demo, as what it is.
func TestDemoFailing(t *testing.T) {
	path := t.TempDir()
	if err := remotetest.Shim(path, "rsync", `case $* in *--version*) exec `+remotetest.Real("rsync")+` "$@" ;; esac
echo "rsync: it broke" >&2
exit 11`); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", path+string(filepath.ListSeparator)+os.Getenv("PATH"))
	code, _, stderr := playDemo(t, t.Context())
	if code != codeOther || !strings.Contains(stderr, "cannot finish the demo: `usr ") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

func TestDemoStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	time.AfterFunc(1500*time.Millisecond, stop) // in the middle, somewhere
	code, _, stderr := playDemo(t, ctx)
	if code != codeStopped || strings.Count(stderr, "usr: error: ") != 1 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}
