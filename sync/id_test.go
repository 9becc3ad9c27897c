package sync

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckID(t *testing.T) {
	for id, why := range map[string]string{
		"my_dataset": "", "densegen/my_dataset": "", "a b/c:d": "", "..x/y..": "", "ümlaut": "", "archived": "",
		"": "empty", "/abs": "absolute", "-x": "begins with", "a/-x": "begins with", "a//b": "empty segment", "a/": "empty segment",
		"./a": "'..' segment", "a/../b": "'..' segment", "..": "'..' segment", "a/b/c": "more than two", "archived/x": "archived",
		"a*": "one of", "a?/b": "one of", "[a]": "one of", `a\b`: "one of", "a\nb": "control", "a\x00": "control", "a\x1b": "control",
		"a\xff": "UTF-8", ".usr-sync/stage": "state directory", strings.Repeat("x", 256): "longer",
	} {
		err := CheckID(id)
		var bad *IDError
		if why == "" && err != nil || why != "" && (!errors.As(err, &bad) || !strings.Contains(bad.Why, why)) {
			t.Errorf("%q: %v, want %q", id, err, why)
		}
	}
}

// No two ids share a name in the state directory, nor one the lock of another.
func TestStateKeys(t *testing.T) {
	long := strings.Repeat("x", 200)
	seen := map[string]string{}
	for _, id := range []string{"a", "a/b", "a%2Fb", "a.lock", "a.tmp", ".a", "%2Ea", long, long + "y", long + "/" + long, "a b"} {
		key := stateKey(id)
		for _, taken := range []string{key, key + ".lock", key + ".tmp"} {
			if other, ok := seen[taken]; ok {
				t.Errorf("%q and %q both use %q", id, other, taken)
			}
			seen[taken] = id
		}
		if strings.Contains(key, "/") || strings.HasPrefix(key, ".") || len(key) > 200 {
			t.Errorf("%q: %q is no file name", id, key)
		}
	}
}
