package dataset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"

	"github.com/parquet-go/parquet-go"
)

// mark is the value of a metadata key in the template of Many; every file has its number there instead.
const mark = "part-00000000"

// Many writes a small dataset to dir and adds files overlay parts of about bytesEach bytes in eight namespaces,
// all different. Parts of less than a kilobyte become real small tables of about one; larger ones carry a real
// footer behind random bytes that no compression shrinks.
func Many(dir string, files int, bytesEach int64) error {
	if err := Write(dir, Options{}); err != nil {
		return err
	}
	template, err := encode([]Overlay{{ID: "0", Model: "evo2_7b", CreatedAt: epoch}}, parquet.KeyValueMetadata("part", mark))
	if err != nil {
		return err
	}
	for i := range files {
		path := filepath.Join(dir, "_derived", fmt.Sprintf("ns%d", i%8), fmt.Sprintf("part-%06d.parquet", i))
		if err := put(path, variant(template, i, bytesEach)); err != nil {
			return err
		}
	}
	return nil
}

// variant numbers the template and puts random bytes between its leading magic and its footer.
func variant(template []byte, number int, size int64) []byte {
	out := bytes.Replace(template, []byte(mark), fmt.Appendf(nil, "part-%08d", number), 1)
	if int64(len(out)) >= size {
		return out
	}
	footer := int(binary.LittleEndian.Uint32(out[len(out)-8:])) + 8
	tail := out[len(out)-footer:]
	filler := make([]byte, int(size)-len(tail))
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], uint64(number)+1)
	_, _ = rand.NewChaCha8(seed).Read(filler) // cannot fail
	copy(filler, "PAR1")
	return append(filler, tail...)
}
