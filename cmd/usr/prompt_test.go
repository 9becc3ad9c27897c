package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// prompt stands for the terminal: it acts when the question is put.
type prompt struct {
	bytes.Buffer
	act func()
}

func (p *prompt) Write(text []byte) (int, error) {
	if p.act != nil && strings.Contains(string(text), "Proceed?") {
		p.act()
	}
	return p.Buffer.Write(text)
}

// Ctrl-C at the question stops the command, and is not an answer.
func TestCtrlCAtTheQuestion(t *testing.T) {
	b := newBench(t)
	b.dataset("cluster", "densegen/x")
	b.terminal = true
	ctx, cancel := context.WithCancel(t.Context())
	e, stderr := b.env(), &prompt{act: cancel}
	stdin, silent := io.Pipe()
	defer silent.Close()
	e.stdin, e.stderr = stdin, stderr
	if code := run(ctx, []string{"pull", "densegen/x", "cluster"}, e); code != codeStopped {
		t.Errorf("exit code %d", code)
	}
	wants(t, stderr.String(), "stopped by the user", "usr: hint: ")
	if exists(b.path("local", "densegen")) {
		t.Error("a stopped pull made a directory")
	}
}

// The time that a person takes to answer is not counted as work, neither in the audit nor in the log.
func TestTimeAtTheQuestion(t *testing.T) {
	b := newBench(t)
	b.dataset("cluster", "densegen/x")
	b.terminal, b.stdin = true, "y\n"
	e, asleep := b.env(), time.Duration(0)
	e.now = func() time.Time { return time.Now().Add(asleep) }
	e.stderr = &prompt{act: func() { asleep = time.Hour }}
	if code := run(t.Context(), []string{"pull", "densegen/x", "cluster", "--audit-json-out", "audit.json"}, e); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	text, err := os.ReadFile(b.path("audit.json"))
	must(t, err)
	var got struct{ Data auditData }
	must(t, json.Unmarshal(text, &got))
	if got.Data.Took > 600 {
		t.Errorf("%v s of work", got.Data.Took)
	}
	stdout, _ := b.run(0, "log", "--format", "json")
	var logged struct {
		Data struct{ Entries []struct{ Seconds float64 } }
	}
	must(t, json.Unmarshal([]byte(stdout), &logged))
	if n := logged.Data.Entries; len(n) != 1 || n[0].Seconds > 600 {
		t.Errorf("logged: %+v", n)
	}
}

// Nobody who runs by himself is told to use --force.
func TestForceIsForPeople(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		b := newBench(t)
		b.dataset("cluster", "densegen/x")
		b.run(0, "pull", "densegen/x", "cluster", "-y")
		b.write("cluster/densegen/x/extra", "1")
		b.write("local/densegen/x/extra", "2")
		b.terminal = terminal
		_, stderr := b.run(codeRefused, "pull", "densegen/x", "cluster", "-y")
		if strings.Contains(stderr, "--force") != terminal {
			t.Errorf("terminal %v:\n%s", terminal, stderr)
		}
	}
}
