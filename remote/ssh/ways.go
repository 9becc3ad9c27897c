package ssh

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dnadesign-maintainers/usr/remote"
)

// longestSocket is the longest socket path that every system accepts, less 17 bytes that ssh appends while it makes one.
const longestSocket = 86

// findWays lists the ways to connect in the order to try them: the user's own master, one that we kept, a new one.
func (c *Conn) findWays(ctx context.Context) ([]way, error) {
	user, err := c.readConfiguration(ctx)
	if err != nil {
		return nil, err
	}
	kept, err := c.target.keptSocket(c.env("XDG_RUNTIME_DIR"))
	if err != nil && c.target.ControlPersist > 0 && !c.o.Shared {
		return nil, err
	}
	if err != nil { // nobody's, or somebody else's
		kept = ""
	}
	var ways []way
	for _, socket := range []string{user, kept} {
		if alive(socket) {
			ways = append(ways, way{socket: socket, reuse: true})
		}
	}
	if c.o.Shared {
		return ways, nil
	}
	last := way{}
	if c.target.ControlPersist > 0 {
		last = way{socket: kept, keep: c.target.ControlPersist}
	}
	return append(ways, last), nil
}

// readConfiguration asks ssh for its effective configuration. It returns the user's control socket, "" if there is none,
// and sets c.hostname and c.ciphers.
func (c *Conn) readConfiguration(ctx context.Context) (socket string, err error) {
	out, err := c.output(ctx, append(c.target.questionArgs(), "true")) // with a command, for ForkAfterAuthentication insists on one
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		switch name, value, _ := strings.Cut(strings.TrimSpace(line), " "); strings.ToLower(name) {
		case "hostname":
			c.hostname = strings.ToLower(value)
		case "controlpath":
			if value != "none" {
				socket = value
			}
		case "stdinnull", "forkafterauthentication", "permitlocalcommand":
			c.override(name, value, "no")
		case "sessiontype":
			c.override(name, value, "default")
		case "ciphers":
			c.ciphers = quickCiphers(value, aesInstructions())
		}
	}
	return socket, nil
}

// override replaces an option of the user's configuration. Some exist only since ssh 8.7, so it passes only those that ssh
// itself lists.
func (c *Conn) override(name, value, want string) {
	if option := name + "=" + want; value != want && !slices.Contains(c.overrides, option) {
		c.overrides = append(c.overrides, "-o", option)
	}
}

func (c *Conn) riderArgs(socket string) []string {
	return append(slices.Clone(c.overrides), c.target.riderArgs(socket)...)
}

// keptSocket returns where a master that outlives its command has its socket: one place for each way of reaching a host.
// The directory must be ours alone, because whoever can connect to the socket is on the host. On an error the path must
// not be used. A missing directory is fs.ErrNotExist, unless a connection is to be kept.
func (t Target) keptSocket(runtime string) (string, error) {
	dir := filepath.Join("/tmp", "usr-"+strconv.Itoa(os.Getuid()))
	if runtime != "" && len(runtime) < longestSocket-24 {
		dir = filepath.Join(runtime, "usr")
	}
	sum := sha256.Sum256([]byte(fmt.Sprintf("%q", t.questionArgs())))
	return filepath.Join(dir, hex.EncodeToString(sum[:8])), ownDirectory(dir, t.ControlPersist > 0)
}

func ownDirectory(dir string, create bool) error {
	if create {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("cannot keep a connection: %w", err)
		}
	}
	fi, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("cannot keep a connection: %w", err)
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !fi.IsDir() || fi.Mode().Perm() != 0o700 || !ok || int(st.Uid) != os.Getuid() {
		return fmt.Errorf("cannot keep a connection: %s is not a directory of ours alone", dir)
	}
	return nil
}

// alive reports whether somebody listens on the socket.
func alive(socket string) bool {
	if socket == "" {
		return false
	}
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// prepare makes a place for a private master, and removes a dead kept one, which ssh would not replace. A live one that is
// of no use to us (too many sessions) may be of use to others and stays.
func (c *Conn) prepare(w *way) error {
	if w.keep > 0 && alive(w.socket) {
		*w = way{}
	}
	if w.keep > 0 {
		if err := c.stop(context.Background(), w.socket); err != nil {
			return fmt.Errorf("cannot replace a dead connection: %w", err)
		}
	}
	if w.socket == "" {
		if err := c.makeDir(); err != nil {
			return err
		}
		w.socket = filepath.Join(c.dir, "m")
	}
	return nil
}

// Retire makes room for a new master if a kept one does not answer any more. The user's own stays.
func (c *Conn) Retire(ctx context.Context) {
	socket := c.Current().way.socket
	if kept, err := c.target.keptSocket(c.env("XDG_RUNTIME_DIR")); err == nil && kept == socket {
		_ = c.stop(ctx, socket)
	}
}

func (c *Conn) makeDir() error {
	if c.dir != "" {
		return nil
	}
	for _, base := range []string{os.TempDir(), "/tmp"} {
		sweep(base, time.Now())
		dir, err := os.MkdirTemp(base, "usr-")
		if err != nil {
			return fmt.Errorf("cannot make a place for the control socket: %w", err)
		}
		if len(dir)+2 <= longestSocket && !strings.ContainsAny(dir, " \"'") {
			c.dir = dir
			return nil
		}
		os.Remove(dir)
	}
	return errors.New("cannot make a place for the control socket: the path would be too long")
}

// env returns a variable of the environment that the children get.
func (c *Conn) env(name string) string { return lookup(c.o.Env, name) }

func lookup(env []string, name string) string {
	if env == nil {
		return os.Getenv(name)
	}
	last := ""
	for _, e := range env {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			last = value // as os/exec has it
		}
	}
	return last
}

// Find looks for ssh on the PATH that the children get.
func Find(env []string) (string, error) {
	for _, dir := range filepath.SplitList(lookup(env, "PATH")) {
		file := filepath.Join(dir, "ssh")
		fi, err := os.Stat(file)
		if filepath.IsAbs(dir) && err == nil && fi.Mode().IsRegular() && fi.Mode().Perm()&0o111 != 0 {
			return file, nil
		}
	}
	return "", &remote.ToolError{Tool: "ssh", Where: "this host", Detail: "not found on PATH"}
}
