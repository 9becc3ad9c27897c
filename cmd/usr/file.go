package main

import (
	"context"
	"path"
	"path/filepath"
	"strings"

	"github.com/dnadesign-maintainers/usr/profiles"
	"github.com/dnadesign-maintainers/usr/sync"
)

func (a *app) doFile(ctx context.Context, j job, s subject) error {
	a.doing.file = true
	p, err := a.profile(j.args.Remote)
	if err != nil {
		return err
	}
	there, err := a.fileOnRemote(s.file, j.flags, p)
	if err != nil {
		return err
	}
	root := s.root
	if root == "" {
		root = filepath.Dir(s.file)
	}
	pair, err := a.connect(ctx, root, &p)
	if err != nil {
		return err
	}
	defer pair.Close()
	r, err := j.file(pair, sync.FileSpec{Local: s.file, Remote: there})
	if err != nil {
		return err
	}
	v := a.auditOf(r, true)
	v.remotePath = there
	return a.showAudit(j, v)
}

// fileOnRemote is --remote-path, else the profile's repo_root and the path below the local repository: --repo-root,
// the profile's local_repo_root or $DNADESIGN_REPO_ROOT.
func (a *app) fileOnRemote(file string, flags compareFlags, p profiles.Remote) (string, error) {
	there := flags.RemotePath
	if there == "" {
		repo, err := a.localRepo(flags, p)
		if err != nil {
			return "", err
		}
		if p.RepoRoot == "" {
			return "", &usageError{
				why:  "cannot tell where " + shown(file) + " is on " + p.Name + ": its profile has no repo_root",
				hint: "give the place with --remote-path PATH, or add repo_root to the profile",
			}
		}
		rel := below(repo, file)
		if rel == "" {
			rel = belowParent(repo, file)
		}
		if rel == "" {
			return "", &usageError{
				why:  "cannot tell where " + shown(file) + " is on " + p.Name + ": it is not below the repository " + shown(repo),
				hint: "give the place with --remote-path PATH, or another repository with --repo-root DIR",
			}
		}
		there = path.Join(p.RepoRoot, filepath.ToSlash(rel))
	}
	return path.Clean(there), checkRemotePath(there)
}

// belowParent is below for a file that does not exist yet.
func belowParent(repo, file string) string {
	dir := filepath.Dir(file)
	if rel := below(repo, dir); rel != "" {
		return filepath.Join(rel, filepath.Base(file))
	}
	r, rerr := filepath.EvalSymlinks(repo)
	d, derr := filepath.EvalSymlinks(dir)
	if rerr == nil && derr == nil && r == d {
		return filepath.Base(file)
	}
	return ""
}

func (a *app) localRepo(flags compareFlags, p profiles.Remote) (string, error) {
	ofProfile, err := p.LocalRepo(a.env.getenv)
	if err != nil {
		return "", err
	}
	for _, repo := range []string{flags.RepoRoot, ofProfile, a.env.getenv("DNADESIGN_REPO_ROOT")} {
		if repo != "" {
			return a.abs(repo), nil
		}
	}
	return "", &usageError{
		why:  "cannot tell where the file is on " + p.Name + ": no --remote-path, no --repo-root, no local_repo_root in the profile, no $DNADESIGN_REPO_ROOT",
		hint: "give the place with --remote-path PATH, or the repository with --repo-root DIR",
	}
}

// checkRemotePath refuses what rsync would expand or a terminal would obey.
func checkRemotePath(p string) error {
	why := ""
	switch {
	case !path.IsAbs(p):
		why = "it is not absolute"
	case strings.HasSuffix(p, "/"):
		why = "it names a directory"
	case strings.ContainsAny(p, `*?[]\`):
		why = `it contains one of * ? [ ] \`
	case !printable(p):
		why = "it contains control characters or is not UTF-8"
	}
	if why == "" {
		return nil
	}
	return &usageError{why: "cannot use the remote path " + shown(p) + ": " + why, hint: "give an absolute path of a file with --remote-path"}
}
