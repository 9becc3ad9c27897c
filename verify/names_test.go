package verify

import (
	"fmt"
	"slices"
	"testing"
)

func TestNamesTogether(t *testing.T) {
	const nfc, nfd = "\u00e9", "e\u0301"
	for _, c := range []struct {
		names Names
		paths []string
		want  string
	}{
		{Names{}, []string{"A", "a", nfc, nfd}, "[]"},
		{Names{Case: true}, []string{"A", "a", "b"}, "[[A a]]"},
		{Names{Case: true}, []string{"AB", "Ab", "aB"}, "[[AB Ab] [AB aB]]"},
		{Names{Case: true}, []string{"D/x", "d/y"}, "[[D d]]"},
		{Names{Case: true}, []string{"D/x", "D/y", "d/x"}, "[[D d] [D/x d/x]]"},
		{Names{Case: true}, []string{"D", "d/x"}, "[[D d]]"},
		{Names{Case: true}, []string{"D/A", "D/B", "e/A"}, "[]"},
		{Names{Case: true}, []string{"\u00c9", "\u00e9", "\u03a3", "\u03c2", "\u03c3"}, "[[\u00c9 \u00e9] [\u03a3 \u03c2] [\u03c2 \u03c3]]"},
		{Names{Case: true}, []string{"K", "\u212a"}, "[[K \u212a]]"},
		{Names{Case: true}, []string{nfc, nfd}, "[]"},
		{Names{Form: true}, []string{nfc, nfd, "A", "a"}, fmt.Sprintf("[[%s %s]]", nfd, nfc)},
		{Names{Form: true}, []string{nfc + "/x", nfd + "/y"}, fmt.Sprintf("[[%s %s]]", nfd, nfc)},
		{Names{Case: true, Form: true}, []string{"\u00c9", nfd}, fmt.Sprintf("[[%s \u00c9]]", nfd)},
		{Names{Case: true, Form: true}, []string{"\xff", "\xfe"}, "[]"},
	} {
		slices.Sort(c.paths)
		if got := fmt.Sprint(c.names.Together(c.paths)); got != c.want {
			t.Errorf("%+v of %q: %s, want %s", c.names, c.paths, got, c.want)
		}
	}
	if got := (Names{UTF8: true}).Refused([]string{"a", nfc, "x\xff"}); len(got) != 1 || got[0] != "x\xff" {
		t.Errorf("refused: %q", got)
	}
}
