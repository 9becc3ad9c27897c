package remote

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"strconv"
	"strings"
)

// Sum is a 256-bit digest.
type Sum = [32]byte

// hashBatch is how many files one request hashes at most: its names are kept in a variable of the remote shell.
const hashBatch = 20000

// Hash reads files below dir in full and calls got once for each path, in any order, from this goroutine. A file
// that cannot be read is reported so and does not stop the others. algorithm is "blake3" or "sha256".
func (s *Session) Hash(ctx context.Context, dir, algorithm string, paths []string, got func(path string, sum Sum, err error)) error {
	var plain, odd []string
	for _, p := range paths {
		if ordinary(p) {
			plain = append(plain, p)
		} else {
			odd = append(odd, p)
		}
	}
	for len(plain) > 0 {
		n := min(len(plain), hashBatch)
		missed, err := s.hashMany(ctx, dir, algorithm, plain[:n], got)
		if err != nil {
			return err
		}
		odd = append(odd, missed...)
		plain = plain[n:]
	}
	for len(odd) > 0 {
		n := min(len(odd), hashBatch)
		if err := s.hashEach(ctx, dir, algorithm, odd[:n], got); err != nil {
			return err
		}
		odd = odd[n:]
	}
	return nil
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

// hashMany lets the tools print names. A line that is not exactly as it should be counts for nothing: two processes
// write to one stream. What got no line is returned.
func (s *Session) hashMany(ctx context.Context, dir, algorithm string, paths []string, got func(string, Sum, error)) ([]string, error) {
	waiting := make(map[string]bool, len(paths))
	for _, p := range paths {
		waiting[p] = true
	}
	r := request{verb: "hash", args: []string{algorithm, dir}, payload: escapeNames(paths)}
	err := s.do(ctx, r, "hash files in "+escape(dir), func(r io.Reader) error {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if path, sum, ok := parseSum(lines.Bytes()); ok && waiting[path] {
				delete(waiting, path)
				got(path, sum, nil)
			}
		}
		return lines.Err()
	})
	var missed []string
	for _, p := range paths {
		if waiting[p] {
			missed = append(missed, p)
		}
	}
	return missed, err
}

// parseSum reads "HEX  ./path" or "HEX *./path".
func parseSum(line []byte) (path string, sum Sum, ok bool) {
	if len(line) < 69 || line[64] != ' ' || line[65] != ' ' && line[65] != '*' || !bytes.HasPrefix(line[66:], []byte("./")) {
		return "", sum, false
	}
	_, err := hex.Decode(sum[:], line[:64])
	return string(line[68:]), sum, err == nil
}

// hashEach gives each file to the tool on standard input, so that no name is printed: answers come in order.
func (s *Session) hashEach(ctx context.Context, dir, algorithm string, paths []string, got func(string, Sum, error)) error {
	r := request{verb: "hash1", args: []string{algorithm, dir}, payload: escapeNames(paths)}
	return s.do(ctx, r, "hash files in "+escape(dir), func(r io.Reader) error {
		lines := bufio.NewReader(r)
		for _, p := range paths {
			line, err := lines.ReadString('\n')
			if err != nil {
				return errors.New("cannot hash files in " + escape(dir) + ": the answer is incomplete")
			}
			sum, err := parseLone(strings.TrimSuffix(line, "\n"), dir+"/"+p)
			got(p, sum, err)
		}
		return nil
	})
}

func parseLone(line, file string) (sum Sum, err error) {
	if why, failed := strings.CutPrefix(line, "!"); failed {
		return sum, &Error{Do: "hash " + escape(file), Detail: escape(strings.TrimSpace(why))}
	}
	if len(line) < 64 {
		return sum, &Error{Do: "hash " + escape(file), Detail: escape(line)}
	}
	if _, err := hex.Decode(sum[:], []byte(line[:64])); err != nil {
		return sum, &Error{Do: "hash " + escape(file), Detail: escape(line)}
	}
	return sum, nil
}

// HashPrefix hashes the first n bytes of a file, or what there is of them.
func (s *Session) HashPrefix(ctx context.Context, file, algorithm string, n int64) (Sum, error) {
	r := request{verb: "prefix", args: []string{algorithm, file, strconv.FormatInt(max(n, 0), 10)}}
	out, err := s.read(ctx, r, "hash "+escape(file))
	if err != nil {
		return Sum{}, err
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
	return s.read(ctx, r, "read "+escape(file))
}

// read is do for an answer that is small.
func (s *Session) read(ctx context.Context, r request, what string) ([]byte, error) {
	var out bytes.Buffer
	err := s.do(ctx, r, what, func(r io.Reader) error {
		_, err := out.ReadFrom(r)
		return err
	})
	return out.Bytes(), err
}
