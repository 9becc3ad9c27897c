package rsync

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote"
)

var farEnd = remote.Endpoint{Host: "me@cluster", Shell: []string{"ssh", "-S", "/tmp/a b/it's", "-o", "ControlMaster=no"}, RsyncPath: "/opt/rsync"}

func TestTransferArgs(t *testing.T) {
	common := []string{"-t", "-I", "-d", "-s", "-O", "--no-l", "--no-D", "--no-o", "--no-g", "--no-p", "--chmod=ugo=rwX", "--no-h",
		"--from0", "--files-from=-", "--outbuf=L", "--info=progress2,stats2", "--out-format=N %i|%l|%b|%M|%n//%L"}
	reach := []string{"--rsh=ssh -S '/tmp/a b/it''s' -o ControlMaster=no", "--rsync-path=/opt/rsync"}
	for name, c := range map[string]struct {
		t    Transfer
		want []string
	}{
		"pull": {Transfer{From: farEnd, FromDir: "/far/a b", ToDir: "/here/x:y/"}, slices.Concat(reach, []string{"--", "me@cluster:/far/a b/", "/here/x:y/"})},
		"push": {Transfer{To: farEnd, FromDir: "/here", ToDir: "/far", Basis: []string{"/far/live", "/far/old"}, PartialDir: ".p", Bwlimit: "1.5m"},
			slices.Concat([]string{"--link-dest=/far/live", "--link-dest=/far/old", "--partial-dir=.p", "--bwlimit=1.5m"}, reach, []string{"--", "/here/", "me@cluster:/far/"})},
		"local": {Transfer{FromDir: "/a", ToDir: "/"}, []string{"--", "/a/", "/"}},
	} {
		if got := c.t.Args("N"); !slices.Equal(got, slices.Concat(common, c.want)) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestNoDangerousOptions(t *testing.T) {
	transfer := Transfer{From: farEnd, FromDir: "/a", ToDir: "/b", Basis: []string{"/c"}, PartialDir: ".p"}.Args("N")
	preview := Preview{From: farEnd, FromDir: "/a", ToDir: "/b"}.Args("N")
	for _, arg := range slices.Concat(transfer, preview) {
		for _, bad := range []string{"--inplace", "--append", "--timeout", "--mkpath", "--protect-args", "--secluded-args", "--old-args", "-z", "--compress"} {
			if strings.HasPrefix(arg, bad) {
				t.Errorf("%s is used", arg)
			}
		}
	}
	if slices.Contains(transfer, "--delete") || !slices.Contains(preview, "-n") {
		t.Error("a transfer deletes or a preview does not keep to previewing")
	}
}

func TestRefusedPaths(t *testing.T) {
	file := []string{"f"}
	for name, c := range map[string]Transfer{
		"glob":          {From: farEnd, FromDir: "/far/gl*b", ToDir: "/h", Files: file},
		"backslash":     {To: farEnd, FromDir: "/h", ToDir: `/far/a\b`, Files: file},
		"control":       {To: farEnd, FromDir: "/h", ToDir: "/far/a\nb", Files: file},
		"remote basis":  {To: farEnd, FromDir: "/h", ToDir: "/far", Basis: []string{"/far/[a]"}, Files: file},
		"partial":       {FromDir: "/h", ToDir: "/g", PartialDir: "/abs", Files: file},
		"relative":      {FromDir: "h", ToDir: "/g", Files: file},
		"option host":   {From: remote.Endpoint{Host: "-oProxyCommand=x", Shell: []string{"ssh"}}, FromDir: "/h", ToDir: "/g", Files: file},
		"no shell":      {From: remote.Endpoint{Host: "cluster"}, FromDir: "/h", ToDir: "/g", Files: file},
		"climbing":      {FromDir: "/h", ToDir: "/g", Files: []string{"../x"}},
		"absolute file": {FromDir: "/h", ToDir: "/g", Files: []string{"/x"}},
		"NUL":           {FromDir: "/h", ToDir: "/g", Files: []string{"a\x00b"}},
		"empty":         {FromDir: "/h", ToDir: "/g", Files: []string{""}},
		"many bases":    {FromDir: "/h", ToDir: "/g", Basis: slices.Repeat([]string{"/b"}, 21), Files: file},
	} {
		c.Command = func([]string) { t.Errorf("%s: rsync ran", name) }
		_, err := c.Run(t.Context())
		var bad *PathError
		if !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (Transfer{From: farEnd, To: farEnd, FromDir: "/a", ToDir: "/b", Files: file}).Run(t.Context()); err == nil {
		t.Error("two remote ends were taken")
	}
}

func TestEnvironment(t *testing.T) {
	got := environment([]string{"PATH=/bin", "RSYNC_RSH=evil", "RSYNC_PARTIAL_DIR=x", "LC_ALL=de_DE", "TZ=CET", "HOME=/h"})
	if !slices.Equal(got, []string{"LC_ALL=C", "TZ=UTC", "PATH=/bin", "HOME=/h"}) {
		t.Errorf("%q", got)
	}
}

// TestOwnAliases: a .popt in the user's home changes nothing, for it may give our options another meaning.
func TestOwnAliases(t *testing.T) {
	home := t.TempDir()
	put(t, filepath.Join(home, ".popt"), []byte("rsync alias -t --dry-run\n"))
	t.Setenv("HOME", home)
	b := newBed(t)
	put(t, filepath.Join(b.src, "file"), []byte("x"))
	if _, err := (Transfer{FromDir: b.src, ToDir: b.stage, Files: []string{"file"}}).Run(t.Context()); err != nil {
		t.Error(err)
	}
	same(t, filepath.Join(b.src, "file"), filepath.Join(b.stage, "file"))
}
