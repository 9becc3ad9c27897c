package profiles

import (
	_ "embed"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

// A Preset is what is known about a site. A new remote starts from it.
type Preset struct {
	Name         string   `yaml:"name"`
	Title        string   `yaml:"title"`
	Host         string   `yaml:"host"`          // "": to be asked for
	TransferNode string   `yaml:"transfer_node"` // "": the site has none
	BaseDirHint  string   `yaml:"base_dir_hint"` // to show, not to take
	Notes        []string `yaml:"notes"`         // one paragraph each
	SSHLines     []string `yaml:"ssh_config"`    // see SSHConfig
	Rebuildable  []string `yaml:"rebuildable"`
}

//go:embed presets.yaml
var presetData []byte

var presets = sync.OnceValue(func() []Preset {
	var list []Preset
	if err := yaml.Unmarshal(presetData, &list); err != nil {
		panic(err) // built in, and tested
	}
	return list
})

// Presets returns all presets.
func Presets() []Preset { return slices.Clone(presets()) }

// FindPreset returns the preset of this name, or an *UnknownError.
func FindPreset(name string) (Preset, error) {
	var known []string
	for _, p := range presets() {
		if p.Name == name {
			return p, nil
		}
		known = append(known, p.Name)
	}
	return Preset{}, &UnknownError{What: "preset", Name: name, Known: known, Nearest: Nearest(name, known)}
}

// Remote returns a remote to be completed, with the name and the host of the
// preset, or with its transfer node as the host if it has one.
func (p Preset) Remote(transferNode bool) Remote {
	r := Default(p.Name)
	r.Host, r.Rebuildable = p.Host, slices.Clone(p.Rebuildable)
	if transferNode && p.TransferNode != "" {
		r.Host = p.TransferNode
	}
	return r
}

// SSHConfig returns lines for the user's ssh configuration that let commands
// share one connection to r.
func (p Preset) SSHConfig(r Remote) []string {
	var lines []string
	for _, line := range p.SSHLines {
		if r.User == "" && strings.Contains(line, "{user}") {
			continue
		}
		lines = append(lines, strings.NewReplacer("{host}", r.Host, "{user}", r.User).Replace(line))
	}
	return lines
}
