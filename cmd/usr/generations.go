package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/dnadesign-maintainers/usr/profiles"
	"github.com/dnadesign-maintainers/usr/sync"
)

type generationsCmd struct {
	Dataset     string    `arg:"" optional:"" help:"Id or dataset directory; without it, all."`
	Remote      string    `arg:"" optional:"" help:"Name of a remote; without it, this side."`
	Prune       pruneFlag `placeholder:"GENERATION" help:"Remove this one; without a name, with --older-than, those; with neither, all that is not unique, and leftover stages."`
	OlderThan   age       `placeholder:"DUR" help:"With --prune: those that are older, such as 60d, with what only they hold."`
	Yes         bool      `short:"y" help:"Do not ask."`
	LockTimeout duration  `placeholder:"DUR" help:"How long to wait for locks (default 5m, or the profile's)."`
	baseFlag
}

// pruneFlag may stand alone, or be followed by a name.
type pruneFlag struct {
	given bool
	run   string
}

// IsBool is called by kong: no value is needed.
func (pruneFlag) IsBool() bool { return true }

// Decode is called by kong.
func (f *pruneFlag) Decode(ctx *kong.DecodeContext) error {
	f.given = true
	next := ctx.Scan.Peek()
	word, _ := next.Value.(string)
	if next.Type == kong.FlagValueToken || !next.IsEOL() && sync.IsGeneration(word) {
		ctx.Scan.Pop()
		f.run = word
		if !sync.IsGeneration(word) {
			return fmt.Errorf("%q is not the name of a generation", word)
		}
	}
	return nil
}

// Run is called by kong.
func (c *generationsCmd) Run(ctx context.Context, a *app) error {
	a.doing.action, a.doing.flags.baseFlag = "generations", c.baseFlag
	if c.OlderThan != 0 && (!c.Prune.given || c.Prune.run != "") {
		return &usageError{why: "cannot use --older-than without --prune, or with the name of a generation", hint: "as in `usr generations DATASET --prune --older-than 60d`"}
	}
	s, err := c.subject(a)
	if err != nil {
		return err
	}
	a.doing.remote, a.doing.dataset = c.Remote, s.id
	p, err := a.open(ctx, s.root, c.Remote)
	if err != nil {
		return err
	}
	defer p.Close()
	rows, err := c.kept(ctx, a, p, &s)
	if err != nil {
		return err
	}
	if !c.Prune.given {
		return a.show(c.list(ctx, p, rows))
	}
	return c.prune(ctx, a, p, s, rows)
}

// subject reads the arguments. A single word is a remote if one has that name and no dataset here does.
func (c *generationsCmd) subject(a *app) (subject, error) {
	if c.Dataset != "" && c.Remote == "" && !strings.Contains(c.Dataset, "/") {
		root, err := a.root()
		if err == nil && !isDir(root+"/"+c.Dataset) && slices.Contains(a.remoteNames(), c.Dataset) {
			c.Dataset, c.Remote = "", c.Dataset
		}
	}
	if c.Dataset == "" {
		root, err := a.root()
		return subject{root: root}, err
	}
	return a.dataset(c.Dataset)
}

// kept lists what is kept of the subject. If that is nothing, its id may be the last name of another.
func (c *generationsCmd) kept(ctx context.Context, a *app, p *sync.Pair, s *subject) ([]sync.Kept, error) {
	rows, err := p.Kept(ctx, s.id, c.Remote != "")
	if err != nil || len(rows) > 0 || s.id == "" || isRegular(primaryOf(s.root, s.id)) {
		return rows, err
	}
	ids, err := placeOf(c.Remote).ids(ctx, p)
	if err != nil {
		return nil, err
	}
	id, err := job{}.lastName(*s, ids)
	if err != nil || id == "" {
		return nil, err
	}
	s.id, a.doing.dataset = id, id
	return p.Kept(ctx, id, c.Remote != "")
}

func (c *generationsCmd) list(ctx context.Context, p *sync.Pair, rows []sync.Kept) keptList {
	return keptList{side: orElse(c.Remote, here), rows: rows, quotas: p.Quotas(ctx, c.Remote != "")}
}

func (c *generationsCmd) prune(ctx context.Context, a *app, p *sync.Pair, s subject, rows []sync.Kept) error {
	w := sync.Pruning{Run: c.Prune.run, OlderThan: time.Duration(c.OlderThan)}
	now := a.env.now()
	taken := slices.DeleteFunc(slices.Clone(rows), func(k sync.Kept) bool { return !w.Takes(k, now) })
	var ids []string
	for _, k := range taken {
		ids = append(ids, k.Dataset)
	}
	if w.Run != "" && len(ids) == 0 {
		if s.id == "" {
			return &sync.GenerationError{Side: orElse(c.Remote, here), Run: w.Run, Is: sync.NoGeneration}
		}
		ids = []string{s.id} // Prune says what is wrong with the name
	}
	if len(taken) > 0 && !c.Yes {
		if err := c.confirm(ctx, a, taken); err != nil {
			return err
		}
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		if err := p.Prune(ctx, id, c.Remote != "", w, time.Duration(c.LockTimeout)); err != nil {
			return err
		}
	}
	left, err := p.Kept(ctx, s.id, c.Remote != "")
	if err != nil {
		return err
	}
	l := c.list(ctx, p, left)
	l.freed = &freed{before: sumOf(rows), after: sumOf(left)}
	return a.show(l)
}

// confirm shows what would go, and asks.
func (c *generationsCmd) confirm(ctx context.Context, a *app, taken []sync.Kept) error {
	if !a.env.canAsk() {
		return &declinedError{action: "prune"}
	}
	a.progress.stop()
	page := a.page(a.env.stderr)
	keptList{side: orElse(c.Remote, here), rows: taken}.table(page)
	page.gap()
	if err := page.flush(); err != nil {
		return err
	}
	what := "Remove these"
	if c.Prune.run == "" && c.OlderThan == 0 {
		what = "Remove these, but for what is unique"
	}
	answer, err := a.ask(ctx, what+". Proceed? [y/N] ")
	if err != nil {
		return err
	}
	if answer = strings.ToLower(answer); answer != "y" && answer != "yes" {
		return &declinedError{action: "prune", asked: true}
	}
	return nil
}

// keptList is the result of generations.
type keptList struct {
	side   string
	rows   []sync.Kept
	quotas []sync.Quota
	freed  *freed
}

type freed struct{ before, after int64 }

func sumOf(rows []sync.Kept) (n int64) {
	for _, k := range rows {
		n += k.Bytes
	}
	return n
}

type keptData struct {
	Dataset     string  `json:"dataset"`
	Generation  string  `json:"generation"`
	Time        string  `json:"time"`
	By          string  `json:"by"` // pull, pull --force, undo, …; "" if not recorded
	Late        int     `json:"late_files"`
	Whole       bool    `json:"whole"`
	Files       int     `json:"files"`
	Bytes       int64   `json:"bytes"`
	Unique      int     `json:"unique_files"`
	UniqueBytes int64   `json:"unique_bytes"`
	Until       *string `json:"until"`
}

type stageData struct {
	Dataset string `json:"dataset"`
	Run     string `json:"run"`
	Time    string `json:"time"`
	Files   int    `json:"files"`
	Bytes   int64  `json:"bytes"`
}

func (l keptList) data() any {
	kept, stages := []keptData{}, []stageData{}
	for _, k := range l.rows {
		if k.Stage {
			stages = append(stages, stageData{k.Dataset, k.Run, stampText(k.Time), k.Files, k.Bytes})
			continue
		}
		kept = append(kept, keptData{k.Dataset, k.Run, stampText(k.Time), byWhat(k), k.Late, k.Whole, k.Files, k.Bytes, k.Unique, k.UniqueBytes, nil})
		if !k.Until.IsZero() {
			until := stampText(k.Until)
			kept[len(kept)-1].Until = &until
		}
	}
	out := struct {
		Side        string       `json:"side"`
		Generations []keptData   `json:"generations"`
		Stages      []stageData  `json:"stages"`
		Bytes       int64        `json:"bytes"`
		Freed       *int64       `json:"freed_bytes,omitempty"`
		Quotas      []sync.Quota `json:"quotas"`
	}{l.side, kept, stages, sumOf(l.rows), nil, orEmpty(l.quotas)}
	if l.freed != nil {
		n := l.freed.before - l.freed.after
		out.Freed = &n
	}
	return out
}

func stampText(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// byWhat returns the action that replaced a generation.
func byWhat(k sync.Kept) string {
	by := k.Action
	if k.Forced && (by == "pull" || by == "push") {
		by += " --force"
	}
	if k.Late > 0 {
		by = strings.TrimPrefix(by+", late writer", ", ")
	}
	return by
}

func (l keptList) text(p *page, _ opt) {
	if len(l.rows) == 0 {
		p.line("no generation is kept on " + l.side)
	} else {
		l.table(p)
	}
	p.gap()
	p.fact("space", size(sumOf(l.rows))+" at most, on "+l.side)
	if l.freed != nil {
		p.fact("freed", size(l.freed.before-l.freed.after))
	}
	for _, q := range l.quotas {
		p.fact("quota", quotaText(q))
	}
}

// table has a heading for each dataset, so that it fits a terminal of 80 columns.
func (l keptList) table(p *page) {
	for i := 0; i < len(l.rows); {
		id := l.rows[i].Dataset
		g := columns("generation", "by", "holds", ">space", ">unique", "until (UTC)")
		for ; i < len(l.rows) && l.rows[i].Dataset == id; i++ {
			g.row(l.rows[i].Run, keptBy(l.rows[i]), keptHolds(l.rows[i]), size(l.rows[i].Bytes), keptUnique(p, l.rows[i]), keptUntil(l.rows[i]))
		}
		p.line(shown(id) + ":")
		p.table(g)
	}
}

func keptBy(k sync.Kept) string {
	if k.Stage {
		return "leftover"
	}
	return orElse(safe(byWhat(k)), "?")
}

func keptHolds(k sync.Kept) string {
	switch {
	case k.Stage:
		return "a stage"
	case k.Whole:
		return "all"
	}
	return "unique"
}

func keptUnique(p *page, k sync.Kept) string {
	if k.Unique == 0 {
		return "none"
	}
	return p.number(int64(k.Unique)) + ", " + size(k.UniqueBytes)
}

func keptUntil(k sync.Kept) string {
	switch {
	case k.Stage:
		return "next run"
	case k.Until.IsZero():
		return "replaced"
	}
	return k.Until.UTC().Format("2006-01-02")
}

func quotaText(q sync.Quota) string {
	return fmt.Sprintf("%s on %s: %s of %s used", safe(q.Group), safe(q.FileSystem), size(q.Used), size(q.Limit))
}

// hintGeneration says what to use instead of a generation.
func (a *app) hintGeneration(e *sync.GenerationError) string {
	list := "`" + a.onward("generations", orElse(a.doing.dataset, "DATASET"), a.doing.remote) + "`"
	switch e.Is {
	case sync.Thinned:
		return "bring single files of it back with `" + a.onward("restore", orElse(a.doing.dataset, "DATASET"), a.doing.remote, "--path", "GLOB", "--from", e.Run) + "`"
	case sync.Going:
		return "another run removes it; see what is left with " + list
	case sync.Damaged:
		return "another generation may have it: see " + list + ", and name that with --from"
	}
	return "list them with " + list
}

func codeOfGeneration(e *sync.GenerationError) (code int, kind string) {
	switch e.Is {
	case sync.Thinned:
		return codeRefused, "generation"
	case sync.Going:
		return codeLocked, "lock"
	case sync.Damaged:
		return codeMismatch, "verification"
	}
	return codeUsage, "generation"
}

// hintSpace names what takes room. It leaves it to a person to remove what exists nowhere else.
func (a *app) hintSpace(e *sync.SpaceError) string {
	var held []string
	for _, k := range e.Kept {
		what := "unique files in the generation " + k.Run
		if k.Stage {
			what = "the leftover stage " + k.Run
		}
		held = append(held, size(max(k.Bytes, k.UniqueBytes))+" of "+what)
	}
	on := a.doing.remote
	if e.Side == here {
		on = ""
	}
	hint := "make room on " + e.Side + ": see what is kept with `" + a.onward("generations", orElse(a.doing.dataset, "DATASET"), on) + "`, and remove with --prune what may go"
	if len(held) > 0 {
		hint += " (there are " + strings.Join(held, ", ") + ")"
	}
	return hint + "; then run the same command again"
}

// keptWords completes the name of a generation, or with paths a path that one has. Those of a remote are asked for only over
// a connection that is there: a shell waits, and nobody is to log in for that.
func (a *app) keptWords(ctx context.Context, target []string, paths bool) (words []string) {
	if len(target) == 0 || len(target) > 2 || sync.CheckID(target[0]) != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	root, err := a.root()
	var remote *profiles.Remote
	if err == nil && len(target) == 2 {
		var p profiles.Remote
		p, err = a.profile(target[1])
		remote = &p
	}
	if err != nil {
		return nil
	}
	p, err := sync.Open(ctx, sync.Options{Root: root, KeepGenerations: profiles.Default("").KeepGenerations}, remote, sync.Reach{Getenv: a.env.getenv, Shared: true})
	if err != nil {
		return nil
	}
	defer p.Close()
	if paths {
		words, _ = p.KeptPaths(ctx, target[0], remote != nil)
		return words
	}
	rows, _ := p.Kept(ctx, target[0], remote != nil)
	for _, k := range rows {
		if !k.Stage {
			words = append(words, k.Run)
		}
	}
	return words
}
