package sync

import (
	"path/filepath"

	"github.com/dnadesign-maintainers/usr/sync/local"
)

// LogError is how a command failed, in the caller's words.
type LogError struct {
	Code    int    `json:"code"`
	Kind    string `json:"kind"`
	Message string `json:"message"`
}

// LogFailure adds a line about a refused or failed command to the log of a root.
func LogFailure(root string, e LogEntry) error {
	return store{dir: filepath.Join(root, stateDir), local: local.New("local", root, nil)}.log(e)
}
