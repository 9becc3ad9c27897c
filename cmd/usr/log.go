package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/sync"
)

type logCmd struct {
	Dataset string `arg:"" optional:"" help:"Id, glob over ids in quotes, or dataset directory; without it, all."`
	Lines   int    `short:"n" default:"0" placeholder:"N" help:"Show the newest N only."`
	Since   lately `placeholder:"DUR" help:"Show what is not older: 12h, 1d."`
	Failed  bool   `help:"Show refusals and failures only."`
}

// lately is a duration that may be given in days.
type lately time.Duration

// UnmarshalText is called by kong.
func (s *lately) UnmarshalText(text []byte) error {
	if days, is := strings.CutSuffix(string(text), "d"); is {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return fmt.Errorf("%q is no time such as 12h or 1d", text)
		}
		*s = lately(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	return (*duration)(s).UnmarshalText(text)
}

// Run is called by kong.
func (c *logCmd) Run(_ context.Context, a *app) error {
	a.doing.action = "log"
	s, err := c.subject(a)
	if err != nil {
		return err
	}
	entries, err := sync.Log(s.root, s.id)
	if err != nil {
		return fmt.Errorf("cannot read the log: %w", err)
	}
	oldest := a.env.now().Add(-time.Duration(c.Since))
	entries = slices.DeleteFunc(entries, func(e sync.LogEntry) bool {
		return c.Failed && e.Error == nil || c.Since > 0 && e.Time.Before(oldest) ||
			s.pattern != "" && len(matching(s.pattern, []string{e.Dataset})) == 0 && e.Dataset != s.pattern
	})
	if c.Lines > 0 && len(entries) > c.Lines {
		entries = entries[:c.Lines]
	}
	return a.show(logList(entries))
}

func (c *logCmd) subject(a *app) (s subject, err error) {
	switch {
	case c.Dataset == "":
		s.root, err = a.root()
		return s, err
	case strings.ContainsAny(c.Dataset, "*?["):
		return a.patternSubject(c.Dataset)
	}
	return a.dataset(c.Dataset)
}

type logList []sync.LogEntry

func (l logList) data() any {
	return struct {
		Entries []sync.LogEntry `json:"entries"`
	}{orEmpty([]sync.LogEntry(l))}
}

func (l logList) text(p *page, _ opt) {
	if len(l) == 0 {
		p.line("nothing of that kind has been done here yet")
		return
	}
	g := columns("time (UTC)", "action", "dataset", "remote", "changes", ">bytes")
	g.flex = []int{4} // ids are never broken: they will be copied
	for _, e := range l {
		g.rows = append(g.rows, []cell{{text: logTime(e)}, {text: logAction(e)}, {text: shown(e.Dataset)},
			{text: orElse(safe(e.Remote), here)}, logChanges(e), {text: size(e.Bytes)}})
	}
	p.table(g)
	l.messages(p)
}

// messages prints the messages of failures, which do not fit into the table.
func (l logList) messages(p *page) {
	first := true
	for _, e := range l {
		if e.Error == nil {
			continue
		}
		if first {
			p.gap()
			first = false
		}
		p.line(logTime(e) + "  " + safe(e.Error.Message))
	}
}

func logTime(e sync.LogEntry) string { return e.Time.UTC().Format("2006-01-02 15:04") }

func logAction(e sync.LogEntry) string {
	action := safe(e.Action)
	if e.Forced {
		action += " --force"
	}
	if e.State != sync.Transferred && e.State != "" {
		action += " (" + safe(string(e.State)) + ")"
	}
	return action
}

func logChanges(e sync.LogEntry) cell {
	if e.Error != nil {
		return cell{text: fmt.Sprintf("FAILED (%d) %s", e.Error.Code, safe(e.Error.Kind)), tone: bad}
	}
	return cell{text: fmt.Sprintf("+%d ~%d -%d", e.Added, e.Modified, e.Deleted)}
}
