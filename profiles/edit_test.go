package profiles

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const kept = `# Remotes of the lab.   Ask Ann before you change them.

remotes:   # by site

    # the cluster
    bu-scc:
        user:   me          # not the order of the manual
        host: 'scc1.bu.edu'
        base_dir: "/project/lab/me/datasets"
        # port: 22
        ssh_options: [ Compression=yes,
                       ForwardX11=no ]

    # the old one,
    # for reading
    old:
        {host: old, base_dir: /d}
        # of "old" as well

    # the mount
    mount: {type: local,   base_dir: /mnt}
# end
`

func lab() Remote {
	r := Default("lab")
	r.Host, r.BaseDir = "lab", "/data/lab"
	return r
}

func mustAdd(t *testing.T, f *File, r Remote) {
	t.Helper()
	if err := f.Add(r); err != nil {
		t.Fatal(err)
	}
}

func TestAddKeepsEveryByte(t *testing.T) {
	f := load(t, kept)
	r := lab()
	r.LockTimeout, r.Streams, r.BatchMode, r.Ignore = time.Hour, 2, false, []string{"*.tmp"}
	block := `    lab:
        type: ssh
        host: lab
        base_dir: /data/lab
        batch_mode: false
        streams: 2
        lock_timeout: 1h
        ignore:
            - '*.tmp'
`
	if got := f.Render(r); got != block {
		t.Errorf("rendered\n%s", got)
	}
	mustAdd(t, f, r)
	if diff := cmp.Diff(kept+block, string(f.text)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(r, remote(t, f, "lab")); diff != "" {
		t.Error(diff)
	}
	if err := f.Remove("lab"); err != nil || string(f.text) != kept {
		t.Errorf("not as before: %v\n%s", err, f.text)
	}
}

func TestRemoveKeepsEveryOtherByte(t *testing.T) {
	cuts := map[string][2]string{
		"bu-scc": {"    # the cluster\n", "\n    # the old one"},
		"old":    {"    # the old one,\n", "\n    # the mount"},
		"mount":  {"    # the mount\n", "# end\n"},
	}
	for name, cut := range cuts {
		f := load(t, kept)
		if err := f.Remove(name); err != nil {
			t.Fatal(err)
		}
		before, _, _ := strings.Cut(kept, cut[0])
		want := before + kept[strings.Index(kept, cut[1]):]
		if diff := cmp.Diff(want, string(f.text)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestRemoveAllThenAdd(t *testing.T) {
	f := load(t, kept)
	for _, name := range f.Names() {
		if err := f.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	mustAdd(t, f, lab())
	if got := string(f.text); !strings.Contains(got, "remotes:   # by site\n") || !strings.HasSuffix(got, "# end\n"+f.Render(lab())) {
		t.Error(got)
	}
}

func TestAddToAnyForm(t *testing.T) {
	block := lab().block(2, 2)
	tests := []struct{ text, want string }{
		{"", "remotes:\n" + block},
		{"# mine", "# mine\nremotes:\n" + block},
		{"remotes:", "remotes:\n" + block},
		{"remotes: {}  # none yet\n", "remotes:  # none yet\n" + block},
		{"remotes: null\n# end\n", "remotes:\n# end\n" + block},
		{"remotes:\n  a: {host: h, base_dir: /d}", "remotes:\n  a: {host: h, base_dir: /d}\n" + block},
		{"remotes:\r\n  a: {host: h, base_dir: /d}\r\n", "remotes:\r\n  a: {host: h, base_dir: /d}\r\n" + strings.ReplaceAll(block, "\n", "\r\n")},
		{"# top\nremotes: {a: {host: h, base_dir: /d}} # all\n", ""},
		{"remotes:\n  a: {host: h, base_dir: /d}\n...\n", ""},
		{"{remotes: {}}\n", ""},
		{"--- {remotes: null}\n", ""},
	}
	for _, test := range tests {
		f := load(t, test.text)
		mustAdd(t, f, lab())
		if test.want != "" && string(f.text) != test.want {
			t.Errorf("%q:\n%s", test.text, f.text)
		}
		if strings.Contains(test.text, "# top") && !(strings.HasPrefix(string(f.text), "# top\n") && strings.Contains(string(f.text), "# all")) {
			t.Errorf("comments lost:\n%s", f.text)
		}
		if err := f.Save(); err != nil {
			t.Fatal(err)
		}
		again, err := Load(f.Path())
		if err != nil {
			t.Fatalf("%q became\n%s: %v", test.text, f.text, err)
		}
		if diff := cmp.Diff(lab(), remote(t, again, "lab")); diff != "" {
			t.Errorf("%q: %s", test.text, diff)
		}
	}
}

func TestNamesThatYAMLMistakes(t *testing.T) {
	for _, name := range []string{"yes", "123", "null", "1e3", "2024-01-01", "0x1f", "true", "_", "a.b"} {
		f := &File{}
		r := lab()
		r.Name, r.User, r.Host, r.Bwlimit = name, name, name, "500"
		mustAdd(t, f, r)
		if diff := cmp.Diff(r, remote(t, f, name)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestRefusedEdits(t *testing.T) {
	f := load(t, "remotes:\n  a: &a {host: h, base_dir: /d}\n  b: *a\n")
	before := string(f.text)
	var exists *ExistsError
	r := lab()
	r.Name = "b"
	if err := f.Add(r); !errors.As(err, &exists) || exists.Line != 3 {
		t.Error(err)
	}
	var wrong *Error
	r.Name, r.Host = "c", "-x"
	if err := f.Add(r); !errors.As(err, &wrong) {
		t.Error(err)
	}
	if err := f.Remove("a"); !errors.As(err, &wrong) {
		t.Errorf("b is made of it: %v", err)
	}
	var unknown *UnknownError
	if err := f.Remove("c"); !errors.As(err, &unknown) {
		t.Error(err)
	}
	if string(f.text) != before {
		t.Errorf("changed:\n%s", f.text)
	}
}

func TestSaveCreates(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "config", "dnadesign")
	path := filepath.Join(dir, "usr-remotes.yaml")
	f, err := Edit(path)
	if err != nil {
		t.Fatal(err)
	}
	mustAdd(t, f, lab())
	if _, err := os.Stat(dir); err == nil {
		t.Error("made before Save")
	}
	if err := f.Save(); err != nil {
		t.Fatal(err)
	}
	wantMode(t, path, 0o600)
	wantMode(t, dir, 0o700)
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
	if err := f.Remove("lab"); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(); err != nil {
		t.Errorf("saved a second time: %v", err)
	}
}

func wantMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != want {
		t.Errorf("%s: %v, %v", path, info, err)
	}
}

func TestSaveFollowsLinks(t *testing.T) {
	for _, exists := range []bool{true, false} {
		dir := t.TempDir()
		place := filepath.Join(dir, "dotfiles", "remotes")
		link := filepath.Join(dir, "link")
		if exists {
			_ = os.Mkdir(filepath.Dir(place), 0o755)
			_ = os.WriteFile(place, []byte("# mine\n"), 0o644)
		}
		if err := os.Symlink("dotfiles/remotes", link); err != nil {
			t.Fatal(err)
		}
		f, err := Edit(link)
		if err != nil {
			t.Fatal(err)
		}
		mustAdd(t, f, lab())
		if err := f.Save(); err != nil {
			t.Fatal(err)
		}
		if to, err := os.Readlink(link); err != nil || to != "dotfiles/remotes" {
			t.Errorf("the link is %q, %v", to, err)
		}
		wantMode(t, place, 0o600)
	}
}

func TestSaveRefuses(t *testing.T) {
	f := load(t, kept)
	mustAdd(t, f, lab())
	if err := os.WriteFile(f.Path(), []byte("remotes: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var wrong *Error
	if err := f.Save(); !errors.As(err, &wrong) || !strings.HasSuffix(err.Error(), "it was changed meanwhile") {
		t.Error(err)
	}
	blocked := &File{path: filepath.Join(f.Path(), "below", "remotes.yaml")}
	if err := blocked.Save(); err == nil || errors.As(err, &wrong) {
		t.Errorf("below a file: %v", err)
	}
	loop := filepath.Join(t.TempDir(), "loop")
	_ = os.Symlink("loop", loop)
	if err := (&File{path: loop}).Save(); err == nil {
		t.Error("wrote through a loop")
	}
	if err := (&File{path: t.TempDir()}).Save(); !errors.As(err, &wrong) {
		t.Errorf("a directory: %v", err)
	}
}
