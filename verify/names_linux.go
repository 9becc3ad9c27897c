package verify

import (
	"bytes"
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// readNames reads linux_dirent64 as getdents64(2) has it: inode, offset, length, type, name and a NUL. Some file systems do
// not tell the type.
func (w *walker) readNames(f *os.File, dir string) error {
	buf := make([]byte, 64<<10)
	for {
		var n int
		err := uninterrupted(func() (err error) { n, err = unix.Getdents(int(f.Fd()), buf); return err })
		if err != nil {
			return listError(f.Name(), err)
		}
		if n == 0 {
			return nil
		}
		for rest := buf[:n]; len(rest) > 19; {
			record := rest[:binary.NativeEndian.Uint16(rest[16:])]
			rest = rest[len(record):]
			name, _, _ := bytes.Cut(record[19:], []byte{0})
			if err := w.name(int(f.Fd()), dir, string(name), record[18], binary.NativeEndian.Uint64(record)); err != nil {
				return listError(f.Name()+"/"+string(name), err)
			}
		}
	}
}

func (w *walker) name(fd int, dir, name string, kind byte, inode uint64) error {
	switch {
	case name == "." || name == ".." || inode == 0:
		return nil
	case kind == unix.DT_UNKNOWN:
		return w.tell(fd, dir, name)
	}
	w.found(Entry{Path: join(dir, name), Kind: kindOf(uint32(kind) << 12), Ino: inode})
	return nil
}
