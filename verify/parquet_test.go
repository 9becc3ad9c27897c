package verify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// ranges reads from data as the sides do, and counts the reads.
type ranges struct {
	data  []byte
	reads int
}

func (r *ranges) read(off, n int64) ([]byte, error) {
	r.reads++
	size := int64(len(r.data))
	if off < 0 {
		n = min(n, -off)
		off = max(0, size+off)
		n = min(n, size-off)
	}
	off = min(off, size)
	return r.data[off:min(size, off+n)], nil
}

func readBytes(data []byte) (*Table, error) { return ReadTable((&ranges{data: data}).read) }

// enclose makes a file of an encoded footer, without any data.
func enclose(footer []byte) []byte {
	file := append([]byte(parquetMagic), footer...)
	file = binary.LittleEndian.AppendUint32(file, uint32(len(footer)))
	return append(file, parquetMagic...)
}

func encodeFooter(tb testing.TB, rows int64, nodes ...format.SchemaElement) []byte {
	tb.Helper()
	b, err := thrift.Marshal(new(thrift.CompactProtocol), &format.FileMetaData{Version: 2, NumRows: rows, Schema: nodes, RowGroups: []format.RowGroup{}})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func group(name string, children int32) format.SchemaElement {
	return format.SchemaElement{Name: name, NumChildren: thrift.New(children)}
}

func leaf(name string, physical format.Type) format.SchemaElement {
	return format.SchemaElement{Name: name, Type: thrift.New(physical), RepetitionType: thrift.New(format.Optional)}
}

type record struct {
	ID      string            `parquet:"id"`
	Score   *float64          `parquet:"infer__score,optional"`
	Created time.Time         `parquet:"created,timestamp(microsecond)"`
	Day     int32             `parquet:"day,date"`
	Small   int8              `parquet:"small"`
	Big     uint64            `parquet:"big"`
	Price   int64             `parquet:"price,decimal(2:10)"`
	Doc     []byte            `parquet:"doc,json"`
	Raw     []byte            `parquet:"raw"`
	Key     [16]byte          `parquet:"key,uuid"`
	Hash    [20]byte          `parquet:"hash"`
	Kind    string            `parquet:"kind,enum"`
	OK      bool              `parquet:"ok"`
	Ratio   float32           `parquet:"ratio"`
	Vector  []float64         `parquet:"vector,list"`
	Tags    map[string]string `parquet:"tags"`
	Place   struct {
		X int32 `parquet:"x"`
		Y struct {
			Z int64 `parquet:"z"`
		} `parquet:"y"`
	} `parquet:"place"`
}

var recordColumns = []Column{
	{"id", "string"}, {"infer__score", "double"}, {"created", "timestamp[us, UTC]"}, {"day", "date"},
	{"small", "int8"}, {"big", "uint64"}, {"price", "decimal(10,2)"}, {"doc", "json"}, {"raw", "binary"},
	{"key", "uuid"}, {"hash", "fixed(20)"}, {"kind", "enum"}, {"ok", "boolean"}, {"ratio", "float"},
	{"vector.list.element", "double"}, {"tags.key_value.key", "string"}, {"tags.key_value.value", "string"},
	{"place.x", "int32"}, {"place.y.z", "int64"},
}

// writeRecords writes a real table of n rows, a row group for every 100 of them.
func writeRecords(tb testing.TB, n int) []byte {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "records.parquet")
	rows := make([]record, n)
	for i := range rows {
		rows[i] = record{ID: fmt.Sprintf("seq-%06d", i), Vector: []float64{1, 2}, Doc: []byte("{}"), Tags: map[string]string{"a": "b"}}
	}
	if err := parquet.WriteFile(path, rows, parquet.MaxRowsPerRowGroup(100)); err != nil {
		tb.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func parquetKind(err error) ParquetErrorKind {
	var e *ParquetError
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

func wantKind(t *testing.T, data []byte, kind ParquetErrorKind) {
	t.Helper()
	table, err := readBytes(data)
	if table != nil || parquetKind(err) != kind {
		t.Errorf("got %v, %v; want kind %d", table, err, kind)
	}
}

func TestReadTableOfRealFile(t *testing.T) {
	table, err := readBytes(writeRecords(t, 250))
	if err != nil {
		t.Fatal(err)
	}
	byPath := func(a, b Column) int { return strings.Compare(a.Path, b.Path) }
	got, want := slices.SortedFunc(slices.Values(table.Columns), byPath), slices.SortedFunc(slices.Values(recordColumns), byPath)
	if table.Rows != 250 || !slices.Equal(got, want) {
		t.Errorf("%d rows\ngot  %v\nwant %v", table.Rows, got, want)
	}
}

// Files of pyarrow, which are there on the machines of the project only.
func TestReadTableOfSharedFiles(t *testing.T) {
	want := map[string][2]int{ // rows and columns
		"densegen_demo.parquet":             {1, 24},
		"elites_showcase_records.parquet":   {2, 18},
		"scalar_regression_records.parquet": {96, 6},
	}
	dir := filepath.Join("..", "..", "shared", "data")
	files, _ := filepath.Glob(filepath.Join(dir, "*.parquet"))
	if len(files) == 0 {
		t.Logf("no files in %s", dir)
		return
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r := &ranges{data: data}
		table, err := ReadTable(r.read)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		whole, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		if leaves := whole.Schema().Columns(); table.Rows != whole.NumRows() || len(table.Columns) != len(leaves) || r.reads != 1 {
			t.Errorf("%s: %d rows, %d columns, %d reads; want %d, %d, 1", file, table.Rows, len(table.Columns), r.reads, whole.NumRows(), len(leaves))
		}
		if w, known := want[filepath.Base(file)]; known && w != [2]int{int(table.Rows), len(table.Columns)} {
			t.Errorf("%s: %d rows, %d columns; want %v", file, table.Rows, len(table.Columns), w)
		}
	}
}

func TestReadTableLongFooter(t *testing.T) {
	data := writeRecords(t, 5000)
	if n, err := footerLength(data); err != nil || n <= firstRead {
		t.Fatalf("a footer of %d bytes (%v) is no test", n, err)
	}
	r := &ranges{data: data}
	table, err := ReadTable(r.read)
	if err != nil || table.Rows != 5000 || len(table.Columns) != len(recordColumns) || r.reads != 2 {
		t.Errorf("got %v, %v in %d reads", table, err, r.reads)
	}
}

func TestReadTableNoColumns(t *testing.T) {
	for _, nodes := range [][]format.SchemaElement{{group("schema", 0)}, {group("schema", 1), group("empty", 0)}} {
		table, err := readBytes(enclose(encodeFooter(t, 7, nodes...)))
		if err != nil || table.Rows != 7 || len(table.Columns) != 0 {
			t.Errorf("got %v, %v", table, err)
		}
	}
}

func TestReadTableWrongFiles(t *testing.T) {
	long := bytes.Repeat([]byte("text "), firstRead)
	good := encodeFooter(t, 1, group("schema", 1), leaf("a", format.Int32))
	claim := func(n uint32) []byte {
		file := binary.LittleEndian.AppendUint32([]byte("PAR1"+strings.Repeat("x", 100)), n)
		return append(file, "PAR1"...)
	}
	for name, c := range map[string]struct {
		data []byte
		kind ParquetErrorKind
	}{
		"empty":             {nil, ParquetEmpty},
		"short":             {[]byte("x"), ParquetForeign},
		"text":              {[]byte("id,sequence\n1,ACGT\n"), ParquetForeign},
		"long text":         {long, ParquetForeign},
		"tail of another":   {enclose(good)[4:], ParquetForeign},
		"magic alone":       {[]byte("PAR1"), ParquetTruncated},
		"no footer":         {append([]byte("PAR1"), long...), ParquetTruncated},
		"encrypted":         {append(enclose(good)[:len(good)+8], "PARE"...), ParquetEncrypted},
		"4 GiB":             {claim(math.MaxUint32), ParquetOversize},
		"limit + 1":         {claim(maxFooter + 1), ParquetOversize},
		"beyond file":       {claim(101), ParquetCorrupt},
		"beyond long file":  {append(slices.Clone(long), claim(maxFooter)...), ParquetCorrupt},
		"no bytes":          {claim(0), ParquetCorrupt},
		"garbage":           {claim(100), ParquetCorrupt},
		"no schema":         {enclose(encodeFooter(t, 1)), ParquetCorrupt},
		"negative rows":     {enclose(encodeFooter(t, -1, group("schema", 0))), ParquetCorrupt},
		"missing child":     {enclose(encodeFooter(t, 1, group("schema", 2), leaf("a", format.Int32))), ParquetCorrupt},
		"missing last":      {enclose(encodeFooter(t, 1, group("s", 2), group("g", 1), leaf("a", format.Int32))), ParquetCorrupt},
		"stray child":       {enclose(encodeFooter(t, 1, group("schema", 0), leaf("a", format.Int32))), ParquetCorrupt},
		"negative children": {enclose(encodeFooter(t, 1, group("schema", -1))), ParquetCorrupt},
		"unknown type":      {enclose(encodeFooter(t, 1, group("schema", 1), leaf("a", 8))), ParquetCorrupt},
	} {
		t.Run(name, func(t *testing.T) { wantKind(t, c.data, c.kind) })
	}
}

func TestParquetErrorText(t *testing.T) {
	_, err := readBytes(enclose([]byte{0x1F}))
	want := "cannot read the Parquet footer: its encoding is damaged: a value has the unknown type 15"
	if err == nil || err.Error() != want || errors.Unwrap(errors.Unwrap(err)) != nil {
		t.Errorf("got %v", err)
	}
}

func TestReadTableReader(t *testing.T) {
	lost := errors.New("connection lost")
	if _, err := ReadTable(func(_, _ int64) ([]byte, error) { return nil, lost }); !errors.Is(err, lost) || parquetKind(err) != 0 {
		t.Errorf("got %v", err)
	}
	if _, err := ReadTable(func(_, n int64) ([]byte, error) { return make([]byte, n+1), nil }); err == nil || parquetKind(err) != 0 {
		t.Errorf("too much: %v", err)
	}
	first, second := &ranges{data: writeRecords(t, 5000)}, &ranges{data: writeRecords(t, 10)}
	_, err := ReadTable(func(off, n int64) ([]byte, error) {
		if first.reads == 0 {
			return first.read(off, n)
		}
		return second.read(off, n)
	})
	if parquetKind(err) != ParquetChanged {
		t.Errorf("replaced: %v", err)
	}
}

// A file that claims a long footer must be refused before anything of that size is read.
func TestOversizeIsNotFetched(t *testing.T) {
	file := append(bytes.Repeat([]byte{'x'}, 2*firstRead), "\xff\xff\xff\x7fPAR1"...)
	r := &ranges{data: file}
	if _, err := ReadTable(r.read); parquetKind(err) != ParquetOversize || r.reads != 1 {
		t.Errorf("got %v after %d reads", err, r.reads)
	}
}

func TestReadTableTruncated(t *testing.T) {
	data := enclose(encodeFooter(t, 3, group("schema", 2), leaf("a", format.Int32), leaf("b", format.Double)))
	for n := range data {
		table, err := readBytes(data[:n])
		kind := parquetKind(err)
		if table != nil || kind != ParquetEmpty && kind != ParquetForeign && kind != ParquetTruncated {
			t.Errorf("first %d bytes: %v, %v", n, table, err)
		}
		if table, err = readBytes(data[len(data)-n:]); table != nil || parquetKind(err) == 0 {
			t.Errorf("last %d bytes: %v, %v", n, table, err)
		}
	}
	real := writeRecords(t, 10)
	for n := range real {
		if table, err := readBytes(real[:n]); table != nil || parquetKind(err) == 0 {
			t.Fatalf("first %d bytes of a real file: %v, %v", n, table, err)
		}
	}
}

// The table must not keep the footer alive, nor change with a buffer that the reader uses again.
func TestTableOwnsItsNames(t *testing.T) {
	data := enclose(encodeFooter(t, 1, group("schema", 1), leaf("name", format.Int32)))
	table, err := readBytes(data)
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	if table.Columns[0].Path != "name" {
		t.Errorf("got %q", table.Columns[0].Path)
	}
}

func BenchmarkReadTable(b *testing.B) {
	for _, rows := range []int{100, 5000} {
		data := writeRecords(b, rows)
		n, err := footerLength(data)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("footer-%dKiB", n>>10), func(b *testing.B) {
			b.SetBytes(n)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := readBytes(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
