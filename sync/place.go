package sync

import (
	"crypto/sha256"
	"encoding/hex"
)

// place is where the datasets of a remote are, whatever its profile is called. A common base belongs to it.
type place struct {
	Host string `json:"host,omitempty"` // as ssh resolves the profile's; "" is this one
	Dir  string `json:"dir"`            // real path of the base directory
	Root string `json:"root,omitempty"` // its inode number, which outlives a mount; "" where that is not known
}

// is tells whether two places are the same. A directory that took another's path is not.
func (p place) is(q place) bool {
	return p.Host == q.Host && p.Dir == q.Dir && (p.Root == q.Root || p.Root == "" || q.Root == "")
}

// name is that of the place's directory in the store.
func (p place) name() string {
	sum := sha256.Sum256([]byte(p.Host + "\x00" + p.Dir))
	return hex.EncodeToString(sum[:8])
}
