package sync_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// sh runs a script in a directory, and returns what it prints.
func (r *rig) sh(dir, script string) string {
	r.Helper()
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.Fatalf("%s: %v: %s", script, err, out)
	}
	return string(out)
}

// TestFaultLists: access control lists and extended attributes of directories that stay are what they were, by exchange and in
// place, and after an undo; what is new gets what its directory gives it; a mask lets nobody in.
func TestFaultLists(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
		for _, host := range []string{"exchange", "python", "in place"} {
			if host == "python" && (!ssh || d == sync.Pull) {
				continue
			}
			t.Run(host, func(t *testing.T) {
				t.Parallel()
				r := emptyRig(t, d)
				r.options = func(o *sync.Options) { o.NoExchange = host == "in place" }
				if ssh {
					o := remotetest.Options{}
					if host == "python" {
						bin := t.TempDir()
						r.must(remotetest.HidePath(bin, "perl"))
						o.Env = map[string]string{"PATH": bin}
					}
					r.overSSH(o)
				}
				root := strings.TrimSuffix(r.dst(), "/"+faultID)
				r.sh(root, "chmod 2755 .; setfacl -m u:12345:rwx,d:u:54321:r-x .") // of the group nobody writes, though the mask is rwx
				r.write(r.src(), 1)
				r.transferred()
				if lists := r.sh(root, "getfacl -cpn .usr-sync ns/faults ns/faults/_derived/same ns/faults/records.parquet"); strings.Count(lists, "\nuser:54321:r-x") != 3 ||
					!strings.HasPrefix(lists, "user::rwx\nuser:12345:rwx\ngroup::r-x\nmask::rwx\nother::---\n") {
					t.Errorf("new: %s", lists)
				}
				r.sh(r.dst(), `setfacl -b -k . _derived _artifacts; setfacl -m g::---,u:12345:r-x .; chmod o= .
setfacl -m u:12345:rwx,d:u:12345:rwx _derived; setfattr -n user.note -v kept _artifacts`)
				look := "getfacl -pn . _derived _artifacts; getfattr -d _artifacts"
				before := r.sh(r.dst(), look)
				if !strings.Contains(before, "group::---") || !strings.Contains(before, "kept") {
					t.Fatal(before)
				}
				r.write(r.src(), 2)
				r.must(replaceFile(filepath.Join(r.src(), "_derived/new.parquet"), "new"))
				r.must(replaceFile(filepath.Join(r.src(), "_derived/fresh/new.parquet"), "new"))
				r.transferred()
				if after := r.sh(r.dst(), look); after != before {
					t.Errorf("before:\n%s\nafter:\n%s", before, after)
				}
				if lists := r.sh(r.dst(), "getfacl -cpn _derived/new.parquet _derived/fresh/new.parquet"); strings.Count(lists, "user:12345:rwx") != 2 {
					t.Errorf("new: %s", lists)
				}
				p := r.open()
				defer p.Close()
				if d == sync.Push {
					if _, err := p.Undo(t.Context(), faultID, modes()); err != nil {
						t.Fatal(err)
					}
					if after := r.sh(r.dst(), look); after != before {
						t.Errorf("before:\n%s\nafter the undo:\n%s", before, after)
					}
				}
			})
		}
	})
}
