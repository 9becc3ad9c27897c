package main

import (
	"context"
	"fmt"

	"github.com/dnadesign-maintainers/usr/sync"
)

type logCmd struct {
	Dataset string `arg:"" optional:"" help:"Id or dataset directory; without it, all."`
	Lines   int    `short:"n" default:"0" placeholder:"N" help:"Show the newest N only."`
}

// Run is called by kong.
func (c *logCmd) Run(_ context.Context, a *app) error {
	a.doing.action = "log"
	root, id := "", ""
	var err error
	if c.Dataset == "" {
		root, err = a.root()
	} else {
		var s subject
		s, err = a.dataset(c.Dataset)
		root, id = s.root, s.id
	}
	if err != nil {
		return err
	}
	entries, err := sync.Log(root, id)
	if err != nil {
		return fmt.Errorf("cannot read the log: %w", err)
	}
	if c.Lines > 0 && len(entries) > c.Lines {
		entries = entries[:c.Lines]
	}
	return a.show(logList(entries))
}

type logList []sync.LogEntry

func (l logList) data() any {
	return struct {
		Entries []sync.LogEntry `json:"entries"`
	}{orEmpty([]sync.LogEntry(l))}
}

func (l logList) text(p *page, _ opt) {
	if len(l) == 0 {
		p.line("nothing has been synced here yet")
		return
	}
	g := columns("time (UTC)", "action", "dataset", "remote", "changes", ">bytes")
	g.flex = 2
	for _, e := range l {
		action := safe(e.Action)
		if e.State != sync.Transferred {
			action += " (" + safe(string(e.State)) + ")"
		}
		g.row(e.Time.UTC().Format("2006-01-02 15:04"), action, shown(e.Dataset), orElse(safe(e.Remote), here),
			fmt.Sprintf("+%d ~%d -%d", e.Added, e.Modified, e.Deleted), size(e.Bytes))
	}
	p.table(g)
}
