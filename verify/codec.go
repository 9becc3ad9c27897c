package verify

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/zeebo/blake3"
)

// The form of a stored manifest:
//
//	usr-manifest 1 ALGORITHM COUNT
//	KIND CLASS MODE GID SIZE MTIME CTIME DEV INO DIGEST "PATH"      (COUNT times, ascending)
//	end COUNT BLAKE3-OF-ALL-ABOVE
//
// Mode is octal, every other number decimal, times are ns, an unknown digest or algorithm is "-". Paths are
// quoted as Go strings: every byte sequence comes back as it was.
const (
	manifestMagic   = "usr-manifest"
	manifestVersion = "1"
	maxPath         = 8 << 10  // twice the PATH_MAX of Linux
	maxLine         = 64 << 10 // a path quoted as \xff\xff… and then some
	maxEntries      = 100 << 20
	trustedEntries  = 1 << 18 // allocated on the word of the header alone
)

// DamageError means that a stored manifest is damaged, or of another version.
type DamageError struct {
	Line int // counted from 1
	Why  string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("cannot read manifest: line %d: %s", e.Line, e.Why)
}

// WriteManifest writes a manifest whose digests are of the algorithm ("" if it has none). It fails on a manifest that is
// out of order or holds an impossible path; what w then holds is unreadable.
func WriteManifest(w io.Writer, algorithm string, m Manifest) error {
	return writeEntries(w, algorithm, m, len(m), func(*Entry) bool { return true })
}

// WriteSettled is WriteManifest for a cache: it leaves out the entries without a digest, and those whose digest may not
// hold at a later listing (racily clean, see CountSettled).
func WriteSettled(w io.Writer, algorithm string, m Manifest, listedAt int64) error {
	return writeEntries(w, algorithm, m, m.CountSettled(listedAt), func(e *Entry) bool { return e.settled(listedAt) })
}

// writeEntries writes the count entries of m that are wanted.
func writeEntries(w io.Writer, algorithm string, m Manifest, count int, wanted func(*Entry) bool) error {
	if !knownAlgorithm(algorithm) {
		return fmt.Errorf("cannot write manifest: unknown algorithm %q", algorithm)
	}
	if algorithm == "" {
		algorithm = "-"
	}
	sum := blake3.New()
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), maxLine)
	fmt.Fprintf(out, "%s %s %s %d\n", manifestMagic, manifestVersion, algorithm, count)
	last := ""
	for i := range m {
		if !wanted(&m[i]) {
			continue
		}
		if why := checkEntry(&m[i], last); why != "" {
			return fmt.Errorf("cannot write manifest: %q: %s", m[i].Path, why)
		}
		last = m[i].Path
		out.Write(appendEntry(out.AvailableBuffer(), &m[i])) // an error stays until Flush
	}
	err := out.Flush()
	if err == nil {
		_, err = fmt.Fprintf(w, "end %d %x\n", count, sum.Sum(nil))
	}
	if err != nil {
		return fmt.Errorf("cannot write manifest: %w", err)
	}
	return nil
}

// ReadManifest reads what WriteManifest wrote, to the end of r. On anything else it returns a *DamageError and no
// entries; other errors are those of r.
func ReadManifest(r io.Reader) (algorithm string, m Manifest, err error) {
	algorithm, err = eachEntry(r, func(count int) { m = make(Manifest, 0, min(count, trustedEntries)) }, func(e Entry) { m = append(m, e) })
	if err != nil {
		return "", nil, err
	}
	return algorithm, m, nil
}

// LearnFrom is Learn from a stored manifest, without holding it in memory. It returns how many entries were stored and
// how many digests came from them: none if the manifest is of another algorithm. After an error, which is one of
// ReadManifest's, m has no digests.
func (m Manifest) LearnFrom(r io.Reader, algorithm string) (stored, learnt int, err error) {
	i := 0
	found, err := eachEntry(r, func(count int) { stored = count }, func(k Entry) {
		for i < len(m) && m[i].Path < k.Path {
			i++
		}
		if i < len(m) && m[i].Path == k.Path && k.Digest.Known() && SameStamp(&m[i], &k) {
			m[i].Digest = k.Digest
			learnt++
		}
	})
	if err == nil && found == algorithm {
		return stored, learnt, nil
	}
	for i := range m {
		m[i].Digest = Digest{}
	}
	return stored, 0, err
}

// eachEntry calls begin with the number of entries, then each with every entry, in order. Discard them all if it returns
// an error: the checksum stands at the end.
func eachEntry(r io.Reader, begin func(count int), each func(Entry)) (algorithm string, err error) {
	d := decoder{in: bufio.NewReaderSize(r, maxLine), sum: blake3.New()}
	algorithm, count, err := d.header()
	if err != nil {
		return "", err
	}
	begin(count)
	if err = d.entries(count, each); err == nil {
		err = d.trailer(count)
	}
	return algorithm, err
}

func knownAlgorithm(name string) bool { return name == "" || name == BLAKE3 || name == SHA256 }

// checkEntry says why an entry cannot follow the path last, "" if it can.
func checkEntry(e *Entry, last string) (why string) {
	switch {
	case e.Path <= last && last != "":
		return "not in ascending order"
	case !knownKind(e.Kind):
		return "unknown kind"
	case int(e.Class) >= len(classNames):
		return "unknown class"
	case e.Mode > 0o7777:
		return "impossible mode"
	case e.Size < 0:
		return "negative size"
	}
	return checkPath(e.Path)
}

func knownKind(k Kind) bool {
	switch k {
	case File, Directory, Symlink, Fifo, Socket, Block, Char, Unknown:
		return true
	}
	return false
}

func appendEntry(b []byte, e *Entry) []byte {
	b = append(b, byte(e.Kind), ' ')
	b = append(b, classNames[e.Class]...)
	b = append(b, ' ')
	b = append(strconv.AppendUint(b, uint64(e.Mode), 8), ' ')
	b = append(strconv.AppendUint(b, uint64(e.Gid), 10), ' ')
	b = append(strconv.AppendInt(b, e.Size, 10), ' ')
	b = append(strconv.AppendInt(b, e.Mtime, 10), ' ')
	b = append(strconv.AppendInt(b, e.Ctime, 10), ' ')
	b = append(strconv.AppendUint(b, e.Dev, 10), ' ')
	b = append(strconv.AppendUint(b, e.Ino, 10), ' ')
	b = append(appendDigest(b, e.Digest), ' ')
	return append(strconv.AppendQuote(b, e.Path), '\n')
}

func appendDigest(b []byte, d Digest) []byte {
	if d == (Digest{}) {
		return append(b, '-')
	}
	return hex.AppendEncode(b, d[:])
}

// decoder reads line by line; sum is of all lines returned so far.
type decoder struct {
	in   *bufio.Reader
	sum  *blake3.Hasher
	line int
}

func (d *decoder) damage(why string) error { return &DamageError{Line: d.line, Why: why} }

// next returns a line without its newline, valid until the next call.
func (d *decoder) next() ([]byte, error) {
	d.line++
	line, err := d.in.ReadSlice('\n')
	switch {
	case err == io.EOF:
		return nil, d.damage("it ends in the middle")
	case err == bufio.ErrBufferFull:
		return nil, d.damage("the line is too long")
	case err != nil:
		return nil, fmt.Errorf("cannot read manifest: %w", err)
	}
	return line[:len(line)-1], nil
}

func (d *decoder) count(line []byte) {
	d.sum.Write(line[:len(line)+1]) // the newline still stands behind it
}

func (d *decoder) header() (algorithm string, count int, err error) {
	line, err := d.next()
	if err != nil {
		return "", 0, err
	}
	words := strings.Split(string(line), " ")
	if words[0] != manifestMagic || len(words) < 2 {
		return "", 0, d.damage("this is not a manifest")
	}
	if words[1] != manifestVersion || len(words) != 4 {
		return "", 0, d.damage("version " + strconv.Quote(words[1]) + " is not known to this program")
	}
	if words[2] != "-" {
		algorithm = words[2]
	}
	if !knownAlgorithm(algorithm) || words[2] == "" {
		return "", 0, d.damage("unknown algorithm " + strconv.Quote(words[2]))
	}
	count, err = strconv.Atoi(words[3])
	if err != nil || count < 0 || count > maxEntries {
		return "", 0, d.damage("impossible number of entries " + strconv.Quote(words[3]))
	}
	d.count(line)
	return algorithm, count, nil
}

func (d *decoder) entries(count int, each func(Entry)) error {
	last := ""
	for range count {
		line, err := d.next()
		if err != nil {
			return err
		}
		e, err := parseEntry(line)
		if err != nil {
			return d.damage(err.Error())
		}
		if why := checkEntry(&e, last); why != "" {
			return d.damage(why)
		}
		d.count(line)
		last = e.Path
		each(e)
	}
	return nil
}

func (d *decoder) trailer(count int) error {
	line, err := d.next()
	if err != nil {
		return err
	}
	if string(line) != fmt.Sprintf("end %d %x", count, d.sum.Sum(nil)) {
		return d.damage("the checksum does not match")
	}
	if _, err := d.in.ReadByte(); err == nil {
		d.line++
		return d.damage("something follows the end")
	} else if err != io.EOF {
		return fmt.Errorf("cannot read manifest: %w", err)
	}
	return nil
}

// fields takes a line apart; the first error stays.
type fields struct {
	rest []byte
	err  error
}

func parseEntry(line []byte) (Entry, error) {
	f := fields{rest: line}
	e := Entry{
		Kind: f.kind(), Class: f.class(), Mode: uint16(f.uint(8, 16)), Gid: uint32(f.uint(10, 32)),
		Size: f.int(), Mtime: f.int(), Ctime: f.int(), Dev: f.uint(10, 64), Ino: f.uint(10, 64),
		Digest: f.digest(),
	}
	if f.err != nil {
		return Entry{}, f.err
	}
	path, err := strconv.Unquote(string(f.rest))
	if err != nil || f.rest[0] != '"' {
		return Entry{}, errors.New("the path is not quoted as it should be")
	}
	e.Path = path
	return e, nil
}

func (f *fields) next() []byte {
	word, rest, found := bytes.Cut(f.rest, []byte{' '})
	if !found {
		f.fail("fields are missing")
	}
	f.rest = rest
	return word
}

func (f *fields) fail(why string) {
	if f.err == nil {
		f.err = errors.New(why)
	}
}

func (f *fields) kind() Kind {
	word := f.next()
	if len(word) != 1 {
		f.fail("unknown kind")
		return 0
	}
	return Kind(word[0])
}

func (f *fields) class() Class {
	word := f.next()
	i := slices.IndexFunc(classNames[:], func(name string) bool { return name == string(word) })
	if i < 0 {
		f.fail("unknown class")
		return 0
	}
	return Class(i)
}

func (f *fields) uint(base, bits int) uint64 {
	n, err := strconv.ParseUint(string(f.next()), base, bits)
	if err != nil {
		f.fail("not a number")
	}
	return n
}

func (f *fields) int() int64 {
	n, err := strconv.ParseInt(string(f.next()), 10, 64)
	if err != nil {
		f.fail("not a number")
	}
	return n
}

func (f *fields) digest() (d Digest) {
	word := f.next()
	if string(word) == "-" {
		return d
	}
	if len(word) != hex.EncodedLen(len(d)) {
		f.fail("not a digest")
	} else if _, err := hex.Decode(d[:], word); err != nil {
		f.fail("not a digest")
	}
	return d
}
