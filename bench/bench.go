package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
)

// bench is everything that the measurements have in common. Its directory holds bin/ (the counting ssh, usr), sshd/,
// home/, versions/ (the states of the source), source/ and dest/ (USR roots).
type bench struct {
	options
	ctx            context.Context
	stdout, stderr io.Writer
	work           string
	server         *remotetest.Server
	sshd           int                     // process id of the server, 0 where there is no /proc
	relay          *remotetest.RelayServer // nil: connections are direct
	config         string                  // ssh -F
	room           int64                   // what the dataset takes
}

const datasetID = "bench/data"

func newBench(ctx context.Context, o options, stdout, stderr io.Writer) (*bench, error) {
	work, err := os.MkdirTemp(o.dir, "usr-bench-")
	if err != nil {
		return nil, fmt.Errorf("cannot make a directory to work in: %w", err)
	}
	b := &bench{options: o, ctx: ctx, stdout: stdout, stderr: stderr, work: work}
	if err := b.prepare(); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) prepare() (err error) {
	for _, d := range []string{"bin", "home", "versions"} {
		if err := os.MkdirAll(b.path(d), 0o700); err != nil {
			return err
		}
	}
	if err := b.countSSH(); err != nil {
		return err
	}
	if err := b.build(); err != nil {
		return err
	}
	// rclone opens connections in bursts; the server's protection against that is not what is measured.
	b.server, err = remotetest.Start(b.path("sshd"), remotetest.Options{MaxStartups: "100:30:200"})
	if err != nil {
		return err
	}
	b.sshd = childNamed("sshd")
	return b.network(b.delay, b.rate)
}

func (b *bench) close() {
	b.unplug()
	if b.server != nil {
		b.server.Stop()
	}
	if b.keep {
		fmt.Fprintln(b.stderr, "bench: left", b.work)
		return
	}
	_ = os.RemoveAll(b.work)
}

func (b *bench) path(names ...string) string {
	return filepath.Join(append([]string{b.work}, names...)...)
}

// countSSH puts a program named ssh first on the PATH, which notes each start and goes on as the real one.
func (b *bench) countSSH() error {
	real, err := exec.LookPath("ssh")
	if err != nil {
		return err
	}
	text := fmt.Sprintf("#!/bin/sh\necho >>'%s'\nexec '%s' \"$@\"\n", b.path("executions"), real)
	return os.WriteFile(b.path("bin", "ssh"), []byte(text), 0o755)
}

// build makes bin/usr of the source that the working directory belongs to.
func (b *bench) build() error {
	if b.usr != "" {
		full, err := filepath.Abs(b.usr)
		b.usr = full
		return err
	}
	b.usr = b.path("bin", "usr")
	c := exec.CommandContext(b.ctx, "go", "build", "-trimpath", "-o", b.usr, "github.com/dnadesign-maintainers/usr/cmd/usr")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build usr: %w: %s", err, out)
	}
	return nil
}

// network leads connections through a relay if it has anything to do there, directly to the server if not: a relay
// takes a share of the processors.
func (b *bench) network(delay time.Duration, rate int64) error {
	if delay == 0 && rate == 0 {
		b.unplug()
		b.config = b.server.ConfigFile()
		return nil
	}
	return b.plug(delay, rate)
}

func (b *bench) plug(delay time.Duration, rate int64) (err error) {
	b.unplug()
	b.relay, err = remotetest.Relay(fmt.Sprintf("127.0.0.1:%d", b.server.Port()), delay, rate)
	if err != nil {
		return err
	}
	b.config, err = b.server.WriteConfig("relayed_config", b.relay.Port())
	return err
}

func (b *bench) unplug() {
	if b.relay != nil {
		b.relay.Close()
		b.relay = nil
	}
}

// port is where clients that do not read ssh's configuration connect to.
func (b *bench) port() int {
	if b.relay != nil {
		return b.relay.Port()
	}
	return b.server.Port()
}

func (b *bench) environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !strings.HasPrefix(name, "RSYNC_") && !strings.HasPrefix(name, "RCLONE_") &&
			!strings.HasPrefix(name, "XDG_") && !strings.HasPrefix(name, "USR_") {
			env = append(env, v)
		}
	}
	return append(env, "PATH="+b.path("bin")+":"+os.Getenv("PATH"), "HOME="+b.path("home"), "UNISON="+b.path("home", "unison"),
		"LC_ALL=C")
}

// describe says on what the figures were taken.
func (b *bench) describe() {
	say := func(name, text string) { fmt.Fprintf(b.stdout, "- %s: %s\n", name, text) }
	say("date", time.Now().Format(time.DateOnly))
	say("machine", fmt.Sprintf("%d cores, %s/%s %s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, firstLine("uname", "-r"), cpuModel()))
	say("file system", fmt.Sprintf("%s (%s)", b.dir, fileSystem(b.dir)))
	say("tools", strings.Join([]string{firstLine("rsync", "--version"), firstLine("ssh", "-V"), runtime.Version()}, "; "))
	network := "loopback"
	if b.delay > 0 {
		network += fmt.Sprintf(", %v each way", b.delay)
	}
	if b.rate > 0 {
		network += fmt.Sprintf(", %s/s a connection", bytesText(b.rate))
	}
	say("network", network)
	fmt.Fprintln(b.stdout)
}

// firstLine is the first line that a command prints, or what is wrong with it.
func firstLine(argv ...string) string {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil && len(out) == 0 {
		return argv[0] + ": " + err.Error()
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return strings.Join(strings.Fields(line), " ")
}

func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(b.stderr, "bench: "+format+"\n", args...)
}
