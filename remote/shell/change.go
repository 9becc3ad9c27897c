package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// Stage makes ROOT/.usr-sync/stage/KEY/RUN with tree/ and copies/; tree has mode, group and setgid bit of live, or
// what mkdir would give in its place. It is exchanged with live only if that is asked for and was tried. Needs the claim.
func (s *Session) Stage(ctx context.Context, key, run, live string, exchange bool) (remote.Staged, error) {
	out, err := s.read(ctx, request{verb: "stage", args: []string{s.root, key, run, live, bit(exchange)}}, "make a stage for "+remote.Escape(live))
	var way remote.Staged
	for _, f := range fields(out) {
		way.Exchange = way.Exchange || f[0] == "exchange"
		way.Renumbers = way.Renumbers || f[0] == "renumbers"
		if f[0] == "names" {
			way.Names.Learn(taken(f[1]))
		}
	}
	return way, err
}

// Link hard-links relative paths of one directory into another, making directories as needed; a directory among
// the paths is made. A path that is there already is fs.ErrExist.
// One that can have no second name is copied if that is wished; else the error is remote.ErrNoLink, and none is there.
func (s *Session) Link(ctx context.Context, from, to string, paths []string, orCopy bool) error {
	err := s.place(ctx, "link", from, to, paths, bit(orCopy))
	if hasStatus(err, statusNoLink) {
		return fmt.Errorf("%w: %w", remote.ErrNoLink, err)
	}
	return err
}

// Writable reports whether this user can add and replace files everywhere below a directory.
func (s *Session) Writable(ctx context.Context, dir string) (bool, error) {
	out, err := s.read(ctx, request{verb: "writable", args: []string{dir}}, "look at "+remote.Escape(dir))
	return len(out) > 0, err
}

// PutNames writes a list of names, a NUL after each, into a new file of a run, and returns its path. Needs the claim.
func (s *Session) PutNames(ctx context.Context, key, run, name string, paths []string) (file string, err error) {
	file = path.Join(s.root, remote.StateDir, "stage", key, run, "names", name)
	more := "0"
	for batch := range slices.Chunk(paths, HashBatch) {
		r := request{verb: "names", args: []string{s.root, key, run, name, more}, payload: escapeWords(batch)}
		if err := s.do(ctx, r, "write "+remote.Escape(file), nil); err != nil {
			return "", err
		}
		more = "1"
	}
	return file, nil
}

// CopyAs copies files of the host into the tree to, by any name, with directories as needed. What is not there or cannot be
// read is passed over.
func (s *Session) CopyAs(ctx context.Context, to string, files []remote.Placement) error {
	what := "copy into " + remote.Escape(to)
	for batch := range slices.Chunk(files, HashBatch) {
		words := make([]string, 0, 3*len(batch))
		for _, f := range batch {
			if !local(f.Path) {
				return &remote.Error{Do: what, Detail: remote.Escape(f.Path) + " is not a path below it"}
			}
			words = append(words, f.From, f.Path, timestamp(f.Mtime))
		}
		if err := s.do(ctx, request{verb: "copyas", args: []string{to}, payload: escapeWords(words)}, what, nil); err != nil {
			return err
		}
	}
	return nil
}

// timestamp writes a time (ns) as every touch(1) takes it.
func timestamp(ns int64) string {
	return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000000000Z")
}

// Copy is Link with copies: same mtime and mode, another inode.
func (s *Session) Copy(ctx context.Context, from, to string, paths []string) error {
	return s.place(ctx, "copy", from, to, paths)
}

func (s *Session) place(ctx context.Context, verb, from, to string, paths []string, more ...string) error {
	return s.batches(ctx, verb, verb+" from "+remote.Escape(from)+" to "+remote.Escape(to), append([]string{from, to}, more...), paths)
}

// batches sends a request for relative paths in pieces.
func (s *Session) batches(ctx context.Context, verb, what string, args, paths []string) error {
	for batch := range slices.Chunk(paths, HashBatch) {
		for _, p := range batch {
			if !local(p) {
				return &remote.Error{Do: what, Detail: remote.Escape(p) + " is not a path below it"}
			}
		}
		if err := s.do(ctx, request{verb: verb, args: args, payload: escapeNames(batch)}, what, nil); err != nil {
			return err
		}
	}
	return nil
}

// local paths stay below the directory that they are taken from.
func local(path string) bool {
	if path == "" || strings.ContainsRune(path, 0) || strings.HasPrefix(path, "/") {
		return false
	}
	return !slices.Contains(strings.Split(path, "/"), "..")
}

// MoveIn moves a file of the old tree to the same path of live, where none may be.
func (s *Session) MoveIn(ctx context.Context, old, live, file string) error {
	return s.carry(ctx, "movein", old, live, file)
}

// SwapIn exchanges a file of the old tree with the one at the same path of live. At every instant live has one.
func (s *Session) SwapIn(ctx context.Context, old, live, file string) error {
	return s.carry(ctx, "swapin", old, live, file)
}

func (s *Session) carry(ctx context.Context, verb, old, live, file string) error {
	what := "carry " + remote.Escape(file) + " into " + remote.Escape(live)
	if !local(file) {
		return &remote.Error{Do: what, Detail: "it is not a path below it"}
	}
	return s.do(ctx, request{verb: verb, args: []string{old, live, "./" + file}}, what, nil)
}

// Spare makes the directory of the spare tree of a dataset. Needs the claim.
func (s *Session) Spare(ctx context.Context, key string) error {
	return s.do(ctx, request{verb: "spare", args: []string{s.root, key}}, "make the spare of "+remote.Escape(key), nil)
}

// Drop removes names below a directory of ours, with all that is below them.
func (s *Session) Drop(ctx context.Context, dir string, paths []string) error {
	return s.batches(ctx, "drop", "remove from "+remote.Escape(dir), []string{dir}, paths)
}

// UseSpare puts the spare in the place of a run's tree, with its mode and group. Needs the claim.
func (s *Session) UseSpare(ctx context.Context, key, run string) error {
	return s.do(ctx, request{verb: "usespare", args: []string{s.root, key, run}}, "make the spare of "+remote.Escape(key)+" the stage's", nil)
}

// Retire makes the tree of a generation the spare, but for what it had in place of what is new and the names that are to
// be dropped. Needs the claim.
func (s *Session) Retire(ctx context.Context, key, run string, drop []string) error {
	r := request{verb: "retire", args: []string{s.root, key, run}, payload: escapeNames(drop)}
	return s.do(ctx, r, "make the generation "+remote.Escape(run)+" the spare", nil)
}

// SetDirs gives directories below dir ("" is dir itself) their Mode and, where this user may, their Gid.
func (s *Session) SetDirs(ctx context.Context, dir string, dirs []verify.Entry) error {
	what := "set the mode of directories in " + remote.Escape(dir)
	groups := map[[2]uint32][]string{}
	for _, e := range dirs {
		if e.Path != "" && !local(e.Path) {
			return &remote.Error{Do: what, Detail: remote.Escape(e.Path) + " is not a path below it"}
		}
		key := [2]uint32{uint32(e.Mode), e.Gid}
		groups[key] = append(groups[key], e.Path)
	}
	for key, paths := range groups {
		args := []string{dir, strconv.FormatUint(uint64(key[0]&0o7777), 8), strconv.FormatUint(uint64(key[1]), 10)}
		if err := s.do(ctx, request{verb: "setdirs", args: args, payload: escapeNames(paths)}, what, nil); err != nil {
			return err
		}
	}
	return nil
}

// Dress gives directories of to the access control lists and other extended attributes of those of from, and makes those that
// are not there. It needs perl or Python there.
func (s *Session) Dress(ctx context.Context, from, to string, dirs []string) error {
	args := []string{from, to}
	return s.do(ctx, request{verb: "dress", args: args, payload: escapeNames(dirs)}, "give directories of "+remote.Escape(to)+" their attributes", nil)
}

// SetTime gives a file of live a modification time (ns), unless it is no longer what was listed.
func (s *Session) SetTime(ctx context.Context, live string, listed verify.Entry, mtime int64) error {
	what := "set the time of " + remote.Escape(live+"/"+listed.Path)
	if !local(listed.Path) {
		return &remote.Error{Do: what, Detail: "it is not a path below it"}
	}
	args := []string{live, "./" + listed.Path, strconv.FormatUint(listed.Ino, 10), strconv.FormatInt(listed.Mtime/1e9, 10),
		timestamp(mtime)}
	return s.do(ctx, request{verb: "settime", args: args}, what, nil)
}

// Flush makes files and directories below dir durable, or without any the whole file system.
func (s *Session) Flush(ctx context.Context, dir string, paths []string) error {
	what := "flush " + remote.Escape(dir)
	if len(paths) == 0 {
		return s.do(ctx, request{verb: "flush", args: []string{dir}}, what, nil)
	}
	for batch := range slices.Chunk(paths, HashBatch) {
		if err := s.do(ctx, request{verb: "flush", args: []string{dir}, payload: escapeNames(batch)}, what, nil); err != nil {
			return err
		}
	}
	return nil
}

// Remove deletes a tree strictly below ROOT/.usr-sync. What is not there is deleted.
func (s *Session) Remove(ctx context.Context, dir string) error {
	return s.do(ctx, request{verb: "remove", args: []string{s.root, dir}}, "remove "+remote.Escape(dir), nil)
}

// StageFile makes (or finds) the private directory beside a file in which its replacement is put together, with the
// directories above it, and claims it until Release.
func (s *Session) StageFile(ctx context.Context, file string, timeout time.Duration) (dir string, err error) {
	dir = remote.FileStage(file)
	path := dir + "/lock"
	err = s.obtain(ctx, request{verb: "stagefile", args: []string{file, dir}}, path, timeout)
	if err == nil {
		s.claimFor = path
	}
	return dir, err
}

// PromoteFile flushes the named file in dir, renames it over the file, and removes dir.
func (s *Session) PromoteFile(ctx context.Context, dir, name, file string) error {
	return s.do(ctx, request{verb: "promotefile", args: []string{dir, name, file}}, "promote "+remote.Escape(file), nil)
}

// DropFile removes what StageFile made.
func (s *Session) DropFile(ctx context.Context, dir string) error {
	return s.do(ctx, request{verb: "dropfile", args: []string{dir}}, "remove "+remote.Escape(dir), nil)
}

// eventsPatience is the longest that a promotion waits for .events.lock: it holds .usr.lock meanwhile, and nobody
// holds the other for longer than a line takes.
const eventsPatience = 30 * time.Second

// Promote switches live to the staged tree under a journal, and tells how long .events.lock was held. It needs the claim
// and, where live exists, its lock. A context that ends does not interrupt it. After an error, or a lost connection,
// Recover decides.
func (s *Session) Promote(ctx context.Context, p remote.Promotion) (held time.Duration, err error) {
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	carry := slices.DeleteFunc(slices.Clone(p.Carry), func(path string) bool { return path == ".events.lock" })
	if !slices.Contains(carry, ".usr.lock") {
		carry = append(carry, ".usr.lock")
	}
	size := "-"
	if p.LogSize >= 0 {
		size = strconv.FormatInt(p.LogSize, 10)
	}
	patience := min(p.LockTimeout, eventsPatience)
	args := []string{s.root, p.Key, p.Run, p.Live, bit(p.Keep), bit(p.InPlace), p.Info, size, strconv.Itoa(int(patience / time.Second))}
	r := request{verb: "promote", args: args}
	for _, list := range [][]byte{escapeNames(carry), escapeWords(records(p.Changes)), escapeWords(records(p.Dirs)), escapeWords(p.Unique), appendEscaped(nil, p.Sums)} {
		r.payload = append(append(append(r.payload, '='), list...), ' ')
	}
	begin := time.Now()
	out, err := s.read(context.WithoutCancel(ctx), r, "promote "+remote.Escape(p.Live))
	for _, f := range fields(out) {
		if f[0] == "held" {
			ns, _ := strconv.ParseInt(f[1], 10, 64)
			held = time.Duration(ns)
		}
	}
	if hasStatus(err, statusBusy) {
		return held, s.busy(ctx, p.Live+"/.events.lock", begin)
	}
	return held, err
}

// busy names the holder of a lock that was waited for.
func (s *Session) busy(ctx context.Context, lock string, since time.Time) error {
	return &remote.LockError{Path: lock, Waited: time.Since(since), Holder: s.holder(context.WithoutCancel(ctx), lock)}
}

// records are changes as the files of a run tell them.
func records(changes []remote.Change) []string {
	words := make([]string, len(changes))
	for i, c := range changes {
		words[i] = string(c.Kind) + " " + c.Path
	}
	return words
}

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// Recover finishes or undoes the promotion that a run died in. Needs the claim.
func (s *Session) Recover(ctx context.Context, key string) (r remote.Recovered, err error) {
	if err := context.Cause(ctx); err != nil {
		return r, err
	}
	begin, lock := time.Now(), ""
	var out []byte
	out, err = s.read(context.WithoutCancel(ctx), request{verb: "recover", args: []string{s.root, key}}, "recover "+remote.Escape(key))
	if hasStatus(err, statusBusy) {
		defer func() { err = s.busy(ctx, lock, begin) }()
	}
	for _, f := range fields(out) {
		switch f[0] {
		case "busy":
			lock = f[1]
		case "run":
			r.Run = f[1]
		case "forward":
			r.Forward = f[1] == "1"
		}
	}
	return r, err
}

// Settle drops the journal and, oldest first, the generations beyond keep. The spared runs stay and are not counted.
// Needs the claim.
func (s *Session) Settle(ctx context.Context, key string, keep int, spared ...string) error {
	args := append([]string{s.root, key, strconv.Itoa(max(keep, 0))}, spared...)
	return s.do(ctx, request{verb: "settle", args: args}, "settle "+remote.Escape(key), nil)
}

// Thin takes everything out of the trees of generations but their unique files and what is late. Needs the claim.
func (s *Session) Thin(ctx context.Context, key string, runs ...string) error {
	return s.do(ctx, request{verb: "thin", args: append([]string{s.root, key}, runs...)}, "thin the generations of "+remote.Escape(key), nil)
}

// KeepLate adds to the files of a generation that stay when it is thinned. Needs the claim.
func (s *Session) KeepLate(ctx context.Context, key, run string, paths []string) error {
	return s.do(ctx, request{verb: "keeplate", args: []string{s.root, key, run}, payload: escapeWords(paths)},
		"record what is late in the generation "+remote.Escape(run), nil)
}

// Generations lists the kept trees of a dataset, newest first.
func (s *Session) Generations(ctx context.Context, key string) ([]remote.Generation, error) {
	out, err := s.read(ctx, request{verb: "generations", args: []string{s.root, key}}, "list the generations of "+remote.Escape(key))
	var found []remote.Generation
	for _, f := range fields(out) {
		switch f[0] {
		case "run":
			found = append(found, remote.Generation{Run: f[1], Unique: -1})
		case "tree":
			found[len(found)-1].Tree = f[1]
		case "whole":
			found[len(found)-1].Whole = true
		case "unique":
			found[len(found)-1].Unique, _ = strconv.Atoi(strings.TrimSpace(f[1]))
		case "lately":
			found[len(found)-1].Late, _ = strconv.Atoi(strings.TrimSpace(f[1]))
		case "info":
			found[len(found)-1].Info = f[1]
		}
	}
	slices.SortFunc(found, func(a, b remote.Generation) int { return strings.Compare(b.Run, a.Run) })
	return found, err
}

// Datasets lists those of a root, in order of their ids. Their files are counted by the classes, if there are any.
func (s *Session) Datasets(ctx context.Context, classes *verify.Classifier) ([]remote.Dataset, error) {
	r := request{verb: "datasets", args: []string{s.root, bit(classes != nil)}}
	out, err := s.read(ctx, r, "list the datasets of "+remote.Escape(s.root))
	var found []remote.Dataset
	var files verify.Manifest
	count := func() {
		if len(found) > 0 && classes != nil {
			found[len(found)-1].Count(classes, verify.InOrder(files))
		}
		files = files[:0]
	}
	for _, f := range fields(out) {
		switch {
		case f[0] == "id":
			count()
			found = append(found, remote.Dataset{ID: f[1]})
		case len(found) == 0:
		case f[0] == "file":
			size, path, _ := strings.Cut(f[1], " ")
			n, _ := strconv.ParseInt(size, 10, 64)
			files = append(files, verify.Entry{Kind: verify.File, Size: n, Path: path})
		case f[0] == "stat":
			err = errors.Join(err, readStat(strings.NewReader(f[1]), "@"+s.token+" ", func(e verify.Entry) error { files = append(files, e); return nil }))
		default:
			setFact(&found[len(found)-1], f[0], f[1])
		}
	}
	count()
	slices.SortFunc(found, func(a, b remote.Dataset) int { return strings.Compare(a.ID, b.ID) })
	return found, err
}

func setFact(d *remote.Dataset, name, value string) {
	switch name {
	case "mtime":
		d.Mtime = (&numbers{}).time([]byte(value))
	case "last": // its last two lines and a dot; what follows the last newline is not complete
		text := strings.TrimSuffix(value, ".")
		text = text[:strings.LastIndexByte(text, '\n')+1]
		text = strings.TrimSuffix(text, "\n")
		d.LastLine = text[strings.LastIndexByte(text, '\n')+1:]
	}
}

// fields splits NUL-terminated name=value records.
func fields(out []byte) [][2]string {
	var found [][2]string
	for _, record := range bytes.Split(out, []byte{0}) {
		if name, value, ok := strings.Cut(string(record), "="); ok {
			found = append(found, [2]string{name, value})
		}
	}
	return found
}
