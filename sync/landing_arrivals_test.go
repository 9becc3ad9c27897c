package sync

import (
	"testing"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// TestNotYetArrived: one file whose stamp is not known is enough for the stage to be listed.
func TestNotYetArrived(t *testing.T) {
	got := remote.Arrivals{Stamped: verify.Manifest{{Path: "a"}, {Path: "c"}}}
	if complete(got, []*verify.Entry{{Path: "a"}, {Path: "b"}}) || !complete(got, []*verify.Entry{{Path: "a"}, {Path: "c"}}) {
		t.Error("b counts as arrived, or c does not")
	}
}
