package local

import (
	"testing"

	"github.com/dnadesign-maintainers/usr/verify"
)

// TestReportedTwice: of a file that was sent twice no hash is taken for granted.
func TestReportedTwice(t *testing.T) {
	got := once(verify.Manifest{{Path: "a"}, {Path: "b", Ino: 1}, {Path: "b", Ino: 2}, {Path: "c"}, {Path: "d"}, {Path: "d"}})
	if len(got) != 2 || got[0].Path != "a" || got[1].Path != "c" {
		t.Errorf("%+v", got)
	}
}
