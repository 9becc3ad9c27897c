package shell

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// surveyGroup is how many datasets one find lists. Of more than some megabytes of names a group is not told at once.
const surveyGroup = 50

// Surveys reads what Survey does of many datasets, in one round trip and with a few processes for all of them. nil stands
// for one that has to be surveyed by itself: something is odd about it, or it is large, or the host has no GNU find.
func (s *Session) Surveys(ctx context.Context, ids, keys []string) ([]*remote.Survey, error) {
	all := make([]*remote.Survey, len(ids))
	f, err := s.Facts(ctx)
	if err != nil || f.Lister != "find" {
		return all, err
	}
	var payload []byte
	for i := 0; i < len(ids); i += surveyGroup {
		var lines strings.Builder
		for j := i; j < min(i+surveyGroup, len(ids)); j++ {
			lines.WriteString(ids[j] + "\n" + keys[j] + "\n")
		}
		payload = append(append(payload, encodeArg(lines.String())...), ' ')
	}
	r := request{verb: "surveys", args: []string{s.root}, payload: payload}
	err = s.do(ctx, r, "survey "+remote.Escape(s.root), func(r io.Reader) error {
		b := &surveys{r: bufio.NewReaderSize(r, 64<<10), all: all, most: s.conn.Target().MaxFiles}
		b.common.Place.Host, b.common.Names = s.conn.Hostname(), s.names()
		return b.read()
	})
	if err == nil {
		return all, nil
	}
	var failed *remote.Error
	if errors.As(err, &failed) { // each by itself tells why
		err = nil
	}
	return make([]*remote.Survey, len(ids)), err
}

// surveys reads an answer: what is common, then group by group what is known of each dataset, the lines of their logs, and
// their listings in the same order, each of which begins with the directory itself.
type surveys struct {
	r      *bufio.Reader
	most   int // files of one dataset
	common remote.Survey
	all    []*remote.Survey // in the order of the request
	next   int              // of the next dataset
	device string           // of the state directory

	begin   int            // of the group
	listing []int          // its datasets that are there, in the order of their listings
	at      *remote.Survey // the one whose listing comes
	sum     hash.Hash
	whole   bool // the group is told to its end
	cut     bool // though not all of it is
}

func (b *surveys) read() error {
	b.common.EventLines, b.common.FreeBytes, b.common.FreeInodes = -1, -1, -1
	for {
		record, err := readRecord(b.r)
		if err == io.EOF {
			b.end()
			clear(b.all[b.next:])
			return nil
		}
		if err != nil {
			return err
		}
		if len(record) > 1 && record[1] == ' ' {
			b.entry(record)
			continue
		}
		name, value, _ := strings.Cut(string(record), "=")
		if err := b.field(name, value); err != nil {
			return err
		}
	}
}

func (b *surveys) field(name, value string) error {
	switch {
	case name == "id" && b.next == len(b.all):
		return &floodError{strconv.Itoa(len(b.all)) + " datasets"}
	case name == "id":
		one := b.common
		b.all[b.next], b.next = &one, b.next+1
	case b.next == 0:
		setField(&b.common, name, value)
	case name == "lines":
		b.logs(value)
	case name == "whole":
		b.whole = true
	case name == "end":
		b.end()
	case b.all[b.next-1] == nil:
	case name == "alone":
		b.all[b.next-1] = nil
	case name == "devices": // that of the dataset itself comes with its listing
		parent := ""
		b.device, parent, _ = strings.Cut(value, " ")
		b.all[b.next-1].SameFS = b.device == parent
	case name == "exists":
		b.listing = append(b.listing, b.next-1)
		fallthrough
	default:
		setField(b.all[b.next-1], name, value)
	}
	return nil
}

// logs reads what wc says.
func (b *surveys) logs(text string) {
	for line := range strings.Lines(text) {
		n, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		for _, i := range b.listing {
			if v := b.all[i]; v != nil && path == v.Live+"/.events.log" {
				setField(v, "events", n)
			}
		}
	}
}

// entry takes one in. That of the directory itself, which has no name, begins the next listing.
func (b *surveys) entry(record []byte) {
	e, err := parseFind(record)
	switch {
	case err != nil, e.Path == "" && (len(b.listing) == 0 || b.all[b.listing[0]] == nil), e.Path != "" && b.at == nil:
		b.cut = true
	case e.Path == "":
		b.listed()
		b.at, b.listing, b.sum = b.all[b.listing[0]], b.listing[1:], sha256.New()
		b.at.SameFS = b.at.SameFS && strconv.FormatUint(e.Dev, 10) == b.device
	default:
		b.sum.Write(record)
		b.sum.Write([]byte{0})
		b.at.Entries = append(b.at.Entries, e)
	}
}

// listed ends a listing.
func (b *surveys) listed() {
	if b.at == nil {
		return
	}
	b.at.Listing = hex.EncodeToString(b.sum.Sum(nil))
	b.at.Entries = verify.InOrder(b.at.Entries)
	b.at = nil
}

// end ends a group, and lets go of one that is not whole.
func (b *surveys) end() {
	b.listed()
	group := b.all[b.begin:b.next]
	if !b.whole || b.cut || len(b.listing) > 0 {
		clear(group)
	}
	for i, v := range group {
		if v == nil {
			continue
		}
		if slices.Sort(v.Stages); b.most > 0 && len(v.Entries) > b.most {
			group[i] = nil
		}
	}
	b.begin, b.listing, b.whole, b.cut = b.next, nil, false, false
}
