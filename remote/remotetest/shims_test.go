package remotetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shim writes a script to a fresh directory and returns its path.
func shim(t *testing.T, name, script string) string {
	t.Helper()
	dir := t.TempDir()
	if err := Shim(dir, name, script); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRsync313(t *testing.T) {
	rsync := shim(t, "rsync", Rsync313(Real("rsync")))
	if out, err := exec.Command(rsync, "--version").Output(); err != nil || !strings.Contains(string(out), "version 3.1.3 ") {
		t.Errorf("%v: %s", err, out)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "from/a b"), "text")
	if out, err := exec.Command(rsync, "-a", dir+"/from/", dir+"/to").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if exec.Command(rsync, "-a", "--mkpath", dir+"/from/", dir+"/to/x").Run() == nil {
		t.Error("--mkpath was taken")
	}
	if exec.Command(rsync, "-a", "--stderr=all", dir+"/from/", dir+"/to").Run() == nil {
		t.Error("--stderr=all was taken")
	}
}

func TestFlipByte(t *testing.T) {
	root := t.TempDir()
	stage := filepath.Join(root, ".usr-sync/stage/key/run/tree")
	write(t, filepath.Join(root, "from/d/it's [1].parquet"), strings.Repeat("a", 100))
	write(t, filepath.Join(root, "from/other"), "same")
	if err := os.MkdirAll(stage, 0o755); err != nil {
		t.Fatal(err)
	}
	rsync := shim(t, "rsync", FlipByte(Real("rsync"), root, "d/it's [1].parquet", true))
	if out, err := exec.Command(rsync, "-a", root+"/from/", stage).CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v: %s", err, out)
	}
	got, err := os.ReadFile(filepath.Join(stage, "d/it's [1].parquet"))
	if want := strings.Repeat("a", 50) + "b" + strings.Repeat("a", 49); err != nil || string(got) != want {
		t.Errorf("%v: %q", err, got)
	}
	from, _ := os.Stat(filepath.Join(root, "from/d/it's [1].parquet"))
	to, _ := os.Stat(filepath.Join(stage, "d/it's [1].parquet"))
	if !from.ModTime().Equal(to.ModTime()) {
		t.Error("the time moved")
	}
	if names, _ := os.ReadDir(filepath.Join(stage, "d")); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestHidePath(t *testing.T) {
	dir := t.TempDir()
	if err := HidePath(dir, "flock", "rsync"); err != nil {
		t.Fatal(err)
	}
	real := Real("find")
	if err := Shim(dir, "find", Refuse(real, "-printf")); err != nil {
		t.Fatal(err)
	}
	run := func(command string) error {
		cmd := exec.Command("/bin/sh", "-c", command)
		cmd.Env = []string{"PATH=" + dir}
		return cmd.Run()
	}
	for command, want := range map[string]bool{
		"command -v flock": false, "command -v rsync": false, "command -v sed": true,
		"find / -maxdepth 0": true, "find / -maxdepth 0 -printf x": false,
	} {
		if err := run(command); (err == nil) != want {
			t.Errorf("%s: %v", command, err)
		}
	}
	if text, err := os.ReadFile(real); err != nil || strings.HasPrefix(string(text), "#!/bin/sh\nfor a") {
		t.Fatalf("the real find was written through a link: %v", err)
	}
}

func TestKillTransfer(t *testing.T) {
	s := server(t, Options{})
	root, bin := t.TempDir(), t.TempDir()
	stage := filepath.Join(root, ".usr-sync/stage/key/run/tree")
	write(t, filepath.Join(root, "from/big"), strings.Repeat("0123456789abcdef", 1<<19))
	if err := os.MkdirAll(stage, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Shim(bin, "ssh", KillTransfer(Real("ssh"), root, bin+"/killed", 1<<20, 1)); err != nil {
		t.Fatal(err)
	}
	pull := func() error {
		return exec.Command("rsync", "-a", "--bwlimit=8m", "-e", bin+"/ssh -F "+s.ConfigFile(), Alias+":"+root+"/from/", stage).Run()
	}
	began := time.Now()
	if pull() == nil {
		t.Error("the transfer ended well")
	}
	if err := pull(); err != nil {
		t.Errorf("the second transfer: %v after %v", err, time.Since(began))
	}
}

func TestFailingAndCounting(t *testing.T) {
	dir := t.TempDir()
	program := shim(t, "true", Failing(Real("true"), "x y", dir+"/failed", "No space left on device (28)", 11, 1))
	if err := exec.Command(program, "z").Run(); err != nil {
		t.Error(err)
	}
	if out, err := exec.Command(program, "x y").CombinedOutput(); err == nil || !strings.Contains(string(out), "(28)") {
		t.Errorf("%v: %s", err, out)
	}
	if err := exec.Command(program, "x y").Run(); err != nil {
		t.Error(err)
	}
	counted := shim(t, "true", Counting(Real("true"), dir+"/log"))
	_ = exec.Command(counted, "a\nb", "c").Run()
	_ = exec.Command(counted).Run()
	if text, _ := os.ReadFile(dir + "/log"); strings.Count(string(text), "\n") != 2 {
		t.Errorf("%q", text)
	}
}
