package sync

import (
	"path/filepath"

	"github.com/dnadesign-maintainers/usr/sync/local"
)

// LogError is how a command failed, in the words of whoever ran it.
type LogError struct {
	Code    int    `json:"code"`
	Kind    string `json:"kind"`
	Message string `json:"message"`
}

// LogFailure adds the line of a command that was refused or failed to the log of a root.
func LogFailure(root string, e LogEntry) error {
	return store{dir: filepath.Join(root, stateDir), local: local.New("local", root, nil)}.log(e)
}
