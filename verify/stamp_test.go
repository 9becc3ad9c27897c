package verify

import "testing"

// TestPast: whatever has no fraction of a second is two seconds coarse.
func TestPast(t *testing.T) {
	const second = 1_000_000_000
	for _, c := range []struct {
		stamp, at    int64
		past, unique bool
	}{
		{5*second + 1, 5*second + 20e6, false, true},
		{5*second + 1, 5*second + 20e6 + 2, true, true},
		{5 * second, 5*second + 999e6, false, false},
		{5 * second, 7 * second, false, false},
		{5 * second, 7*second + 1, true, true},
		{9 * second, 5 * second, false, false},
		{-5 * second, -4 * second, false, false},
	} {
		if past, unique := Past(c.stamp, c.at), Unique(c.stamp, c.at); past != c.past || unique != c.unique {
			t.Errorf("%d at %d: past %v, unique %v", c.stamp, c.at, past, unique)
		}
	}
}
