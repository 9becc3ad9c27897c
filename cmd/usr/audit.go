package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/sync"
	"github.com/dnadesign-maintainers/usr/verify"
)

// audit is the result of diff, pull, push, verify, undo and restore of one dataset or file.
type audit struct {
	*sync.Report
	file       bool
	remotePath string // of a file
	onward     func(action string, flags ...string) string
	itemized   []string // rsync's own lines, if they were asked for
	warnings   []string // all of them
	listed     bool     // the files that change were listed with the question
	restoreOne func(on, path, generation string) string
	undoThere  string // the command that takes back the second half of a sync
	undo       string // the command that takes it back, "" if there is none
	restore    string // the command that brings back what exists nowhere else now, "" if there is no such thing
}

// auditOf makes the result of a report.
func (a *app) auditOf(r *sync.Report, file bool) *audit {
	v := &audit{Report: r, file: file, itemized: a.progress.itemized}
	v.onward = func(action string, flags ...string) string { return a.onward(action, r.Dataset, r.Remote, flags...) }
	v.restoreOne = func(on, path, generation string) string {
		return a.onward("restore", r.Dataset, on, "--path", path, "--from", generation)
	}
	if r.Push != nil && r.Push.Generation != "" {
		v.undoThere = a.onward("undo", r.Dataset, r.Remote)
	}
	v.warnings = append(v.warnings, a.progress.warnings...)
	v.listed = len(r.Changes) > 0 && slices.Equal(a.listed, r.Changes)
	if r.State == sync.Transferred && r.Generation != "" && !file {
		v.undo = a.onward("undo", r.Dataset, undoneOn(r))
		if len(r.Unique) > 0 {
			v.restore = a.restoreCommand(r)
		}
	}
	return v
}

// undoneOn returns the remote whose tree was replaced, "" if it was this side's.
func undoneOn(r *sync.Report) string {
	if r.Action == "push" || (isBack(r.Action) && r.Remote != here) {
		return r.Remote
	}
	return ""
}

// isBack reports whether the action is about one side, which is then shown before and after.
func isBack(action string) bool { return action == "undo" || action == "restore" }

func (v *audit) data() any { return auditJSON(v) }

func (v *audit) isOutcome() {}

// text prints the audit: how the sides were compared, a row for each class, rows and columns, the files, the cost, the
// relation; and at the end, where the eye is, the outcome.
func (v *audit) text(p *page, o opt) {
	v.printItemized(p)
	if v.inSync() && !o.verbose {
		v.printInSync(p, o)
		return
	}
	p.fact("action", v.title())
	if v.remotePath != "" {
		p.fact("remote file", shown(v.remotePath))
	}
	v.printVerify(p)
	p.gap()
	p.table(v.classGrid(p))
	v.printFacts(p, o)
	if !v.listed || o.verbose {
		if v.Action != "diff" || v.Relation != sync.Diverged {
			v.printChanges(p, o, changesShown)
		}
		v.printPush(p, o, changesShown)
	}
	v.printMerge(p)
	p.gap()
	v.printRemarks(p, o)
	v.printCosts(p)
	v.printRelation(p, true)
	if v.undo != "" {
		p.line("undo: " + v.undo) // never wrapped: it will be copied
	}
	if v.undoThere != "" {
		p.line("undo there: " + v.undoThere)
	}
	v.printState(p)
	if v.restore != "" {
		p.line("restore: " + v.restore)
	}
}

// half is the half of a sync that the table is about: the push, if there was nothing to pull.
func (v *audit) half() *sync.Report {
	if v.Push != nil && len(v.Changes) == 0 && len(v.Push.Classes) > 0 {
		return v.Push
	}
	return v.Report
}

func (v *audit) inSync() bool { return v.Relation == sync.InSync && len(v.Changes) == 0 }

// printInSync replaces the table, in which no number matters here.
func (v *audit) printInSync(p *page, o opt) {
	v.printRemarks(p, o)
	v.printVerify(p)
	p.line(strings.Join(v.classWords(), "; "))
	p.state("state", string(v.State), stateTone(v.State), tied("relation: "+string(v.Relation))+" ("+v.title()+")")
}

// classWords lists the classes by their state, such as "same: primary, meta".
func (v *audit) classWords() []string {
	var out []string
	for _, state := range []string{"same", "left alone", "none"} {
		var labels []string
		for _, c := range v.Classes {
			if word, _ := classState(c); word == state && !v.unknownTo(c) {
				labels = append(labels, v.rowLabel(c.Class))
			}
		}
		if len(labels) > 0 {
			out = append(out, state+": "+strings.Join(labels, ", "))
		}
	}
	return out
}

// unknownTo reports whether a row is empty because a file has no classes; it counts as the primary.
func (v *audit) unknownTo(c sync.ClassReport) bool {
	return v.file && c.Tally.Local.Files+c.Tally.Remote.Files == 0
}

func (v *audit) printItemized(p *page) {
	for _, line := range v.itemized {
		p.line(safe(line))
	}
	if len(v.itemized) > 0 {
		p.gap()
	}
}

func (v *audit) printVerify(p *page) {
	modes := jsonModes(v.Modes)
	p.fact("verify", strings.Join([]string{tied("primary: " + modes.Primary), tied("sidecars: " + modes.Sidecars),
		tied("content hashes: " + modes.ContentHashes), tied("algorithm: " + orElse(v.Algorithm, "none"))}, ", "))
}

func (v *audit) printState(p *page) {
	rest := ""
	if len(v.half().Changes) > 0 {
		rest = tied(v.sum())
	}
	p.state("state", string(v.State), stateTone(v.State), rest)
}

func (v *audit) title() string {
	name := shown(v.Dataset)
	switch {
	case v.Action == "pull":
		return "pull " + name + " from " + v.Remote
	case v.Action == "push":
		return "push " + name + " to " + v.Remote
	case v.Remote == "" || (isBack(v.Action) && v.Remote == here):
		return v.Action + " " + name
	case isBack(v.Action):
		return v.Action + " " + name + " on " + v.Remote
	}
	return v.Action + " " + name + " with " + v.Remote
}

func stateTone(s sync.State) tone {
	if s == sync.Transferred || s == sync.NoOp {
		return good
	}
	return neutral
}

// printRelation says before a transfer what is still to come, after it what was transferred.
func (v *audit) printRelation(p *page, next bool) {
	if v.Relation == "" {
		return
	}
	adv := relationAdvice(p, v)
	if v.State == sync.Transferred {
		p.state("relation before", string(v.Relation), neutral, adv.was)
		return
	}
	sentence := adv.sentence
	if adv.next != "" {
		sentence += "; " + tied("a "+adv.next+" "+adv.note)
	}
	p.state("relation", string(v.Relation), relationTone(v.Relation), sentence)
	if next {
		v.printNext(p, adv)
	}
}

func (v *audit) printNext(p *page, adv advice) {
	switch {
	case v.State == sync.DryRun:
		p.line("next: the same command without --dry-run")
	case v.Action == "sync" && v.State == sync.Skipped: // what is left waits for its writer
	case adv.next != "":
		p.line("next: " + v.onward(adv.next))
	}
}

// classGrid is the heart of the audit: one row for each class.
func (v *audit) classGrid(p *page) *grid {
	local, remote := ">local", ">remote"
	if isBack(v.Action) {
		local, remote = ">before", ">after"
	}
	g := columns("class", "state", local, remote, ">+add", ">~mod", ">-del", ">bytes", ">hashed")
	for _, c := range v.half().Classes {
		if v.unknownTo(c) {
			continue
		}
		word, t := classState(c)
		n := p.counted
		g.rows = append(g.rows, []cell{{text: v.rowLabel(c.Class)}, {word, t},
			n(c.Tally.Local.Files), n(c.Tally.Remote.Files), n(c.Added), n(c.Modified), n(c.Deleted),
			sized(c.Bytes), n(c.Hashed)})
	}
	return g
}

func classState(c sync.ClassReport) (string, tone) {
	switch {
	case !c.InScope:
		return "left alone", quiet
	case c.Changed():
		return "changed", notable
	case c.Tally.Local.Files+c.Tally.Remote.Files == 0:
		return "none", quiet
	}
	return "same", good
}

// sized is a number of bytes in a table.
func sized(n int64) cell {
	c := cell{text: size(n)}
	if n == 0 {
		c.tone = quiet
	}
	return c
}

func (v *audit) rowLabel(c verify.Class) string {
	if v.file {
		return "file"
	}
	return classLabel(c)
}

// classLabel is the name of a class in audits, the same as in JSON.
func classLabel(c verify.Class) string {
	switch c {
	case verify.Events:
		return ".events.log"
	case verify.Snapshots, verify.Derived, verify.Auxiliary:
		return "_" + c.String()
	}
	return c.String()
}

func (v *audit) printFacts(p *page, o opt) {
	l, r := v.Tables.Local, v.Tables.Remote
	if !v.file || l != nil || r != nil {
		p.gap()
	}
	if l != nil || r != nil {
		p.fact("rows", v.both(p, rowsOf(l), rowsOf(r)))
		p.fact("columns", v.both(p, colsOf(l), colsOf(r)))
	}
	for i, c := range v.Tables.Changes {
		if i == changesShown && !o.verbose {
			p.fact("schema", fmt.Sprintf("… and %s more (-v lists all)", p.number(int64(len(v.Tables.Changes)-i))))
			break
		}
		p.fact("schema", schemaText(c))
	}
	if v.file || isBack(v.Action) {
		return
	}
	p.fact("events", v.both(p, v.Events.Local, v.Events.Remote))
	p.fact("snapshots", fmt.Sprintf("%s on the remote, %s newer than the newest local one",
		p.number(int64(v.Snapshots.Remote)), p.number(int64(v.Snapshots.NewerThanLocal))))
}

// both writes a count of both sides, and by how much the destination's would change; -1 is unknown. For an undo the sides
// are the tree before and after it.
func (v *audit) both(p *page, local, remote int64) string {
	text := func(n int64) string {
		if n < 0 {
			return "none"
		}
		return p.number(n)
	}
	s := text(local) + " local, " + text(remote) + " remote"
	if isBack(v.Action) {
		s = text(local) + " before, " + text(remote) + " after"
	}
	d := remote - local
	if v.half().Direction == sync.Push && !isBack(v.Action) {
		d = -d
	}
	if local >= 0 && remote >= 0 && d != 0 {
		sign := "+"
		if d < 0 {
			sign, d = "-", -d
		}
		s += " (" + sign + p.number(d) + ")"
	}
	return s
}

func rowsOf(t *verify.Table) int64 {
	if t == nil {
		return -1
	}
	return t.Rows
}

func colsOf(t *verify.Table) int64 {
	if t == nil {
		return -1
	}
	return int64(len(t.Columns))
}

func schemaText(c verify.SchemaChange) string {
	switch c.Change {
	case verify.ColumnAdded:
		return "+ " + shown(c.Column) + " (" + safe(c.New) + ") added"
	case verify.ColumnRemoved:
		return "- " + shown(c.Column) + " (" + safe(c.Old) + ") removed"
	}
	return "~ " + shown(c.Column) + " (" + safe(c.Old) + " -> " + safe(c.New) + ") retyped"
}

// How many added and modified files, and changed columns, are listed without --verbose. Deleted files always are.
const (
	changesShown = 20
	changesAsked = 10 // before a question, which has to stay in sight
)

func (v *audit) printChanges(p *page, o opt, most int) {
	if len(v.Changes) == 0 {
		return
	}
	heading := map[sync.State]string{sync.Transferred: "changed", sync.NoOp: "changed"}[v.State]
	if heading == "" {
		heading = "would change"
		if v.Action == "diff" || v.Action == "verify" {
			heading += " with a " + string(v.Direction)
		}
	}
	v.printListed(p, o, most, heading+":")
}

func (v *audit) printListed(p *page, o opt, most int, heading string) {
	if len(v.Changes) == 0 {
		return
	}
	p.gap()
	p.line(heading)
	list := gravest(v.Changes)
	for i, c := range list {
		if c.Kind != sync.Deleted {
			most--
		}
		if most < 0 && !o.verbose {
			p.line(fmt.Sprintf("  … and %s more (-v lists all)", p.number(int64(len(list)-i))))
			break
		}
		p.line(changeLine(c))
	}
}

// gravest puts deletions first, then what is overwritten, then what is new.
func gravest(changes []sync.Change) []sync.Change {
	rank := map[sync.ChangeKind]int{sync.Deleted: 0, sync.Modified: 1, sync.Added: 2}
	list := slices.Clone(changes)
	slices.SortStableFunc(list, func(a, b sync.Change) int { return rank[a.Kind] - rank[b.Kind] })
	return list
}

var changeSigns = map[sync.ChangeKind]string{sync.Added: "+", sync.Modified: "~", sync.Deleted: "-"}

func changeLine(c sync.Change) string {
	return fmt.Sprintf("  %s %-8s  %8s  %s", changeSigns[c.Kind], c.Kind, size(c.Bytes), shown(c.Path))
}

func (v *audit) printRemarks(p *page, o opt) {
	v.printDamage(p, o)
	if len(v.Silent) > 0 {
		p.fact("silent", p.count(int64(len(v.Silent)), "file")+" with the same size and time stamp but other content: "+names(v.Silent, o))
	}
	if len(v.Touched) > 0 {
		p.fact("touched", p.count(int64(len(v.Touched)), "file")+" with another time stamp but the same content, left as they are: "+names(v.Touched, o))
	}
}

// printDamage names the files whose bytes no writer has changed.
func (v *audit) printDamage(p *page, o opt) {
	for i, paths := range [][]string{v.Damaged.Local, v.Damaged.Remote} {
		if len(paths) > 0 {
			p.fact("damaged", p.count(int64(len(paths)), "file")+" "+[]string{"here", "there"}[i]+" with other bytes under the size and time stamp that both sides had: "+names(paths, o))
		}
	}
}

// names lists a few paths.
func names(paths []string, o opt) string {
	const few = 3
	var out []string
	for i, path := range paths {
		if i == few && !o.verbose {
			return strings.Join(out, ", ") + fmt.Sprintf(" and %d more", len(paths)-few)
		}
		out = append(out, shown(path))
	}
	return strings.Join(out, ", ")
}

func (v *audit) printCosts(p *page) {
	costs := v.costs(p)
	for i := range costs {
		costs[i] = tied(costs[i])
	}
	p.fact("cost", strings.Join(costs, ", "))
	if v.undo != "" {
		p.fact("generation", v.Generation)
	}
}

func (v *audit) costs(p *page) []string {
	var costs []string
	if v.Sent+v.Received > 0 {
		costs = append(costs, size(v.Sent)+" sent", size(v.Received)+" received")
	}
	costs = append(costs, v.reused(p)...)
	if v.Executions > 0 {
		costs = append(costs, p.count(int64(v.Executions), "ssh session"))
	}
	if v.LockHeld > 0 {
		costs = append(costs, "locked for "+seconds(v.LockHeld))
	}
	if v.EventsHeld > 0 {
		costs = append(costs, "the event log for "+milliseconds(v.EventsHeld))
	}
	if v.Copied.Files > 0 {
		costs = append(costs, p.count(int64(v.Copied.Files), "file")+" copied there that could not be linked ("+size(v.Copied.Bytes)+")")
	}
	return append(costs, seconds(v.Took)+" in all")
}

// reused tells what the destination has already, under another name or in a kept tree: both halves of a sync together.
func (v *audit) reused(p *page) []string {
	all := v.Reused
	if v.Push != nil {
		all.Files += v.Push.Reused.Files
		all.Bytes += v.Push.Reused.Bytes
	}
	if all.Files == 0 {
		return nil
	}
	return []string{"reused " + p.count(int64(all.Files), "file") + ", " + size(all.Bytes)}
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1000) }

func seconds(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}
