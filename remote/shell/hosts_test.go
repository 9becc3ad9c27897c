package shell_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/shell"
)

// TestUserConfiguration: what a user's ssh configuration may say for logins does not keep a conversation from being held,
// nor rsync from riding on it.
func TestUserConfiguration(t *testing.T) {
	for _, lines := range [][]string{{"StdinNull yes"}, {"SessionType none"}, {"SessionType subsystem"}, {"ForkAfterAuthentication yes"},
		{"PermitLocalCommand yes", "LocalCommand echo here I am"}} {
		t.Run(strings.Join(lines, ", "), func(t *testing.T) {
			s := server(t, remotetest.Options{})
			tg := target(s)
			var err error
			tg.ConfigFile, err = s.WriteConfig("own", 0, lines...)
			check(t, err)
			c := open(t, tg, shell.Options{})
			if out, err := c.Run(background, "echo through"); string(out) != "through\n" || err != nil {
				t.Errorf("%q, %v", out, err)
			}
			if out, err := ride(endpoint(t, c), "echo riding"); out != "riding\n" {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
}

// TestIPv6: a literal address is a host, for ssh and for rsync.
func TestIPv6(t *testing.T) {
	s := server(t, remotetest.Options{})
	config := filepath.Join(t.TempDir(), "config")
	write(t, config, strings.ReplaceAll(contents(t, s.ConfigFile()), "Host "+remotetest.Alias+"\n", "Host fe80::1\n"))
	tg := target(s)
	tg.ConfigFile, tg.Host, tg.User = config, "fe80::1", ""
	c := open(t, tg, shell.Options{})
	if e := endpoint(t, c); e.Host != "[fe80::1]" {
		t.Errorf("rsync's host is %s", e.Host)
	}
}

// TestIgnoredTERM: a start-up file that has SIGTERM ignored does not keep the heartbeat from working: the lock is held for
// longer than the watchdog waits.
func TestIgnoredTERM(t *testing.T) {
	login := filepath.Join(t.TempDir(), "login")
	write(t, login, "#!/bin/sh\ntrap '' TERM\nexec /bin/sh \"$@\"\n")
	check(t, os.Chmod(login, 0o755))
	s := server(t, remotetest.Options{Shell: login})
	c := open(t, target(s), shell.Options{Watchdog: 3 * time.Second})
	_, live := dataset(t)
	_, err := c.Lock(background, live, time.Second, false)
	check(t, err)
	for range 5 {
		time.Sleep(time.Second)
		check(t, c.Locked(background))
	}
	check(t, c.Unlock(background))
}
