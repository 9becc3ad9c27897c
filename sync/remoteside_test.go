package sync

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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
	for _, s := range []side{local.New("local", t.TempDir(), nil), far} {
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
		if err := f.DropFile(t.Context(), filepath.Dir(file)); err == nil {
			t.Errorf("%s: dropped what is no stage", s.Name())
		}
	}
}

// bsdStat is BSD's stat, as far as its formats are used, on this host's. sed's dollar keeps newlines in names.
const bsdStat = `use strict;
die "stat: illegal option\n" unless $ARGV[0] eq "-f";
shift; my $format = shift; shift if @ARGV and $ARGV[0] eq "--";
my $bad = 0;
for my $name (@ARGV) {
	my @s = lstat $name;
	unless (@s) { warn "stat: $name: $!\n"; $bad = 1; next }
	chomp(my $times = do { open my $p, "-|", "REAL", "-c", "%.9Y %.9Z", "--", $name; <$p> });
	my ($m, $c) = split / /, $times;
	my %v = (d => $s[0], i => $s[1], p => sprintf("%o", $s[2]), g => $s[5], z => $s[7], m => int $m, Fm => $m, Fc => $c,
		Mp => sprintf("%o", $s[2] >> 9 & 7), Lp => sprintf("%03o", $s[2] & 0777), N => $name);
	(my $line = $format) =~ s/%(Fm|Fc|Mp|Lp|[dipgzmN])/$v{$1}/g;
	print "$line\n";
}
exit $bad;
`

// TestBSDSide is a remote without GNU's find, stat, cp and mv.
func TestBSDSide(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(remotetest.HidePath(bin, "b3sum", "sha256sum", "openssl"))
	must(os.WriteFile(filepath.Join(bin, "stat.pl"), []byte(strings.ReplaceAll(bsdStat, "REAL", remotetest.Real("stat"))), 0o644))
	must(remotetest.Shim(bin, "stat", remotetest.Real("perl")+" "+filepath.Join(bin, "stat.pl")+` "$@"`))
	must(remotetest.Shim(bin, "sync", "[ $# = 0 ]"))
	for program, unknown := range map[string][]string{
		"find":  {"-printf", "-ignore_readdir_race"},
		"cp":    {"--help", "--parents", "-t", "-lP"},
		"mv":    {"--help", "-T", "-fT", "-nT", "-n", "--exchange"},
		"chmod": {"--reference"},
	} {
		must(remotetest.Shim(bin, program, remotetest.Refuse(remotetest.Real(program), unknown...)))
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
