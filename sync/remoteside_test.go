package sync

import (
	"testing"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
)

// connectSide opens a side on a private sshd. XDG_RUNTIME_DIR keeps it from connections of the person who tests.
func connectSide(t *testing.T, root string, o remotetest.Options) (*remoteSide, *remotetest.Server) {
	t.Helper()
	server, err := remotetest.Start(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	target := remote.Target{Name: "scc", Host: remotetest.Alias, ConfigFile: server.ConfigFile(), BatchMode: true}
	c, err := remote.Open(t.Context(), target, remote.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return newRemoteSide("scc", root, c).(*remoteSide), server
}

// TestRemoteSide speaks to this host through a real sshd, which so has the same files under the same paths.
func TestRemoteSide(t *testing.T) {
	root := t.TempDir()
	s, server := connectSide(t, root, remotetest.Options{})
	testSide(t, s, root)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if n := s.Executions(); n != 2 || server.Authentications() != 1 {
		t.Errorf("%d ssh processes, %d authentications", n, server.Authentications())
	}
}
