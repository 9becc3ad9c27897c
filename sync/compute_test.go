package sync_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/sync"
)

// cluster is a rig whose remote has a scheduler.
func cluster(t *testing.T, name string) (*rig, *remotetest.Scheduler, *remotetest.Server) {
	t.Helper()
	s, err := remotetest.StartScheduler(name, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	r := emptyRig(t, sync.Pull)
	r.write(r.src(), 1)
	server := r.overSSH(remotetest.Options{Env: s.Env})
	r.profile.Compute, r.profile.ComputeFrom = s.Command, 0
	r.transferred()
	r.profile.ComputeWait = 30 * time.Second
	return r, s, server
}

func (r *rig) verified() {
	r.Helper()
	p := r.open()
	defer p.Close()
	rep, err := p.Verify(context.Background(), faultID, modes())
	r.must(err)
	if rep.Relation != sync.InSync || len(rep.Changes) > 0 {
		r.Errorf("%s, %v", rep.Relation, rep.Changes)
	}
}

// TestFaultSchedulers: a verify of a dataset through a real job, with one authentication; then the job is killed in the
// middle, the queue is full, a waiting command is cancelled, and the node has another file system. No job is left.
func TestFaultSchedulers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"slurm", "sge"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, s, server := cluster(t, name)
			idle := func() {
				t.Helper()
				r.must(s.Idle())
			}
			says := func(texts ...string) {
				t.Helper()
				got := slices.DeleteFunc(r.warnings, func(w string) bool { return strings.Contains(w, "Parquet") }) // its table is text
				r.warnings = nil
				if !slices.EqualFunc(got, texts, strings.Contains) {
					t.Errorf("warned %q, want %q", got, texts)
				}
			}
			idle()
			says()
			before := server.Authentications()
			ran := filepath.Join(t.TempDir(), "ran")
			r.profile.Compute = "touch " + ran + "; " + s.Command
			r.verified()
			idle()
			says()
			if n := server.Authentications() - before; n != 1 {
				t.Errorf("%d authentications", n)
			}
			if _, err := os.Stat(ran); err != nil {
				t.Error(err)
			}

			killed := false
			r.observe = func(e sync.Event) {
				if p, ok := e.(sync.Progressed); ok && p.Phase == "hash "+r.profile.Name && !killed {
					killed = true
					r.must(s.Cancel())
				}
			}
			r.profile.Compute = s.Command + " env PATH=" + slowTools(t) + ":/usr/bin:/bin"
			r.verified()
			idle()
			says("the job on ")
			r.observe, r.profile.Compute = nil, s.Command

			r.must(s.Fill())
			r.profile.ComputeWait = 2 * time.Second
			r.verified()
			says("no place in the queue within 2s")
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			r.profile.ComputeWait = time.Minute
			p := r.open()
			if _, err := p.Verify(ctx, faultID, modes()); err == nil {
				t.Error("it waits in no queue")
			}
			cancel()
			r.must(p.Close())
			for range 100 {
				if len(s.Jobs()) == 1 {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			if jobs := s.Jobs(); len(jobs) != 1 {
				t.Errorf("a cancelled command stays in the queue: %q", jobs)
			}
			r.must(s.Cancel())
			idle()
			says()

			if os.Geteuid() != 0 { // only root can hide a file system
				return
			}
			hide := filepath.Join(t.TempDir(), "hide")
			r.must(os.WriteFile(hide, []byte("#!/bin/sh\nmount -t tmpfs none "+r.remote+"\nexec \"$@\"\n"), 0o755))
			r.profile.Compute = s.Command + " unshare -m " + hide
			r.verified()
			idle()
			says("does not see " + r.remote)
		})
	}
}

// slowTools are hash tools that take half a second a file.
func slowTools(t *testing.T) string {
	bin := t.TempDir()
	for _, tool := range []string{"b3sum", "openssl", "sha256sum", "shasum"} {
		if err := remotetest.Shim(bin, tool, "sleep 0.5\nexec "+remotetest.Real(tool)+` "$@"`); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}
