package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// NoRegistry is the sum of an absent registry.
const NoRegistry = "none"

// RegistrySum is the SHA-256 of registry.yaml in a USR root, "" if it cannot be read. Writers use it to tell whether a
// dataset is up to date.
func RegistrySum(root string) string {
	name := filepath.Join(root, "registry.yaml")
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() { // a fifo would wait for a writer
		return ""
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return NoRegistry
	}
	if err != nil {
		return ""
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return ""
	}
	return hex.EncodeToString(sum.Sum(nil))
}
