package main

import (
	"github.com/dnadesign-maintainers/usr/profiles"
	"github.com/dnadesign-maintainers/usr/remote"
	"github.com/dnadesign-maintainers/usr/remote/ssh"
	"github.com/dnadesign-maintainers/usr/sync"
)

// shellWord quotes a word for the user's shell if needed.
func shellWord(s string) string { return remote.CommandLine([]string{s}) }

// onward returns a command on a dataset and a remote ("" for none) with the flags of this run that still matter: where the
// files are, and which of them count.
func (a *app) onward(action, dataset, remote string, flags ...string) string {
	line := append([]string{action}, flags...)
	line = append(line, dataset)
	if remote != "" {
		line = append(line, remote)
	}
	switch kept := a.doing.flags; {
	case action == "diff", action == "pull", action == "push", action == "sync":
		line = append(line, kept.given()...)
	case action == "verify":
		line = append(line, kept.placeFlags.given()...)
	case remote != "":
		line = append(line, words("--base-dir", kept.BaseDir)...)
	}
	return a.alike(line...)
}

// doingCommand is onward for the dataset and remote of this run.
func (a *app) doingCommand(action string, flags ...string) string {
	return a.onward(action, orElse(a.doing.dataset, "DATASET"), a.remoteName(), flags...)
}

// lookCommand returns the command that shows all that differs.
func (a *app) lookCommand() string { return a.doingCommand("diff", "-v") }

func (a *app) remoteName() string { return orElse(a.doing.remote, "REMOTE") }

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (a *app) listCommand(side string) string {
	if side == here {
		return a.alike("datasets")
	}
	return a.alike(append([]string{"datasets", side}, words("--base-dir", a.doing.flags.BaseDir)...)...)
}

// idsCommands returns the commands that list the ids of a side, or of both.
func (a *app) idsCommands(side string) string {
	if side == eitherSide.name("") {
		return "`" + a.listCommand(here) + "` and `" + a.listCommand(a.remoteName()) + "`"
	}
	return "`" + a.listCommand(side) + "`"
}

// here is the name of this side.
const here = "local"

func (a *app) hintStopped() string {
	switch a.doing.action {
	case "pull", "push":
		return "run the same command again to go on where it stopped; `" + a.doingCommand("diff") + "` tells how the sides stand"
	}
	return "run the same command again"
}

func (a *app) hintDeclined(e *declinedError) string {
	if isBack(e.action) || e.action == "prune" {
		return "add -y to go on without being asked" + map[bool]string{true: ", or look first with --dry-run"}[isBack(e.action)]
	}
	if e.asked {
		return "look at the changes with `" + a.lookCommand() + "`"
	}
	return "add -y to go on without being asked, or look first: `" + a.doingCommand("diff") + "`"
}

func (a *app) hintMismatch(e *sync.MismatchError) string {
	if len(e.Databases) > 0 {
		return "nothing was changed; wait until the job that has " + shown(e.Databases[0]) + " open is done and run the same command again, or name it in the remotes file: under `rebuildable` if a program can make it again, under `ignore` if it is not to be transferred"
	}
	if e.Moving {
		return "nothing was changed; wait until the job that writes there is done, then run the same command again"
	}
	return "nothing was changed; compare both sides with `" + a.doingCommand("verify") + "`, then run the same command again"
}

func (a *app) hintHistory(e *sync.HistoryError) string {
	other := "push"
	if e.Direction == sync.Push {
		other = "pull"
	}
	hint := "bring those changes over first with `" + a.doingCommand(other) + "`"
	if e.Relation != sync.LocalAhead && e.Relation != sync.LocalBehind {
		hint = "keep what both have with `" + a.doingCommand("sync") + "`, or look at both first with `" + a.lookCommand() + "`"
	}
	return hint + a.orForce(", or overwrite what the source does not know of with `"+a.doingCommand(string(e.Direction), "--force")+"` (`usr undo` brings it back)")
}

// orForce returns a hint at --force only for a person, who can look first; an unattended job never gets one.
func (a *app) orForce(hint string) string {
	if a.env.canAsk() {
		return hint
	}
	return ""
}

// hintDeletion does not propose -y, which does not override the refusal. An undo needs no --force for it.
func (a *app) hintDeletion(e *sync.DeletionError) string {
	switch {
	case e.Action == "undo":
		return "give a higher --max-delete, or leave it out"
	case len(e.Emptied) > 0:
		return "see whether the source is complete, or purged or not mounted: `" + a.doingCommand("diff", "-v") + "`" +
			a.orForce("; if it is meant, `"+a.doingCommand(e.Action, "--force")+"` (`usr undo` brings the files back)")
	}
	return "look at what would go with `" + a.doingCommand("diff", "-v") + "`; then give a higher --max-delete" +
		a.orForce(", or --force (`usr undo` brings the files back)")
}

func (a *app) hintMissing(e *sync.MissingError) string {
	meant := ""
	if a.doing.nearest != "" && a.doing.nearest != a.doing.dataset {
		meant = "did you mean " + shown(a.doing.nearest) + "? "
	}
	there, everything := "`"+a.listCommand(a.remoteName())+"`", "`"+a.listCommand(here)+"`"
	switch {
	case e.File:
		return "check the path; the place on the remote is --remote-path, or the profile's repo_root and the path below --repo-root"
	case a.doing.action == "pull":
		return meant + "list what is there with " + there + "; if only this side has it, `" + a.doingCommand("push") + "`"
	case a.doing.action == "push":
		return meant + "list what is here with " + everything + "; if only the remote has it, `" + a.doingCommand("pull") + "`"
	case a.doing.remote == "":
		return meant + "list what is here with " + everything
	}
	return meant + "list what is there with " + there
}

func (a *app) hintNoUndo(e *sync.NothingToUndoError) string {
	if e.Changed {
		return "keep the present state, or bring single files back with `" + a.onward("restore", orElse(a.doing.dataset, "DATASET"), a.doing.remote, "--path", "GLOB") + "`" +
			a.orForce(", or undo that as well with `"+a.onward("undo", orElse(a.doing.dataset, "DATASET"), a.doing.remote, "--force")+"`")
	}
	return "look at what was done with `" + a.command("log", orElse(a.doing.dataset, "DATASET")) + "`"
}

func (a *app) hintUnknown(e *profiles.UnknownError) string {
	if e.What == "preset" {
		return "choose one of the presets named above, or leave --preset out"
	}
	if len(e.Known) == 0 {
		return "add it with `" + a.command("remotes", "add", e.Name) + " …` or `" + a.command("remotes", "wizard") + "`"
	}
	return "list the remotes with `" + a.command("remotes", "list") + "`, or add this one with `" + a.command("remotes", "wizard") + "`"
}

func (a *app) hintProfile(e *profiles.Error) string {
	if e.Path == "" {
		return "see `usr remotes add --help` for what each value may be"
	}
	if !exists(e.Path) {
		return "make one with `" + a.command("remotes", "wizard") + "`, or name another with --remotes-config FILE"
	}
	return "correct " + shown(e.Path) + ", or name another with --remotes-config FILE"
}

func hintTool(tool, where string) string {
	on := "on " + where
	if where == "this host" {
		on = "here"
	}
	switch tool {
	case "flock":
		return "install flock (package util-linux) " + on
	case "ssh":
		return "install the OpenSSH client " + on
	case "rsync":
		return "install rsync 3.1.3 or later " + on + " (macOS: `brew install rsync`), or set rsync_path in the profile"
	}
	return "correct compute in the profile: give " + tool + " with its whole path " + on + ", or load it first, as in \". /etc/profile; " + tool + " ...\""
}

func (a *app) hintDoctor() string {
	return "check the remote with `" + a.command("remotes", "doctor", "--remote", a.remoteName()) + "`"
}

// hintConnect depends on how far ssh came.
func (a *app) hintConnect(e *remote.ConnectError) string {
	show := "`" + a.command("remotes", "show", a.remoteName()) + "`"
	switch e.Reason {
	case remote.UnknownHost:
		return "check the host name in " + show + ", and whether a VPN is needed"
	case remote.Auth:
		return a.hintAuth(show)
	case remote.HostKey:
		return "ask the administrators whether it changed; if so, `ssh-keygen -R " + shellWord(orElse(e.Host, "HOST")) + "`, then compare the new one with theirs: `" + a.login(e.Host) + "`"
	case remote.NewHost:
		return "log in once by hand to see and accept it: `" + a.login(e.Host) + "`"
	case remote.Timeout, remote.Unreachable, remote.Refused:
		return "check network and VPN, then host and port in " + show
	case remote.Config:
		return "correct ssh_config and ssh_options in " + show
	case remote.Sessions:
		return "close other sessions on the shared connection, or end it: `" + a.login(e.Host, "-O", "exit") + "`"
	case remote.Silent:
		return "log in and see whether its file systems answer (`df`): `" + a.login(e.Host) + "`"
	case remote.Lost:
		return "run the same command again"
	}
	return "see what it says by hand: `" + a.login(e.Host) + "`"
}

func (a *app) hintAuth(show string) string {
	switch {
	case a.doing.action != "warm-auth":
		return "log in once for the commands that follow, in a terminal: `" + a.command("remotes", "warm-auth", "--remote", a.remoteName()) + "`, or check user and key in " + show
	case !a.env.canAsk():
		return "run it in a terminal, where ssh can ask, or check user and key in " + show
	}
	return "run it again, or check user and key in " + show
}

// login returns the command with which a person logs in to the profile's host.
func (a *app) login(host string, options ...string) string {
	t := ssh.Target{Host: orElse(host, "HOST")}
	if a.doing.remote == "" {
		return remote.CommandLine(t.LoginArgs(options...))
	}
	if p, err := a.profile(a.doing.remote); err == nil {
		if of, err := a.reach(p); err == nil && (host == of.Host || host == of.TransferHost) {
			of.Host, t = host, of
		}
	}
	return remote.CommandLine(t.LoginArgs(options...))
}
