package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/rsync"
	"github.com/dnadesign-maintainers/usr/remote/shell"
	"github.com/dnadesign-maintainers/usr/verify"
)

// base examines the base directory.
func (h *hostDoctor) base(ctx context.Context) error {
	if h.SkipBase {
		return nil
	}
	if !h.baseExists() {
		return nil
	}
	h.registry()
	h.space()
	if err := h.quota(ctx); err != nil {
		return err
	}
	if !h.inBase() {
		h.ok("file system", "%s", orUnknown(h.look.line("type")))
		h.add(Fail, "base writable", orUnknown(h.look.line("writable")), h.writableAdvice())
		return nil
	}
	r, err := h.stage(ctx, "try", h.Target.BaseDir, strings.TrimPrefix(filepath.Base(h.scratch), "doctor-"))
	if err != nil {
		return err
	}
	if r.has("error") && !r.has("write") {
		r["write"] = r["error"]
	}
	h.tried(r)
	return nil
}

func (h *hostDoctor) baseExists() bool {
	dir := h.Target.BaseDir
	if why := h.look["base"]; why != "" || !h.look.has("base") {
		do := "make it there (`mkdir -p " + remote.Escape(quote(dir)) + "`), or correct base_dir in the profile"
		if strings.Contains(why, "Permission denied") {
			do = "ask its owner for access (`chmod g+rx`, or membership of the group), or correct base_dir in the profile"
		}
		h.add(Fail, "base directory", orUnknown(oneLine(why)), do)
		return false
	}
	h.ok("base directory", "%s", remote.Escape(dir))
	return true
}

// registry compares the registries of the two roots, by which writers tell whether a dataset is up to date.
func (h *hostDoctor) registry() {
	here, there := verify.NoRegistry, h.look.line("registry")
	if h.Root != "" {
		here = verify.RegistrySum(h.Root)
	}
	switch {
	case h.Root == "" || here == "" || there == "":
		h.add(Warn, "registry", "registry.yaml cannot be compared", "see that registry.yaml of both roots can be read, and is the same")
	case here == there && here == verify.NoRegistry:
		h.ok("registry", "neither root has a registry.yaml")
	case here == there:
		h.ok("registry", "registry.yaml is the same in both roots")
	case here == verify.NoRegistry, there == verify.NoRegistry:
		h.add(Warn, "registry", "only one of the roots has a registry.yaml", "copy it to the other one: without it programs there cannot write overlays")
	default:
		h.add(Warn, "registry", "registry.yaml differs between the roots", "compare them and make them one: else the next overlay that is written on either side rewrites records.parquet, and the datasets diverge by themselves")
	}
}

func (h *hostDoctor) writableAdvice() string {
	return "pull works without; for push ask the owner of " + remote.Escape(h.Target.BaseDir) +
		" for write permission (`chmod g+w`), or name a directory of yours as base_dir"
}

const (
	lowBytes  = 1 << 30
	lowInodes = 10000
)

// space reports what is free.
func (h *hostDoctor) space() {
	kb, inodes := shell.Available(h.look["space"]), shell.Available(h.look["inodes"])
	var saw []string
	if kb >= 0 {
		saw = append(saw, size(float64(kb)*1024))
	}
	if inodes >= 0 {
		saw = append(saw, fmt.Sprintf("%d inodes", inodes))
	}
	free := strings.Join(saw, " and ") + " free"
	switch {
	case len(saw) == 0:
		h.add(Warn, "free space", "df does not tell", "ask for your quota there (`quota -s`, `lfs quota`, `pquota`)")
	case kb >= 0 && kb<<10 < lowBytes, inodes >= 0 && inodes < lowInodes:
		h.add(Warn, "free space", free, "make room (old trees are in .usr-sync/generations), or ask for a larger quota: a push needs room for what changes")
	default:
		h.ok("free space", "%s (quotas apart)", free)
	}
}

// quota reports on what a group may use, which df does not tell.
func (h *hostDoctor) quota(ctx context.Context) error {
	out, err := h.run(ctx, remote.QuotaScript)
	var refused *remote.Error
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	for _, q := range remote.ParseQuotas(string(out)) {
		saw := fmt.Sprintf("%s may use %s on %s, and uses %s", q.Group, size(float64(q.Limit)), q.FileSystem, size(float64(q.Used)))
		if q.Limit-q.Used < lowBytes {
			h.add(Warn, "group quota", saw, "make room: `usr generations` lists what is kept, `--prune` removes it")
			continue
		}
		h.ok("group quota", "%s", saw)
	}
	return nil
}

// tried reports on what a promotion does.
func (h *hostDoctor) tried(r records) {
	if h.verdict(r, "write", "base writable", "a file and a directory made, renamed and removed", h.writableAdvice()) {
		way := h.exchanges(r)
		h.fileSystem("file system", h.look.line("type"), r, way)
		const elsewhere = "put base_dir on another file system (a project directory, not an object store)"
		h.verdict(r, "rename", "rename", "a directory renamed out of .usr-sync and back", elsewhere+": .usr-sync and datasets must be on one")
		h.exchange(way, r.line("noexchange"))
	}
	h.locking(r)
	if r.has("names") {
		h.names("names", strings.Fields(r["names"]))
	}
}

// names says which names are one in a root.
func (r *report) names(name string, are []string) {
	words := map[string]string{"case": "that differ in case alone are one", "form": "that differ in how letters are composed are one",
		"utf8": "that are not UTF-8 are refused"}
	var saw []string
	for _, a := range are {
		saw = append(saw, words[a])
	}
	if len(saw) == 0 {
		saw = []string{"are kept as they are"}
	}
	r.ok(name, "names %s", strings.Join(saw, ", "))
}

// fileSystem says in one row what a transfer can count on there.
func (r *report) fileSystem(name, kind string, saw records, exchanges string) {
	words := func(record, yes, no string) string {
		switch {
		case !saw.has(record):
			return record + " not tried"
		case saw[record] != "":
			return no
		}
		return yes
	}
	way, links := "in place", words("links", "files are linked", "no hard links")
	switch {
	case saw.line("links") == otherInode:
		links = "each link is another inode"
	case saw.has("links") && saw["links"] == "" && exchanges != "":
		way = "in one step"
	}
	r.ok(name, "%s: switched %s, %s, %s, %s", orUnknown(kind), way, links,
		words("clones", "copies share blocks", "copies take room"), words("access lists", "access lists stay", "no access lists"))
}

// otherInode is what doctor.sh says of a link that does not show what it is a link to.
const otherInode = "another inode"

// verdict is ok if the record is there and empty.
func (h *hostDoctor) verdict(r records, record, name, saw, do string) bool {
	if why := r[record]; why != "" || !r.has(record) {
		h.add(Fail, name, orUnknown(oneLine(why)), do)
		return false
	}
	h.ok(name, "%s", saw)
	return true
}

// exchanges is what exchanges two directories there, "" if nothing does.
func (h *hostDoctor) exchanges(r records) string {
	switch {
	case h.session != nil:
		return r.line("exchange")
	case exchangeHere(h.scratch+"/a", h.scratch+"/b") == nil:
		return "this program"
	}
	return ""
}

// exchange says which way a switch goes there: what exchanges, if anything does, or what cannot.
func (h *hostDoctor) exchange(way, by string) {
	if h.session == nil {
		by = "this program"
	}
	switch {
	case way != "":
		h.ok("exchange", "a dataset is switched as a whole: two directories exchanged in one step, by %s", way)
	case by == "mv":
		h.add(Warn, "exchange", "a dataset is switched in place, by a process for each file: neither perl nor python3 is there",
			"have one of them on the PATH of the login shell: a switch of many files then takes milliseconds, not minutes")
	default:
		h.ok("exchange", "a dataset is switched in place, file by file, by %s: nothing there exchanges two directories", orUnknown(by))
	}
}

// locking says whether two processes exclude each other there.
func (h *hostDoctor) locking(r records) {
	const saw = "of two processes one gets it, the other when it is released"
	do := "have base_dir on a file system where flock(2) works, or ask the administrators for it (Lustre: mount with -o flock; NFS: lock service)"
	switch {
	case h.session == nil:
		why := ""
		if err := tryFlock(filepath.Join(h.scratch, "lockfile")); err != nil {
			why = err.Error()
		}
		h.verdict(records{"lock": why}, "lock", "lock", saw, do)
	case r.has("lock"):
		h.verdict(r, "lock", "lock", saw, do)
	default:
		h.add(Fail, "lock", "not tried: there is no flock(1)", "install it, see the row above")
	}
}

// transfer sends a file through the very connection, or host, that datasets take, and looks whether it has arrived.
func (h *hostDoctor) transfer(ctx context.Context) error {
	for _, needed := range []string{"local rsync", "login shell", "rsync"} {
		if h.scratch == "" || h.failed(needed) {
			return nil
		}
	}
	name, other := "transfer", h.Target.TransferHost != "" && h.Target.TransferHost != h.Target.Host
	if other {
		name = "transfer host"
	}
	private := other && !h.inBase() // a temporary directory is each host's own
	begin := time.Now()
	end, err := h.session.Endpoint(ctx)
	if err == nil && !private {
		err = h.send(ctx, end)
	}
	if err != nil {
		h.add(Fail, name, oneLine(err.Error()), h.transferAdvice(err, other))
		return nil
	}
	if private {
		h.ok(name, "%s lets you in", remote.Escape(h.Target.TransferHost))
		return nil
	}
	r, err := h.runScript(ctx, "if [ -f "+quote(h.scratch+"/sent/"+trialFile)+" ]; then echo yes; fi")
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(r)) != "yes" {
		h.add(Fail, name, "what is sent through "+remote.Escape(h.Target.TransferHost)+" does not arrive on "+remote.Escape(h.Target.Host),
			"name a transfer_host that has the same base_dir, or none")
		return nil
	}
	h.ok(name, "a file sent by rsync in %s", milliseconds(time.Since(begin)))
	return nil
}

// inBase says whether the scratch directory is in the base directory.
func (h *hostDoctor) inBase() bool { return h.look.has("writable") && h.look["writable"] == "" }

func (h *hostDoctor) transferAdvice(err error, other bool) string {
	if other {
		return "correct transfer_host in the profile, or leave it out; try `ssh " + remote.Escape(quote(h.Target.TransferHost)) + "`"
	}
	return h.Hint(err)
}

func (h *hostDoctor) failed(name string) bool {
	for _, f := range h.found {
		if f.Name == name {
			return f.State == Fail
		}
	}
	return false
}

func (h *hostDoctor) send(ctx context.Context, end remote.Endpoint) error {
	dir, err := os.MkdirTemp("", "usr-doctor-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, trialFile), []byte("x\n"), 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stageTime)
	defer cancel()
	t := rsync.Transfer{To: end, FromDir: dir, ToDir: h.scratch + "/sent", Files: []string{trialFile},
		PartialDir: "partial", Command: h.Options.Command}
	h.session.Count()
	_, err = t.Run(ctx)
	return err
}
