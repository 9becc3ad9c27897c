package shell

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// Survey reads all that a plan needs of a dataset in one round trip, and changes nothing. id is the dataset below the
// root, key its name in the state directory. Where the listing, change times and all, is the one that known is the
// Listing of, Same says so in place of the entries.
func (s *Session) Survey(ctx context.Context, id, key, known string) (*remote.Survey, error) {
	v, err := s.survey(ctx, id, key, known)
	if errors.Is(err, fs.ErrNotExist) { // it went away, or was just being replaced: once more
		v, err = s.survey(ctx, id, key, known)
	}
	return v, err
}

func (s *Session) survey(ctx context.Context, id, key, known string) (*remote.Survey, error) {
	v := &remote.Survey{Place: remote.Place{Host: s.conn.Hostname()}, EventLines: -1, FreeBytes: -1, FreeInodes: -1,
		Names: s.names()}
	what := "survey " + remote.Escape(s.root+"/"+id)
	ask := request{verb: "survey", args: []string{s.root, id, key, known}, names: s.listed.Load()}
	err := s.do(ctx, ask, what, func(r io.Reader) error {
		b := bufio.NewReaderSize(r, 64<<10)
		listing, err := readFields(b, v)
		if err != nil || !listing {
			return err
		}
		sum := sha256.New()
		err = s.readList(bufio.NewReaderSize(io.TeeReader(b, sum), 64<<10), func(e verify.Entry) { v.Entries = append(v.Entries, e) })
		v.Listing = hex.EncodeToString(sum.Sum(nil))
		return err
	})
	if err != nil {
		return nil, err
	}
	if v.Same {
		v.Listing = known
	}
	v.Entries = verify.InOrder(v.Entries)
	slices.Sort(v.Stages)
	return v, nil
}

// names is how the host takes names, but for what a look at its root tells: all file systems of a Mac read what Unicode
// composes and what it does not as one.
func (s *Session) names() verify.Names { return verify.Names{Form: s.facts.System == "Darwin"} }

// taken is what the host says of names.
func taken(word string) verify.Names {
	return verify.Names{Case: word == "case", Form: word == "case", UTF8: word == "utf8"}
}

// readFields reads name=value records up to the listing, if there is one.
func readFields(r *bufio.Reader, v *remote.Survey) (listing bool, err error) {
	for range mostFields {
		field, err := readRecord(r)
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		name, value, _ := strings.Cut(string(field), "=")
		if name == "list" {
			return true, nil
		}
		setField(v, name, value)
	}
	return false, &floodError{strconv.Itoa(mostFields) + " facts of a dataset"}
}

const mostFields = 100_000

func setField(v *remote.Survey, name, value string) {
	number := func() int64 {
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		if err != nil {
			return -1
		}
		return n
	}
	switch name {
	case "root":
		v.Place.Dir = value
	case "rootid":
		v.Place.Root = value
	case "registry":
		v.Registry = value
	case "live":
		v.Live = value
	case "exists":
		v.Exists = value != ""
	case "devices":
		dev := strings.Fields(value)
		v.SameFS = len(dev) == 3 && dev[0] == dev[1] && dev[1] == dev[2]
	case "space":
		if kb := Available(value); kb >= 0 {
			v.FreeBytes = kb << 10
		}
	case "inodes":
		v.FreeInodes = Available(value)
	case "journal":
		v.Journal = true
	case "stage":
		v.Stages = append(v.Stages, value)
	case "partial":
		v.Partial = true
	case "now":
		v.Now = number()
	case "same":
		v.Same = true
	case "names":
		v.Names.Learn(taken(value))
	case "misspelt":
		v.Misspelt = true
	case "events":
		v.EventLines = number()
	}
}

// Available reads the column before the percentage in a line of df -P. A file system without a limit says 0 of 0.
func Available(line string) int64 {
	f := strings.Fields(line)
	for i := len(f) - 1; i >= 4; i-- {
		if strings.HasSuffix(f[i], "%") || f[i] == "-" && i < len(f)-1 {
			n, err := strconv.ParseInt(f[i-1], 10, 64)
			if err != nil || f[i-3] == "0" {
				return -1
			}
			return max(n, 0)
		}
	}
	return -1
}
