package rsync

import "testing"

func TestParseVersion(t *testing.T) {
	for output, want := range map[string]Version{
		"rsync  version 3.1.3  protocol version 31\nCopyright":             {false, 3, 1, 3},
		"rsync  version v3.2.3  protocol version 31\n":                     {false, 3, 2, 3},
		"rsync  version 3.2.8pre1  protocol version 31\n":                  {false, 3, 2, 8},
		"rsync  version 2.6.9  protocol version 29\n":                      {false, 2, 6, 9},
		"Welcome!\nrsync  version 3.5.0  protocol version 32\n":            {false, 3, 5, 0},
		"openrsync: protocol version 29\nrsync version 2.6.9 compatible\n": {true, 2, 6, 9},
		"openrsync 1.0\nusage: openrsync [-aDgloprtvx]\n":                  {true, 0, 0, 0},
		"rsync  version 3.2  protocol version 31":                          {false, 3, 2, 0},
	} {
		got, err := ParseVersion(output)
		if err != nil || got != want {
			t.Errorf("%q: %v %v", output, got, err)
		}
	}
	if v, err := ParseVersion("command not found\x1b"); err == nil {
		t.Errorf("%v", v)
	}
	for v, want := range map[Version]bool{{false, 3, 1, 3}: false, {false, 3, 1, 2}: true, {false, 4, 0, 0}: false, {false, 3, 0, 9}: true, {false, 2, 6, 9}: true} {
		if got := v.Less(Version{Major: 3, Minor: 1, Patch: 3}); got != want {
			t.Errorf("%v: %v", v, got)
		}
	}
	v, err := LocalVersion(t.Context())
	if err != nil || v.Openrsync || v.Less(Version{Major: 3, Minor: 1, Patch: 3}) {
		t.Errorf("%v %v", v, err)
	}
}
