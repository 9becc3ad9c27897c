package sync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	stdsync "sync"
	"sync/atomic"
	"time"

	"github.com/dnadesign-maintainers/usr/profiles"
	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/rsync"
	"github.com/dnadesign-maintainers/usr/remote/shell"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
	"github.com/dnadesign-maintainers/usr/sync/local"
	"github.com/dnadesign-maintainers/usr/verify"
)

// RootError means that the local root cannot be used.
type RootError struct {
	Root string
	Err  error
}

func (e *RootError) Error() string {
	why := e.Err
	var path *fs.PathError
	if errors.As(why, &path) { // which names the root again
		why = path.Err
	}
	return fmt.Sprintf("cannot use the USR root %q: %v", e.Root, why)
}

// Unwrap gives the cause.
func (e *RootError) Unwrap() error { return e.Err }

// Reach is what a connection needs beside the profile.
type Reach struct {
	Getenv      func(string) string
	Interactive bool      // a person can answer ssh's questions
	Shared      bool      // only a connection that is there is used, and none is made
	Stderr      io.Writer // where ssh may speak to that person
}

// Open makes a pair of the local root and a remote; profile may be nil for commands that need none. The
// connection is opened at once; Close ends it.
func Open(ctx context.Context, o Options, profile *profiles.Remote, reach Reach) (*Pair, error) {
	o, err := o.withDefaults(profile)
	if err != nil {
		return nil, err
	}
	classes, err := verify.NewClassifier(o.Ignore)
	if err == nil {
		classes, err = classes.WithRebuildable(o.Rebuildable)
	}
	if err != nil {
		return nil, err
	}
	here := local.New("local", o.Root, o.waiting)
	p := &Pair{o: o, classes: classes, local: here, store: store{dir: filepath.Join(o.Root, stateDir), local: here},
		localRsync: onceRsync(), executions: &atomic.Int64{}}
	if profile == nil {
		return p, nil
	}
	p.login = profile.Host
	if profile.User != "" && profile.Host != "" {
		p.login = profile.User + "@" + profile.Host
	}
	p.remote, err = p.reach(ctx, *profile, reach)
	// Nobody is asked again in the middle of a transfer.
	again := *profile
	again.BatchMode, reach.Interactive = true, false
	p.dial = func(ctx context.Context) (side, error) { return p.reach(ctx, again, reach) }
	return p, err
}

// withDefaults takes from the profile what the options leave open.
func (o Options) withDefaults(profile *profiles.Remote) (Options, error) {
	root, err := filepath.EvalSymlinks(o.Root)
	if err == nil {
		root, err = filepath.Abs(root)
	}
	if err == nil {
		var info os.FileInfo
		if info, err = os.Stat(root); err == nil && !info.IsDir() {
			err = fmt.Errorf("not a directory")
		}
	}
	if err != nil {
		return o, &RootError{Root: o.Root, Err: err}
	}
	o.Root = root
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Observe == nil {
		o.Observe = func(Event) {}
	}
	if profile == nil && o.KeepUnique == 0 {
		o.KeepUnique = profiles.Default("").KeepUnique
	}
	if profile != nil {
		o.KeepUnique = profile.KeepUnique
		o.Ignore, o.KeepGenerations, o.LockTimeout = profile.Ignore, profile.KeepGenerations, profile.LockTimeout
		o.Bwlimit, o.Streams, o.Rebuildable = profile.Bwlimit, profile.Streams, profile.Rebuildable
	}
	return o, nil
}

func (o Options) waiting(w remote.Waiting) { o.Observe(w) }

// onceRsync asks for the version of this host's rsync at the first call that gets an answer.
func onceRsync() func(context.Context) (rsync.Version, error) {
	var mu stdsync.Mutex
	var known *rsync.Version
	return func(ctx context.Context) (rsync.Version, error) {
		mu.Lock()
		defer mu.Unlock()
		if known != nil {
			return *known, nil
		}
		v, err := rsync.LocalVersion(ctx)
		if err == nil {
			known = &v
		}
		return v, err
	}
}

// reach connects with the remote of a profile: over ssh, or as another root on this host.
func (p *Pair) reach(ctx context.Context, profile profiles.Remote, reach Reach) (side, error) {
	if profile.Type == "local" {
		base, err := filepath.EvalSymlinks(profile.BaseDir)
		if err != nil {
			return nil, &RootError{Root: profile.BaseDir, Err: err}
		}
		if base == p.o.Root {
			return nil, &RootError{Root: profile.BaseDir, Err: fmt.Errorf("remote %s is the local root itself", profile.Name)}
		}
		return local.New(profile.Name, base, p.o.waiting), nil
	}
	target, err := Target(profile, reach.Getenv)
	if err != nil {
		return nil, err
	}
	s, err := shell.Open(ctx, target, shell.Options{
		Options: ssh.Options{
			Interactive: reach.Interactive, Shared: reach.Shared, Stderr: reach.Stderr,
			Command: func(argv []string) { p.executions.Add(1); p.o.Observe(Ran{argv}) },
		},
		Lazy: true, Waiting: p.o.waiting,
		Compute: shell.Compute{Command: profile.Compute, From: int64(profile.ComputeFrom), Wait: profile.ComputeWait,
			Queued: func(since time.Time) { p.o.Observe(Queued{since}) }, Warn: func(text string) { p.warn("%s", text) }},
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Target is how a profile's host is reached. An ssh_key_env whose variable is not set is an error.
func Target(p profiles.Remote, getenv func(string) string) (ssh.Target, error) {
	key, err := p.KeyPath(getenv)
	if err != nil {
		return ssh.Target{}, err
	}
	config, err := p.ConfigPath(getenv)
	if err != nil {
		return ssh.Target{}, err
	}
	return ssh.Target{Name: p.Name, Host: p.Host, User: p.User, Port: p.Port, TransferHost: p.TransferHost,
		KeyPath: key, ConfigFile: config, Options: p.SSHOptions, BatchMode: p.BatchMode,
		ControlPersist: p.ControlPersist, RsyncPath: p.RsyncPath, BaseDir: p.BaseDir, MaxFiles: p.MaxFiles}, nil
}
