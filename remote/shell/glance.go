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
	for {
		n := min(len(names), HashBatch)
		if err := s.glance(ctx, request{verb: "glance", args: args, payload: escapeNames(names[:n])}, g); err != nil {
			return g, err
		}
		if names, args = names[n:], args[:1]; len(names) == 0 {
			return g, nil
		}
	}
}

func (s *Session) glance(ctx context.Context, r request, g *remote.Glance) error {
	return s.do(ctx, r, "look at "+remote.Escape(s.root), func(r io.Reader) error {
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
				now, err := strconv.ParseInt(value, 10, 64)
				if err != nil {
					return err
				}
				if g.Now == 0 {
					g.Now = now
				}
				continue
			}
			g.IDs = append(g.IDs, value)
		}
		return s.readList(b, func(e verify.Entry) {
			g.Stamps[path.Clean(e.Path)] = remote.Stamp(e.Size, e.Mtime, e.Ctime, e.Ino)
		})
	})
}
