package remote

import (
	"slices"
	"testing"
)

func TestParseQuotas(t *testing.T) {
	got := ParseQuotas(`Disk quotas for group lab (gid 100): none
Disk quotas for group big lab (gid 101):
     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace
/dev/sda1     10       0       0              12       0       0
nfs:/project  2048*   1024    4096   6days    1       0       0
garbage x y z
`)
	want := []Quota{{Group: "big", FileSystem: "nfs:/project", Used: 2 << 20, Limit: 4 << 20}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	if got := ParseQuotas("nfs 1 2 3\n"); got != nil {
		t.Errorf("%+v", got)
	}
}
