package shell_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/shell"
	"github.com/dnadesign-maintainers/usr/verify"
)

// hostile are names that hash tools escape, and shells and option parsers trip over.
var hostile = []string{"-n", "a b", "new\nline", "back\\slash", "cr\r", "\xff\xfe", "é", "$(touch pwned)", "`id`", "'", `"`, "*", "%s", "~", "d/-rf", "\\nnot", " ", "tab\t"}

// files makes files of many sizes, and says what their digests are.
func files(t *testing.T, dir string) map[string]verify.Digest {
	t.Helper()
	want := map[string]verify.Digest{}
	add := func(name string, size int) {
		text := strings.Repeat(name+"|", size/(len(name)+1)+1)
		write(t, filepath.Join(dir, name), text)
		want[name] = sha256.Sum256([]byte(text))
	}
	for _, name := range hostile {
		add(name, 10)
	}
	for i := range 300 {
		add(fmt.Sprintf("many/%d", i), i)
	}
	for i := range 20 {
		add(fmt.Sprintf("some/%d", i), 100_000)
	}
	add("large one", 9<<20)
	write(t, filepath.Join(dir, "empty"), "")
	want["empty"] = sha256.Sum256(nil)
	return want
}

func hashAll(t *testing.T, s *shell.Session, dir, algorithm string, want map[string]verify.Digest) (got map[string]verify.Digest, failed map[string]error) {
	t.Helper()
	got, failed = map[string]verify.Digest{}, map[string]error{}
	asked := []*verify.Entry{{Path: "gone"}, {Path: "many"}}
	for p := range want {
		fi, err := os.Lstat(filepath.Join(dir, p))
		check(t, err)
		asked = append(asked, &verify.Entry{Path: p, Size: fi.Size()})
	}
	check(t, s.Hash(background, dir, algorithm, asked, func(path string, sum verify.Digest, err error) {
		if _, twice := got[path]; twice || failed[path] != nil {
			t.Errorf("%q came twice", path)
		}
		if err != nil {
			failed[path] = err
		} else {
			got[path] = sum
		}
	}))
	return got, failed
}

// TestHashTools hides one tool after the other, so that each has to do.
func TestHashTools(t *testing.T) {
	dir := t.TempDir()
	want := files(t, dir)
	for i, hidden := range [][]string{{}, {"b3sum", "openssl"}, {"b3sum", "sha256sum"}, {"b3sum", "sha256sum", "openssl"}} {
		t.Run(fmt.Sprint("without ", hidden), func(t *testing.T) {
			t.Parallel()
			bin := t.TempDir()
			check(t, remotetest.HidePath(bin, hidden...))
			s := open(t, target(server(t, remotetest.Options{Env: map[string]string{"PATH": bin}})), shell.Options{})
			facts, err := s.Facts(background)
			check(t, err)
			known, err := s.Algorithms(background)
			check(t, err)
			algorithms := strings.Join(known, " ")
			if i == 0 && algorithms != "blake3 sha256" || i > 0 && algorithms != "sha256" {
				t.Errorf("algorithms %q of %q", algorithms, facts.Hash)
			}
			got, failed := hashAll(t, s, dir, "sha256", want)
			for p, sum := range want {
				if got[p] != sum {
					t.Errorf("%q: %x, want %x; %v", p, got[p], sum, failed[p])
				}
			}
			if len(failed) != 2 || !errors.Is(failed["gone"], fs.ErrNotExist) || failed["many"] == nil {
				t.Errorf("failed: %v", failed)
			}
			sum, err := s.HashPrefix(background, dir+"/some/1", "sha256", 5)
			if err != nil || sum != sha256.Sum256([]byte("some/")) {
				t.Errorf("prefix: %x, %v", sum, err)
			}
		})
	}
}

// TestHashGarbled: lines that two processes mixed up count for nothing, and the files are asked again.
func TestHashGarbled(t *testing.T) {
	dir, bin := t.TempDir(), t.TempDir()
	want := files(t, dir)
	check(t, remotetest.Shim(bin, "openssl", fmt.Sprintf(`
[ $# -gt 3 ] || exec %s "$@"
%s "$@" | sed '3s/./g/; 5s/^.//; 7s/$/x/; 9d; 11p; 13s/^/0/; 15s/^\(.\{64\}\) ./\1 /; 17s/^/\\/'`, remotetest.Real("openssl"), remotetest.Real("openssl"))))
	check(t, remotetest.Shim(bin, "sha256sum", fmt.Sprintf(`
[ $# -gt 0 ] || exec %s
%s "$@" | sed '3s/./g/; 5s/^.//; 7s/$/x/; 9d; 11p; 13s/^/0/; 17s/^/\\/'`, remotetest.Real("sha256sum"), remotetest.Real("sha256sum"))))
	s := open(t, target(server(t, remotetest.Options{Env: map[string]string{"PATH": bin + ":" + os.Getenv("PATH")}})), shell.Options{})
	got, failed := hashAll(t, s, dir, "sha256", want)
	for p, sum := range want {
		if got[p] != sum {
			t.Errorf("%q: %x, want %x; %v", p, got[p], sum, failed[p])
		}
	}
}

func TestList(t *testing.T) {
	_, s := connect(t)
	dir := t.TempDir()
	for _, name := range hostile {
		write(t, filepath.Join(dir, name), name)
	}
	check(t, os.Symlink("nowhere", filepath.Join(dir, "link")))
	var names []string
	check(t, s.Walk(background, dir, func(e verify.Entry) {
		names = append(names, e.Path)
		fi, err := os.Lstat(filepath.Join(dir, e.Path))
		if err != nil || e.Kind == 'f' && (fi.Size() != e.Size || fi.ModTime().UnixNano() != e.Mtime) || e.Kind == 'l' != (e.Path == "link") {
			t.Errorf("%+v, %v", e, err)
		}
	}))
	if len(names) != len(hostile)+2 {
		t.Errorf("%q", names)
	}
	if err := s.Walk(background, dir+"/gone", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	check(t, s.Ping(background))
}
