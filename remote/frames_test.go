package remote

import (
	"bufio"
	"io"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"
	"time"
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

func TestSSHArguments(t *testing.T) {
	tg := Target{Host: "scc1", User: "me", Port: 2222, KeyPath: "/k", ConfigFile: "/c", Options: []string{"Compression=yes"}}
	join := func(args []string) string { return strings.Join(args, " ") }
	for _, c := range []struct{ got, want string }{
		{join(tg.questionArgs()), "-G -F /c -o Compression=yes -p 2222 -i /k -o IdentitiesOnly=yes -l me -- scc1"},
		{join(tg.riderArgs("/s%h")), "-S /s%%h -o ControlMaster=no -o ProxyCommand=false -o BatchMode=yes -T -x -a -o RemoteCommand=none -o ClearAllForwardings=yes -F /c"},
		{join(tg.masterArgs(way{socket: "/s"}, false)), "-M -S /s -o ControlPersist=no -T -x -a -o RemoteCommand=none -o ClearAllForwardings=yes -F /c -o Compression=yes -p 2222 -i /k -o IdentitiesOnly=yes -l me -o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"},
		{join(Target{}.masterArgs(way{socket: "/s", keep: time.Minute}, true)), "-M -S /s -o ControlPersist=60 -T -x -a -o RemoteCommand=none -o ClearAllForwardings=yes -o ConnectTimeout=20 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"},
	} {
		if c.got != c.want {
			t.Errorf("%s\nwant %s", c.got, c.want)
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
		if got := available(line); got != want {
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
