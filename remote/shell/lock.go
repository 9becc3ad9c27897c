package shell

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
)

// slice is how long one request waits for a lock. Between slices the remote shell hears signs of life.
const slice = 10 * time.Second

// Claim takes the run lock of a dataset, ROOT/.usr-sync/journal/KEY.lock, making the state directory. Errors:
// *remote.LockError after timeout, *remote.ToolError without flock(1), *remote.Error.
func (s *Session) Claim(ctx context.Context, key string, timeout time.Duration) error {
	path := s.root + "/.usr-sync/journal/" + key + ".lock"
	err := s.obtain(ctx, request{verb: "claim", args: []string{s.root, key}}, path, timeout)
	if err == nil {
		s.claimFor = path
	}
	return err
}

// Lock takes flock(2) exclusive on live/.usr.lock, as Claim does. On a side that is only read from, a lock file
// that can be neither made nor locked is tolerated: locked is false then.
func (s *Session) Lock(ctx context.Context, live string, timeout time.Duration, readOnly bool) (locked bool, err error) {
	path := live + "/.usr.lock"
	s.locking.Store(true)
	err = s.obtain(ctx, request{verb: "lock", args: []string{live}}, path, timeout)
	if readOnly && hasStatus(err, statusUnlockable) {
		return false, nil
	}
	if err == nil {
		s.live = path
	}
	return err == nil, err
}

// Locked asks the host whether the lock is held and its file still the one that others lock.
func (s *Session) Locked(ctx context.Context) error {
	return s.do(ctx, request{verb: "locked"}, "keep the lock", nil)
}

// Unlock releases the dataset's lock; without one it does nothing. It is not interrupted by its context.
func (s *Session) Unlock(ctx context.Context) error {
	s.locking.Store(false)
	return s.release(ctx, "unlock", &s.live)
}

// Release gives up the claim, as Unlock does the lock.
func (s *Session) Release(ctx context.Context) error { return s.release(ctx, "release", &s.claimFor) }

func (s *Session) obtain(ctx context.Context, r request, path string, timeout time.Duration) error {
	begin := time.Now()
	wait := time.Duration(0)
	args := r.args
	told := begin.Add(time.Second - remote.WaitingEvery)
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		asked := time.Now()
		r.args = append(args[:len(args):len(args)], strconv.Itoa(int(wait/time.Second)))
		err := s.do(ctx, r, "lock "+remote.Escape(path), nil)
		if err == nil {
			s.startHeart()
			return nil
		}
		busy := path
		if hasStatus(err, statusFenced) {
			busy = strings.TrimSuffix(path, ".usr.lock") + ".usr.transfer.lock"
		} else if !hasStatus(err, statusBusy) {
			return err
		}
		left := timeout - time.Since(begin)
		if left <= 0 {
			return &remote.LockError{Path: busy, Waited: time.Since(begin), Holder: s.holder(ctx, busy)}
		}
		if s.o.Waiting != nil && time.Since(told) >= remote.WaitingEvery {
			told = time.Now()
			s.o.Waiting(remote.Waiting{Path: path, Holder: s.holder(ctx, path), Left: left})
		}
		if time.Since(asked) < wait/2 || wait == 0 { // not every flock(1) can wait
			if err := sleep(ctx, min(pause, left)); err != nil {
				return err
			}
		}
		mostly := slice
		if told.Before(begin) { // somebody is to be told soon
			mostly = time.Second
		}
		wait = max(0, min(mostly, left, s.o.Watchdog/3)).Truncate(time.Second)
	}
}

// holder describes who has a lock; "" if the host cannot tell.
func (s *Session) holder(ctx context.Context, path string) string {
	var out bytes.Buffer
	err := s.do(ctx, request{verb: "holder", args: []string{path}}, "name the holder", func(r io.Reader) error {
		_, err := out.ReadFrom(r)
		return err
	})
	if err != nil {
		return ""
	}
	return remote.Escape(out.String())
}

func (s *Session) release(ctx context.Context, verb string, held *string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *held == "" {
		return nil
	}
	*held = ""
	if s.live == "" && s.claimFor == "" {
		s.stopHeart()
	}
	if s.err != nil { // the host has released it, or will when the watchdog fires
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return s.exchange(ctx, request{verb: verb}, verb, nil)
}

// startHeart has the remote shell hear from us while it holds a lock.
func (s *Session) startHeart() {
	s.heart.Lock()
	defer s.heart.Unlock()
	if s.beats != nil {
		return
	}
	stop := make(chan struct{})
	s.beats = stop
	go beat(s.conn.Current(), min(slice, s.o.Watchdog/4), stop)
}

func (s *Session) stopHeart() {
	s.heart.Lock()
	defer s.heart.Unlock()
	if s.beats != nil {
		close(s.beats)
		s.beats = nil
	}
}

func beat(l *ssh.Line, every time.Duration, stop <-chan struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-l.Done():
			return
		case <-tick.C:
			if l.Write([]byte("beat 0\n")) != nil {
				return
			}
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
