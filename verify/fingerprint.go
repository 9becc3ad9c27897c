package verify

import (
	"encoding/hex"
	"strconv"

	"github.com/zeebo/blake3"
)

// Fingerprint identifies the synchronized content of a dataset: "blake3:" and 64 hex digits. Two manifests have the
// same one if and only if their files of synchronized classes agree in path, class, size and digest; times,
// modes, directories and what is never synchronized do not count. It is "" if a digest is not known.
//
// It is the BLAKE3 of "usr-fingerprint 1", NUL, and for each file in byte order of its path: class, size in
// decimal, digest in hex and path, each ended by a NUL.
func Fingerprint(m Manifest) string {
	sum := blake3.New()
	b := append(make([]byte, 0, 512), "usr-fingerprint 1\x00"...)
	for i := range m {
		e := &m[i]
		if e.Kind != File || !e.Class.Synced() {
			continue
		}
		if e.Digest == (Digest{}) {
			return ""
		}
		b = append(append(b, e.Class.String()...), 0)
		b = append(strconv.AppendInt(b, e.Size, 10), 0)
		b = append(hex.AppendEncode(b, e.Digest[:]), 0)
		b = append(append(b, e.Path...), 0)
		if len(b) >= hashBuffer/4 {
			sum.Write(b)
			b = b[:0]
		}
	}
	sum.Write(b)
	return BLAKE3 + ":" + hex.EncodeToString(sum.Sum(nil))
}
