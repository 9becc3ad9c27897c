package profiles

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestNoRegularFile: a fifo or a device in the place of the remotes file, of a key or of an ssh configuration is refused and
// not waited for.
func TestNoRegularFile(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	key := Default("r")
	key.SSHKeyEnv = "KEY"
	config := Default("r")
	config.SSHConfig = fifo
	for name, do := range map[string]func() error{
		"fifo":       func() error { _, err := Load(fifo); return err },
		"device":     func() error { _, err := Load("/dev/zero"); return err },
		"key":        func() error { _, err := key.KeyPath(func(string) string { return fifo }); return err },
		"ssh_config": func() error { _, err := config.ConfigPath(os.Getenv); return err },
	} {
		done := make(chan error, 1)
		go func() { done <- do() }()
		select {
		case err := <-done:
			var wrong *Error
			if !errors.As(err, &wrong) || wrong.Problems[0].What == "" {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s: it is waited for", name)
		}
	}
}
