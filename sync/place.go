package sync

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/dnadesign-maintainers/usr/remote"
)

// placeName is the name of a place's directory in the store.
func placeName(p remote.Place) string {
	sum := sha256.Sum256([]byte(p.Host + "\x00" + p.Dir))
	return hex.EncodeToString(sum[:8])
}
