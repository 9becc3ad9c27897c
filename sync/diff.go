package sync

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/verify"
)

// subject is one dataset in the course of one command.
type subject struct {
	*Pair
	id, key    string
	direction  Direction
	modes      Modes
	algorithm  string
	hashChosen bool
	base       *base
	known      view // the last look, with the digests learned since
	started    time.Time
	tables     map[string]seenTable // by side
	seenLogs   seenLogs
	recovered  bool
}

// subject checks the id.
func (p *Pair) subject(id string, d Direction, m Modes) (*subject, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	return p.newSubject(id, stateKey(id), d, m), nil
}

// nextStart is when the work on a dataset began: the first one's includes the connection.
func (p *Pair) nextStart() time.Time {
	if p.begun.IsZero() {
		return p.o.Now()
	}
	start := p.begun
	p.begun = time.Time{}
	return start
}

func (p *Pair) newSubject(id, key string, d Direction, m Modes) *subject {
	return &subject{Pair: p, id: id, key: key, direction: d, modes: m, started: p.nextStart(), tables: map[string]seenTable{}}
}

// look reads both sides at once and takes the digests that before or, unless told otherwise, the cache still vouches
// for. The hash is settled on behind the first listing: the remote's answer to both comes in one round trip.
func (s *subject) look(ctx context.Context, before view, cached bool) (view, error) {
	v, err := s.Pair.look(ctx, s.id, before)
	if err != nil {
		return view{}, err
	}
	if !s.hashChosen {
		if err := s.chooseHash(ctx); err != nil {
			return view{}, err
		}
	}
	if cached {
		s.store.learn(v.local, s.id, "", s.algorithm)
		s.store.learn(v.remote, s.id, s.remote.Name(), s.algorithm)
	}
	return v, nil
}

// chooseHash settles on the algorithm and resolves the mode "auto": by hash, or where a host has no hash tool by
// Parquet footers and sizes, which is said.
func (s *subject) chooseHash(ctx context.Context) (err error) {
	s.hashChosen = true
	s.algorithm, err = s.Pair.algorithm(ctx)
	auto := s.modes.Primary == Auto
	if auto {
		s.modes.Primary = ByHash
	}
	var none *NoHashError
	if !auto || !errors.As(err, &none) {
		return err
	}
	s.warn("%v; verifying the primary by its Parquet footer and everything else by size and time", err)
	s.modes.Primary, s.modes.noHashes = ByParquet, true
	return nil
}

// survey looks at both sides, then makes the plan.
func (s *subject) survey(ctx context.Context) (*plan, error) {
	v, err := s.lookSettled(ctx, !s.modes.Rehash)
	if err != nil {
		return nil, err
	}
	return s.compare(ctx, v)
}

// compare decides how the sides relate and what the command would change.
func (s *subject) compare(ctx context.Context, v view) (*plan, error) {
	var p *plan
	err := s.o.Observe.step(StepCompare, func() error {
		levels := s.modes.levels()
		if v.equal(levels) { // then history has nothing to say
			p = makePlan(v, s.towards(InSync), history{relation: InSync}, s.modes)
			s.known = v
			return nil
		}
		if err := s.loadBase(v); err != nil {
			return err
		}
		if err := s.decide(ctx, v, s.base, levels, s.algorithm); err != nil {
			return err
		}
		order, err := s.logOrder(ctx, v)
		if err != nil {
			return err
		}
		h := relate(v, s.base, order, levels, s.modes.inScope)
		p = makePlan(v, s.towards(h.relation), h, s.modes)
		s.known = v
		return nil
	})
	return p, err
}

// equal tells whether two datasets are known to be the same in every class.
func (v view) equal(levels verify.Levels) bool {
	if !v.local.present() || !v.remote.present() || len(v.local.files) != len(v.remote.files) {
		return false
	}
	same := true
	verify.Join(v.local.files, v.remote.files, func(l, r *verify.Entry) {
		same = same && l != nil && r != nil && levels.Compare(l, r) == verify.Same
	})
	return same
}

// logOrder asks for the order of the event logs only where it can matter.
func (s *subject) logOrder(ctx context.Context, v view) (logOrder, error) {
	if !v.local.present() || !v.remote.present() {
		return logsEqual, nil
	}
	l, r := v.local.files.Find(eventsPath), v.remote.files.Find(eventsPath)
	if l != nil && r != nil && verify.SameStamp(l, &s.seenLogs.local) && verify.SameStamp(r, &s.seenLogs.remote) {
		return s.seenLogs.order, nil
	}
	order, err := s.logs(ctx, v, s.algorithm)
	if err == nil && l != nil && r != nil {
		s.seenLogs = seenLogs{local: *l, remote: *r, order: order}
	}
	return order, err
}

// seenLogs is how two event logs compared, to be asked again only if one of them was touched.
type seenLogs struct {
	local, remote verify.Entry
	order         logOrder
}

// towards is the direction in which changes are told: that of the transfer, or for a diff the one that the
// relation calls for.
func (s *subject) towards(r Relation) Direction {
	switch {
	case s.direction != "":
		return s.direction
	case r == LocalAhead || r == LocalOnly:
		return Push
	}
	return Pull
}

// Diff previews a dataset and changes nothing but the local hash cache.
func (p *Pair) Diff(ctx context.Context, id string, m Modes) (*Report, error) {
	s, err := p.subject(id, "", m)
	if err != nil {
		return nil, err
	}
	plan, err := s.survey(ctx)
	if err != nil {
		return nil, err
	}
	if !plan.src.present() && !plan.dst.present() {
		return nil, &MissingError{Side: "either side", Path: id}
	}
	r := s.report(plan, "diff", DiffOnly)
	if len(plan.changes) > 0 || m.Itemize {
		if err := s.preview(ctx, plan, r); err != nil {
			return nil, err
		}
	}
	if err := s.describeTables(ctx, r); err != nil {
		return nil, err
	}
	s.rememberBoth()
	return s.finish(r), nil
}

// preview lets rsync say in its own terms what it would do, and joins that with the manifests. Where the two
// disagree the manifests are right, and the report says so: what size and time stamp hide (Silent), and what
// only looks different (Touched).
func (s *subject) preview(ctx context.Context, p *plan, r *Report) error {
	if !p.dst.survey.Exists || !p.src.survey.Exists {
		return nil // rsync has nothing to compare with; all is new
	}
	items, err := remote.Preview{
		From: p.src.side.Endpoint(), To: p.dst.side.Endpoint(),
		FromDir: p.src.survey.Live, ToDir: p.dst.survey.Live,
		Exclude: s.excludes(p),
		Itemize: s.itemizer(),
		Stall:   stallTimeout,
		Command: s.ranRsync,
	}.Run(ctx)
	var partial *remote.RsyncError
	if errors.As(err, &partial) && (partial.Code == 23 || partial.Code == 24) {
		// A file vanished meanwhile; or one is to take the place of a directory that holds ignored files, at which
		// rsync balks even in thought.
		s.warn("rsync's own preview is not complete: %v", err)
		return nil
	} else if err != nil {
		return err
	}
	flags := make(map[string]string, len(items))
	for _, it := range items {
		flags[it.Path] = it.Flags
	}
	for i := range r.Changes {
		c := &r.Changes[i]
		c.Flags = flags[c.Path]
		delete(flags, c.Path)
		if c.Flags == "" && c.Kind == Modified {
			r.Silent = append(r.Silent, c.Path)
		}
	}
	for _, path := range p.keep {
		if f, ok := flags[path]; ok && strings.HasPrefix(f[1:], "f") {
			r.Touched = append(r.Touched, path)
		}
	}
	return nil
}

func (s *subject) itemizer() func(string) {
	if !s.modes.Itemize {
		return nil
	}
	return func(line string) { s.o.Observe(Itemized{line}) }
}

// excludes keeps rsync's preview to the paths that the modes compare.
func (s *subject) excludes(p *plan) []string {
	var out []string
	for _, path := range append(append([]string(nil), p.src.carry...), p.dst.carry...) {
		out = append(out, remote.ExcludePath(path))
	}
	verify.Join(p.src.files, p.dst.files, func(a, b *verify.Entry) {
		if e := either(a, b); !s.modes.inScope(e.Class) {
			out = append(out, remote.ExcludePath(e.Path))
		}
	})
	return out
}

// rememberBoth saves the digests of both sides. Failing to is worth a word, no more.
func (s *subject) rememberBoth() {
	for _, side := range []struct {
		snap   *snapshot
		remote string
	}{{s.known.local, ""}, {s.known.remote, s.remoteName()}} {
		if side.snap == nil || side.snap.kept {
			continue
		}
		if err := s.store.remember(side.snap, s.id, side.remote, s.algorithm); err != nil && !errors.Is(err, os.ErrPermission) {
			s.warn("cannot write the hash cache: %v", err)
		}
	}
}

// finish completes a report with what the whole command cost.
func (s *subject) finish(r *Report) *Report {
	r.Took = s.o.Now().Sub(s.started)
	if s.remote != nil {
		r.Executions = s.remote.Executions()
	}
	return r
}
