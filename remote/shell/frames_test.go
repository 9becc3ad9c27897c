package shell

import (
	"bufio"
	"io"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"
)

func TestAnswerFraming(t *testing.T) {
	const token = "T0"
	body := "line\n\nT\nT0\nT0x \n\n"
	stream := body + "\nT0 3 why\x01 and\x1b how \n" + "next"
	for _, r := range []io.Reader{strings.NewReader(stream), iotest.OneByteReader(strings.NewReader(stream)), iotest.HalfReader(strings.NewReader(stream))} {
		b := bufio.NewReader(r)
		a := newAnswer(b, token)
		got, err := io.ReadAll(a)
		if string(got) != body || err != nil || a.status != 3 || a.words() != `why; and\x1b how` {
			t.Errorf("%q, %v, %d, %q", got, err, a.status, a.words())
		}
		if rest, _ := io.ReadAll(b); string(rest) != "next" {
			t.Errorf("left %q", rest)
		}
	}
	a := newAnswer(bufio.NewReader(strings.NewReader("half\nT0 ")), token)
	if got, err := io.ReadAll(a); err != io.ErrUnexpectedEOF {
		t.Errorf("%q, %v", got, err)
	}
}

// TestEscaping asks the shells that have to undo it.
func TestEscaping(t *testing.T) {
	var all []byte
	for c := range 256 {
		all = append(all, byte(c), '7')
	}
	for _, sh := range []string{"dash", "bash"} {
		out, err := exec.Command(sh, "-c", `printf %b "$1"`, sh, string(appendEscaped(nil, string(all)))).Output()
		if string(out) != string(all) || err != nil {
			t.Errorf("%s: %q, %v", sh, out, err)
		}
	}
}

func TestFreeSpace(t *testing.T) {
	for line, want := range map[string]int64{
		"/dev/sda1 1000 900 100 90% /data":          100,
		"a b:/x y 1000 900 100 90% /mnt/with space": 100,
		"btrfs 0 0 0 - /data":                       -1,
		"gpfs 0 0 0 0% /p":                          -1,
		"":                                          -1,
	} {
		if got := Available(line); got != want {
			t.Errorf("%q: %d, want %d", line, got, want)
		}
	}
}

func TestListTimes(t *testing.T) {
	for text, want := range map[string]int64{"1795444901.9745376330": 1795444901974537633, "7": 7e9, "7.5": 75e8, "0.000000001": 1} {
		p := numbers{}
		if got := p.time([]byte(text)); got != want || p.err != nil {
			t.Errorf("%s: %d, %v", text, got, p.err)
		}
	}
}
