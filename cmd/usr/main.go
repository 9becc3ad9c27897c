// Command usr keeps datasets in step between this machine and a cluster.
//
// What a user can rely on: results go to standard output, everything else to standard error. A command that fails
// prints nothing on standard output except, with --format json, one JSON object. Every error is one line
// "usr: error: cannot …: why" and one line "usr: hint: …" that says what to do next. Exit codes are those of
// errors.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/dnadesign-maintainers/usr/remote/ssh"
)

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
		ballast := make([]byte, gcBallast)
		defer runtime.KeepAlive(ballast)
	}
	ctx := stoppable()
	e, err := processEnv()
	if err != nil {
		fmt.Fprintf(os.Stderr, "usr: error: cannot start: %v\nusr: hint: change to a directory that exists\n", err)
		os.Exit(codeOther)
	}
	os.Exit(run(ctx, os.Args[1:], e))
}

// stoppable returns a context that the first signal such as Ctrl-C cancels, which stops children and releases locks. The
// second signal ends the program at once.
func stoppable() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		cancel(&signalError{<-signals})
		<-signals
		ssh.Abandon()
		os.Exit(codeStopped)
	}()
	return ctx
}

// signalError is why a command stops: a signal.
type signalError struct{ signal os.Signal }

func (e *signalError) Error() string { return "stopped by the signal " + e.signal.String() }
func (e *signalError) Unwrap() error { return context.Canceled }

// gcPercent keeps the heap small. Nearly all of it is listings, which live long, so collecting more often costs little.
const gcPercent = 30

// gcBallast is never touched, so it takes address space but no memory. It counts as heap, which keeps the collector from
// running again and again while the heap is small.
const gcBallast = 16 << 20

// run is the whole program: it runs one command line and returns the exit code.
func run(ctx context.Context, args []string, e env) int {
	if len(args) > 0 && args[0] == completeCommand {
		return complete(ctx, args[1:], e)
	}
	a := newApp(e, args)
	parser, done, err := newParser(a)
	if err != nil {
		return a.fail(err)
	}
	kctx, err := parser.Parse(args)
	switch {
	case done.asked: // help or version has been printed
		return 0
	case err != nil:
		return a.fail(a.badCommandLine(err))
	}
	if name := bothWays(kctx.Flags(), args); name != "" {
		return a.fail(contradiction("--"+name, "--no-"+name))
	}
	if name := emptied(kctx.Flags()); name != "" {
		return a.fail(&usageError{why: "cannot use --" + name + ": its value is empty", hint: "leave it out, or see whether a variable is not set"})
	}
	if err := a.configure(); err != nil {
		return a.fail(err)
	}
	kctx.BindTo(ctx, (*context.Context)(nil))
	err = kctx.Run(a)
	if err != nil && ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		err = &stoppedError{err}
	}
	return a.finish(err)
}

// newParser makes the kong parser of the tree in cli.go. done is set when help or version was printed, where kong would end
// the process.
func newParser(a *app) (parser *kong.Kong, done *asked, err error) {
	done = &asked{}
	parser, err = kong.New(&a.cli,
		kong.Name("usr"),
		kong.Description(description),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		kong.ExplicitGroups(commandGroups),
		kong.Writers(a.env.stdout, a.env.stderr),
		kong.Exit(func(int) { done.asked = true }),
		kong.Vars{"version": programVersion()},
		kong.Bind(a),
	)
	return parser, done, err
}

// asked is set when kong has printed what was asked for and would exit.
type asked struct{ asked bool }

// badCommandLine adds a hint at the right help to kong's error.
func (a *app) badCommandLine(err error) error {
	help := "usr --help"
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		if path := parse.Context.Command(); path != "" {
			help = commandHelp(parse.Context)
		} else if strings.HasPrefix(err.Error(), "expected one of ") { // there was no word at all
			return a.withoutCommand()
		}
	}
	return &usageError{why: "cannot read the command line: " + err.Error(), hint: "run `" + help + "`"}
}

// commandHelp returns the help command of the innermost command that kong recognized.
func commandHelp(ctx *kong.Context) string {
	help := "usr"
	for _, p := range ctx.Path {
		if p.Command != nil {
			help += " " + p.Command.Name
		}
	}
	return help + " --help"
}
