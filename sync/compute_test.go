package sync_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// site is a rig whose remote has a scheduler. Its files are the same on both sides.
type site struct {
	*rig
	scheduler *remotetest.Scheduler
	server    *remotetest.Server
	relay     *remotetest.RelayServer
	log       string // of what the login node's hash tools read
	events    []sync.Event
	after     func() // called once, when the remote's first digest has come
}

// largeFiles are enough for a job of slow tools to be caught in the middle.
const largeFiles = 6

func newSite(t *testing.T, name string) *site {
	t.Helper()
	scheduler, err := remotetest.StartScheduler(name, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(scheduler.Stop)
	s := &site{rig: emptyRig(t, sync.Pull), scheduler: scheduler, log: filepath.Join(t.TempDir(), "log")}
	s.write(s.src(), 1)
	for i := range largeFiles {
		s.must(replaceFile(filepath.Join(s.src(), fmt.Sprint(largeName, i)), ""))
		s.must(os.Truncate(filepath.Join(s.src(), fmt.Sprint(largeName, i)), largeSize))
	}
	env := map[string]string{"PATH": hashTools(t, s.log, "") + ":" + os.Getenv("PATH")}
	for name, value := range scheduler.Env {
		env[name] = value
	}
	s.server = s.overSSH(remotetest.Options{Env: env})
	s.relay = s.relayed(s.server, 0)
	s.must(os.MkdirAll(filepath.Dir(s.dst()), 0o755))
	s.copyTree(s.src(), s.dst())
	s.profile.ComputeFrom, s.profile.ComputeWait = 0, time.Minute
	s.observe = s.hear
	return s
}

func (s *site) hear(e sync.Event) {
	s.mu.Lock()
	s.events = append(s.events, e)
	after := s.after
	if p, ok := e.(sync.Progressed); !ok || p.Phase != "hash "+s.profile.Name {
		after = nil
	} else {
		s.after = nil
	}
	s.mu.Unlock()
	if after != nil {
		after()
	}
}

// verify verifies by a command for a job, and reports the error. There is one authentication, what is said is what is expected,
// and no job is left but so many.
func (s *site) verify(ctx context.Context, compute string, jobs int, says ...string) error {
	s.Helper()
	s.profile.Compute, s.events, s.warnings = compute, nil, nil
	s.must(local(os.Remove(s.log)))
	before := s.server.Authentications()
	p := s.open()
	r, err := p.Verify(ctx, faultID, modes())
	p.Close()
	if err == nil && (r.Relation != sync.InSync || len(r.Changes) > 0) {
		s.Errorf("%s, %v", r.Relation, r.Changes)
	}
	if n := s.server.Authentications() - before; n != 1 {
		s.Errorf("%d authentications", n)
	}
	warned := slices.DeleteFunc(s.warnings, func(w string) bool { return strings.Contains(w, "Parquet") }) // its table is text
	if !slices.EqualFunc(warned, says, strings.Contains) {
		s.Errorf("warned %q, want %q", warned, says)
	}
	for range 300 {
		if len(s.scheduler.Jobs()) == jobs {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.Errorf("jobs are left: %q", s.scheduler.Jobs())
	return err
}

func local(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// verified is verify that succeeds.
func (s *site) verified(compute string, jobs int, says ...string) {
	s.Helper()
	s.must(s.verify(context.Background(), compute, jobs, says...))
}

// loginRead is how many large files the login node has read itself.
func (s *site) loginRead() (n int) {
	for _, reads := range readsByLine(s.T, s.log) {
		n += reads
	}
	return n
}

// jobRead is how many large files had a digest before it was said that the login node takes over.
func (s *site) jobRead() (n int) {
	var done int64
	for _, e := range s.events {
		switch e := e.(type) {
		case sync.Progressed:
			if e.Phase == "hash "+s.profile.Name {
				if e.Done-done == largeSize {
					n++
				}
				done = e.Done
			}
		case sync.Warned:
			if strings.Contains(e.Text, "the login node") {
				return n
			}
		}
	}
	return n
}

// plain has a job use hash tools that note nothing.
func (s *site) plain() string { return s.scheduler.Command + " env PATH=/usr/bin:/bin" }

// slow has it use such that take a second a process.
func (s *site) slow() string {
	return s.scheduler.Command + " env PATH=" + hashTools(s.T, os.DevNull, "sleep 1") + ":/usr/bin:/bin"
}

// TestFaultSchedulers: verifies of a dataset through real jobs, and what may befall them. Each has one authentication, and none
// leaves a job.
func TestFaultSchedulers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"slurm", "sge"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, name)
			s.wholeByJob()
			s.killed()
			s.ended("cancelled")
			s.ended("cut")
			s.again()
			s.full()
			s.withoutFiles()
		})
	}
}

func (s *site) wholeByJob() {
	s.Helper()
	s.verified(s.plain(), 0)
	if n, m := s.loginRead(), s.jobRead(); n != 0 || m != largeFiles {
		s.Errorf("the login node read %d large files, the job %d", n, m)
	}
}

// killed: by scancel or qdel, in the middle. The login node reads the rest.
func (s *site) killed() {
	s.Helper()
	s.after = func() { s.must(s.scheduler.Cancel()) }
	s.verified(s.slow(), 0, "the job on ")
	if n, m := s.loginRead(), s.jobRead(); m == 0 || n == 0 || n+m != largeFiles {
		s.Errorf("the login node read %d large files, the job %d", n, m)
	}
}

// ended: while the job is at work the command is cancelled, or its line is cut.
func (s *site) ended(how string) {
	s.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.after = cancel
	if how == "cut" {
		s.after = s.relay.Cut
	}
	if err := s.verify(ctx, s.slow(), 0); err == nil {
		s.Errorf("%s: verified all the same", how)
	}
}

// again: a command that ends with the status by which SGE is told to run a job again. (With 100 it keeps the job, in error: that
// is never ours either, see TestJobEnds.)
func (s *site) again() {
	s.Helper()
	script := filepath.Join(s.TempDir(), "again") // SGE takes quotes away
	s.must(os.WriteFile(script, []byte("#!/bin/sh\nexit 99\n"), 0o755))
	s.verified(s.scheduler.Command+" "+script, 0, "ended with status 99 before it gave a shell")
}

// full: no place in the queue within compute_wait, and a command that is cancelled while it waits.
func (s *site) full() {
	s.Helper()
	s.must(s.scheduler.Fill())
	s.profile.ComputeWait = 2 * time.Second
	s.verified(s.scheduler.Command, 1, "no place in the queue within 2s")
	var queued []bool
	for _, e := range s.events {
		if q, ok := e.(sync.Queued); ok {
			queued = append(queued, !q.Since.IsZero())
		}
	}
	if !slices.Equal(queued, []bool{true, false}) || s.loginRead() != largeFiles {
		s.Errorf("queued %v, the login node read %d large files", queued, s.loginRead())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s.profile.ComputeWait = time.Minute
	if err := s.verify(ctx, s.scheduler.Command, 1); err == nil {
		s.Error("it waits in no queue")
	}
	s.must(s.scheduler.Cancel())
	s.must(s.scheduler.Idle())
}

// withoutFiles: the node has another file system in the place of the base directory. Only root can hide one.
func (s *site) withoutFiles() {
	if os.Geteuid() != 0 {
		return
	}
	s.Helper()
	hide := filepath.Join(s.TempDir(), "hide")
	s.must(os.WriteFile(hide, []byte("#!/bin/sh\nmount -t tmpfs none "+s.remote+"\nexec \"$@\"\n"), 0o755))
	s.verified(s.scheduler.Command+" unshare -m "+hide, 0, "does not see "+s.remote)
}
