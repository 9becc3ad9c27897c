package shell

import (
	"bufio"
	"context"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// Glance looks at a few names below the root and nothing else, and lists the ids of the datasets where they are wanted.
func (s *Session) Glance(ctx context.Context, names []string, ids bool) (*remote.Glance, error) {
	g := &remote.Glance{Stamps: make(map[string]string, len(names))}
	args := []string{s.root}
	if ids {
		args = append(args, "ids")
	}
	r := request{verb: "glance", args: args, payload: escapeNames(names)}
	err := s.do(ctx, r, "look at "+remote.Escape(s.root), func(r io.Reader) error {
		b := bufio.NewReader(r)
		for {
			field, err := readRecord(b)
			if err != nil {
				return err
			}
			name, value, _ := strings.Cut(string(field), "=")
			if name == "list" {
				break
			}
			if name == "now" {
				if g.Now, err = strconv.ParseInt(value, 10, 64); err != nil {
					return err
				}
				continue
			}
			g.IDs = append(g.IDs, value)
		}
		return s.readList(b, func(e verify.Entry) {
			g.Stamps[path.Clean(e.Path)] = remote.Stamp(e.Size, e.Mtime, e.Ctime, e.Ino)
		})
	})
	return g, err
}
