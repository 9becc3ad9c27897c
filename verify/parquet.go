package verify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	parquetMagic   = "PAR1"
	encryptedMagic = "PARE" // ends, and begins, a file whose footer is encrypted

	// footerTrailer is what follows the footer: its length in four bytes, and the magic.
	footerTrailer = 8
	// smallestParquet is a file of head magic and trailer alone; no Parquet file is smaller.
	smallestParquet = int64(len(parquetMagic) + footerTrailer)
	// firstRead is fetched from the end of the file before the length of the footer is known. It holds the whole
	// footer of most tables, which then costs one round trip.
	firstRead = 64 << 10
	// maxFooter bounds the memory that a file on another host can make us use. A footer of this size describes
	// some 500 000 column chunks.
	maxFooter = 64 << 20
)

// ParquetErrorKind says what is wrong with a file that should be a Parquet table.
type ParquetErrorKind uint8

// The ways in which a file is not a table that can be read.
const (
	ParquetEmpty     ParquetErrorKind = iota + 1 // no bytes at all
	ParquetForeign                               // not a Parquet file
	ParquetTruncated                             // begins as one and does not end as one
	ParquetEncrypted                             // the footer is encrypted
	ParquetOversize                              // the footer claims more than 64 MiB
	ParquetCorrupt                               // the footer contradicts itself or the file
	ParquetChanged                               // another file took its place while it was read
)

// ParquetError means that a footer cannot be read because of the file's content, not because of an I/O error.
type ParquetError struct {
	Kind   ParquetErrorKind
	Detail string // what was seen, one line, free of text from the file
	Err    error  // the decoder's reason, or nil; its text may quote nothing of the file but numbers
}

func (e *ParquetError) Error() string {
	text := "cannot read the Parquet footer: " + e.Detail
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives the decoder's reason.
func (e *ParquetError) Unwrap() error { return e.Err }

// ReadTable reads the shape of a Parquet file from its footer alone. It asks read for the last 64 KiB and, if the footer
// is longer, once more for the footer; if the file is not Parquet after all, also for its head. A negative off counts from
// the end of the file, and read may return less than n where the file ends. It wraps the errors of read; a fault in the
// file itself is a *ParquetError. No content makes it panic or use more than a small multiple of the 64 MiB that a footer
// may have.
func ReadTable(read func(off, n int64) ([]byte, error)) (*Table, error) {
	tail, err := readTail(read, firstRead)
	if err != nil {
		return nil, err
	}
	n, err := footerLength(tail)
	if err != nil {
		return nil, explainHead(read, tail, err)
	}
	if smallestParquet+n > int64(len(tail)) {
		if tail, err = readLongTail(read, tail, n); err != nil {
			return nil, err
		}
	}
	end := int64(len(tail)) - footerTrailer
	return decodeFooter(tail[end-n : end])
}

// readTail reads the last n bytes, or the whole of a shorter file.
func readTail(read func(off, n int64) ([]byte, error), n int64) ([]byte, error) {
	b, err := read(-n, n)
	if err != nil {
		return nil, fmt.Errorf("cannot read the Parquet footer: %w", err)
	}
	if int64(len(b)) > n {
		return nil, fmt.Errorf("cannot read the Parquet footer: asked for %d bytes and got %d", n, len(b))
	}
	return b, nil
}

// readLongTail reads a footer of n bytes that did not fit into first. With the footer it asks for the head magic
// that must precede it, which proves that the file is as long as the footer claims.
func readLongTail(read func(off, n int64) ([]byte, error), first []byte, n int64) ([]byte, error) {
	want := smallestParquet + n
	if len(first) < firstRead { // the whole file
		return nil, beyondFile(n, len(first))
	}
	tail, err := readTail(read, want)
	if err != nil {
		return nil, err
	}
	if len(tail) < footerTrailer || !bytes.Equal(tail[len(tail)-footerTrailer:], first[len(first)-footerTrailer:]) {
		return nil, &ParquetError{Kind: ParquetChanged, Detail: "the file was replaced while it was read"}
	}
	if int64(len(tail)) < want {
		return nil, beyondFile(n, len(tail))
	}
	return tail, nil
}

func beyondFile(footer int64, size int) error {
	return &ParquetError{Kind: ParquetCorrupt, Detail: fmt.Sprintf("it claims %d bytes in a file of %d bytes", footer, size)}
}

// footerLength takes the length of the footer from the end of a file, and refuses one that cannot be.
func footerLength(tail []byte) (int64, error) {
	if len(tail) == 0 {
		return 0, &ParquetError{Kind: ParquetEmpty, Detail: "the file is empty"}
	}
	if bytes.HasSuffix(tail, []byte(encryptedMagic)) {
		return 0, &ParquetError{Kind: ParquetEncrypted, Detail: "it is encrypted"}
	}
	if int64(len(tail)) < smallestParquet || !bytes.HasSuffix(tail, []byte(parquetMagic)) {
		return 0, notParquet()
	}
	n := int64(binary.LittleEndian.Uint32(tail[len(tail)-footerTrailer:]))
	switch {
	case n == 0:
		return 0, &ParquetError{Kind: ParquetCorrupt, Detail: "it claims no bytes"}
	case n > maxFooter:
		return 0, &ParquetError{Kind: ParquetOversize, Detail: fmt.Sprintf("it claims %d bytes, and more than %d are not read", n, maxFooter)}
	case len(tail) < firstRead && !bytes.HasPrefix(tail, []byte(parquetMagic)): // the whole file
		return 0, notParquet()
	}
	return n, nil
}

func notParquet() *ParquetError {
	return &ParquetError{Kind: ParquetForeign, Detail: "not a Parquet file"}
}

// explainHead distinguishes a truncated or half-written Parquet file from another kind of file, by how it begins. Only a
// wrong file pays for the extra read; if that fails the first finding stands.
func explainHead(read func(off, n int64) ([]byte, error), tail []byte, found error) error {
	var e *ParquetError
	if !errors.As(found, &e) || e.Kind != ParquetForeign {
		return found
	}
	head := tail
	if len(tail) >= firstRead {
		head, _ = read(0, int64(len(parquetMagic)))
	}
	if !bytes.HasPrefix(head, []byte(parquetMagic)) && !bytes.HasPrefix(head, []byte(encryptedMagic)) {
		return found
	}
	return &ParquetError{Kind: ParquetTruncated, Detail: "the file begins as Parquet and ends too early"}
}
