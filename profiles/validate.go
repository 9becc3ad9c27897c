package profiles

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// A parser collects the entries and the mistakes of one file.
type parser struct {
	entries  []entry
	problems []Problem
}

// parse returns every mistake in text, in the order of lines.
func parse(text []byte) ([]entry, []Problem) {
	root, problem := parseYAML(text)
	if problem != nil {
		return nil, []Problem{*problem}
	}
	p := &parser{}
	if root != nil {
		p.file(root)
	}
	slices.SortStableFunc(p.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return p.entries, p.problems
}

func (p *parser) wrong(line int, key, format string, args ...any) {
	p.problems = append(p.problems, Problem{Line: line, Key: key, What: fmt.Sprintf(format, args...)})
}

func (p *parser) unknown(line int, key, name string, known []string) {
	p.problems = append(p.problems, Problem{Line: line, Key: key, What: "unknown key", Nearest: Nearest(name, known)})
}

func (p *parser) file(root *yaml.Node) {
	if root.Kind != yaml.MappingNode {
		p.wrong(root.Line, "", "must be a mapping with the key remotes, is %s", kindOf(root))
		return
	}
	found := false
	for _, pair := range p.pairs(root, "") {
		if pair.name != "remotes" {
			p.unknown(pair.line, shown(pair.name), pair.name, []string{"remotes"})
			continue
		}
		found = true
		p.remotes(pair)
	}
	if !found {
		p.wrong(root.Line, "remotes", "missing key")
	}
}

func (p *parser) remotes(remotes pair) {
	if isNull(remotes.value) {
		return
	}
	if remotes.value.Kind != yaml.MappingNode {
		p.wrong(remotes.line, "remotes", "must be a mapping of names to remotes, is %s", kindOf(remotes.value))
		return
	}
	for _, pair := range p.pairs(remotes.value, "remotes.") {
		p.remote(pair)
	}
}

func (p *parser) remote(entryOf pair) {
	prefix := "remotes." + shown(entryOf.name)
	if _, wrong := isName(entryOf.name); wrong != "" {
		p.wrong(entryOf.line, prefix, "the name of a remote %s", wrong)
	}
	if entryOf.value.Kind != yaml.MappingNode {
		p.wrong(entryOf.line, prefix, "must be a mapping, is %s", kindOf(entryOf.value))
		return
	}
	pairs := p.merged(entryOf.value, prefix+".")
	e := entry{remote: Default(entryOf.name), line: entryOf.line}
	for _, pair := range pairs {
		p.value(&e.remote, pair, prefix+"."+shown(pair.name))
	}
	p.required(&e, pairs, prefix+".")
	p.entries = append(p.entries, e)
}

// required reports missing keys that the type needs. A required key that is null
// does not make the file wrong: the earlier tool's files may have that.
func (p *parser) required(e *entry, pairs []pair, prefix string) {
	required := []string{"host", "base_dir"}
	if e.remote.Type == Local {
		required = required[1:]
	}
	for _, name := range required {
		i := slices.IndexFunc(pairs, func(pair pair) bool { return pair.name == name })
		if i < 0 {
			p.wrong(e.line, prefix+name, "missing key")
		} else if isNull(pairs[i].value) {
			e.null = append(e.null, Problem{Line: pairs[i].line, Key: prefix + name, What: "is null, a value is needed"})
		}
	}
}

// value reads one key of a remote into r.
func (p *parser) value(r *Remote, pair pair, name string) {
	k, ok := findKey(pair.name)
	if !ok {
		p.unknown(pair.line, name, pair.name, keyNames())
		return
	}
	if isNull(pair.value) {
		return
	}
	switch field := k.field(r).(type) {
	case *string:
		p.text(field, k, pair, name)
	case *[]string:
		p.list(field, k, pair, name)
	case *int:
		p.number(field, k, pair, name)
	case *bool:
		p.truth(field, pair, name)
	case *time.Duration:
		p.duration(field, k, pair, name)
	case *Bytes:
		p.bytes(field, pair, name)
	}
}

func (p *parser) text(field *string, k key, pair pair, name string) {
	n := pair.value
	if !isText(n) && !(k.number && isNumber(n)) {
		p.wrong(pair.line, name, "must be text, is %s%s", kindOf(n), quoteIt(n))
		return
	}
	if n.Value == "" && !slices.Contains([]string{"type", "host", "base_dir"}, k.name) {
		return // as good as null
	}
	kept, wrong := k.check(n.Value)
	if wrong != "" {
		problem := Problem{Line: pair.line, Key: name, What: fmt.Sprintf("%s, is %q", wrong, n.Value)}
		if k.name == "type" {
			problem.Nearest = Nearest(n.Value, []string{SSH, Local})
		}
		p.problems = append(p.problems, problem)
		return
	}
	*field = kept
}

func (p *parser) list(field *[]string, k key, pair pair, name string) {
	if pair.value.Kind != yaml.SequenceNode {
		p.wrong(pair.line, name, "must be a list of texts, is %s", kindOf(pair.value))
		return
	}
	for i, item := range pair.value.Content {
		line, at := item.Line, fmt.Sprintf("%s[%d]", name, i)
		item = target(item)
		if !isText(item) {
			p.wrong(line, at, "must be text, is %s%s", kindOf(item), quoteIt(item))
		} else if kept, wrong := k.check(item.Value); wrong != "" {
			p.wrong(line, at, "%s, is %q", wrong, item.Value)
		} else {
			*field = append(*field, kept)
		}
	}
}

func (p *parser) number(field *int, k key, pair pair, name string) {
	var value int
	if pair.value.Kind != yaml.ScalarNode || pair.value.ShortTag() != "!!int" {
		p.wrong(pair.line, name, "must be a whole number, is %s", kindOf(pair.value))
	} else if pair.value.Decode(&value) != nil || value < k.min || value > k.max {
		p.wrong(pair.line, name, "must be a number from %d to %d, is %s", k.min, k.max, shown(pair.value.Value))
	} else {
		*field = value
	}
}

// truth also accepts the yes/no/on/off of YAML 1.1, as the earlier tool's parser
// did.
func (p *parser) truth(field *bool, pair pair, name string) {
	n := pair.value
	plain := n.Kind == yaml.ScalarNode && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0
	switch word := strings.ToLower(n.Value); {
	case plain && slices.Contains([]string{"true", "yes", "on"}, word):
		*field = true
	case plain && slices.Contains([]string{"false", "no", "off"}, word):
		*field = false
	default:
		p.wrong(pair.line, name, "must be true or false, is %s", kindOf(n))
	}
}

func (p *parser) duration(field *time.Duration, k key, pair pair, name string) {
	n := pair.value
	if !isText(n) && !isNumber(n) {
		p.wrong(pair.line, name, "%s, is %s", notDuration, kindOf(n))
		return
	}
	if k.unit && NoUnit(n.Value) {
		p.wrong(pair.line, name, "must have a unit, such as 30d or 12h, is %s", n.Value)
		return
	}
	d, ok := Duration(n.Value)
	if !ok {
		p.wrong(pair.line, name, "%s, is %q", notDuration, n.Value)
		return
	}
	*field = d
}

func (p *parser) bytes(field *Bytes, pair pair, name string) {
	n := pair.value
	if !isText(n) && !isNumber(n) {
		p.wrong(pair.line, name, "%s, is %s", notBytes, kindOf(n))
	} else if b, ok := bytesOf(n.Value); !ok {
		p.wrong(pair.line, name, "%s, is %q", notBytes, n.Value)
	} else {
		*field = b
	}
}

func isText(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str"
}

func isNumber(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!int" || n.ShortTag() == "!!float")
}

// quoteIt is the advice for a text that YAML takes for something else.
func quoteIt(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode && !isNull(n) {
		return ", to be written in quotes"
	}
	return ""
}
