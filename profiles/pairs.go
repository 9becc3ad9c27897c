package profiles

import (
	"slices"

	"gopkg.in/yaml.v3"
)

// A pair is one key of a mapping and its value, aliases followed.
type pair struct {
	name  string
	line  int // of the key, where the user will look
	value *yaml.Node
}

// pairs returns the pairs of a mapping and reports keys that occur twice or are
// not text.
func (p *parser) pairs(mapping *yaml.Node, prefix string) []pair {
	var pairs []pair
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		line, name := mapping.Content[i].Line, target(mapping.Content[i])
		if name.Kind != yaml.ScalarNode {
			p.wrong(line, prefix+"?", "a key must be a name, is %s", kindOf(name))
			continue
		}
		if first := find(pairs, name.Value); first != nil {
			p.wrong(line, prefix+shown(name.Value), "duplicate key, first on line %d", first.line)
			continue
		}
		pairs = append(pairs, pair{name: name.Value, line: line, value: target(mapping.Content[i+1])})
	}
	return pairs
}

func find(pairs []pair, name string) *pair {
	i := slices.IndexFunc(pairs, func(p pair) bool { return p.name == name })
	if i < 0 {
		return nil
	}
	return &pairs[i]
}

// mergeKey includes the keys of another mapping, as the earlier tool's parser
// allowed.
const mergeKey = "<<"

// merged is pairs with merge keys resolved: written keys win, then the mappings
// in their order.
func (p *parser) merged(mapping *yaml.Node, prefix string) []pair {
	return p.merge(mapping, prefix, map[*yaml.Node]bool{})
}

// merge visits each mapping once: more would add nothing, and need not end.
func (p *parser) merge(mapping *yaml.Node, prefix string, visited map[*yaml.Node]bool) []pair {
	visited[mapping] = true
	all := p.pairs(mapping, prefix)
	merge := find(all, mergeKey)
	if merge == nil {
		return all
	}
	sources := []*yaml.Node{merge.value}
	if merge.value.Kind == yaml.SequenceNode {
		sources = merge.value.Content
	}
	line := merge.line
	all = slices.DeleteFunc(all, func(p pair) bool { return p.name == mergeKey })
	for _, source := range sources {
		source = target(source)
		if source.Kind != yaml.MappingNode {
			p.wrong(line, prefix+mergeKey, "must name a mapping, is %s", kindOf(source))
			continue
		}
		if visited[source] {
			continue
		}
		for _, taken := range p.merge(source, prefix, visited) {
			if find(all, taken.name) == nil {
				all = append(all, taken)
			}
		}
	}
	return all
}
