package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/sync"
	"github.com/dnadesign-maintainers/usr/verify"
)

// audit is the result of diff, pull, push, verify and undo of one dataset or file.
type audit struct {
	*sync.Report
	file       bool
	remotePath string // of a file
	command    func(...string) string
	itemized   []string // rsync's own lines, if they were asked for
	warnings   []string // told on standard error already
	unspoken   []string // not told there, because of --quiet
	undoWords  []string // the undo of what was done, nil if there is none
}

// audit makes the result of a report.
func (a *app) auditOf(r *sync.Report, file bool) *audit {
	v := &audit{Report: r, file: file, command: a.command, itemized: a.progress.itemized}
	v.warnings = append(append(v.warnings, a.progress.warnings...), r.Warnings...)
	if a.cli.Quiet {
		v.unspoken = v.warnings
	} else {
		v.unspoken = r.Warnings
	}
	if r.State == sync.Transferred && r.Generation != "" && !file {
		v.undoWords = undoOf(r)
	}
	return v
}

func undoOf(r *sync.Report) []string {
	if r.Action == "push" || (r.Action == "undo" && r.Remote != "" && r.Remote != here) {
		return []string{"undo", r.Dataset, r.Remote}
	}
	return []string{"undo", r.Dataset}
}

func (v *audit) data() any { return auditJSON(v) }

// text prints the audit: what was done, how the sides stand, how closely they were looked at, a row a class, what
// changed in words, the files, and what it cost.
func (v *audit) text(p *page, o opt) {
	v.printItemized(p)
	v.printHead(p)
	p.gap()
	p.table(v.classGrid(p))
	v.printFacts(p)
	v.printChanges(p, o)
	v.printRemarks(p, o)
	v.printCosts(p)
}

func (v *audit) printItemized(p *page) {
	for _, line := range v.itemized {
		p.line(safe(line))
	}
	if len(v.itemized) > 0 {
		p.gap()
	}
}

func (v *audit) printHead(p *page) {
	p.fact("action", v.title())
	if v.remotePath != "" {
		p.fact("remote file", shown(v.remotePath))
	}
	p.state("state", string(v.State), stateTone(v.State), "")
	v.printRelation(p)
	modes := jsonModes(v.Modes)
	p.fact("verify", strings.Join([]string{tied("primary: " + modes.Primary), tied("sidecars: " + modes.Sidecars),
		tied("content hashes: " + modes.ContentHashes), tied("algorithm: " + orElse(v.Algorithm, "none"))}, ", "))
}

func (v *audit) title() string {
	name := shown(v.Dataset)
	switch {
	case v.Action == "pull":
		return "pull " + name + " from " + v.Remote
	case v.Action == "push":
		return "push " + name + " to " + v.Remote
	case v.Remote == "" || (v.Action == "undo" && v.Remote == here):
		return v.Action + " " + name
	case v.Action == "undo":
		return "undo " + name + " on " + v.Remote
	}
	return v.Action + " " + name + " with " + v.Remote
}

func stateTone(s sync.State) tone {
	if s == sync.Transferred || s == sync.NoOp {
		return good
	}
	return neutral
}

// printRelation: before a transfer the sentence says what lies ahead, after it what was brought over.
func (v *audit) printRelation(p *page) {
	if v.Relation == "" {
		return
	}
	adv := relationAdvice(p, v.Report)
	if v.State == sync.Transferred {
		p.state("relation before", string(v.Relation), neutral, adv.was)
		return
	}
	sentence := adv.sentence
	if v.file {
		sentence = strings.ReplaceAll(sentence, "the dataset", "the file")
	}
	next := ""
	if len(adv.next) > 0 && !v.file {
		next = v.command(adv.next...)
		sentence += "; " + tied("a "+adv.next[0]+" is "+adv.note)
	}
	p.state("relation", string(v.Relation), relationTone(v.Relation), sentence)
	v.printNext(p, next)
}

func (v *audit) printNext(p *page, next string) {
	switch {
	case v.file:
	case v.State == sync.DryRun:
		p.line("next: the same command without --dry-run")
	case next != "":
		p.line("next: " + next)
	case v.Relation == sync.Diverged:
		p.line("next: " + v.command("diff", "-v", v.Dataset, v.Remote))
	}
}

// classGrid is the heart of the audit: one row a class.
func (v *audit) classGrid(p *page) *grid {
	local, remote := ">local", ">remote"
	if v.Action == "undo" {
		local, remote = ">before", ">after"
	}
	g := columns("class", "state", local, remote, ">+add", ">~mod", ">-del", ">bytes", ">hashed")
	for _, c := range v.Classes {
		if v.file && c.Tally.Local.Files+c.Tally.Remote.Files == 0 {
			continue // a file has no classes; it is counted as the primary
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

func (v *audit) printFacts(p *page) {
	l, r := v.Tables.Local, v.Tables.Remote
	if !v.file || l != nil || r != nil {
		p.gap()
	}
	if l != nil || r != nil {
		p.fact("rows", v.both(p, rowsOf(l), rowsOf(r)))
		p.fact("columns", v.both(p, colsOf(l), colsOf(r)))
	}
	for _, c := range v.Tables.Changes {
		p.fact("schema", schemaText(c))
	}
	if v.file || v.Action == "undo" {
		return
	}
	p.fact("events", v.both(p, v.Events.Local, v.Events.Remote))
	p.fact("snapshots", fmt.Sprintf("%s on the remote, %s newer than the newest local one",
		p.number(int64(v.Snapshots.Remote)), p.number(int64(v.Snapshots.NewerThanLocal))))
}

// both tells a count of both sides; -1 is not known. An undo has the tree before and after it for sides.
func (v *audit) both(p *page, local, remote int64) string {
	text := func(n int64) string {
		if n < 0 {
			return "none"
		}
		return p.number(n)
	}
	s := text(local) + " local, " + text(remote) + " remote"
	if v.Action == "undo" {
		s = text(local) + " before, " + text(remote) + " after"
	}
	if d := remote - local; local >= 0 && remote >= 0 && d != 0 {
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

// changesShown is how many files are listed without --verbose.
const changesShown = 20

func (v *audit) printChanges(p *page, o opt) {
	if len(v.Changes) == 0 {
		return
	}
	p.gap()
	heading := map[sync.State]string{sync.Transferred: "changed", sync.NoOp: "changed"}[v.State]
	if heading == "" {
		heading = "would change"
		if v.Action == "diff" || v.Action == "verify" {
			heading += " with a " + string(v.Direction)
		}
	}
	p.line(heading + ":")
	for i, c := range v.Changes {
		if i == changesShown && !o.verbose {
			p.line(fmt.Sprintf("  … and %s more (-v lists all)", p.number(int64(len(v.Changes)-i))))
			break
		}
		p.line(changeLine(c))
	}
}

var changeSigns = map[sync.ChangeKind]string{sync.Added: "+", sync.Modified: "~", sync.Deleted: "-"}

func changeLine(c sync.Change) string {
	return fmt.Sprintf("  %s %-8s  %8s  %s", changeSigns[c.Kind], c.Kind, size(c.Bytes), shown(c.Path))
}

func (v *audit) printRemarks(p *page, o opt) {
	if len(v.Silent)+len(v.Touched)+len(v.unspoken) > 0 {
		p.gap()
	}
	if len(v.Silent) > 0 {
		p.fact("silent", p.count(int64(len(v.Silent)), "file")+" with the same size and time stamp but other content: "+names(v.Silent, o))
	}
	if len(v.Touched) > 0 {
		p.fact("touched", p.count(int64(len(v.Touched)), "file")+" with another time stamp but the same content, left as they are: "+names(v.Touched, o))
	}
	for _, w := range v.unspoken {
		p.fact("warning", safe(w))
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
	p.gap()
	costs := v.costs(p)
	for i := range costs {
		costs[i] = tied(costs[i])
	}
	p.fact("cost", strings.Join(costs, ", "))
	if v.undoWords != nil {
		p.fact("undo", v.command(v.undoWords...))
		p.fact("generation", v.Generation)
	}
}

func (v *audit) costs(p *page) []string {
	var costs []string
	if v.Sent+v.Received > 0 {
		costs = append(costs, size(v.Sent)+" sent", size(v.Received)+" received")
	}
	if v.Executions > 0 {
		costs = append(costs, p.count(int64(v.Executions), "ssh session"))
	}
	if v.LockHeld > 0 {
		costs = append(costs, "locked for "+seconds(v.LockHeld))
	}
	return append(costs, seconds(v.Took)+" in all")
}

func seconds(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}
