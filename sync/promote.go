package sync

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"syscall"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// promoted is a switch that was made, or whose answer was lost. What is left is to record it.
type promoted struct {
	tree   *proven
	report *Report // as it is if the switch was made
}

// promote switches the destination to the proven tree. Up to the switch nothing outside the state directory has
// changed; after it nothing can take it back but an undo. An error leaves it to the next look whether the switch
// was made.
func (c *command) promote(ctx context.Context, d deed, claim *claim, l *locks, t *proven) (*promoted, error) {
	r, err := c.tell(ctx, d, t.plan, Transferred)
	if err != nil {
		return nil, err
	}
	r.Print, r.Reused, r.Copied = prints(t), t.reused(), t.unlinked
	if err := c.hashUnique(ctx, t.plan, t.files); err != nil {
		return nil, err
	}
	r.Unique = uniqueFiles(t.plan, t.files)
	done := &promoted{tree: t, report: r}
	pended, err := d.pend(ctx, t)
	if err != nil {
		return nil, err
	}
	d.action = r.Action
	info := t.info(d, pended)
	if t.plan.dst.survey.Exists && (c.keepAtLeast(t.plan) > 0 || len(r.Unique) > 0 && c.o.KeepUnique > 0) {
		r.Generation = t.run
	}
	line, err := json.Marshal(info)
	if err != nil {
		return nil, err
	}
	return done, c.o.Observe.step(StepPromote, func() error {
		// The fence: on a pull the source's lock is proved right before the local switch; on a push the switch runs
		// inside the very shell that holds the lock.
		if err := l.stand(ctx); err != nil {
			return err
		}
		held, err := claim.dst.Promote(ctx, remote.Promotion{Key: c.key, Run: t.run, Live: t.plan.dst.survey.Live,
			InPlace: t.inPlace, Changes: t.plan.records(), Dirs: t.plan.dirRecords(),
			Carry: t.plan.carried(), Keep: true, Info: string(line), Unique: done.report.Unique, Sums: sums(t.plan),
			LogSize: t.logSize(), LockTimeout: c.lockTimeout()})
		c.cost.eventsHeld = max(c.cost.eventsHeld, held)
		return crossDevice(t.plan, err)
	})
}

// prints are the fingerprints of both sides after the promotion. In a partial mode the source keeps what was out of
// scope.
func prints(t *proven) Sides[string] {
	after := fingerprint(t.files)
	both := Sides[string]{Local: after, Remote: after}
	other := &both.Remote
	if t.plan.direction == Push {
		other = &both.Local
	}
	switch {
	case t.plan.src.kept != nil:
		*other = ""
	case !t.plan.how.modes.all(), t.plan.aside():
		*other = fingerprint(t.plan.src.files)
	}
	return both
}

// generationInfo is what a kept tree records of itself, one line of JSON.
type generationInfo struct {
	Run     string    `json:"run"`
	Action  string    `json:"action"`
	Dataset string    `json:"dataset"`
	Remote  string    `json:"remote,omitempty"`
	Time    time.Time `json:"time"`
	Hash    string    `json:"hash"`               // algorithm of the digests in the fingerprints
	Before  string    `json:"fingerprint_before"` // of this tree; "" where not every digest was known
	After   string    `json:"fingerprint_after"`  // of the tree that replaced it, likewise
	Stamps  string    `json:"stamps_after"`       // the same by sizes and time stamps, which are always known
	Base    string    `json:"base,omitempty"`     // run of the common base once this tree was replaced
	Forced  bool      `json:"forced,omitempty"`   // replaced by force, or by an undo in the wake of that
	Partial bool      `json:"partial,omitempty"`  // the tree holds only what was replaced, in place; the rest stayed in live

	KeepUnique time.Duration `json:"keep_unique_ns,omitempty"` // of the profile
}

func (t *proven) info(d deed, pended bool) generationInfo {
	info := generationInfo{Run: t.run, Action: d.action, Dataset: t.id, Remote: t.remoteName(), Time: t.o.Now().UTC(),
		Hash: t.plan.how.algorithm, Before: fingerprint(t.plan.dst.files), After: fingerprint(t.files), Stamps: stamps(t.files),
		Forced: t.plan.how.modes.Force || t.plan.loses(), Partial: t.inPlace, KeepUnique: t.o.KeepUnique}
	if old := t.plan.src.kept; old != nil {
		info.Remote = old.Remote
		info.Forced = info.Forced || old.Forced // a second undo replaces what the force had replaced
	}
	if pended {
		info.Base = t.run
	}
	return info
}

// records are the changes of a plan, for the side that makes them.
func (p *plan) records() (all []remote.Change) {
	for _, it := range p.arriving() {
		kind := byte('M')
		if p.dst.files.Find(it.Path) == nil {
			kind = 'A'
		}
		all = append(all, remote.Change{Kind: kind, Path: it.Path})
	}
	for i := range p.dst.files {
		if path := p.dst.files[i].Path; p.find(path) == nil {
			all = append(all, remote.Change{Kind: 'D', Path: path})
		}
	}
	for _, path := range p.dst.carry {
		if p.orphans(path) {
			all = append(all, remote.Change{Kind: 'D', Path: path})
		}
	}
	return all
}

// dirRecords are the directories that no file brings along or takes away, in order of path.
func (p *plan) dirRecords() (all []remote.Change) {
	for _, dir := range p.newDirs {
		all = append(all, remote.Change{Kind: 'A', Path: dir})
	}
	stay := map[string]bool{}
	for _, dir := range p.keptDirs {
		stay[dir] = true
	}
	for i := range p.items {
		for dir := path.Dir(p.items[i].Path); dir != "." && !stay[dir]; dir = path.Dir(dir) {
			stay[dir] = true
		}
	}
	for i := range p.dst.dirs {
		if dir := p.dst.dirs[i].Path; !stay[dir] {
			all = append(all, remote.Change{Kind: 'D', Path: dir})
		}
	}
	return all
}

// stamps is a fingerprint by size and modification time.
func stamps(m verify.Manifest) string {
	sum := sha256.New()
	for i := range m {
		fmt.Fprintf(sum, "%d %d %s\x00", m[i].Size, m[i].Mtime, m[i].Path)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// logSize: the lines that the destination's log has gained since it was listed follow ours, but for a forced transfer.
func (t *proven) logSize() int64 {
	if t.plan.how.modes.Force {
		return -1
	}
	if log := t.plan.dst.files.Find(eventsPath); log != nil {
		return log.Size
	}
	return 0
}

// crossDevice: two places on one device may be on two mounts of it, or in two layers of an overlay.
func crossDevice(p *plan, err error) error {
	if errors.Is(err, syscall.EXDEV) {
		return &DeviceError{Side: p.dst.side.Name(), Live: p.dst.survey.Live, State: statePath(p.dst.side)}
	}
	return err
}
