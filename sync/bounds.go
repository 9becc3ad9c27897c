package sync

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dnadesign-maintainers/usr/verify"
)

// DeleteLimit is how many files a transfer may delete: a number, or a percentage of the destination's files. The zero value
// means no limit.
type DeleteLimit struct {
	set, percent bool
	n            int
}

// UnmarshalText reads 20 or 5%.
func (l *DeleteLimit) UnmarshalText(text []byte) error {
	digits, percent := strings.CutSuffix(string(text), "%")
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || (percent && n > 100) {
		return fmt.Errorf("%q is neither a number of files such as 20 nor a percentage such as 5%%", text)
	}
	*l = DeleteLimit{set: true, percent: percent, n: int(n)}
	return nil
}

func (l DeleteLimit) String() string {
	if l.percent {
		return strconv.Itoa(l.n) + "%"
	}
	return strconv.Itoa(l.n)
}

func (l DeleteLimit) exceeded(deleted, of int) bool {
	if l.percent {
		return deleted*100 > of*l.n
	}
	return l.set && deleted > l.n
}

// guardedFrom is the size of a class, in files, from which on only --force empties it: the source may be unmounted or purged.
const guardedFrom = 10

// DeletionError means that a transfer would delete more than anybody asked for.
type DeletionError struct {
	Action  string
	Side    string         // the destination
	Emptied []verify.Class // classes that would be empty; none if the limit is exceeded
	Deleted int            // files of these classes, or, for the limit, of all
	Of      int            // files of the destination
	Limit   DeleteLimit
}

func (e *DeletionError) Error() string {
	if len(e.Emptied) == 0 {
		return fmt.Sprintf("cannot %s: it would delete %d of %d files on %s, and the limit is %v", e.Action, e.Deleted, e.Of, e.Side, e.Limit)
	}
	names := make([]string, len(e.Emptied))
	for i, c := range e.Emptied {
		names[i] = c.String()
	}
	return fmt.Sprintf("cannot %s: it would empty %s on %s (%d files): the source has none", e.Action, strings.Join(names, " and "), e.Side, e.Deleted)
}

// withinBounds refuses to empty a class of many files, and to delete more than the limit.
func (p *plan) withinBounds(m Modes) error {
	if m.Force || len(p.changes) == 0 {
		return nil
	}
	e := &DeletionError{Action: string(p.direction), Side: p.dst.side.Name()}
	left := map[verify.Class]int{}
	for i := range p.items {
		left[p.items[i].Class]++
	}
	for _, c := range synced {
		if had := countClass(p.dst.files, c); m.inScope(c) && had >= guardedFrom && left[c] == 0 {
			e.Emptied = append(e.Emptied, c)
			e.Deleted += had
		}
	}
	if len(e.Emptied) > 0 {
		return e
	}
	return p.withinLimit(e.Action, m)
}

func countClass(files verify.Manifest, c verify.Class) (n int) {
	for i := range files {
		if files[i].Class == c {
			n++
		}
	}
	return n
}

// withinLimit refuses to delete more than --max-delete.
func (p *plan) withinLimit(action string, m Modes) error {
	e := &DeletionError{Action: action, Side: p.dst.side.Name(), Limit: m.MaxDelete}
	for i := range p.dst.files {
		if m.inScope(p.dst.files[i].Class) {
			e.Of++
		}
	}
	for i := range p.changes {
		if p.changes[i].Kind == Deleted {
			e.Deleted++
		}
	}
	if m.MaxDelete.exceeded(e.Deleted, e.Of) {
		return e
	}
	return nil
}
