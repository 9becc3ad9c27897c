package main

import (
	"os"
	"path/filepath"
	"strings"
)

// abs makes the user's path absolute.
func (a *app) abs(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(a.env.dir, path)
}

// checkoutDatasets is where the datasets are in a checkout of dnadesign.
const checkoutDatasets = "src/dnadesign/usr/datasets"

// root finds the USR root: --root, else $DNADESIGN_USR_ROOT, else the nearest directory at or above the working
// directory that holds registry.yaml, else the datasets of the checkout that holds the working directory.
func (a *app) root() (string, error) {
	for _, given := range []string{a.cli.Root, a.env.getenv("DNADESIGN_USR_ROOT")} {
		if given != "" {
			return datasetsOf(a.abs(given)), nil
		}
	}
	if found := registryAbove(a.env.dir); found != "" {
		return found, nil
	}
	isCheckout := func(dir string) bool { return isDir(filepath.Join(dir, checkoutDatasets)) }
	if dir := nearestAbove(a.env.dir, isCheckout); dir != "" {
		return filepath.Join(dir, checkoutDatasets), nil
	}
	return "", &usageError{
		why: "cannot find the USR root: no --root, no $DNADESIGN_USR_ROOT, and no registry.yaml and no " +
			checkoutDatasets + " at or above " + shown(a.env.dir),
		hint: "give the root, as in `usr --root DIR …`, or export DNADESIGN_USR_ROOT=DIR",
	}
}

// datasetsOf replaces the package directory of dnadesign with its datasets.
func datasetsOf(root string) string {
	if exists(filepath.Join(root, "__init__.py")) {
		return filepath.Join(root, "datasets")
	}
	return root
}

// registryAbove returns the nearest root at or above a directory, or "".
func registryAbove(dir string) string {
	dir = nearestAbove(dir, func(dir string) bool { return exists(filepath.Join(dir, "registry.yaml")) })
	if dir == "" {
		return ""
	}
	return datasetsOf(dir)
}

// nearestAbove returns the nearest directory of a kind at or above dir, or "".
func nearestAbove(dir string, is func(string) bool) string {
	for {
		if is(dir) {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isRegular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// below returns the path of dir relative to root, or "" if it is not below it: as both are written, else with symlinks
// resolved.
func below(root, dir string) string {
	if rel := relative(root, dir); rel != "" {
		return rel
	}
	r, rerr := filepath.EvalSymlinks(root)
	d, derr := filepath.EvalSymlinks(dir)
	if rerr != nil || derr != nil {
		return ""
	}
	return relative(r, d)
}

func relative(root, dir string) string {
	rel, err := filepath.Rel(root, dir)
	if err != nil || rel == "." || rel == ".." || strings.HasPrefix(rel, "../") {
		return ""
	}
	return rel
}
