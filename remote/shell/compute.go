package shell

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	stdsync "sync"
	"sync/atomic"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
	"github.com/dnadesign-maintainers/usr/verify"
)

// Compute is how a shell on a compute node is had, for hashing alone.
type Compute struct {
	Command string                // of the site's scheduler, in the words of sh; /bin/sh is appended. "": there is none
	From    int64                 // bytes of one session, from which on it is used
	Wait    time.Duration         // for a place in the queue
	Queued  func(since time.Time) // told when a place is waited for, and with the zero time when it no longer is
	Warn    func(text string)     // told, once, why the login node hashes instead
}

// compute is the job of a session, and whether there is to be one. A job that nobody needs for a while ends.
type compute struct {
	mu      stdsync.Mutex // held while a job is started or used
	job     *Session
	idle    *time.Timer
	hashed  atomic.Int64 // bytes
	refused atomic.Bool  // there was none to be had, or it died: that was said
}

// jobIdle is how long a job is kept for the next request.
const jobIdle = 30 * time.Second

// wanted reports whether this many bytes more are for a job.
func (c *compute) wanted(o Compute, more int64) bool {
	return o.Command != "" && !c.refused.Load() && c.hashed.Load()+more >= o.From
}

// close ends the job.
func (c *compute) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end()
}

func (c *compute) end() {
	if c.idle != nil {
		c.idle.Stop()
	}
	if c.job != nil {
		c.job.Close()
		c.job = nil
	}
}

// hashInJob hashes in a job what is for one, and returns what is left to this shell: everything, if there is no job, and
// what the job did not see as it was listed. Its error is that of a command that is not there, or of the context.
func (s *Session) hashInJob(ctx context.Context, dir, algorithm string, files []*verify.Entry, got func(string, verify.Digest, error)) (rest []*verify.Entry, err error) {
	c := s.compute
	var bytes int64
	for _, e := range files {
		bytes += e.Size
	}
	mine := c.wanted(s.o.Compute, bytes) && s.reserve()
	c.hashed.Add(bytes)
	if !mine {
		return files, nil
	}
	defer c.mu.Unlock()
	if c.idle != nil {
		c.idle.Stop()
	}
	if c.job == nil {
		c.job, err = s.startJob(ctx)
	}
	if err == nil {
		err = c.job.provideFor(algorithm)
	}
	if err == nil {
		files, err = c.job.hashSeen(ctx, dir, algorithm, files, got)
	}
	var tool *remote.ToolError
	switch {
	case ctx.Err() != nil:
		c.end()
		return nil, context.Cause(ctx)
	case errors.As(err, &tool):
		return nil, err
	case err != nil:
		c.end()
		if _, lost := s.Run(ctx, ":"); !answered(lost) { // the line, and not the job
			return nil, lost
		}
		c.refused.Store(true)
		s.o.Compute.Warn(err.Error() + "; the login node hashes instead")
	default:
		c.idle = time.AfterFunc(jobIdle, func() {
			c.close()
			c.hashed.Store(0)
		})
	}
	return files, nil
}

// reserve takes the job, or the right to start one. Nobody waits for either, nor in a queue, under the lock of a dataset.
func (s *Session) reserve() bool {
	c := s.compute
	if !s.locking.Load() {
		c.mu.Lock()
		if !c.refused.Load() {
			return true
		}
	} else if !c.mu.TryLock() {
		return false
	} else if c.job != nil {
		return true
	}
	c.mu.Unlock()
	return false
}

// StartJob is how the doctor has a job, which it closes.
func (s *Session) StartJob(ctx context.Context) (*Session, error) { return s.startJob(ctx) }

var errQueue = errors.New("no place in the queue")

// startJob has the site's scheduler start a shell, over the connection that stands, and proves that it sees the base
// directory. What is wrong with a command is a *remote.ToolError where it is not there, and else in words.
func (s *Session) startJob(ctx context.Context) (*Session, error) {
	path, err := s.Run(ctx, `printf %s "$PATH"`) // what this shell hashes with is there as well
	if err != nil {
		return nil, err
	}
	j := &Session{conn: s.conn.Beside(), o: Options{Watchdog: s.o.Watchdog, Silence: s.o.Silence}, root: s.root, token: newToken(),
		bulk: &bulk{}, compute: &compute{}}
	s.conn.Count()
	if err = j.begin(ctx, s.o.Compute, string(path)); err == nil {
		err = s.showBase(ctx, j)
	}
	if err != nil {
		j.Close()
		return nil, err
	}
	return j, nil
}

// begin gives the scheduler's shell a line that has it say that it is there. More is sent then: until the job runs nobody
// reads it as it should be, for a shell may take more than a line at once.
func (s *Session) begin(ctx context.Context, o Compute, path string) error {
	wrapper := strings.Replace(StripComments(part("job.sh")), "COMMAND", o.Command, 1)
	hello := `printf "\n%s 0 \n" "$1"; `
	line := fmt.Sprintf("PATH=$PATH:%s; export PATH; %s\n", remote.CommandLine([]string{path}), shellCommand(hello, s.token, s.o.Watchdog))
	if err := s.conn.Advance("exec sh -c '"+evaluate(len(wrapper))+"' usr", []byte(wrapper+line)); err != nil {
		return err
	}
	if err := s.await(ctx, o); err != nil {
		return err
	}
	s.startHeart()
	return s.exchange(ctx, request{verb: "job"}, "begin a job", nil)
}

// await waits for the job's place, and for its shell.
func (s *Session) await(ctx context.Context, o Compute) error {
	l := s.conn.Current()
	patience, cancel := context.WithTimeoutCause(ctx, o.Wait, errQueue)
	defer cancel()
	defer context.AfterFunc(patience, l.Kill)()
	if o.Queued != nil {
		o.Queued(time.Now())
		defer o.Queued(time.Time{})
	}
	err := s.begun(l)
	if err == nil {
		err = l.Write([]byte(bootstrap + script + "hello 0\n"))
	}
	noise := s.noise
	if err == nil {
		err = s.begun(l)
	}
	if err == nil {
		err = s.introduced(l)
	}
	if err == nil {
		s.greeted = true
		s.ready.Store(true)
		return nil
	}
	if cause := context.Cause(patience); errors.Is(cause, errQueue) {
		return fmt.Errorf("cannot hash on a compute node: %w within %s (`%s`)", errQueue, o.Wait, remote.Escape(o.Command))
	}
	return s.unstarted(l, o, noise)
}

// unstarted says why a command gave no shell.
func (s *Session) unstarted(l *ssh.Line, o Compute, noise string) error {
	select { // its status tells a mistake from a full queue
	case <-l.Done():
	case <-time.After(10 * time.Second):
	}
	status := l.Failure(remote.Other).Status
	said := remote.Escape(lastWords(s.conn.Said()))
	if said == "" {
		said = strings.TrimSpace(noise)
	}
	if status == 127 {
		name, _, _ := strings.Cut(strings.TrimSpace(o.Command), " ")
		return &remote.ToolError{Tool: remote.Escape(name), Where: s.Name(), Detail: orElse(said, "not found")}
	}
	return fmt.Errorf("cannot hash on a compute node: `%s` ended with status %d before it gave a shell%s", remote.Escape(o.Command), status, after(said))
}

// lastWords are the last lines of what a command said.
func lastWords(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}

func after(said string) string {
	if said == "" {
		return ""
	}
	return ": " + said
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// showBase writes a file of ours on the login node and has the job read it. Where none can be written, since others own the
// base directory, each file speaks for itself by its stamps.
func (s *Session) showBase(ctx context.Context, j *Session) error {
	name, text := "job-"+rand.Text()[:12], rand.Text()
	_, err := s.Run(ctx, `(makestate "$1" >/dev/null 2>&1 && printf %s "$3" >"./$2")`, s.root, name, text)
	if err != nil {
		if answered(err) {
			return nil
		}
		return err
	}
	seen, err := j.Run(ctx, `cat -- "$1/.usr-sync/$2"`, s.root, name)
	_, gone := s.Run(context.WithoutCancel(ctx), removeShown, s.root, name)
	switch {
	case !answered(err):
		return err
	case string(seen) != text:
		return fmt.Errorf("cannot hash on a compute node: %s does not see %s as the login node does", j.facts.Host, remote.Escape(s.root))
	case !answered(gone):
		return gone
	}
	return nil
}

// removeShown takes away what showBase made, a state directory with nothing else in it too.
const removeShown = `(enter "$1/.usr-sync" && rm -f -- "./$2" && set -- $(ls -A) && [ "$*" = .gitignore ] && rm -f ./.gitignore && cd .. && rmdir ./.usr-sync) 2>/dev/null || :`

// answered reports whether the host has answered a request, if only with an error.
func answered(err error) bool {
	var refused *remote.Error
	return err == nil || errors.As(err, &refused)
}

// provideFor reports that the job lacks a tool.
func (s *Session) provideFor(algorithm string) error {
	if slices.Contains(s.facts.algorithms(), algorithm) {
		return nil
	}
	return fmt.Errorf("cannot hash on a compute node: %s has no tool for %s", s.facts.Host, algorithm)
}

// hashSeen is Hash in a job. A digest counts where the job saw the file as it was listed, before it read it and after. What
// is left is returned, with the error that ended it.
func (s *Session) hashSeen(ctx context.Context, dir, algorithm string, files []*verify.Entry, got func(string, verify.Digest, error)) (rest []*verify.Entry, err error) {
	for len(files) > 0 && err == nil {
		some := files[:min(HashBatch, len(files))]
		w := &watched{left: make(map[string]*verify.Entry, len(some)), sums: map[string]verify.Digest{}, got: got}
		for _, e := range some {
			w.left[e.Path] = e
		}
		if err = s.hashWatched(ctx, dir, algorithm, some, w); !answered(err) && ctx.Err() == nil {
			err = fmt.Errorf("the job on %s ended: %s", s.facts.Host, orElse(remote.Escape(lastWords(s.conn.Said())), "it says nothing"))
		}
		if err == nil && len(w.left) == len(some) && len(some) > 1 {
			err = fmt.Errorf("cannot hash on a compute node: %s sees other files in %s than the login node", s.facts.Host, remote.Escape(dir))
		}
		for _, e := range some {
			if w.left[e.Path] != nil {
				rest = append(rest, e)
			}
		}
		files = files[len(some):]
	}
	return append(rest, files...), err
}

func (s *Session) hashWatched(ctx context.Context, dir, algorithm string, files []*verify.Entry, w *watched) error {
	var plain, unnamed []Sized
	var odd []*verify.Entry
	for _, e := range files {
		if ordinary(e.Path) {
			plain = append(plain, Sized{Path: e.Path, Size: e.Size})
		} else {
			odd, unnamed = append(odd, e), append(unnamed, Sized{Size: e.Size})
		}
	}
	what := "hash files in " + remote.Escape(dir)
	if len(plain) > 0 {
		r := request{verb: "hash", args: []string{algorithm, dir}, payload: bySize(plain), bytes: total(plain)}
		if err := s.do(ctx, r, what, func(r io.Reader) error { return w.lines(r, "@"+s.token+" ") }); err != nil {
			return err
		}
	}
	if len(odd) == 0 {
		return nil
	}
	r := request{verb: "hash1", args: []string{algorithm, dir}, bytes: total(unnamed)}
	for _, e := range odd {
		r.payload = appendName(r.payload, e.Path)
	}
	return s.do(ctx, r, what, func(r io.Reader) error { return w.inOrder(r, "@"+s.token+" ", odd) })
}

// watched takes what a job says of files.
type watched struct {
	left map[string]*verify.Entry // as listed; those that wait for a digest that counts
	sums map[string]verify.Digest // of those that were seen as listed before
	got  func(string, verify.Digest, error)
}

// lines are stamps and digests of several processes, each file's in order; what else comes is passed over.
func (w *watched) lines(r io.Reader, mark string) error {
	before := map[string]bool{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		record, stamp := strings.CutPrefix(lines.Text(), mark)
		if !stamp {
			if path, sum, ok := parseSum(lines.Bytes()); ok && before[path] {
				w.sums[path] = sum
			}
			continue
		}
		e, err := parseStat(record)
		if err != nil || !w.sees(e.Path, &e) {
			continue
		}
		if sum, read := w.sums[e.Path]; read {
			delete(w.left, e.Path)
			w.got(e.Path, sum, nil)
		}
		before[e.Path] = true
	}
	return lines.Err()
}

// inOrder are three lines for a file, or one that begins with ! for what is none.
func (w *watched) inOrder(r io.Reader, mark string, files []*verify.Entry) error {
	lines := bufio.NewReader(r)
	for _, f := range files {
		var said [3]string
		for i := range said {
			var err error
			if said[i], err = lines.ReadString('\n'); err != nil {
				return err
			}
			if i == 0 && said[0][0] == '!' {
				break
			}
		}
		sum, err := parseLone(strings.TrimSuffix(said[1], "\n"), f.Path)
		for _, stamp := range []string{said[0], said[2]} {
			e, perr := parseStat(strings.TrimSuffix(strings.TrimPrefix(stamp, mark), "\n"))
			if perr != nil || !w.sees(f.Path, &e) {
				err = verify.ErrChanged
			}
		}
		if err == nil {
			delete(w.left, f.Path)
			w.got(f.Path, sum, nil)
		}
	}
	return nil
}

// sees reports whether what the job saw is the very file that was listed. Hosts number devices each in their own way.
func (w *watched) sees(path string, e *verify.Entry) bool {
	l := w.left[path]
	return l != nil && l.Size == e.Size && l.Mtime == e.Mtime && l.Ctime == e.Ctime && l.Ino == e.Ino
}
