package profiles

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// env is a getenv over name, value, name, value, …
func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestKeyPath(t *testing.T) {
	r := Default("lab")
	if path, err := r.KeyPath(env()); path != "" || err != nil {
		t.Errorf("no key: %q, %v", path, err)
	}
	r.SSHKeyEnv = "LAB_KEY"
	if path, err := r.KeyPath(env("LAB_KEY", "~/.ssh/k", "HOME", "/home/me")); path != "/home/me/.ssh/k" || err != nil {
		t.Errorf("%q, %v", path, err)
	}
	var wrong *Error
	for _, getenv := range []func(string) string{env(), env("LAB_KEY", "~/k")} {
		_, err := r.KeyPath(getenv)
		if !errors.As(err, &wrong) || !strings.HasPrefix(err.Error(), "cannot use remote lab: ssh_key_env: the variable ") {
			t.Error(err)
		}
	}
}

func TestDefaultPath(t *testing.T) {
	const name = "/dnadesign/usr-remotes.yaml"
	tests := []struct {
		getenv func(string) string
		want   string
	}{
		{env("USR_REMOTES_PATH", "r.yaml", "XDG_CONFIG_HOME", "/x", "HOME", "/h"), "r.yaml"},
		{env("USR_REMOTES_PATH", "~/r.yaml", "HOME", "/h"), "/h/r.yaml"},
		{env("XDG_CONFIG_HOME", "/x", "HOME", "/h"), "/x" + name},
		{env("XDG_CONFIG_HOME", "relative", "HOME", "/h"), "/h/.config" + name},
		{env("HOME", "/h"), "/h/.config" + name},
		{env(), ""},
	}
	for _, test := range tests {
		got, err := DefaultPath(test.getenv)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%q, %v; want %q", got, err, test.want)
		}
	}
}

func TestCheck(t *testing.T) {
	r := Default("lab")
	r.BaseDir, r.Host = "data", "-oProxyCommand=x"
	var wrong *Error
	if err := r.Check(); !errors.As(err, &wrong) || len(wrong.Problems) != 2 || wrong.Problems[0].Line != 0 {
		t.Error(err)
	}
	r.Host, r.BaseDir = "h", "/data"
	if err := r.Check(); err != nil {
		t.Error(err)
	}
}

func TestNearest(t *testing.T) {
	for name, want := range map[string]string{
		"hots": "host", "Host": "host", "basedir": "base_dir", "base-dir": "base_dir", "prot": "port", "hostname": "host",
		"bwlimt": "bwlimit", "lock_time": "lock_timeout", "": "", "x": "", "colour": "", "password": "",
	} {
		if got := Nearest(name, keyNames()); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestPresets(t *testing.T) {
	for _, p := range Presets() {
		if p.Name == "" || p.Title == "" || p.BaseDirHint == "" || len(p.Notes) == 0 || len(p.SSHLines) == 0 {
			t.Errorf("incomplete: %+v", p)
		}
		if p.TransferNode != "" && p.Remote(true).Host != p.TransferNode {
			t.Errorf("%s: transfer node is not taken", p.Name)
		}
	}
	p, err := FindPreset("bu-scc")
	if err != nil || p.Remote(false).Host != "scc1.bu.edu" || p.Remote(true).Host != "scc-globus.bu.edu" {
		t.Errorf("%+v, %v", p, err)
	}
	r := p.Remote(false)
	if !slices.Equal(r.Rebuildable, []string{"_artifacts/_densegen_ids.sqlite"}) {
		t.Errorf("rebuildable: %q", r.Rebuildable)
	}
	if lines := strings.Join(p.SSHConfig(r), "\n"); strings.Contains(lines, "User") || !strings.HasPrefix(lines, "Host scc1.bu.edu\n") {
		t.Error(lines)
	}
	var unknown *UnknownError
	if _, err := FindPreset("buscc"); !errors.As(err, &unknown) || unknown.Nearest != "bu-scc" {
		t.Error(err)
	}
}
