package shell

import (
	"bufio"
	"bytes"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/dnadesign-maintainers/usr/verify"
)

// FuzzAnswer: whatever a remote sends as the body of an answer is read back byte for byte, however it is cut into
// pieces, unless it holds the mark itself; and what it says in the trailer cannot write to the terminal.
func FuzzAnswer(f *testing.F) {
	for _, body := range []string{"", "line\n", "\n", "\n\n", "T0", "\nT0", "\nT0 ", "\nT0\n", "\x00\xff\x1b[31m", "\nT", "a\nT0x 0 \n"} {
		f.Add([]byte(body), 0, "")
		f.Add([]byte(body), 3, "why\x01 and how\x1b[31m")
	}
	f.Fuzz(func(t *testing.T, body []byte, status int, said string) {
		const token = "T0"
		mark := []byte("\n" + token + " ")
		if ends := append(append([]byte(nil), body...), mark...); bytes.Index(ends, mark) < len(body) || strings.Contains(said, "\n") {
			return // the token is random, so that a body cannot hold it
		}
		stream := append(append([]byte(nil), body...), "\n"+token+" "...)
		stream = append(stream, []byte(strconv.Itoa(status)+" "+said+"\nnext")...)
		for _, r := range []io.Reader{bytes.NewReader(stream), iotest.OneByteReader(bytes.NewReader(stream)), iotest.DataErrReader(bytes.NewReader(stream))} {
			b := bufio.NewReaderSize(r, 16)
			a := newAnswer(b, token)
			got, err := io.ReadAll(a)
			if err != nil || !bytes.Equal(got, body) || a.status != status {
				t.Fatalf("%q, %v, %d", got, err, a.status)
			}
			if w := a.words(); strings.ContainsFunc(w, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Fatalf("%q", w)
			}
			if rest, _ := io.ReadAll(b); string(rest) != "next" {
				t.Fatalf("left %q", rest)
			}
		}
	})
}

// FuzzGarbledAnswer: a stream that is no answer is an error, never a crash and never an endless loop.
func FuzzGarbledAnswer(f *testing.F) {
	for _, s := range []string{"", "T0", "\nT0 ", "\nT0 0", "\nT0 x \n", "\nT0  \n", "\nT0 99999999999999999999 \n", "a\nT0 -1\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		a := newAnswer(bufio.NewReaderSize(bytes.NewReader(stream), 16), "T0")
		got, err := io.ReadAll(a)
		if err == nil && !bytes.Contains(stream, []byte("\nT0 ")) {
			t.Fatalf("%q was taken for the end of %q", stream, got)
		}
		_ = a.words()
	})
}

// FuzzRequest: what a request carries reaches a shell byte for byte, as one word a piece.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{"", " ", "\n", "a b", `\#012`, `\\`, `\0`, "%s", "-n", "\xff", "\x1b[31m", "'", `"`, "$(x)", "\x007"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		line, payload, found := strings.Cut(string(request{verb: "v", args: []string{s, ""}, payload: escapeNames([]string{s})}.encode()), "\n")
		if words := strings.Split(line, " "); !found || len(words) != 4 {
			t.Fatalf("%q", line)
		}
		if strings.ContainsFunc(payload, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Fatalf("%q", payload)
		}
		if strings.Contains(s, "\x00") {
			return // no shell can hold it
		}
		out, err := exec.Command("sh", "-c", `printf %b "$1"`, "sh", payload).Output()
		if err != nil || string(out) != "./"+s+"\x00" {
			t.Fatalf("%q, %v", out, err)
		}
	})
}

// FuzzListing: the body of a listing is taken apart to the entry that it was made of, or refused.
func FuzzListing(f *testing.F) {
	for _, s := range []string{"", "a", "a b", "a\nb", "../x", "-n", "\xff", "x\n@T0 x81a4 1 2 3 4 5 6 ./y", "f 1 2.5 3 4 5 644 0 x\x00", "@T0 x81a4 1 2.5 3 4 5 0 ./x\n"} {
		f.Add(s, int64(7))
	}
	f.Fuzz(func(t *testing.T, name string, size int64) {
		none := func(verify.Entry) error { return nil }
		_ = readFind(bufio.NewReaderSize(strings.NewReader(name), 16), none) // must not panic
		_ = readStat(strings.NewReader(name), "@T0 ", none)
		_, _, _ = parseSum([]byte(name))
		_, _ = parseLone(name, "file")
		if name == "" || strings.Contains(name, "\x00") || strings.Contains(name+"\n", "\n@T0 ") {
			return
		}
		want := verify.Entry{Kind: 'f', Size: size, Mtime: 2_500_000_000, Ctime: 3e9, Dev: 4, Ino: 5, Mode: 0o644, Path: name}
		n := strconv.FormatInt(size, 10)
		var got []verify.Entry
		keep := func(e verify.Entry) error { got = append(got, e); return nil }
		ferr := readFind(bufio.NewReaderSize(strings.NewReader("f "+n+" 2.5 3.000 4 5 644 0 "+name+"\x00"), 16), keep)
		serr := readStat(strings.NewReader("@T0 x81a4 "+n+" 2.5 3 4 5 0 ./"+name+"\n"), "@T0 ", keep)
		if ferr != nil || serr != nil || len(got) != 2 || got[0] != want || got[1] != want {
			t.Fatalf("%+v, %v, %v", got, ferr, serr)
		}
	})
}
