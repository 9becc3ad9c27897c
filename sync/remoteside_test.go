package sync

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/shell"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
	"github.com/dnadesign-maintainers/usr/sync/local"
	"github.com/dnadesign-maintainers/usr/verify"
)

// connectSide opens a side on a private sshd. XDG_RUNTIME_DIR keeps it from connections of the person who tests.
func connectSide(t *testing.T, root string, o remotetest.Options) (*shell.Session, *remotetest.Server) {
	t.Helper()
	server, err := remotetest.Start(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	env := append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir())
	target := ssh.Target{Name: "scc", Host: remotetest.Alias, ConfigFile: server.ConfigFile(), BatchMode: true, BaseDir: root}
	s, err := shell.Open(t.Context(), target, shell.Options{Options: ssh.Options{Env: env}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, server
}

// TestRemoteSide speaks to this host through a real sshd, which so has the same files under the same paths.
func TestRemoteSide(t *testing.T) {
	root := t.TempDir()
	s, server := connectSide(t, root, remotetest.Options{})
	testSide(t, s, root)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if n := s.Conn().Executions(); n != 2 || server.Authentications() != 1 {
		t.Errorf("%d ssh processes, %d authentications", n, server.Authentications())
	}
}

// TestSingleFile does on both kinds of side what FILE mode does.
func TestSingleFile(t *testing.T) {
	far, _ := connectSide(t, t.TempDir(), remotetest.Options{})
	bin, bsd := filepath.Join(t.TempDir(), "bin"), t.TempDir()
	if err := errors.Join(remotetest.BusyBox(bin, "rsync", "flock"), remotetest.HidePath(bsd, "perl", "python3"), remotetest.Shim(bsd, "mv", remotetest.OldMove())); err != nil {
		t.Fatal(err)
	}
	busy, _ := connectSide(t, t.TempDir(), remotetest.Options{Env: map[string]string{"PATH": bin}})
	old, _ := connectSide(t, t.TempDir(), remotetest.Options{Env: map[string]string{"PATH": bsd}})
	for _, s := range []side{local.New("local", t.TempDir(), nil), far, busy, old} {
		file := filepath.Join(t.TempDir(), "a b", "it's.parquet")
		f := s
		if _, err := f.Stat(t.Context(), file); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: looking at what is absent: %v", s.Name(), err)
		}
		dir, err := f.StageFile(t.Context(), file, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "it's.parquet"), []byte("new"), 0o644); err != nil {
			t.Fatal(err)
		}
		var busy *remote.LockError
		if _, err := local.New("other", t.TempDir(), nil).StageFile(t.Context(), file, 0); !errors.As(err, &busy) {
			t.Errorf("%s: two runs stage for one file: %v", s.Name(), err)
		}
		if err := s.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if again, err := f.StageFile(t.Context(), file, 0); again != dir || err != nil {
			t.Errorf("%s: %q %v", s.Name(), again, err)
		}
		if err := f.PromoteFile(t.Context(), dir, filepath.Base(file), file); err != nil {
			t.Fatal(err)
		}
		e, err := f.Stat(t.Context(), file)
		want, werr := verify.StatEntry(file)
		if e != want || err != nil || werr != nil {
			t.Errorf("%s: %+v %v, want %+v", s.Name(), e, err, want)
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the stage is left: %v", s.Name(), err)
		}
		err = s.Release(t.Context())
		if err == nil {
			dir, err = f.StageFile(t.Context(), file, 0)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "it's.parquet"), []byte("newer"), 0o644)
		}
		if err == nil {
			err = f.PromoteFile(t.Context(), dir, filepath.Base(file), file)
		}
		if text, _ := os.ReadFile(file); err != nil || string(text) != "newer" {
			t.Errorf("%s: over a file that is there: %q, %v", s.Name(), text, err)
		}
		if err := s.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := f.DropFile(t.Context(), filepath.Dir(file)); err == nil {
			t.Errorf("%s: dropped what is no stage", s.Name())
		}
	}
}

// TestBSDSide is a remote without GNU's find, stat, cp, ln and mv. That it is no Linux is left out, for there no two directories
// are exchanged.
func TestBSDSide(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(remotetest.BSD(bin))
	for _, name := range []string{"uname", "flock"} {
		must(os.RemoveAll(filepath.Join(bin, name)))
		must(os.Symlink(remotetest.Real(name), filepath.Join(bin, name)))
	}
	root := t.TempDir()
	s, _ := connectSide(t, root, remotetest.Options{Env: map[string]string{"PATH": bin}})
	testSide(t, s, root)
}

// TestBusyBoxSide is a remote whose tools are busybox's, and which has perl and a flock(1) beside them.
func TestBusyBoxSide(t *testing.T) {
	t.Parallel()
	bin, root := filepath.Join(t.TempDir(), "bin"), t.TempDir()
	if err := remotetest.BusyBox(bin, "rsync", "flock", "perl"); err != nil {
		t.Fatal(err)
	}
	s, _ := connectSide(t, root, remotetest.Options{Env: map[string]string{"PATH": bin}})
	testSide(t, s, root)
}
