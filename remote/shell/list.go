package shell

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// Walk calls visit for everything below a directory, in no order. An absent directory is fs.ErrNotExist; one below
// it that cannot be read is an error.
func (s *Session) Walk(ctx context.Context, dir string, visit func(verify.Entry)) error {
	return s.do(ctx, request{verb: "list", args: []string{dir}}, "list "+remote.Escape(dir), func(r io.Reader) error {
		return s.readList(bufio.NewReaderSize(r, 64<<10), visit)
	})
}

// Names is Walk for who needs no more of an entry than Path, Kind and Ino.
func (s *Session) Names(ctx context.Context, dir string, visit func(verify.Entry)) error {
	return s.do(ctx, request{verb: "list", args: []string{dir, "names"}}, "list "+remote.Escape(dir), func(r io.Reader) error {
		return s.readList(bufio.NewReaderSize(r, 64<<10), visit)
	})
}

// Stat reports one name as Walk would, without following a symlink; its Path is the file. An absent one is
// fs.ErrNotExist.
func (s *Session) Stat(ctx context.Context, file string) (e verify.Entry, err error) {
	err = s.do(ctx, request{verb: "stat", args: []string{file}}, "look at "+remote.Escape(file), func(r io.Reader) error {
		return s.readList(bufio.NewReader(r), func(found verify.Entry) { e = found })
	})
	e.Path = file
	return e, err
}

func (s *Session) readList(r *bufio.Reader, got func(verify.Entry)) error {
	most, n := s.conn.Target().MaxFiles, 0
	one := func(e verify.Entry) error {
		if n++; most > 0 && n > most {
			return &floodError{strconv.Itoa(most) + " files"}
		}
		s.listed.Store(max(s.listed.Load(), int64(n)))
		got(e)
		return nil
	}
	if s.facts.Lister == "stat" {
		return readStat(r, "@"+s.token+" ", one)
	}
	return readFind(r, one)
}

func readFind(r *bufio.Reader, got func(verify.Entry) error) error {
	for {
		record, err := readRecord(r)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		e, err := parseFind(record)
		if err == nil {
			err = got(e)
		}
		if err != nil {
			return err
		}
	}
}

// longestRecord is far beyond a path of PATH_MAX bytes and its numbers.
const longestRecord = 1 << 16

// readRecord reads up to a NUL; io.EOF only where nothing is left. The bytes are valid until the next call.
func readRecord(r *bufio.Reader) ([]byte, error) {
	b, err := r.ReadSlice(0)
	if err == bufio.ErrBufferFull {
		begun := bytes.Clone(b) // the next read overwrites it
		var rest []byte
		for err == bufio.ErrBufferFull && len(begun) < longestRecord {
			rest, err = r.ReadSlice(0)
			begun = append(begun, rest...)
		}
		b = begun
	}
	if err == io.EOF && len(b) > 0 {
		return nil, damaged(string(b))
	}
	if err != nil {
		return nil, err
	}
	return b[:len(b)-1], nil
}

func damaged(record string) error {
	return fmt.Errorf("cannot understand the listing: %q", remote.Escape(record[:min(len(record), 200)]))
}

// parseFind takes a record apart: kind size mtime ctime device inode mode gid path.
func parseFind(record []byte) (verify.Entry, error) {
	var f [9][]byte
	rest, more := record, true
	for i := range f[:8] {
		f[i], rest, more = bytes.Cut(rest, []byte{' '})
	}
	f[8] = rest
	if !more || len(f[0]) != 1 {
		return verify.Entry{}, damaged(string(record))
	}
	p := numbers{}
	e := verify.Entry{Kind: verify.Kind(f[0][0]), Size: p.int(f[1]), Mtime: p.time(f[2]), Ctime: p.time(f[3]), Dev: p.uint(f[4], 10),
		Ino: p.uint(f[5], 10), Mode: uint16(p.uint(f[6], 8) & 0o7777), Gid: uint32(p.uint(f[7], 10)), Path: string(f[8])}
	if p.err != nil {
		return verify.Entry{}, damaged(string(record))
	}
	return e, nil
}

// readStat reads what stat prints: "MARK mode size mtime ctime device inode gid ./path" and a newline, where the path
// may hold newlines, but not the mark. The mode is octal (BSD), or hexadecimal after an x (GNU) or a w (busybox), whose times
// are a date, a time and a zone.
func readStat(r io.Reader, mark string, got func(verify.Entry) error) error {
	all, err := io.ReadAll(r)
	if err != nil || len(all) == 0 {
		return err
	}
	text, ok := strings.CutPrefix(string(all), mark)
	if !ok {
		return damaged(text)
	}
	for _, record := range strings.Split(strings.TrimSuffix(text, "\n"), "\n"+mark) {
		e, err := parseStat(record)
		if err == nil {
			err = got(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// statKinds are the file types of st_mode.
var statKinds = map[uint64]verify.Kind{0o01: 'p', 0o02: 'c', 0o04: 'd', 0o06: 'b', 0o10: 'f', 0o12: 'l', 0o14: 's'}

func parseStat(record string) (verify.Entry, error) {
	p := numbers{}
	f, stamp := strings.SplitN(record, " ", 8), p.time
	if strings.HasPrefix(record, "w") {
		if f = strings.SplitN(record, " ", 12); len(f) == 12 {
			f = append([]string{f[0], f[1], strings.Join(f[2:5], " "), strings.Join(f[5:8], " ")}, f[8:]...)
		}
		stamp = p.date
	}
	if len(f) != 8 || !strings.HasPrefix(f[7], "./") {
		return verify.Entry{}, damaged(record)
	}
	digits, base := f[0], 8
	if hex := strings.TrimLeft(digits, "xw"); hex != digits {
		digits, base = hex, 16
	}
	mode := p.uint([]byte(digits), base)
	e := verify.Entry{Kind: statKinds[mode>>12], Mode: uint16(mode & 0o7777), Size: p.int([]byte(f[1])), Mtime: stamp([]byte(f[2])),
		Ctime: stamp([]byte(f[3])), Dev: p.uint([]byte(f[4]), 10), Ino: p.uint([]byte(f[5]), 10), Gid: uint32(p.uint([]byte(f[6]), 10)), Path: f[7][2:]}
	if p.err != nil || e.Kind == 0 {
		return verify.Entry{}, damaged(record)
	}
	return e, nil
}

// numbers remembers that one of several was not a number.
type numbers struct{ err error }

func (p *numbers) int(b []byte) int64 {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		p.err = err
	}
	return n
}

func (p *numbers) uint(b []byte, base int) uint64 {
	n, err := strconv.ParseUint(string(b), base, 64)
	if err != nil {
		p.err = err
	}
	return n
}

// time reads seconds with any number of decimals, exactly.
func (p *numbers) time(b []byte) int64 {
	whole, fraction, _ := bytes.Cut(b, []byte{'.'})
	ns := p.int(whole) * 1e9
	if len(fraction) > 0 {
		ns += p.int(append(append(make([]byte, 0, 9), fraction[:min(9, len(fraction))]...), "000000000"[min(9, len(fraction)):]...))
	}
	return ns
}

// date reads "2026-11-25 03:28:50.899317181 +0000".
func (p *numbers) date(b []byte) int64 {
	t, err := time.Parse("2006-01-02 15:04:05 -0700", string(b))
	if err != nil {
		p.err = err
	}
	return t.UnixNano()
}
