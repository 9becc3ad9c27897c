package remotetest

import (
	"fmt"
	"os"
	"os/user"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// User is an account of this machine.
type User struct {
	Name     string
	UID, GID uint32
	Groups   []uint32 // beside GID
	Shell    string
}

// OrdinaryUser finds an account other than root's that can run commands, for tests that run as root and want to
// see the other case. Where there is none (a bare container) it is "nobody": such a server authenticates, but every
// command ends with nologin's message. scripts/test adds an account in that case.
func OrdinaryUser() (User, error) {
	users, err := accounts()
	if err != nil {
		return User{}, err
	}
	if i := slices.IndexFunc(users, func(u User) bool { return u.UID != 0 && u.CanRun() }); i >= 0 {
		return users[i], nil
	}
	if i := slices.IndexFunc(users, func(u User) bool { return u.Name == "nobody" }); i >= 0 {
		return users[i], nil
	}
	return User{}, fmt.Errorf("cannot find an ordinary user: /etc/passwd has none with a shell, nor nobody")
}

// CanRun says whether the account's shell is one.
func (u User) CanRun() bool {
	return slices.Contains([]string{"sh", "bash", "dash", "zsh", "ksh", "fish", "tcsh", "csh"}, path.Base(u.Shell))
}

// Credential is for exec.Cmd's SysProcAttr, to run a program as this user. Only root can.
func (u User) Credential() *syscall.Credential {
	return &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: append([]uint32{u.GID}, u.Groups...)}
}

// attributes keep a terminal's Ctrl-C away from the server: whoever started it stops it.
func (u User) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() != int(u.UID) {
		a.Credential = u.Credential()
	}
	return a
}

// accountOf is the user a server runs as: the one asked for, or the caller.
func accountOf(asked *User) (User, error) {
	if asked != nil {
		if os.Geteuid() != 0 {
			return User{}, fmt.Errorf("only root can start it as %s", asked.Name)
		}
		return *asked, nil
	}
	u, err := user.Current()
	if err != nil {
		return User{}, err
	}
	me := User{Name: u.Username, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Shell: "/bin/sh"}
	if users, err := accounts(); err == nil {
		if i := slices.IndexFunc(users, func(u User) bool { return u.Name == me.Name }); i >= 0 {
			me.Shell = users[i].Shell
		}
	}
	return me, nil
}

// accounts reads /etc/passwd: the standard library tells no login shells.
func accounts() ([]User, error) {
	text, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil, err
	}
	var users []User
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 7 {
			continue
		}
		uid, err1 := strconv.ParseUint(f[2], 10, 32)
		gid, err2 := strconv.ParseUint(f[3], 10, 32)
		if err1 == nil && err2 == nil {
			users = append(users, User{Name: f[0], UID: uint32(uid), GID: uint32(gid), Shell: f[6]})
		}
	}
	return users, nil
}
