package sync

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dnadesign-maintainers/usr/remote"
)

// stateDir is the directory below a USR root that holds our state.
const stateDir = remote.StateDir

// lockFile is the lock of a dataset. A transfer makes it if it is missing.
const lockFile = remote.LockFile

// IDError means that a dataset id is refused before anything is contacted.
type IDError struct{ ID, Why string }

func (e *IDError) Error() string {
	return fmt.Sprintf("cannot use dataset id %s: %s", strconv.Quote(e.ID), e.Why)
}

// CheckID refuses ids that could leave the root, be read as an option or a pattern, or name what is not a dataset.
func CheckID(id string) error {
	refuse := func(why string) error { return &IDError{ID: id, Why: why} }
	switch {
	case id == "":
		return refuse("it is empty")
	case strings.HasPrefix(id, "/"):
		return refuse("it is absolute")
	case strings.HasPrefix(id, "-"):
		return refuse("it begins with '-'")
	case strings.ContainsAny(id, `*?[]\`):
		return refuse(`it contains one of * ? [ ] \`)
	case strings.ContainsFunc(id, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }):
		return refuse("it contains control characters or is not UTF-8")
	}
	for i, seg := range strings.Split(id, "/") {
		switch {
		case seg == "":
			return refuse("it has an empty segment")
		case seg == "." || seg == "..":
			return refuse("it has a '.' or '..' segment")
		case seg == "archived" && i == 0 && id != seg:
			return refuse("archived datasets are not synchronized")
		case strings.HasPrefix(seg, "-"):
			return refuse("a segment begins with '-'")
		case seg == stateDir:
			return refuse("it names the state directory of usr")
		case len(seg) > 255:
			return refuse("a segment is longer than 255 bytes")
		}
	}
	if strings.Count(id, "/") > 1 {
		return refuse("it has more than two segments")
	}
	return nil
}

// stateKey flattens an id into one file name, without collisions. Long ids end in a digest, because two segments of 255
// bytes do not fit into one name of 255.
func stateKey(id string) string {
	key := url.PathEscape(id)
	if strings.HasPrefix(key, ".") {
		key = "%2E" + key[1:]
	}
	for _, taken := range []string{"lock", "tmp"} { // KEY.lock is the claim of KEY, KEY.tmp its unfinished journal
		if base, ok := strings.CutSuffix(key, "."+taken); ok {
			key = base + "%2E" + taken
		}
	}
	const most = 160
	if len(key) > most {
		sum := sha256.Sum256([]byte(id))
		key = key[:most-17] + "%" + hex.EncodeToString(sum[:8])
	}
	return key
}

// newRun names a run so that names sort by time.
func newRun(now time.Time) string {
	var b [3]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return now.UTC().Format(runTime) + "-" + hex.EncodeToString(b[:])
}

// runTime returns the time in the name of a run.
const runTime = "20060102T150405.000000Z"
