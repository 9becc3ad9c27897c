package verify

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"
)

// The hash algorithms that both sides may have, by their names in output.
const (
	BLAKE3 = "blake3"
	SHA256 = "sha256"
)

// ErrChanged means that a file was written to while it was hashed, so it has no digest.
var ErrChanged = errors.New("the file changed while it was read")

// errNotRegular means that a name is not that of a regular file.
var errNotRegular = errors.New("not a regular file")

// hashBuffer is small enough to stay in a core's cache between reading and hashing.
const hashBuffer = 256 << 10

// HashPrefix hashes the first n bytes of a file, or all of a shorter one. The file may grow meanwhile.
func HashPrefix(file, algorithm string, n int64) (Digest, error) {
	if n < 0 {
		return Digest{}, fmt.Errorf("cannot hash %q: negative length %d", file, n)
	}
	f, err := newFileHasher(algorithm)
	if err != nil {
		return Digest{}, err
	}
	fd, _, err := openRegular(file)
	if err == nil {
		defer unix.Close(fd)
		_, err = f.read(context.Background(), fd, n)
	}
	if err != nil {
		return Digest{}, fmt.Errorf("cannot hash %q: %w", file, err)
	}
	return f.digest(), nil
}

// fileHasher hashes one file after another with one state and one buffer.
type fileHasher struct {
	hash hash.Hash
	buf  []byte
}

func newFileHasher(algorithm string) (*fileHasher, error) {
	h, err := NewHash(algorithm)
	if err != nil {
		return nil, err
	}
	return &fileHasher{hash: h, buf: make([]byte, hashBuffer)}, nil
}

// NewHash begins a digest of what is written to it.
func NewHash(algorithm string) (hash.Hash, error) {
	switch algorithm {
	case BLAKE3:
		return blake3.New(), nil
	case SHA256:
		return sha256.New(), nil
	}
	return nil, fmt.Errorf("cannot hash with %q: unknown algorithm", algorithm)
}

// file hashes a whole file and returns its stamp, which must be the same before and after. Both come from the descriptor,
// so the stamp belongs to these bytes even if the name has come to mean another file.
func (f *fileHasher) file(ctx context.Context, name string) (Entry, error) {
	fd, before, err := openRegular(name)
	if err != nil {
		return Entry{}, err
	}
	defer unix.Close(fd)
	n, err := f.read(ctx, fd, before.Size) // a writer that makes it longer moves the stamp
	if err != nil {
		return Entry{}, err
	}
	var st unix.Stat_t
	if err := uninterrupted(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return Entry{}, err
	}
	after := entryOf("", &st)
	if n != before.Size || !SameStamp(&before, &after) {
		return after, ErrChanged
	}
	after.Digest = f.digest()
	return after, nil
}

// read hashes at most limit bytes from where the descriptor stands.
func (f *fileHasher) read(ctx context.Context, fd int, limit int64) (total int64, err error) {
	f.hash.Reset()
	for total < limit {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		n, err := unix.Read(fd, f.buf[:min(int64(len(f.buf)), limit-total)])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return total, err
		}
		if n == 0 {
			break
		}
		f.hash.Write(f.buf[:n])
		total += int64(n)
	}
	return total, nil
}

func (f *fileHasher) digest() (d Digest) {
	f.hash.Sum(d[:0])
	return d
}

// openRegular opens a file for reading. It does not follow a symbolic link in the last place, nor wait for a fifo.
func openRegular(name string) (fd int, e Entry, err error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	err = uninterrupted(func() error {
		fd, err = unix.Open(name, flags, 0)
		return err
	})
	switch err {
	case unix.ELOOP, unix.ENXIO, unix.EOPNOTSUPP: // a symbolic link; a socket, on Linux and on macOS
		return -1, Entry{}, errNotRegular
	}
	if err != nil {
		return -1, Entry{}, err
	}
	var st unix.Stat_t
	err = uninterrupted(func() error { return unix.Fstat(fd, &st) })
	if e = entryOf("", &st); err == nil && e.Kind != File {
		err = errNotRegular
	}
	if err != nil {
		unix.Close(fd)
		return -1, Entry{}, err
	}
	return fd, e, nil
}
