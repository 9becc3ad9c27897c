package profiles

import (
	"bytes"
	"reflect"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Check checks a remote that did not come from a file as Load would. It returns
// an *Error with every mistake.
func (r Remote) Check() error {
	_, err := r.checked()
	return err
}

// checked returns r as it would come back from a file.
func (r Remote) checked() (Remote, error) {
	entries, problems := parse([]byte("remotes:\n" + r.block(2, 2)))
	if len(problems) > 0 {
		for i := range problems {
			problems[i].Line = 0 // of a file that nobody has
		}
		return r, &Error{doing: "use remote " + shown(r.Name), Problems: problems}
	}
	return entries[0].remote, nil
}

// block returns the lines of r with the name behind indent spaces and the keys
// step further.
func (r Remote) block(indent, step int) string {
	mapping := &yaml.Node{Kind: yaml.MappingNode}
	mapping.Content = []*yaml.Node{value(r.Name), r.node()}
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(step)
	if err := encoder.Encode(mapping); err != nil {
		panic(err) // a mapping of plain values, written to memory
	}
	var lines strings.Builder
	for line := range strings.Lines(b.String()) {
		lines.WriteString(strings.Repeat(" ", indent) + line)
	}
	return lines.String()
}

// node holds type, host, user and base_dir if they are set, and everything that
// differs from the defaults.
func (r Remote) node() *yaml.Node {
	standard := Default(r.Name)
	mapping := &yaml.Node{Kind: yaml.MappingNode}
	for _, k := range keys {
		v := reflect.ValueOf(k.field(&r)).Elem()
		usual := reflect.ValueOf(k.field(&standard)).Elem()
		if v.Kind() == reflect.String && v.Len() == 0 {
			continue
		}
		if k.name == "type" || !same(v, usual) {
			mapping.Content = append(mapping.Content, value(k.name), value(v.Interface()))
		}
	}
	return mapping
}

func same(a, b reflect.Value) bool {
	if a.Kind() == reflect.Slice && a.Len() == 0 {
		return b.Len() == 0
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// value makes the node of a text, a number, a boolean, a duration, a number of bytes or a list.
func value(v any) *yaml.Node {
	if d, ok := v.(time.Duration); ok {
		v = durationText(d)
	}
	if b, ok := v.(Bytes); ok {
		v = b.String()
	}
	node := &yaml.Node{}
	if err := node.Encode(v); err != nil {
		panic(err) // none of these kinds can fail
	}
	return node
}
