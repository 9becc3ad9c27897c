package profiles

import "strings"

// Nearest returns the known name that a mistyped one probably means, or "".
func Nearest(name string, known []string) string {
	best, least := "", 1<<30
	for _, k := range known {
		d := distance(fold(name), fold(k))
		if d < least && near(fold(name), fold(k), d) {
			best, least = k, d
		}
	}
	return best
}

// near reports whether a word is a slip of the finger, or a longer word for the
// same thing ("hostname", "username").
func near(a, b string, distance int) bool {
	if min(len(a), len(b)) >= 4 && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a)) {
		return true
	}
	return distance <= max(1, max(len(a), len(b))/3) && distance < min(len(a), len(b))
}

func fold(s string) string {
	return strings.ReplaceAll(strings.ToLower(s), "-", "_")
}

// distance counts the insertions, deletions, replacements and exchanges of
// neighbours between a and b. Names beyond all reason are not compared.
func distance(a, b string) int {
	if len(a) > 100 || len(b) > 100 {
		return 100
	}
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
