package main

import (
	"context"
	"encoding/json"

	"github.com/dnadesign-maintainers/usr/sync"
)

type datasetsCmd struct {
	Remote string `arg:"" optional:"" help:"Name of a remote; without it, the local root."`
	baseFlag
}

// Run is called by kong.
func (c *datasetsCmd) Run(ctx context.Context, a *app) error {
	a.doing.action, a.doing.remote, a.doing.flags.baseFlag = "datasets", c.Remote, c.baseFlag
	root, err := a.root()
	if err != nil {
		return err
	}
	p, err := a.open(ctx, root, c.Remote)
	if err != nil {
		return err
	}
	defer p.Close()
	list, err := p.Datasets(ctx, c.Remote != "")
	if err != nil {
		return err
	}
	return a.show(datasetList{side: orElse(c.Remote, here), list: list})
}

type datasetList struct {
	side string
	list []sync.Dataset
}

func (d datasetList) data() any {
	type row struct {
		Dataset   string `json:"dataset"`
		Rows      *int64 `json:"rows"`
		Bytes     *int64 `json:"bytes"`
		Files     int    `json:"files"`
		LastEvent any    `json:"last_event"` // the event's JSON, or the line as text if it is not JSON
	}
	rows := make([]row, len(d.list))
	for i, s := range d.list {
		rows[i] = row{Dataset: s.ID, Rows: known(s.Rows), Bytes: known(s.Bytes), Files: s.Files, LastEvent: eventJSON(s.LastEvent)}
	}
	return struct {
		Side     string `json:"side"`
		Datasets []row  `json:"datasets"`
	}{d.side, rows}
}

func eventJSON(line string) any {
	switch {
	case line == "":
		return nil
	case json.Valid([]byte(line)):
		return json.RawMessage(line)
	}
	return line
}

func (d datasetList) text(p *page, _ opt) {
	if len(d.list) == 0 {
		p.line("no datasets on " + d.side)
		return
	}
	g := columns("dataset", ">rows", ">files", ">bytes", "last event")
	g.flex = []int{4} // ids are never broken: they will be copied
	for _, s := range d.list {
		rows := "?"
		if s.Rows >= 0 {
			rows = p.number(s.Rows)
		}
		g.row(shown(s.ID), rows, p.number(int64(s.Files)), size(s.Bytes), eventText(s.LastEvent))
	}
	p.table(g)
}

// eventText returns the time and the action of an event, as writers log them, or the beginning of any other line.
func eventText(line string) string {
	var e struct {
		Time      string `json:"timestamp_utc"`
		TimeShort string `json:"timestamp"`
		TS        string `json:"ts"`
		Action    string `json:"action"`
	}
	if line == "" {
		return "none"
	}
	if json.Unmarshal([]byte(line), &e) == nil && e.Action != "" {
		at := orElse(e.Time, orElse(e.TimeShort, e.TS))
		return safe(orElse(at, "?") + " " + e.Action)
	}
	const most = 40
	text := []rune(safe(line))
	if len(text) > most {
		return string(text[:most-1]) + "…"
	}
	return string(text)
}
