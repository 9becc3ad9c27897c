package dataset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/parquet-go/parquet-go"
)

// Record is a row of records.parquet.
type Record struct {
	ID        string    `parquet:"id"`
	BioType   string    `parquet:"bio_type,dict"`
	Sequence  string    `parquet:"sequence"`
	Alphabet  string    `parquet:"alphabet,dict"`
	Length    int64     `parquet:"length"`
	Source    string    `parquet:"source,dict"`
	CreatedAt time.Time `parquet:"created_at,timestamp(microsecond)"`
}

// Scored is a Record with the overlay column that AddColumn adds; every fifth row has none.
type Scored struct {
	Record
	Score *float64 `parquet:"infer__score,optional"`
}

// Overlay is a row of a part below _derived.
type Overlay struct {
	ID        string    `parquet:"id"`
	Score     *float64  `parquet:"infer__score,optional"`
	Model     string    `parquet:"infer__model,dict"`
	CreatedAt time.Time `parquet:"created_at,timestamp(millisecond)"`
}

// generate makes rows number from to from+n-1.
func generate(seed uint64, from, n int) []Record {
	rows := make([]Record, n)
	for i := range rows {
		rows[i] = row(rand.New(rand.NewPCG(seed, uint64(from+i))), from+i)
	}
	return rows
}

func row(r *rand.Rand, number int) Record {
	var id [16]byte
	binary.LittleEndian.PutUint64(id[:8], r.Uint64())
	binary.LittleEndian.PutUint64(id[8:], r.Uint64())
	sequence := make([]byte, 18+r.IntN(19))
	for i := range sequence {
		sequence[i] = "ACGT"[r.IntN(4)]
	}
	return Record{
		ID:       fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:]),
		BioType:  "dna",
		Sequence: string(sequence),
		Alphabet: "dna_4",
		Length:   int64(len(sequence)),
		Source:   "densegen:" + [...]string{"cpxR", "lexA", "soxR"}[r.IntN(3)],
		// Seconds apart, to the microsecond, as a batch writes them.
		CreatedAt: epoch.Add(time.Duration(number)*time.Second + time.Duration(r.IntN(1e6))*time.Microsecond),
	}
}

// score is a number that a model might have given; it depends on the sequence alone.
func score(r Record) *float64 {
	gc := bytes.Count([]byte(r.Sequence), []byte("G")) + bytes.Count([]byte(r.Sequence), []byte("C"))
	s := float64(gc) / float64(r.Length)
	return &s
}

func scored(rows []Record) []Scored {
	out := make([]Scored, len(rows))
	for i, r := range rows {
		out[i].Record = r
		if i%5 != 0 {
			out[i].Score = score(r)
		}
	}
	return out
}

// encode is a Parquet file of the rows as the writers make them: snappy, one row group.
func encode[T any](rows []T, options ...parquet.WriterOption) ([]byte, error) {
	var b bytes.Buffer
	// The library's own name for the writer differs from one binary of ours to the next.
	options = append(options, parquet.Compression(&parquet.Snappy), parquet.CreatedBy("usr", "1", "test"))
	if err := parquet.Write(&b, rows, options...); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// readRecords reads the primary back and says whether it has the overlay column.
func readRecords(dir string) ([]Record, bool, error) {
	path := filepath.Join(dir, "records.parquet")
	has, err := hasColumn(path, "infer__score")
	if err != nil {
		return nil, false, err
	}
	rows, err := parquet.ReadFile[Record](path)
	return rows, has, err
}

func hasColumn(path, name string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	table, err := parquet.OpenFile(f, info.Size())
	if err != nil {
		return false, err
	}
	_, found := table.Schema().Lookup(name)
	return found, nil
}
