package shell

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// HashBatch is how many files one request hashes at most: its names are kept in a variable of the remote shell.
const HashBatch = 20000

// Sized is a file by its relative path, and about how large it is.
type Sized struct {
	Path string
	Size int64
}

// Hash reads files below dir in full and calls got once for each path, in any order, from this goroutine. A file that
// cannot be read is reported so and does not stop the others. algorithm is "blake3" or "sha256".
func (s *Session) Hash(ctx context.Context, dir, algorithm string, files []*verify.Entry, got func(path string, d verify.Digest, err error)) error {
	files, err := s.hashInJob(ctx, dir, algorithm, files, got)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(files, HashBatch) {
		sized := make([]Sized, len(some))
		for i, e := range some {
			sized[i] = Sized{Path: e.Path, Size: e.Size}
		}
		if err := s.hash(ctx, dir, algorithm, sized, got); err != nil {
			return err
		}
	}
	return nil
}

func (s *Session) hash(ctx context.Context, dir, algorithm string, files []Sized, got func(string, verify.Digest, error)) error {
	plain, odd := byName(files)
	r := request{verb: "hash", args: []string{algorithm, dir}}
	missed, err := s.hashMany(ctx, r, plain, nil, func(path string, sum verify.Digest) { got(path, sum, nil) })
	if err != nil {
		return err
	}
	return s.hashEach(ctx, dir, algorithm, append(odd, missed...), got)
}

// hashPresent hashes those of the files, HashBatch of them at most, that are there, and that every tool can name; the
// others are returned. It reports the host's clock (ns) from before the first of them was read.
func (s *Session) hashPresent(ctx context.Context, dir, algorithm string, files []Sized, got func(path string, sum verify.Digest)) (clock int64, missed []Sized, err error) {
	plain, odd := byName(files)
	r := request{verb: "present", args: []string{algorithm, dir}}
	missed, err = s.hashMany(ctx, r, plain, func(b *bufio.Reader) error {
		line, err := b.ReadString('\n')
		if err != nil {
			return err
		}
		if clock, err = strconv.ParseInt(strings.TrimSpace(line), 10, 64); err != nil {
			return damaged(line)
		}
		return nil
	}, got)
	return clock, append(odd, missed...), err
}

// byName parts files by whether every tool can name them.
func byName(files []Sized) (plain, odd []Sized) {
	for _, f := range files {
		if ordinary(f.Path) {
			plain = append(plain, f)
		} else {
			odd = append(odd, f)
		}
	}
	return plain, odd
}

// ordinary names are printed by every hash tool as they are.
func ordinary(path string) bool {
	for i := range len(path) {
		if c := path[i]; c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

// hashMany lets the tools print names, behind a head that head reads. A line that is not exactly as it should be counts
// for nothing: two processes write to one stream. What got no line is returned.
func (s *Session) hashMany(ctx context.Context, r request, files []Sized, head func(*bufio.Reader) error, got func(string, verify.Digest)) (missed []Sized, err error) {
	if len(files) == 0 {
		return nil, nil
	}
	waiting := make(map[string]bool, len(files))
	for _, f := range files {
		waiting[f.Path] = true
	}
	r.payload, r.bytes = bySize(files), total(files)
	err = s.do(ctx, r, "hash files in "+remote.Escape(r.args[1]), func(body io.Reader) error {
		b := bufio.NewReader(body)
		if head != nil {
			if err := head(b); err != nil {
				return err
			}
		}
		return eachSum(b, func(path string, sum verify.Digest) {
			if waiting[path] {
				delete(waiting, path)
				got(path, sum)
			}
		})
	})
	for _, f := range files {
		if waiting[f.Path] {
			missed = append(missed, f)
		}
	}
	return missed, err
}

func total(files []Sized) (bytes int64) {
	for _, f := range files {
		bytes += f.Size
	}
	return bytes
}

// eachSum reads the lines of hash tools, and passes over what is none.
func eachSum(r io.Reader, got func(path string, sum verify.Digest)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if path, sum, ok := parseSum(lines.Bytes()); ok {
			got(path, sum)
		}
	}
	return lines.Err()
}

// bySize is three words of names: those of large files, of which a process gets one, of middling and of small ones.
func bySize(files []Sized) []byte {
	const large, middling = 8 << 20, 64 << 10
	var words [3][]byte
	for i := range words {
		words[i] = []byte{'='}
	}
	for _, f := range files {
		i := 2
		switch {
		case f.Size >= large:
			i = 0
		case f.Size >= middling:
			i = 1
		}
		words[i] = appendName(words[i], f.Path)
	}
	return bytes.Join(words[:], []byte{' '})
}

// parseSum reads "HEX  ./path" or "HEX *./path".
func parseSum(line []byte) (path string, sum verify.Digest, ok bool) {
	if len(line) < 69 || line[64] != ' ' || line[65] != ' ' && line[65] != '*' || !bytes.HasPrefix(line[66:], []byte("./")) {
		return "", sum, false
	}
	_, err := hex.Decode(sum[:], line[:64])
	return string(line[68:]), sum, err == nil
}

// hashEach gives each file to the tool on standard input, so that no name is printed: answers come in order.
func (s *Session) hashEach(ctx context.Context, dir, algorithm string, files []Sized, got func(string, verify.Digest, error)) error {
	if len(files) == 0 {
		return nil
	}
	r := request{verb: "hash1", args: []string{algorithm, dir}, bytes: total(files)}
	for _, f := range files {
		r.payload = appendName(r.payload, f.Path)
	}
	return s.do(ctx, r, "hash files in "+remote.Escape(dir), func(r io.Reader) error {
		lines := bufio.NewReader(r)
		for _, f := range files {
			line, err := lines.ReadString('\n')
			if err != nil {
				return errors.New("cannot hash files in " + remote.Escape(dir) + ": the answer is incomplete")
			}
			sum, err := parseLone(strings.TrimSuffix(line, "\n"), dir+"/"+f.Path)
			got(f.Path, sum, err)
		}
		return nil
	})
}

func parseLone(line, file string) (sum verify.Digest, err error) {
	if why, failed := strings.CutPrefix(line, "!"); failed {
		return sum, &remote.Error{Do: "hash " + remote.Escape(file), Detail: remote.Escape(strings.TrimSpace(why))}
	}
	if len(line) < 64 {
		return sum, &remote.Error{Do: "hash " + remote.Escape(file), Detail: remote.Escape(line)}
	}
	if _, err := hex.Decode(sum[:], []byte(line[:64])); err != nil {
		return sum, &remote.Error{Do: "hash " + remote.Escape(file), Detail: remote.Escape(line)}
	}
	return sum, nil
}

// HashPrefix hashes the first n bytes of a file, or what there is of them.
func (s *Session) HashPrefix(ctx context.Context, file, algorithm string, n int64) (verify.Digest, error) {
	r := request{verb: "prefix", args: []string{algorithm, file, strconv.FormatInt(max(n, 0), 10)}, bytes: n}
	out, err := s.read(ctx, r, "hash "+remote.Escape(file))
	if err != nil {
		return verify.Digest{}, err
	}
	return parseLone(string(out), file)
}

// ReadRange reads up to n bytes at off; a negative off counts from the end.
func (s *Session) ReadRange(ctx context.Context, file string, off, n int64) ([]byte, error) {
	from := "+" + strconv.FormatInt(off+1, 10)
	if off < 0 {
		from = strconv.FormatInt(-off, 10)
	}
	r := request{verb: "range", args: []string{file, from, strconv.FormatInt(max(n, 0), 10)}}
	return s.read(ctx, r, "read "+remote.Escape(file))
}

// read is do for an answer that is small.
func (s *Session) read(ctx context.Context, r request, what string) ([]byte, error) {
	var out bytes.Buffer
	err := s.do(ctx, r, what, func(r io.Reader) error {
		_, err := out.ReadFrom(io.LimitReader(r, mostText))
		return err
	})
	return out.Bytes(), err
}

// mostText is how much of an answer is kept that is no listing.
const mostText = 256 << 20
