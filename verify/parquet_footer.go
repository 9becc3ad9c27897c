package verify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

const (
	// maxNodes bounds the schema: groups and leaves. A footer of maxFooter bytes has no room for more column
	// chunks than this, so only files without any row group could have had more.
	maxNodes = 1 << 19
	// maxNesting bounds the depth of the schema and of the encoding, both of which are walked by recursion.
	maxNesting = 64
)

// footer holds the two fields of format.FileMetaData that are needed. The decoder skips all others, which are the bulk.
type footer struct {
	Schema  thrift.Slice[format.SchemaElement] `thrift:"2,required"`
	NumRows int64                              `thrift:"3,required"`
}

// decodeFooter makes a table of an encoded footer. Bytes after the metadata are allowed: the signature of a
// plaintext footer in a file with encrypted columns is kept there.
func decodeFooter(b []byte) (*Table, error) {
	// The decoder allocates lists by their claimed length and recurses as deep as the input says. At worst that exhausts
	// the stack, from which nothing recovers. So it gets only what has been walked before.
	w := thriftWalk{rest: b}
	if err := w.structure(0); err != nil {
		return nil, corrupt("its encoding is damaged", err)
	}
	var f footer
	if err := decodeThrift(b, &f); err != nil {
		return nil, corrupt("its encoding is damaged", err)
	}
	if f.NumRows < 0 {
		return nil, corrupt(fmt.Sprintf("it claims %d rows", f.NumRows), nil)
	}
	columns, err := leaves(f.Schema)
	if err != nil {
		return nil, err
	}
	return &Table{Rows: f.NumRows, Columns: columns}, nil
}

func corrupt(detail string, err error) error {
	return &ParquetError{Kind: ParquetCorrupt, Detail: detail, Err: err}
}

// decodeThrift decodes into v, whose strings then share memory with b. A panic of the decoder means a damaged file, and is
// returned as an error.
func decodeThrift(b []byte, v any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the decoder failed: %v", p)
		}
	}()
	return thrift.NewDecoder(new(thrift.CompactProtocol).NewReaderFromBytes(b)).Decode(v)
}

// schemaWalk turns the flattened tree of a schema, depth first with child counts, into leaf columns.
type schemaWalk struct {
	nodes   []format.SchemaElement // not yet visited
	path    []string
	budget  int // bytes that paths may still take; many leaves below long names would multiply the footer
	columns []Column
}

func leaves(nodes []format.SchemaElement) ([]Column, error) {
	if len(nodes) == 0 {
		return nil, corrupt("it has no schema", nil)
	}
	w := schemaWalk{nodes: nodes[1:], budget: maxFooter} // the root's name is no part of any path
	err := w.children(nodes[0])
	if err == nil && len(w.nodes) > 0 {
		err = corrupt(fmt.Sprintf("%d columns of its schema belong nowhere", len(w.nodes)), nil)
	}
	if err != nil {
		return nil, err
	}
	return w.columns, nil
}

// children visits the members of a group. The root's own group is at depth 0.
func (w *schemaWalk) children(group format.SchemaElement) error {
	count := group.NumChildren.V
	if count < 0 || int64(count) > int64(len(w.nodes)) {
		return corrupt(fmt.Sprintf("a group of its schema claims %d columns", count), nil)
	}
	if count > 0 && len(w.path) == maxNesting {
		return corrupt(fmt.Sprintf("its schema is nested more than %d deep", maxNesting), nil)
	}
	for range count {
		if len(w.nodes) == 0 {
			return corrupt("its schema ends too early", nil)
		}
		if err := w.node(); err != nil {
			return err
		}
	}
	return nil
}

// node visits the next node. As in pyarrow, a leaf has a type and no children; an empty group adds nothing.
func (w *schemaWalk) node() error {
	n := w.nodes[0]
	w.nodes = w.nodes[1:]
	w.path = append(w.path, n.Name)
	defer func() { w.path = w.path[:len(w.path)-1] }()
	if n.NumChildren.V == 0 && n.Type.Valid {
		return w.leaf(n)
	}
	return w.children(n)
}

func (w *schemaWalk) leaf(n format.SchemaElement) error {
	for _, name := range w.path {
		w.budget -= len(name) + 1
	}
	if w.budget < 0 {
		return corrupt(fmt.Sprintf("its column names take more than %d bytes", maxFooter), nil)
	}
	if n.Type.V < format.Boolean || n.Type.V > format.FixedLenByteArray {
		return corrupt(fmt.Sprintf("a column has the unknown physical type %d", n.Type.V), nil)
	}
	path := strings.Clone(strings.Join(w.path, ".")) // a single name shares memory with the footer
	w.columns = append(w.columns, Column{Path: path, Type: typeName(n)})
	return nil
}

var (
	errShort  = errors.New("a value goes beyond its end")
	errVarint = errors.New("a number is too long")
)

// thriftWalk skips a value in thrift's compact protocol without allocating anything.
// https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
type thriftWalk struct {
	rest []byte
}

// structure skips the fields of a struct; the footer itself is at depth 0.
func (w *thriftWalk) structure(depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("values are nested more than %d deep", maxNesting)
	}
	var id int16
	for {
		head, err := w.byte()
		if err != nil {
			return err
		}
		kind := thrift.Type(head & 0xF)
		if kind == thrift.STOP {
			return nil
		}
		if id, err = w.fieldID(id, head); err != nil {
			return err
		}
		if depth == 0 && id == 2 && kind == thrift.LIST { // footer.Schema
			if n, _ := (&thriftWalk{rest: w.rest}).listHead(); n.size > maxNodes {
				return fmt.Errorf("the schema claims %d columns, and more than %d are not read", n.size, maxNodes)
			}
		}
		if kind == thrift.TRUE || kind == thrift.FALSE {
			continue // the value of a boolean field is its type
		}
		if err := w.value(kind, depth+1); err != nil {
			return err
		}
	}
}

// fieldID is the id of a field, given as a difference to the previous one or in full.
func (w *thriftWalk) fieldID(last int16, head byte) (int16, error) {
	if head>>4 != 0 {
		return last + int16(head>>4), nil
	}
	u, err := w.uvarint()
	return int16(u>>1) ^ -int16(u&1), err // zigzag
}

// value skips an element of a container, or a field that is not a boolean.
func (w *thriftWalk) value(kind thrift.Type, depth int) error {
	switch kind {
	case thrift.TRUE, thrift.FALSE, thrift.I8:
		return w.skip(1)
	case thrift.I16, thrift.I32, thrift.I64:
		_, err := w.uvarint()
		return err
	case thrift.DOUBLE:
		return w.skip(8)
	case thrift.UUID:
		return w.skip(16)
	case thrift.BINARY:
		n, err := w.uvarint()
		if err != nil {
			return err
		}
		return w.skip(n)
	case thrift.LIST, thrift.SET, thrift.MAP:
		return w.container(kind, depth)
	case thrift.STRUCT:
		return w.structure(depth)
	}
	return fmt.Errorf("a value has the unknown type %d", kind)
}

// container skips a list, set or map. Every element takes at least one byte, so the loop ends with the input whatever the
// claimed size.
func (w *thriftWalk) container(kind thrift.Type, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("values are nested more than %d deep", maxNesting)
	}
	head := w.listHead
	if kind == thrift.MAP {
		head = w.mapHead
	}
	h, err := head()
	if err != nil {
		return err
	}
	for range h.size {
		for _, kind := range h.kinds[:h.each] {
			if err := w.value(kind, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// containerHead returns how many elements follow, and of which types: one type for lists and sets, two for maps.
type containerHead struct {
	size  uint64
	each  int
	kinds [2]thrift.Type
}

func (w *thriftWalk) listHead() (containerHead, error) {
	b, err := w.byte()
	h := containerHead{size: uint64(b >> 4), each: 1, kinds: [2]thrift.Type{thrift.Type(b & 0xF)}}
	if err == nil && h.size == 0xF {
		h.size, err = w.uvarint()
	}
	return h, err
}

func (w *thriftWalk) mapHead() (containerHead, error) {
	n, err := w.uvarint()
	if err != nil || n == 0 {
		return containerHead{}, err
	}
	b, err := w.byte()
	return containerHead{size: n, each: 2, kinds: [2]thrift.Type{thrift.Type(b >> 4), thrift.Type(b & 0xF)}}, err
}

func (w *thriftWalk) byte() (byte, error) {
	if len(w.rest) == 0 {
		return 0, errShort
	}
	b := w.rest[0]
	w.rest = w.rest[1:]
	return b, nil
}

func (w *thriftWalk) skip(n uint64) error {
	if n > uint64(len(w.rest)) {
		return errShort
	}
	w.rest = w.rest[n:]
	return nil
}

func (w *thriftWalk) uvarint() (uint64, error) {
	u, n := binary.Uvarint(w.rest)
	switch {
	case n == 0:
		return 0, errShort
	case n < 0:
		return 0, errVarint
	}
	w.rest = w.rest[n:]
	return u, nil
}
