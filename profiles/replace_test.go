package profiles

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const commented = `# my remotes
remotes:
  first:
    type: ssh
    host: a.example.org
    base_dir: /data
  # the cluster
  bu-scc:
    # who I am there
    user: me
    host: scc1.bu.edu    # the login node
    type: ssh

    ignore:
    - "*.tmp"
    - "*.bak"
    # where it is
    base_dir: /project/x
    bwlimit: 10M # for the others' sake
    batch_mode: true # the default, said
    ssh_key_env: null
  last:
    type: local
    base_dir: /mnt
# the end
`

func TestReplaceKeepsComments(t *testing.T) {
	path := filepath.Join(t.TempDir(), "remotes.yaml")
	if err := os.WriteFile(path, []byte(commented), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Edit(path)
	if err != nil {
		t.Fatal(err)
	}
	old, err := f.Remote("bu-scc")
	if err != nil {
		t.Fatal(err)
	}
	r := old
	r.Host, r.Bwlimit, r.Ignore, r.Streams = "scc2.bu.edu", "", []string{"*.tmp"}, 4
	want := []Difference{{"host", "scc1.bu.edu", "scc2.bu.edu"}, {"bwlimit", "10M", ""}, {"streams", "1", "4"}, {"ignore", "['*.tmp', '*.bak']", "['*.tmp']"}}
	if d := cmp.Diff(want, Compare(old, r)); d != "" {
		t.Error(d)
	}
	if err := f.Replace(r); err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("host: scc1.bu.edu    # the login node", "host: scc2.bu.edu # the login node",
		"    - \"*.tmp\"\n    - \"*.bak\"\n", "      - '*.tmp'\n", "    bwlimit: 10M # for the others' sake\n", "", "    ssh_key_env: null\n", "    ssh_key_env: null\n    streams: 4\n").Replace(commented)
	if d := cmp.Diff(text, string(f.text)); d != "" {
		t.Error(d)
	}
	if now, _ := f.Remote("bu-scc"); !equal(now, r) {
		t.Errorf("%+v", now)
	}
	before := string(f.text)
	if err := f.Replace(r); err != nil || string(f.text) != before {
		t.Errorf("replacing it by itself: %v\n%s", err, f.text)
	}
	if err := f.Replace(Default("other")); err == nil {
		t.Error("an unknown remote is replaced")
	}
}

// A remote in flow style is written anew, and the others stay.
func TestReplaceInFlowStyle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "remotes.yaml")
	text := "remotes: {a: {type: local, base_dir: /x}, b: {type: local, base_dir: /y}} # mine\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Edit(path)
	if err != nil {
		t.Fatal(err)
	}
	r, _ := f.Remote("a")
	r.BaseDir = "/z"
	if err := f.Replace(r); err != nil {
		t.Fatal(err)
	}
	if a, _ := f.Remote("a"); a.BaseDir != "/z" {
		t.Errorf("%+v", a)
	}
	if b, _ := f.Remote("b"); b.BaseDir != "/y" || !strings.Contains(string(f.text), "# mine") {
		t.Errorf("%s", f.text)
	}
}
