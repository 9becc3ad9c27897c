package verify

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
)

// twoSides makes the manifests of two hosts that differ in one file of a hundred: paths and digests are equal, the
// inodes are not.
func twoSides(files int) (here, there Manifest) {
	here = make(Manifest, files)
	for i := range here {
		e := &here[i]
		*e = Entry{Path: fmt.Sprintf("_derived/ns%d/part-%06d.parquet", i%8, i), Kind: File, Class: Derived,
			Size: int64(i), Mtime: int64(i), Ctime: int64(i), Ino: uint64(i)}
		binary.LittleEndian.PutUint64(e.Digest[:], uint64(i)+1)
	}
	slices.SortFunc(here, ComparePaths)
	there = slices.Clone(here)
	for i := range there {
		there[i].Ino += 1 << 32
		if i%100 == 0 {
			there[i].Digest[31]++
		}
	}
	return here, there
}

func BenchmarkJoin200k(b *testing.B) {
	here, there := twoSides(200_000)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		Join(here, there, func(_, _ *Entry) { n++ })
		if n != len(here) {
			b.Fatalf("%d paths, want %d", n, len(here))
		}
	}
}

func BenchmarkCompare200k(b *testing.B) {
	here, there := twoSides(200_000)
	var levels Levels
	for i := range levels {
		levels[i] = Content
	}
	b.ReportAllocs()
	for b.Loop() {
		different := 0
		Join(here, there, func(l, r *Entry) {
			if levels.Compare(l, r) == Different {
				different++
			}
		})
		if different != len(here)/100 {
			b.Fatalf("%d differ, want %d", different, len(here)/100)
		}
	}
}

// BenchmarkLearn200k is what the hash cache costs in a no-op, once it is read.
func BenchmarkLearn200k(b *testing.B) {
	listed, cached := twoSides(200_000)
	for i := range cached {
		cached[i].Ino = listed[i].Ino
	}
	b.ReportAllocs()
	for b.Loop() {
		for i := range listed {
			listed[i].Digest = Digest{}
		}
		listed.Learn(cached)
	}
	if !listed[len(listed)-1].Digest.Known() {
		b.Fatal("nothing was learned")
	}
}
