package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/sync"
)

// Output about merges: tables, sentences and JSON.

// mergeData is part of the audit; numbers are of files, those of events of lines.
type mergeData struct {
	FromLocal  int          `json:"from_local"`  // files that the remote gains
	FromRemote int          `json:"from_remote"` // files that local gains
	Resolved   int          `json:"resolved"`
	Conflicts  int          `json:"conflicts"`
	Events     mergedEvents `json:"events"`
	Paths      []movedData  `json:"paths"` // of a diff all that differ, else the conflicts that were decided
}

type mergedEvents struct {
	Base       int64 `json:"base"`
	RemoteTail int64 `json:"remote_tail"`
	LocalTail  int64 `json:"local_tail"`
}

// movedData is one path that a side, or both, changed.
type movedData struct {
	jsonPath
	Class   string          `json:"class"`
	Here    doneData        `json:"here"`
	There   doneData        `json:"there"`
	Base    *sync.TableSize `json:"base"`    // of the primary, while both sides had the same; null where it is not known
	Outcome string          `json:"outcome"` // local, remote, merged or conflict
}

type doneData struct {
	Change *string `json:"change"` // added, modified, deleted, or null
	Bytes  *int64  `json:"bytes"`
	Mtime  *string `json:"mtime"`
	Rows   *int64  `json:"rows"`
	Cols   *int64  `json:"cols"`
}

// pushData is the second half of a sync.
type pushData struct {
	State       sync.State    `json:"transfer_state"`
	Generation  *string       `json:"generation"`
	Fingerprint ends[*string] `json:"fingerprint"`
	Changes     []changeData  `json:"changes"`
	Reused      reusedData    `json:"reused"`
}

func mergeJSON(m *sync.MergeReport) *mergeData {
	if m == nil {
		return nil
	}
	d := &mergeData{FromLocal: m.FromLocal, FromRemote: m.FromRemote, Resolved: m.Resolved, Conflicts: m.Conflicts,
		Events: mergedEvents{m.Events.Base, m.Events.RemoteTail, m.Events.LocalTail}, Paths: movedJSON(m.Paths)}
	return d
}

func movedJSON(paths []sync.Moved) []movedData {
	out := make([]movedData, len(paths))
	for i, c := range paths {
		out[i] = movedData{newJSONPath(c.Path), c.Class.String(), doneJSON(c.Here), doneJSON(c.There), c.Base, c.Outcome}
	}
	return out
}

func doneJSON(d sync.Done) doneData {
	out := doneData{Change: orNull(d.Deed), Rows: known(d.Rows), Cols: known(d.Cols)}
	if d.Mtime != 0 {
		stamp := time.Unix(0, d.Mtime).UTC().Format(time.RFC3339)
		out.Bytes, out.Mtime = &d.Size, &stamp
	}
	return out
}

func pushJSON(r *sync.Report) *pushData {
	if r == nil {
		return nil
	}
	return &pushData{State: r.State, Generation: orNull(r.Generation),
		Fingerprint: ends[*string]{orNull(r.Print.Local), orNull(r.Print.Remote)}, Changes: changesJSON(r), Reused: reusedData(r.Reused)}
}

// movedGrid shows what each side did.
func movedGrid(paths []sync.Moved) *grid {
	g := columns("path", "class", "here", "there", "outcome")
	g.flex = []int{2, 3}
	for _, c := range paths {
		t := quiet
		if c.Outcome == "conflict" {
			t = bad
		}
		g.rows = append(g.rows, []cell{{text: shown(c.Path)}, {text: classLabel(c.Class)}, {text: doneText(c.Here, c.Base)}, {text: doneText(c.There, c.Base)}, {c.Outcome, t}})
	}
	return g
}

// doneText says what a side did: the change, then what is there now, of a table against what both had.
func doneText(d sync.Done, base *sync.TableSize) string {
	words := []string{orElse(d.Deed, "-")}
	if d.Mtime != 0 && d.Deed != "" {
		words = append(words, size(d.Size), time.Unix(0, d.Mtime).UTC().Format("2006-01-02 15:04"))
	}
	if d.Rows >= 0 && d.Deed != "" {
		if base == nil {
			base = &sync.TableSize{Rows: d.Rows, Cols: d.Cols}
		}
		words = append(words, fmt.Sprintf("%d %s%s", d.Rows, plural(d.Rows, "row"), since(d.Rows-base.Rows)),
			fmt.Sprintf("%d %s%s", d.Cols, plural(d.Cols, "column"), since(d.Cols-base.Cols)))
	}
	return strings.Join(words, ", ")
}

// since says how many more, or fewer, there are.
func since(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%+d)", n)
}

// mergeWords says what a sync would do, such as "merges 5 files from there and 2 from here, no conflict".
func mergeWords(p *page, m *sync.MergeReport) string {
	conflicts := "no conflict"
	if m.Conflicts > 0 {
		conflicts = p.count(int64(m.Conflicts), "conflict") + " to be decided"
	}
	return fmt.Sprintf("merges %s from there and %s from here, %s", p.count(int64(m.FromRemote), "file"), p.number(int64(m.FromLocal)), conflicts)
}

// printPush lists what the second half of a sync changes.
func (v *audit) printPush(p *page, o opt, most int) {
	if v.Push == nil {
		return
	}
	there := audit{Report: &sync.Report{Action: "push", State: v.Push.State, Direction: sync.Push, Changes: v.Push.Changes}}
	there.printListed(p, o, most, map[bool]string{true: "changed there:", false: "would change there:"}[v.Push.State == sync.Transferred])
}

// printMerge says what was merged, and how to bring back what lost a conflict.
func (v *audit) printMerge(p *page) {
	if v.Merge == nil || v.Relation != sync.Diverged && v.Relation != sync.Unrelated {
		return
	}
	if v.Action == "diff" {
		p.gap()
		p.table(movedGrid(v.Merge.Paths))
		return
	}
	e := v.Merge.Events
	merged := p.count(int64(v.Merge.FromRemote), "file") + " from there, " + p.number(int64(v.Merge.FromLocal)) + " from here"
	if e.RemoteTail+e.LocalTail > 0 {
		merged += fmt.Sprintf("; events: %s in common, then %s of theirs and %s of ours", p.number(e.Base), p.number(e.RemoteTail), p.number(e.LocalTail))
	}
	p.fact("merged", merged)
	if v.State != sync.Transferred {
		return
	}
	for _, c := range v.Merge.Paths {
		on, generation := "", v.Generation
		if c.Outcome == "local" && v.Push != nil {
			on, generation = v.Remote, v.Push.Generation
		}
		text := "took the " + c.Outcome + " version of " + shown(c.Path)
		if generation != "" {
			text += "; the other one: `" + v.restoreOne(on, c.Path, generation) + "`"
		}
		p.fact("decided", text)
	}
}

// conflictsOf returns the conflicts that an error is about.
func conflictsOf(err error) []sync.Moved {
	var conflict *sync.ConflictError
	if errors.As(err, &conflict) {
		return conflict.Conflicts
	}
	return nil
}

// tellConflicts prints the conflicts on standard error, each with the flags that decide it.
func (a *app) tellConflicts(err error) {
	conflicts := conflictsOf(err)
	if len(conflicts) == 0 {
		return
	}
	p := a.page(a.env.stderr)
	p.table(movedGrid(conflicts))
	for _, c := range conflicts {
		p.line("  " + takeFlag("local", c.Path) + "  or  " + takeFlag("remote", c.Path))
	}
	p.gap()
	_ = p.flush()
}

// takeFlag returns the flag that decides a conflict, quoted for a shell.
func takeFlag(whose, path string) string {
	var escaped strings.Builder
	for i := range len(path) {
		if strings.IndexByte(`*?[]{}\!`, path[i]) >= 0 {
			escaped.WriteByte('\\')
		}
		escaped.WriteByte(path[i])
	}
	return remote.CommandLine([]string{"--take-" + whose, escaped.String()})
}

func (a *app) hintConflict(e *sync.ConflictError) string {
	action := "sync"
	flags := []string{}
	if a.doing.action == "pull" {
		action, flags = "pull", []string{"--merge"}
	}
	line := a.doingCommand(action, flags...)
	return "nothing was changed; decide each with one of the flags above, such as `" + line + " " + takeFlag("local", e.Conflicts[0].Path) +
		"`; the other version stays in a generation"
}
