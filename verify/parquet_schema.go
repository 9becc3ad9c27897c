package verify

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// Table is the shape of a Parquet file.
type Table struct {
	Rows    int64
	Columns []Column // leaf columns in file order; their number is pyarrow's FileMetaData.num_columns
}

// Column is a leaf column. Path joins the names of its groups and its own with dots, any bytes. Type is Arrow's word where
// there is one ("double", "string", "timestamp[us, UTC]"), else the physical type; nullability is not part of it.
type Column struct {
	Path string
	Type string
}

// The values of SchemaChange.Change.
const (
	ColumnAdded   = "added"
	ColumnRemoved = "removed"
	ColumnRetyped = "retyped"
)

// SchemaChange is a leaf column in which two tables differ. Old is "" for an added column, New for a removed one.
type SchemaChange struct {
	Column string
	Change string
	Old    string
	New    string
}

// SchemaChanges returns what turns the columns of old into those of new, sorted by column. The order of columns in the
// file does not matter. A nil table has no columns.
func SchemaChanges(old, new *Table) []SchemaChange {
	var changes []SchemaChange
	a, b := old.sorted(), new.sorted()
	for len(a) > 0 || len(b) > 0 {
		switch order := compareHeads(a, b); {
		case order < 0:
			changes = append(changes, SchemaChange{Column: a[0].Path, Change: ColumnRemoved, Old: a[0].Type})
			a = a[1:]
		case order > 0:
			changes = append(changes, SchemaChange{Column: b[0].Path, Change: ColumnAdded, New: b[0].Type})
			b = b[1:]
		default:
			if a[0].Type != b[0].Type {
				changes = append(changes, SchemaChange{Column: a[0].Path, Change: ColumnRetyped, Old: a[0].Type, New: b[0].Type})
			}
			a, b = a[1:], b[1:]
		}
	}
	return changes
}

// sorted returns the columns by path. The format allows a path twice; then the types decide, so that equal tables compare
// equal.
func (t *Table) sorted() []Column {
	if t == nil {
		return nil
	}
	return slices.SortedFunc(slices.Values(t.Columns), func(a, b Column) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Type, b.Type))
	})
}

// compareHeads compares the first paths of two lists, one of which may be empty and then comes last.
func compareHeads(a, b []Column) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return cmp.Compare(a[0].Path, b[0].Path)
}

// typeName is the type of a leaf in plain words: by its logical type, else by the older converted type, else by
// its physical type. https://github.com/apache/parquet-format/blob/master/LogicalTypes.md
func typeName(n format.SchemaElement) string {
	if name := logicalName(n.LogicalType.Value); name != "" {
		return name
	}
	if name := convertedName(n); name != "" {
		return name
	}
	if n.Type.V == format.FixedLenByteArray {
		return fmt.Sprintf("fixed(%d)", n.TypeLength.V)
	}
	return physicalNames[n.Type.V]
}

var physicalNames = map[format.Type]string{
	format.Boolean:   "boolean",
	format.Int32:     "int32",
	format.Int64:     "int64",
	format.Int96:     "int96",
	format.Float:     "float",
	format.Double:    "double",
	format.ByteArray: "binary",
}

// logicalName is "" for an annotation that is absent, newer than the decoder, or for groups only.
func logicalName(value format.LogicalTypeValue) string {
	switch t := value.(type) {
	case *format.StringType:
		return "string"
	case *format.EnumType:
		return "enum"
	case *format.DateType:
		return "date"
	case *format.NullType:
		return "null"
	case *format.JsonType:
		return "json"
	case *format.BsonType:
		return "bson"
	case *format.UUIDType:
		return "uuid"
	case *format.Float16Type:
		return "float16"
	case *format.GeometryType:
		return "geometry"
	case *format.GeographyType:
		return "geography"
	case *format.DecimalType:
		return decimalName(t.Precision, t.Scale)
	case *format.TimeType:
		return instantName("time", t.Unit, t.IsAdjustedToUTC)
	case *format.TimestampType:
		return instantName("timestamp", t.Unit, t.IsAdjustedToUTC)
	case *format.IntType:
		return integerName(t)
	}
	return ""
}

func decimalName(precision, scale int32) string {
	return fmt.Sprintf("decimal(%d,%d)", precision, scale)
}

func instantName(kind string, unit format.TimeUnit, utc bool) string {
	name := "?" // a unit newer than the decoder
	switch unit.Value.(type) {
	case *format.MilliSeconds:
		name = "ms"
	case *format.MicroSeconds:
		name = "us"
	case *format.NanoSeconds:
		name = "ns"
	}
	if utc {
		name += ", UTC"
	}
	return kind + "[" + name + "]"
}

func integerName(t *format.IntType) string {
	if t.IsSigned {
		return fmt.Sprintf("int%d", t.BitWidth)
	}
	return fmt.Sprintf("uint%d", t.BitWidth)
}

// convertedName is "" where there is no converted type, or one for groups only. The times of converted types
// are defined to be in UTC.
func convertedName(n format.SchemaElement) string {
	switch {
	case !n.ConvertedType.Valid:
		return ""
	case n.ConvertedType.V == deprecated.Decimal:
		return decimalName(n.Precision.V, n.Scale.V)
	}
	return convertedNames[n.ConvertedType.V]
}

var convertedNames = map[deprecated.ConvertedType]string{
	deprecated.UTF8:            "string",
	deprecated.Enum:            "enum",
	deprecated.Date:            "date",
	deprecated.TimeMillis:      "time[ms, UTC]",
	deprecated.TimeMicros:      "time[us, UTC]",
	deprecated.TimestampMillis: "timestamp[ms, UTC]",
	deprecated.TimestampMicros: "timestamp[us, UTC]",
	deprecated.Uint8:           "uint8",
	deprecated.Uint16:          "uint16",
	deprecated.Uint32:          "uint32",
	deprecated.Uint64:          "uint64",
	deprecated.Int8:            "int8",
	deprecated.Int16:           "int16",
	deprecated.Int32:           "int32",
	deprecated.Int64:           "int64",
	deprecated.Json:            "json",
	deprecated.Bson:            "bson",
	deprecated.Interval:        "interval",
}
