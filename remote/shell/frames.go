package shell

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
)

// request is one line and a payload, as the remote script takes them.
type request struct {
	verb    string
	args    []string
	payload []byte // escaped

	bytes, names int64 // that it reads before the host may say anything, beside the names of the payload
}

// What a slow file system gets done in a second: bytes, names, bytes of names in a payload.
const slowBytes, slowNames, slowPayload = 4 << 20, 500, 8 << 10

// uncounted is the time for what copies, flushes or removes nobody knows how much.
const uncounted = 30 * time.Minute

// silence is how long the host may say nothing in the course of a request; idle is for one that has nothing to do.
func (r request) silence(idle time.Duration) time.Duration {
	d := idle + time.Duration(r.bytes/slowBytes+r.names/slowNames+int64(len(r.payload)/slowPayload))*time.Second
	switch r.verb {
	case "copy", "copyas", "flush", "remove", "promote", "promotefile", "recover", "settle", "thin":
		d += uncounted
	}
	return d
}

func (r request) encode() []byte {
	b := fmt.Appendf(nil, "%s %d", r.verb, len(r.payload))
	for _, a := range r.args {
		b = append(append(b, ' '), encodeArg(a)...)
	}
	return append(append(b, '\n'), r.payload...)
}

// encodeArg makes one word of an argument, the empty one included.
func encodeArg(a string) string { return string(appendEscaped([]byte{'='}, a)) }

// appendEscaped writes s for the shell's printf %b: what is not plainly printable becomes \0ooo.
func appendEscaped(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f && c != '\\' {
			b = append(b, c)
		} else {
			b = append(b, '\\', '0', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
		}
	}
	return b
}

// escapeNames is a payload of NUL-terminated paths.
func escapeNames(paths []string) []byte {
	var b []byte
	for _, p := range paths {
		b = appendName(b, p)
	}
	return b
}

// escapeWords is a payload of NUL-terminated words.
func escapeWords(words []string) []byte {
	var b []byte
	for _, w := range words {
		b = append(appendEscaped(b, w), `\0000`...)
	}
	return b
}

// appendName writes a NUL-terminated path. "./" keeps it from being an option.
func appendName(b []byte, path string) []byte {
	return append(appendEscaped(append(b, "./"...), path), `\0000`...)
}

// mostBytes is what an answer has at most: a gigabyte of listing is some ten million files.
const mostBytes = 2 << 30

// floodError: the host tells more than it may.
type floodError struct{ more string }

func (e *floodError) Error() string { return "more than " + e.more }

// answer is the body of an answer. It ends, with io.EOF, at the trailer, which then has been read.
type answer struct {
	r      *bufio.Reader
	mark   []byte // "\nTOKEN "
	left   int64  // bytes that the body may have yet
	ended  bool
	status int
	said   string // the remote's words, lines separated by \x01
}

func newAnswer(r *bufio.Reader, token string) *answer {
	return &answer{r: r, mark: []byte("\n" + token + " "), left: mostBytes}
}

func (a *answer) Read(p []byte) (int, error) {
	for {
		if a.ended {
			return 0, io.EOF
		}
		if len(p) == 0 {
			return 0, nil
		}
		if a.left <= 0 {
			return 0, &floodError{strconv.Itoa(mostBytes>>20) + " MB"}
		}
		n, err := a.some(p)
		if a.left -= int64(n); n > 0 || err != nil {
			return n, err
		}
	}
}

// some copies what certainly is body, or deals with the trailer, or waits for more.
func (a *answer) some(p []byte) (int, error) {
	have, _ := a.r.Peek(a.r.Buffered())
	body := a.body(have)
	if body > 0 {
		n := copy(p, have[:body])
		a.r.Discard(n)
		return n, nil
	}
	if bytes.HasPrefix(have, a.mark) {
		return 0, a.end()
	}
	_, err := a.r.Peek(len(have) + 1)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return 0, err
}

// body is how many bytes come before the mark, or before what may be the beginning of one.
func (a *answer) body(have []byte) int {
	if i := bytes.Index(have, a.mark); i >= 0 {
		return i
	}
	for i := max(0, len(have)-len(a.mark)+1); i < len(have); i++ {
		if bytes.HasPrefix(a.mark, have[i:]) {
			return i
		}
	}
	return len(have)
}

// mostTrailer is how long a trailer may be: the script cuts its words at 2 000 bytes.
const mostTrailer = 64 << 10

// trailer reads the rest of the last line.
func (a *answer) trailer() (string, error) {
	var line []byte
	for {
		part, err := a.r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return string(line), nil
		case err != bufio.ErrBufferFull:
			return "", io.ErrUnexpectedEOF
		case len(line) > mostTrailer:
			return "", &floodError{strconv.Itoa(mostTrailer) + " bytes in one line"}
		}
	}
}

func (a *answer) end() error {
	a.r.Discard(len(a.mark))
	line, err := a.trailer()
	if err != nil {
		return err
	}
	status, said, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	a.ended, a.said = true, said
	a.status, err = strconv.Atoi(status)
	return err
}

// words are the remote's own, fit for one line.
func (a *answer) words() string {
	var lines []string
	for _, line := range strings.Split(a.said, "\x01") {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, remote.Escape(line))
		}
	}
	if len(lines) == 0 {
		return "status " + strconv.Itoa(a.status)
	}
	return strings.Join(lines, "; ")
}
