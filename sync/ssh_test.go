package sync_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/dnadesign-maintainers/usr/profiles"
	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
	"github.com/dnadesign-maintainers/usr/sync"
)

// overSSH turns a lab's remote into one that is reached through a private sshd.
func (l *lab) overSSH() *remotetest.Server {
	l.Helper()
	s, err := remotetest.Start(l.TempDir(), remotetest.Options{})
	l.must(err)
	l.Cleanup(s.Stop)
	l.profile.Type, l.profile.Host, l.profile.SSHConfig = profiles.SSH, remotetest.Alias, s.ConfigFile()
	return s
}

// A transfer of many files uses as many ssh processes as one of few, and authenticates once.
func TestExecutionsDoNotGrow(t *testing.T) {
	for _, files := range []int{5, 2000} {
		t.Run(fmt.Sprint(files), func(t *testing.T) {
			l := newLab(t)
			s := l.overSSH()
			for i := range files {
				path := filepath.Join(l.remote, id, "_derived", "many", fmt.Sprintf("part-%04d.parquet", i))
				l.must(os.MkdirAll(filepath.Dir(path), 0o755))
				l.must(os.WriteFile(path, fmt.Appendf(nil, "part %d", i), 0o644))
			}
			before := s.Authentications()
			r, err := l.transfer(sync.Pull, modes())
			l.want(r, err, sync.Transferred)
			if r.Executions > 5 || s.Authentications()-before != 1 {
				t.Errorf("%d ssh processes, %d authentications", r.Executions, s.Authentications()-before)
			}
			t.Logf("%d files: %d ssh processes", files, r.Executions)
			l.equal()
		})
	}
}

func TestLoopOverSSH(t *testing.T) {
	l := newLab(t)
	l.overSSH()
	r, err := l.transfer(sync.Pull, modes())
	l.want(r, err, sync.Transferred)
	l.equal()
	for range 3 {
		l.must(dataset.Increment(filepath.Join(l.remote, id), 20))
		r, err = l.transfer(sync.Pull, modes())
		l.want(r, err, sync.Transferred)
		l.equal()
	}
	l.must(dataset.Annotate(filepath.Join(l.local, id)))
	r, err = l.transfer(sync.Push, modes())
	l.want(r, err, sync.Transferred)
	l.equal()
	r, err = l.transfer(sync.Push, modes())
	l.want(r, err, sync.NoOp)
}
