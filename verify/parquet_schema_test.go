package verify

import (
	"reflect"
	"testing"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

func TestTypeNames(t *testing.T) {
	logical := func(physical format.Type, value format.LogicalTypeValue) format.SchemaElement {
		n := leaf("a", physical)
		n.LogicalType.Value = value
		return n
	}
	converted := func(physical format.Type, c deprecated.ConvertedType) format.SchemaElement {
		n := leaf("a", physical)
		n.ConvertedType = thrift.New(c)
		n.Precision, n.Scale, n.TypeLength = thrift.New[int32](9), thrift.New[int32](3), thrift.New[int32](12)
		return n
	}
	millis, micros, nanos := format.TimeUnit{Value: &format.MilliSeconds{}}, format.TimeUnit{Value: &format.MicroSeconds{}}, format.TimeUnit{Value: &format.NanoSeconds{}}
	for _, c := range []struct {
		want string
		node format.SchemaElement
	}{
		{"int32", leaf("a", format.Int32)},
		{"int96", leaf("a", format.Int96)},
		{"binary", leaf("a", format.ByteArray)},
		{"string", logical(format.ByteArray, &format.StringType{})},
		{"bson", logical(format.ByteArray, &format.BsonType{})},
		{"null", logical(format.Int32, &format.NullType{})},
		{"float16", logical(format.FixedLenByteArray, &format.Float16Type{})},
		{"geometry", logical(format.ByteArray, &format.GeometryType{CRS: "\x1b[31m"})},
		{"geography", logical(format.ByteArray, &format.GeographyType{})},
		{"decimal(38,10)", logical(format.FixedLenByteArray, &format.DecimalType{Precision: 38, Scale: 10})},
		{"timestamp[ms]", logical(format.Int64, &format.TimestampType{Unit: millis})},
		{"timestamp[ns, UTC]", logical(format.Int64, &format.TimestampType{Unit: nanos, IsAdjustedToUTC: true})},
		{"timestamp[?]", logical(format.Int64, &format.TimestampType{})},
		{"time[us]", logical(format.Int64, &format.TimeType{Unit: micros})},
		{"uint16", logical(format.Int32, &format.IntType{BitWidth: 16})},
		{"int64", logical(format.Int64, &format.IntType{BitWidth: 64, IsSigned: true})},
		{"string", converted(format.ByteArray, deprecated.UTF8)},
		{"decimal(9,3)", converted(format.Int32, deprecated.Decimal)},
		{"timestamp[ms, UTC]", converted(format.Int64, deprecated.TimestampMillis)},
		{"interval", converted(format.FixedLenByteArray, deprecated.Interval)},
		{"fixed(12)", converted(format.FixedLenByteArray, 99)},
	} {
		table, err := readBytes(enclose(encodeFooter(t, 1, group("schema", 1), c.node)))
		if err != nil || len(table.Columns) != 1 || table.Columns[0] != (Column{"a", c.want}) {
			t.Errorf("got %v, %v; want %s", table, err, c.want)
		}
	}
}

func TestSchemaChanges(t *testing.T) {
	old := &Table{Columns: []Column{{"id", "string"}, {"score", "float"}, {"gone", "int32"}, {"twice", "int32"}, {"twice", "int64"}}}
	new := &Table{Rows: 5, Columns: []Column{{"twice", "int64"}, {"twice", "int32"}, {"added", "date"}, {"score", "double"}, {"id", "string"}}}
	want := []SchemaChange{{"added", "added", "", "date"}, {"gone", "removed", "int32", ""}, {"score", "retyped", "float", "double"}}
	if got := SchemaChanges(old, new); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if got := SchemaChanges(old, old); len(got) != 0 {
		t.Errorf("from itself: %v", got)
	}
	if got := SchemaChanges(nil, &Table{Columns: []Column{{"a", "int32"}}}); !reflect.DeepEqual(got, []SchemaChange{{"a", "added", "", "int32"}}) {
		t.Errorf("from nothing: %v", got)
	}
	if SchemaChanges(nil, nil) != nil {
		t.Error("nothing changed into nothing")
	}
}
