package local

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

func (s *Side) Survey(ctx context.Context, id, key, known string) (*remote.Survey, error) {
	v := &remote.Survey{EventLines: -1, Now: fsClock(), Names: naming(s.root)}
	err := ctx.Err()
	if err == nil {
		err = s.surveyLive(v, id, known)
	}
	if err == nil {
		err = s.surveyState(v, key)
	}
	if err == nil {
		err = s.surveySpace(v)
	}
	v.Place = s.place()
	v.Misspelt = v.Exists && misspelt(s.root, id, v.Names)
	if known == "" {
		v.Registry = verify.RegistrySum(s.root)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot survey %s on %s: %w", id, s.name, err)
	}
	return v, nil
}

// mostAhead is how many entries Surveys keeps at once.
const mostAhead = 100_000

func (s *Side) Surveys(ctx context.Context, ids, keys []string) ([]*remote.Survey, error) {
	all, entries := make([]*remote.Survey, len(ids)), 0
	for i := 0; i < len(ids) && entries < mostAhead && ctx.Err() == nil; i++ {
		all[i], _ = s.Survey(ctx, ids[i], keys[i], "") // one that fails tells why when it is asked by itself
		if all[i] != nil {
			entries += len(all[i].Entries)
		}
	}
	return all, ctx.Err()
}

func (s *Side) surveyLive(v *remote.Survey, id, known string) (err error) {
	v.Live, v.Exists, err = resolve(filepath.Join(s.root, id))
	if err != nil || !v.Exists {
		return err
	}
	if known != "" {
		v.Listing, err = listing(v.Live, func(verify.Entry) {})
	}
	if v.Same = err == nil && known != "" && v.Listing == known; !v.Same && err == nil {
		v.Listing, err = listing(v.Live, func(e verify.Entry) { v.Entries = append(v.Entries, e) })
		v.Entries = verify.InOrder(v.Entries)
	}
	if errors.Is(err, fs.ErrNotExist) {
		v.Exists = false
		return nil
	}
	if err != nil {
		return err
	}
	v.EventLines, err = countLines(filepath.Join(v.Live, ".events.log"))
	return err
}

// listing walks through a tree and sums up all that it sees but the lock file, in its order: a tree that nothing has
// touched is read in the same order again.
func listing(dir string, visit func(verify.Entry)) (string, error) {
	sum := sha256.New()
	var b []byte
	err := verify.Walk(dir, func(e verify.Entry) {
		b = append(append(b[:0], e.Path...), 0, byte(e.Kind))
		for _, n := range []uint64{uint64(e.Mode), uint64(e.Gid), uint64(e.Size), uint64(e.Mtime), uint64(e.Ctime), e.Dev, e.Ino} {
			b = binary.BigEndian.AppendUint64(b, n)
		}
		if e.Path != remote.LockFile {
			sum.Write(b)
		}
		visit(e)
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

// countLines counts newlines; -1 if there is no such regular file.
func countLines(file string) (int64, error) {
	if fi, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) || err == nil && !fi.Mode().IsRegular() {
		return -1, nil
	}
	f, _, err := openRegular(file)
	if err != nil {
		return -1, err
	}
	defer f.Close()
	var lines int64
	buf := make([]byte, 256<<10)
	for {
		n, err := f.Read(buf)
		lines += int64(bytes.Count(buf[:n], []byte{'\n'}))
		if err == io.EOF {
			return lines, nil
		}
		if err != nil {
			return -1, err
		}
	}
}

// surveyState refuses at once what is not ours among the places that a transfer goes to. Who may not look there only reads
// the dataset.
func (s *Side) surveyState(v *remote.Survey, key string) error {
	err := s.readState(v, key)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

func (s *Side) readState(v *remote.Survey, key string) error {
	err := s.inState(func(dir ownDir) error {
		for _, name := range []string{key, key + ".lock"} {
			fi, err := dir.Lstat(name)
			if IgnoreMissing(err) != nil {
				return err
			}
			if err == nil && !fi.Mode().IsRegular() {
				return planted(filepath.Join(dir.path, name), fi.Mode())
			}
			v.Journal = v.Journal || err == nil && name == key
		}
		return nil
	}, "journal")
	if err == nil {
		err = s.inState(func(dir ownDir) (err error) {
			v.Stages, err = dir.subdirs(func(name string) bool {
				return !strings.HasPrefix(name, "partial") && !strings.Contains(name, NewSuffix)
			})
			return err
		}, "stage", key)
	}
	if err == nil {
		err = s.inState(func(dir ownDir) error {
			partial, err := dir.list()
			v.Partial = len(partial) > 0
			return err
		}, "stage", key, "partial")
	}
	for _, dir := range []string{"generations", "spare"} {
		if err == nil {
			err = s.inState(func(ownDir) error { return nil }, dir, key)
		}
	}
	return err
}

// place: where inode numbers are made up anew by each mount they identify nothing.
func (s *Side) place() remote.Place {
	at := remote.Place{Dir: s.root}
	if st, err := stat(s.root); err == nil && steadyInodes(s.root) {
		at.Root = strconv.FormatUint(st.Ino, 10)
	}
	return at
}

func (s *Side) surveySpace(v *remote.Survey) error {
	state, err := stat(existing(s.state))
	if err != nil {
		return err
	}
	parent, err := stat(existing(filepath.Dir(v.Live)))
	if err != nil {
		return err
	}
	v.SameFS = parent.Dev == state.Dev
	if v.Exists { // a mount point cannot be renamed
		live, err := stat(v.Live)
		if err != nil {
			return err
		}
		v.SameFS = v.SameFS && live.Dev == state.Dev
	}
	v.FreeBytes, v.FreeInodes = freeSpace(existing(s.state))
	return nil
}

func freeSpace(dir string) (bytes, inodes int64) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return -1, -1
	}
	bytes, inodes = int64(st.Bavail)*int64(st.Bsize), int64(st.Ffree)
	if st.Files == 0 {
		inodes = -1
	}
	return bytes, inodes
}

func (s *Side) Datasets(ctx context.Context, classes *verify.Classifier) ([]remote.Dataset, error) {
	if _, err := os.ReadDir(s.root); err != nil {
		return nil, fmt.Errorf("cannot list the datasets of %s: %w", s.name, err)
	}
	var found []remote.Dataset
	for _, top := range datasetDirs(s.root) {
		if top == "archived" {
			continue
		}
		ids := []string{top}
		for _, sub := range datasetDirs(filepath.Join(s.root, top)) {
			ids = append(ids, top+"/"+sub)
		}
		for _, id := range ids {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if d, ok := s.describe(id, classes); ok {
				found = append(found, d)
			}
		}
	}
	slices.SortFunc(found, func(a, b remote.Dataset) int { return strings.Compare(a.ID, b.ID) })
	return found, nil
}

// datasetDirs are the names in dir that may be directories. What cannot be read holds no dataset for us.
func datasetDirs(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		if (e.IsDir() || e.Type() == fs.ModeSymlink) && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

// describe sums up what can be seen of a dataset; ok is false if it is none.
func (s *Side) describe(id string, classes *verify.Classifier) (d remote.Dataset, ok bool) {
	dir := filepath.Join(s.root, id)
	fi, err := os.Stat(filepath.Join(dir, "records.parquet"))
	if err != nil || !fi.Mode().IsRegular() {
		return d, false
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	d.ID = id
	if classes == nil {
		return d, true
	}
	d.Mtime, d.LastLine = fi.ModTime().UnixNano(), lastLine(filepath.Join(dir, ".events.log"))
	files, _ := verify.List(dir) // what cannot be read does not count
	d.Count(classes, files)
	return d, true
}

// lastLine looks for the last complete line in the last 64 KiB.
func lastLine(file string) string {
	f, size, err := openRegular(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	from := max(0, size-64<<10)
	b, err := io.ReadAll(io.NewSectionReader(f, from, size-from))
	end := bytes.LastIndexByte(b, '\n')
	if err != nil || end < 0 {
		return ""
	}
	begin := bytes.LastIndexByte(b[:end], '\n') + 1
	if begin == 0 && from > 0 { // its beginning is further up
		return ""
	}
	return string(b[begin:end])
}
