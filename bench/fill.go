package main

import (
	"io"
	"math/rand/v2"
	"os"
)

// fill writes n random bytes at an offset; other offsets get other bytes.
func fill(f *os.File, from, n int64) error {
	var seed [32]byte
	for i := range 8 {
		seed[i] = byte((from + 1) >> (8 * i))
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyN(f, rand.NewChaCha8(seed), n)
	return err
}
