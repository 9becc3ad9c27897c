package main

import "github.com/alecthomas/kong"

const description = "Keep USR datasets in step between this machine and a cluster, over ssh and rsync. " +
	"Exit codes: 0 done, 1 difference found, 2 usage or configuration, 3 remote unreachable, 4 locked, " +
	"5 verification failed, 6 refused, 7 interrupted transfer, 8 declined, 9 anything else, 130 stopped by the user. " +
	"The man page: usr man | man -l -"

// cli is the command tree. Each command's type and Run stand in a file of its own.
type cli struct {
	globals `group:"global"`

	Diff        diffCmd        `cmd:"" group:"look" help:"Show what differs between here and the remote; change nothing."`
	Status      statusCmd      `cmd:"" group:"look" help:"The same; without DATASET, of all that either side has."`
	Verify      verifyCmd      `cmd:"" group:"look" help:"Read every byte on both sides and compare; transfer nothing."`
	Datasets    datasetsCmd    `cmd:"" group:"look" help:"List the datasets here or on a remote."`
	Log         logCmd         `cmd:"" group:"look" help:"Show what was synced, newest first."`
	Generations generationsCmd `cmd:"" group:"look" help:"List the earlier trees that are kept, what only they hold, and their size; --prune removes them."`
	Pull        pullCmd        `cmd:"" group:"move" help:"Make the local dataset equal to the remote one."`
	Push        pushCmd        `cmd:"" group:"move" help:"Make the remote dataset equal to the local one."`
	Sync        syncCmd        `cmd:"" group:"move" help:"Make both sides hold what either gained: pull, push, or merge and push."`
	Follow      followCmd      `cmd:"" group:"move" help:"Pull each time something lands on the remote, until told to stop."`
	Undo        undoCmd        `cmd:"" group:"back" help:"Put back what the last pull (or, with REMOTE, push) replaced."`
	Restore     restoreCmd     `cmd:"" group:"back" help:"Bring single files of an earlier tree back, here or on REMOTE."`
	Remotes     remotesCmd     `cmd:"" group:"remotes" help:"Manage the profiles of remotes."`
	Doctor      doctorCmd      `cmd:"" group:"remotes" help:"Try on a remote whatever a transfer needs (remotes doctor)."`
	Demo        demoCmd        `cmd:"" group:"more" help:"Play the whole loop in a throw-away directory on this machine."`
	Help        helpCmd        `cmd:"" group:"more" help:"Show this, or the help of a command."`
	Completion  completionCmd  `cmd:"" group:"more" help:"Print the completion script of a shell."`
	Version     versionCmd     `cmd:"" group:"more" help:"Show the version of usr and of the tools it uses."`
	Man         manCmd         `cmd:"" group:"more" hidden:"" help:"Print the man page of usr (usr man | man -l -)."`
}

// remotesCmd groups the commands on profiles.
type remotesCmd struct {
	List     remotesListCmd     `cmd:"" help:"List the profiles."`
	Show     remotesShowCmd     `cmd:"" help:"Show a profile with all values in effect."`
	Add      remotesAddCmd      `cmd:"" help:"Add a profile from flags."`
	Wizard   remotesWizardCmd   `cmd:"" help:"Add a profile by answering questions."`
	Remove   remotesRemoveCmd   `cmd:"" help:"Remove a profile."`
	Doctor   doctorCmd          `cmd:"" group:"remotes" help:"Try on a remote whatever a transfer needs, and say what to do about what is missing."`
	Status   remotesStatusCmd   `cmd:"" help:"Tell whether a connection is open that commands would use without asking."`
	WarmAuth remotesWarmAuthCmd `cmd:"" help:"Log in once, interactively, for the commands that follow."`
}

// globals may stand before or after the command.
type globals struct {
	Root          string      `placeholder:"DIR" help:"USR root ($$DNADESIGN_USR_ROOT, else the nearest directory upwards with registry.yaml, else that of the checkout)."`
	RemotesConfig string      `placeholder:"FILE" help:"Remotes file ($$USR_REMOTES_PATH, else usr-remotes.yaml in ~/.config/dnadesign)."`
	Format        string      `enum:"auto,rich,plain,json" default:"auto" help:"${enum}: rich on a terminal, else plain."`
	NoRich        bool        `help:"As --format plain."`
	Color         string      `enum:"auto,always,never" default:"auto" help:"${enum}; NO_COLOR is honoured."`
	Verbose       bool        `short:"v" help:"List all files that change, and the table of what is in sync."`
	Quiet         bool        `short:"q" help:"Say nothing where all goes well, but warnings."`
	PrintCommands bool        `help:"Show every command line that is started, ready to be pasted into a shell."`
	VersionFlag   versionFlag `name:"version" help:"Print the version."`
}

// versionFlag prints the version as soon as it is seen, whatever else the line holds.
type versionFlag bool

// BeforeReset is called by kong.
func (versionFlag) BeforeReset(app *kong.Kong, vars kong.Vars) error {
	_, err := app.Stdout.Write([]byte("usr " + vars["version"] + "\n"))
	app.Exit(0)
	return err
}
