package verify

import "strings"

// Kind is the type of a directory entry, as the letter that find(1) prints for %y.
type Kind byte

// The kinds. Anything but files and directories is refused as payload.
const (
	File      Kind = 'f'
	Directory Kind = 'd'
	Symlink   Kind = 'l'
	Fifo      Kind = 'p'
	Socket    Kind = 's'
	Block     Kind = 'b'
	Char      Kind = 'c'
	Unknown   Kind = 'U' // none of these, as find(1) calls it
)

// Digest is a 256-bit content hash; the zero value means "not known".
type Digest [32]byte

// Entry is one name of a dataset, as one listing saw it. Path is relative to the dataset, slash-separated,
// any bytes but NUL. Times are in nanoseconds since 1970. The dataset directory itself is not an entry.
type Entry struct {
	Path   string
	Kind   Kind
	Class  Class
	Mode   uint16 // permission bits with setuid, setgid and sticky as in chmod(1)
	Gid    uint32
	Size   int64
	Mtime  int64
	Ctime  int64
	Dev    uint64
	Ino    uint64
	Digest Digest
}

// Manifest is a list of entries in ascending byte order of Path, no path twice.
type Manifest []Entry

// ComparePaths orders manifests: plain byte order.
func ComparePaths(a, b Entry) int { return strings.Compare(a.Path, b.Path) }

// checkPath says what is wrong with the path of an entry, "" if nothing is.
func checkPath(path string) (why string) {
	if len(path) > maxPath {
		return "the path is too long"
	}
	if strings.IndexByte(path, 0) >= 0 {
		return "the path holds a NUL"
	}
	for rest, more := path, true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if segment == "" || segment == "." || segment == ".." {
			return "the path is not a plain relative one"
		}
	}
	return ""
}
