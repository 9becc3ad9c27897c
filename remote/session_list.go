package remote

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
)

// Entry is one name of a remote tree. Kind is a letter as find -printf %y prints it; times are ns since 1970.
type Entry struct {
	Path         string // relative, any bytes but NUL
	Kind         byte
	Mode         uint32 // permissions with setuid, setgid and sticky
	Gid          uint32
	Size         int64
	Mtime, Ctime int64
	Dev, Ino     uint64
}

// Survey is what one round trip tells of a dataset, but for the listing.
type Survey struct {
	Root       string // real path of the base directory, also if nothing is there
	RootID     string // its inode number; "" if it is not there
	Live       string // real path, also if nothing is there
	Exists     bool
	EventLines int64 // newlines in .events.log; -1 without one
	Journal    bool
	Stages     []string // names under stage/KEY, unsorted
	Partial    bool
	SameFS     bool
	FreeBytes  int64 // -1: not known; as is FreeInodes
	FreeInodes int64
	Now        int64 // the host's clock in ns before the listing

	Listing string // the SHA-256 of the listing as it came, in hexadecimal
	Same    bool   // it is still the one that the caller knows, and was not told again
}

// Survey changes nothing. id is the dataset below root, key its name in the state directory. got is called for every
// name of the dataset, in no order, after begin, which may be called again: then it all begins anew. Where the
// listing, change times and all, is the one that known is the Listing of, Same says so in place of got.
func (s *Session) Survey(ctx context.Context, root, id, key, known string, begin func(), got func(Entry)) (*Survey, error) {
	begin()
	v, err := s.survey(ctx, root, id, key, known, got)
	if errors.Is(err, fs.ErrNotExist) { // it went away, or was just being replaced: once more
		begin()
		v, err = s.survey(ctx, root, id, key, known, got)
	}
	return v, err
}

func (s *Session) survey(ctx context.Context, root, id, key, known string, got func(Entry)) (*Survey, error) {
	v := &Survey{EventLines: -1, FreeBytes: -1, FreeInodes: -1}
	what := "survey " + escape(root+"/"+id)
	err := s.do(ctx, request{verb: "survey", args: []string{root, id, key, known}}, what, func(r io.Reader) error {
		b := bufio.NewReaderSize(r, 64<<10)
		listing, err := v.readFields(b)
		if err != nil || !listing {
			return err
		}
		sum := sha256.New()
		err = s.readList(bufio.NewReaderSize(io.TeeReader(b, sum), 64<<10), got)
		v.Listing = hex.EncodeToString(sum.Sum(nil))
		return err
	})
	if err != nil {
		return nil, err
	}
	if v.Same {
		v.Listing = known
	}
	return v, nil
}

// readFields reads name=value records up to the listing, if there is one.
func (v *Survey) readFields(r *bufio.Reader) (listing bool, err error) {
	for {
		field, err := r.ReadString(0)
		if err == io.EOF && field == "" {
			return false, nil
		}
		if err != nil {
			return false, damaged(field)
		}
		name, value, _ := strings.Cut(field[:len(field)-1], "=")
		if name == "list" {
			return true, nil
		}
		v.set(name, value)
	}
}

func (v *Survey) set(name, value string) {
	number := func() int64 {
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		if err != nil {
			return -1
		}
		return n
	}
	switch name {
	case "root":
		v.Root = value
	case "rootid":
		v.RootID = value
	case "live":
		v.Live = value
	case "exists":
		v.Exists = value != ""
	case "devices":
		dev := strings.Fields(value)
		v.SameFS = len(dev) == 3 && dev[0] == dev[1] && dev[1] == dev[2]
	case "space":
		if kb := available(value); kb >= 0 {
			v.FreeBytes = kb << 10
		}
	case "inodes":
		v.FreeInodes = available(value)
	case "journal":
		v.Journal = true
	case "stage":
		v.Stages = append(v.Stages, value)
	case "partial":
		v.Partial = true
	case "now":
		v.Now = number()
	case "same":
		v.Same = true
	case "events":
		v.EventLines = number()
	}
}

// available reads the column before the percentage in a line of df -P. A file system without a limit says 0 of 0.
func available(line string) int64 {
	f := strings.Fields(line)
	for i := len(f) - 1; i >= 4; i-- {
		if strings.HasSuffix(f[i], "%") || f[i] == "-" && i < len(f)-1 {
			n, err := strconv.ParseInt(f[i-1], 10, 64)
			if err != nil || f[i-3] == "0" {
				return -1
			}
			return max(n, 0)
		}
	}
	return -1
}

// List calls got for everything below a directory, in no order. An absent directory is fs.ErrNotExist; one below
// it that cannot be read is an error.
func (s *Session) List(ctx context.Context, dir string, got func(Entry)) error {
	return s.do(ctx, request{verb: "list", args: []string{dir}}, "list "+escape(dir), func(r io.Reader) error {
		return s.readList(bufio.NewReaderSize(r, 64<<10), got)
	})
}

// Stat tells one name as List would, without following a symlink; its Path is the file's base name. An absent one
// is fs.ErrNotExist.
func (s *Session) Stat(ctx context.Context, file string) (e Entry, err error) {
	err = s.do(ctx, request{verb: "stat", args: []string{file}}, "look at "+escape(file), func(r io.Reader) error {
		return s.readList(bufio.NewReader(r), func(found Entry) { e = found })
	})
	e.Path = strings.TrimPrefix(e.Path, "./")
	return e, err
}

func (s *Session) readList(r *bufio.Reader, got func(Entry)) error {
	if s.facts.Lister == "stat" {
		return readStat(r, "@"+s.conn.current().token+" ", got)
	}
	return readFind(r, got)
}

func readFind(r *bufio.Reader, got func(Entry)) error {
	for {
		record, err := readRecord(r)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		e, err := parseFind(record)
		if err != nil {
			return err
		}
		got(e)
	}
}

// readRecord reads up to a NUL; io.EOF only where nothing is left. The bytes are valid until the next call.
func readRecord(r *bufio.Reader) ([]byte, error) {
	b, err := r.ReadSlice(0)
	if err == bufio.ErrBufferFull {
		begun := bytes.Clone(b) // the next read overwrites it
		var rest []byte
		rest, err = r.ReadBytes(0)
		b = append(begun, rest...)
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
	return fmt.Errorf("cannot understand the listing: %q", escape(record[:min(len(record), 200)]))
}

// parseFind takes a record apart: kind size mtime ctime device inode mode gid path.
func parseFind(record []byte) (Entry, error) {
	var f [9][]byte
	rest, more := record, true
	for i := range f[:8] {
		f[i], rest, more = bytes.Cut(rest, []byte{' '})
	}
	f[8] = rest
	if !more || len(f[0]) != 1 {
		return Entry{}, damaged(string(record))
	}
	p := numbers{}
	e := Entry{Kind: f[0][0], Size: p.int(f[1]), Mtime: p.time(f[2]), Ctime: p.time(f[3]), Dev: p.uint(f[4], 10),
		Ino: p.uint(f[5], 10), Mode: uint32(p.uint(f[6], 8)), Gid: uint32(p.uint(f[7], 10)), Path: string(f[8])}
	if p.err != nil {
		return Entry{}, damaged(string(record))
	}
	return e, nil
}

// readStat reads what stat prints: "MARK mode size mtime ctime device inode gid ./path" and a newline, where the path
// may hold newlines, but not the mark. The mode is octal (BSD), or hexadecimal after an x (GNU).
func readStat(r io.Reader, mark string, got func(Entry)) error {
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
		if err != nil {
			return err
		}
		got(e)
	}
	return nil
}

// statKinds are the file types of st_mode.
var statKinds = map[uint64]byte{0o01: 'p', 0o02: 'c', 0o04: 'd', 0o06: 'b', 0o10: 'f', 0o12: 'l', 0o14: 's'}

func parseStat(record string) (Entry, error) {
	f := strings.SplitN(record, " ", 8)
	if len(f) != 8 || !strings.HasPrefix(f[7], "./") {
		return Entry{}, damaged(record)
	}
	p := numbers{}
	digits, base := f[0], 8
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	mode := p.uint([]byte(digits), base)
	e := Entry{Kind: statKinds[mode>>12], Mode: uint32(mode & 0o7777), Size: p.int([]byte(f[1])), Mtime: p.time([]byte(f[2])),
		Ctime: p.time([]byte(f[3])), Dev: p.uint([]byte(f[4]), 10), Ino: p.uint([]byte(f[5]), 10), Gid: uint32(p.uint([]byte(f[6]), 10)), Path: f[7][2:]}
	if p.err != nil || e.Kind == 0 {
		return Entry{}, damaged(record)
	}
	return e, nil
}

// numbers remembers that one of several numbers was none.
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
