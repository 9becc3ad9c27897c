package verify

import (
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Names says how a file system takes names. The zero value keeps apart, and takes, whatever differs in a byte.
type Names struct {
	Case bool // names that differ in case alone are one (APFS, HFS+, FAT, exFAT; ext4 and f2fs where a directory is marked)
	Form bool // and so are those that differ in how Unicode composes a letter (APFS, HFS+, a marked ext4)
	UTF8 bool // what is not UTF-8 is refused
}

// Learn takes over what somebody else has seen of the same place.
func (n *Names) Learn(more Names) {
	*n = Names{Case: n.Case || more.Case, Form: n.Form || more.Form, UTF8: n.UTF8 || more.UTF8}
}

// Fold is what a name has in common with those that it is one with.
func (n Names) Fold(name string) string {
	if !utf8.ValidString(name) {
		return name
	}
	if n.Form {
		name = norm.NFD.String(name)
	}
	if n.Case {
		name = strings.Map(foldRune, name)
	}
	return name
}

// foldRune is the least of the letters that differ in case alone.
func foldRune(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r + 'a' - 'A'
	}
	if r < utf8.RuneSelf {
		return r
	}
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	if 'A' <= least && least <= 'Z' {
		least += 'a' - 'A'
	}
	return least
}

// Together lists the pairs of names that are one there, of files or of the directories that hold them. The paths are
// sorted.
func (n Names) Together(paths []string) (pairs [][2]string) {
	if !n.Case && !n.Form {
		return nil
	}
	folded := map[string]string{} // only of those that folding changes
	for _, p := range paths {
		if n.Fold(p) == p {
			continue
		}
		for name := p; name != "."; name = path.Dir(name) {
			switch key := n.Fold(name); folded[key] {
			case name:
			case "":
				if key == name {
					break
				}
				folded[key] = name
				if has(paths, key) {
					pairs = append(pairs, pair(name, key))
				}
			default:
				pairs = append(pairs, pair(folded[key], name))
			}
		}
	}
	slices.SortFunc(pairs, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(pairs)
}

func pair(a, b string) [2]string { return [2]string{min(a, b), max(a, b)} }

// has reports whether a path, or one below it, is in a sorted list.
func has(paths []string, name string) bool {
	_, found := slices.BinarySearch(paths, name)
	i, _ := slices.BinarySearch(paths, name+"/")
	return found || i < len(paths) && strings.HasPrefix(paths[i], name+"/")
}

// Refused lists the paths that are not taken.
func (n Names) Refused(paths []string) (refused []string) {
	for _, p := range paths {
		if n.UTF8 && !utf8.ValidString(p) {
			refused = append(refused, p)
		}
	}
	return refused
}
