package history

import (
	"bytes"
	"slices"
)

// MergeText merges two texts line by line against the text that both come from, as diff3 -m does: it takes what one side
// changed; changes that touch are a conflict. It keeps the lines that both appended at the end, the remote's first.
func MergeText(base, local, remote []byte) (merged []byte, ok bool) {
	b, l, r := lines(base), lines(local), lines(remote)
	inLocal, ok := matches(b, l)
	if !ok {
		return nil, false
	}
	inRemote, ok := matches(b, r)
	if !ok {
		return nil, false
	}
	var bi, li, ri int // how far all three are merged
	for i := 0; i <= len(b); i++ {
		nl, nr := len(l), len(r)
		if i < len(b) {
			if nl, nr = inLocal[i], inRemote[i]; nl < 0 || nr < 0 {
				continue
			}
		}
		part, ok := mergeChunk(b[bi:i], l[li:nl], r[ri:nr], i == len(b))
		if !ok {
			return nil, false
		}
		merged = append(merged, bytes.Join(part, nil)...)
		if i < len(b) {
			merged = append(merged, b[i]...)
		}
		bi, li, ri = i+1, nl+1, nr+1
	}
	return merged, true
}

// mergeChunk merges what lies between two lines that all three texts have.
func mergeChunk(b, l, r [][]byte, last bool) ([][]byte, bool) {
	switch {
	case same(l, r), same(r, b):
		return l, true
	case same(l, b):
		return r, true
	case !last || len(b) > 0:
		return nil, false
	case contains(r, l):
		return r, true
	case contains(l, r):
		return l, true
	}
	return slices.Concat(r, l), true
}

func same(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

// contains reports whether all has the lines of part in a row: they were merged before.
func contains(all, part [][]byte) bool {
	for i := 0; i+len(part) <= len(all); i++ {
		if same(all[i:i+len(part)], part) {
			return true
		}
	}
	return false
}

// lines splits a text, and adds a missing newline at its end.
func lines(text []byte) (out [][]byte) {
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			line = append(slices.Clone(line), '\n')
		}
		out = append(out, line)
	}
	return out
}

// mostCells bounds the table of matches. Texts that would need a larger one are not merged.
const mostCells = 16 << 20

// matches finds a longest common subsequence: for each line of a the index of its match in b, or -1.
func matches(a, b [][]byte) (at []int, ok bool) {
	at = make([]int, len(a))
	head := 0
	for head < len(a) && head < len(b) && bytes.Equal(a[head], b[head]) {
		at[head] = head
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && bytes.Equal(a[len(a)-1-tail], b[len(b)-1-tail]) {
		tail++
		at[len(a)-tail] = len(b) - tail
	}
	n, m := len(a)-head-tail, len(b)-head-tail
	if n*m > mostCells {
		return nil, false
	}
	longest := make([][]int32, n+1) // of a[head+i:] and b[head+j:]
	for i := range longest {
		longest[i] = make([]int32, m+1)
	}
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			if longest[i][j] = max(longest[i+1][j], longest[i][j+1]); bytes.Equal(a[head+i], b[head+j]) {
				longest[i][j] = longest[i+1][j+1] + 1
			}
		}
	}
	for i, j := 0, 0; i < n; i++ {
		at[head+i] = -1
		for k := j; k < m && longest[i][k] == longest[i][j]; k++ {
			if bytes.Equal(a[head+i], b[head+k]) && longest[i][k] == longest[i+1][k+1]+1 && longest[i+1][j] < longest[i][j] {
				at[head+i], j = head+k, k+1
				break
			}
		}
	}
	return at, true
}

// Merged returns how many of the local lines the remote already has in a row, from a merge that was undone here since.
// They must not appear twice.
func Merged(local, remote []byte) (head int) {
	l, r := lines(local), lines(remote)
	best := 0
	for i := range r {
		n := 0
		for n < len(l) && i+n < len(r) && bytes.Equal(l[n], r[i+n]) {
			n++
		}
		best = max(best, n)
	}
	for _, line := range l[:best] {
		head += len(line)
	}
	return min(head, len(local))
}
