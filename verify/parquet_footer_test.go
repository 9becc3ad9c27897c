package verify

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go/format"
)

// bounded runs f and fails if it allocated more than limit bytes.
func bounded(t *testing.T, limit uint64, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > limit {
		t.Errorf("allocated %d bytes, more than %d", n, limit)
	}
}

// Footers that are small themselves and claim or unfold to something huge.
func TestBombs(t *testing.T) {
	list := func(head ...byte) []byte { return append([]byte{0x15, 4, 0x19}, head...) } // version, then the schema
	many := append(list(0xFC, 0x81, 0x80, 0x20), make([]byte, maxNodes+1)...)           // that many empty structs
	nested := []format.SchemaElement{group("schema", 1)}
	for range maxNesting + 1 {
		nested = append(nested, group("g", 1))
	}
	nested = append(nested, leaf("a", format.Int32))
	wide := []format.SchemaElement{group("schema", 1), group(strings.Repeat("n", 1<<20), 100)}
	for range 100 {
		wide = append(wide, leaf("a", format.Int32))
	}
	for name, footer := range map[string][]byte{
		"list of 2^31 structs": list(0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 0x07),
		"too many columns":     append(many, 0),
		"nested structs":       bytes.Repeat([]byte{0x1C}, 8<<20),
		"nested lists":         append([]byte{0xA9}, bytes.Repeat([]byte{0x19}, 8<<20)...),
		"nested maps":          append([]byte{0xAB}, bytes.Repeat([]byte{1, 0xBB}, 4<<20)...),
		"string of 2^31":       {0x68, 0xFF, 0xFF, 0xFF, 0xFF, 0x07},
		"deep schema":          encodeFooter(t, 1, nested...),
		"long paths":           encodeFooter(t, 1, wide...),
	} {
		t.Run(name, func(t *testing.T) {
			file := enclose(footer)
			bounded(t, 2*maxFooter, func() { wantKind(t, file, ParquetCorrupt) })
		})
	}
}

func TestNestingLimitIsAllowed(t *testing.T) {
	nodes := []format.SchemaElement{group("schema", 1)}
	for range maxNesting - 1 {
		nodes = append(nodes, group("g", 1))
	}
	table, err := readBytes(enclose(encodeFooter(t, 1, append(nodes, leaf("a", format.Int32))...)))
	if err != nil || len(table.Columns) != 1 {
		t.Errorf("got %v, %v", table, err)
	}
}

// A damaged footer may still decode to a table, but it must neither panic nor cost memory.
func TestReadTableFlippedBytes(t *testing.T) {
	data := writeRecords(t, 10)
	n, err := footerLength(data)
	if err != nil {
		t.Fatal(err)
	}
	start := len(data) - footerTrailer - int(n)
	for at := start; at < len(data); at++ {
		for _, flip := range []byte{0x01, 0x80, 0xFF, 0x0F} {
			data[at] ^= flip
			table, err := readBytes(data)
			if (table == nil) == (err == nil) || err != nil && parquetKind(err) == 0 {
				t.Errorf("byte %d ^ %#x: %v, %v", at, flip, table, err)
			}
			data[at] ^= flip
		}
	}
}

func TestFlippedBytesBounded(t *testing.T) {
	data := writeRecords(t, 1)
	for at := len(data) - 3000; at < len(data); at++ {
		data[at] ^= 0xFF
		bounded(t, 1<<20, func() { _, _ = readBytes(data) })
		data[at] ^= 0xFF
	}
}

func FuzzReadTable(f *testing.F) {
	good := encodeFooter(f, 1, group("schema", 2), leaf("a", format.Int32), group("\x1b]0;\n\xff", 1), leaf("b", format.ByteArray))
	for _, seed := range [][]byte{nil, []byte("PAR1"), []byte("PAR1\x01\x00\x00\x00PAR1"), []byte("PARE"), enclose(good), enclose(good[:9]),
		enclose(bytes.Repeat([]byte{0x1C}, 200)), enclose([]byte{0x15, 4, 0x19, 0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 7}), writeRecords(f, 1)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, file := range [][]byte{data, enclose(data)} {
			table, err := readBytes(file)
			if err != nil && parquetKind(err) == 0 || (table == nil) == (err == nil) {
				t.Fatalf("got %v, %v", table, err)
			}
		}
	})
}
