package profiles

import (
	"bytes"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Add puts r at the end of the remotes. If the name is taken the error is an
// *ExistsError; if Load would refuse the remote, an *Error.
func (f *File) Add(r Remote) error {
	if i := f.index(r.Name); i >= 0 {
		return &ExistsError{Name: r.Name, Path: f.path, Line: f.entries[i].line}
	}
	r, err := r.checked()
	if err != nil {
		return err
	}
	want := append(f.remotes(), r)
	return f.edit(want, f.spliceIn(r), func() []byte { return f.encodeWith(r) })
}

// Remove removes the remote of this name, with the comments inside it and
// those directly above it. An unknown name is an *UnknownError.
func (f *File) Remove(name string) error {
	i := f.index(name)
	if i < 0 {
		return f.unknown(name)
	}
	want := slices.Delete(f.remotes(), i, i+1)
	return f.edit(want, f.spliceOut(i), func() []byte { return f.encodeWithout(i) })
}

// Replace gives the remote of r's name the values of r. Lines that need no change, comments and the order of keys stay. An
// unknown name is an *UnknownError.
func (f *File) Replace(r Remote) error {
	i := f.index(r.Name)
	if i < 0 {
		return f.unknown(r.Name)
	}
	r, err := r.checked()
	if err != nil {
		return err
	}
	want := f.remotes()
	want[i] = r
	return f.edit(want, f.spliceOver(i, r), func() []byte { return f.encodeOver(i, r) })
}

// A Difference is a key in which two remotes of one name differ; "" means no value.
type Difference struct{ Key, Old, New string }

// Compare lists the keys in which two remotes differ.
func Compare(old, new Remote) (found []Difference) {
	for _, k := range keys {
		a, b := written(k, old), written(k, new)
		if a != b {
			found = append(found, Difference{k.name, a, b})
		}
	}
	return found
}

// written returns a value as a file would hold it, on one line.
func written(k key, r Remote) string {
	v := reflect.ValueOf(k.field(&r)).Elem()
	if (v.Kind() == reflect.String || v.Kind() == reflect.Slice) && v.Len() == 0 {
		return ""
	}
	node := value(v.Interface())
	node.Style |= yaml.FlowStyle
	text, _ := yaml.Marshal(node)
	return strings.TrimSpace(string(text))
}

// Render returns the lines that Add would write for r.
func (f *File) Render(r Remote) string {
	indent := 2
	if mapping := f.mapping(); mapping != nil && len(mapping.Content) > 0 && mapping.Style&yaml.FlowStyle == 0 {
		indent = mapping.Content[0].Column - 1
	}
	text := r.block(indent, max(2, min(indent, 8)))
	if bytes.Contains(f.text, []byte("\r\n")) {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	return text
}

// edit prefers the spliced text, which leaves every other byte as it was. Only
// if that does not hold exactly the wanted remotes (flow style, aliases) it
// takes the text that the YAML library makes.
func (f *File) edit(want []Remote, spliced []byte, encoded func() []byte) error {
	for _, attempt := range []func() []byte{func() []byte { return spliced }, encoded} {
		text := attempt()
		entries, problems := parse(text)
		edited := &File{path: f.path, text: text, onDisk: f.onDisk, entries: entries}
		if len(problems) == 0 && slices.EqualFunc(edited.remotes(), want, equal) {
			*f = *edited
			return nil
		}
	}
	what := "no change of its text would leave the other remotes as they are (anchors and aliases?); edit it by hand"
	return &Error{Path: f.path, doing: "change remotes file " + shown(f.path), Problems: []Problem{{What: what}}}
}

func equal(a, b Remote) bool { return reflect.DeepEqual(a, b) }

// remotes returns a new slice.
func (f *File) remotes() []Remote {
	remotes := make([]Remote, len(f.entries))
	for i, e := range f.entries {
		remotes[i] = e.remote
	}
	return remotes
}

// mapping returns the node of the remotes, nil if there is none.
func (f *File) mapping() *yaml.Node {
	root, _ := parseYAML(f.text)
	return remotesOf(root)
}

func remotesOf(root *yaml.Node) *yaml.Node {
	if root == nil {
		return nil
	}
	return root.Content[1] // the file is sound: remotes is its only key
}

// spliceIn appends r: the remotes are the only thing that a file may hold, so
// its end is theirs.
func (f *File) spliceIn(r Remote) []byte {
	text := slices.Clone(f.text)
	mapping := f.mapping()
	switch {
	case mapping == nil:
		text = append(endLine(text), "remotes:\n"...)
	case len(mapping.Content) == 0:
		text = endLine(cutEmpty(text, mapping))
	}
	return append(endLine(text), f.Render(r)...)
}

func endLine(text []byte) []byte {
	if len(text) > 0 && text[len(text)-1] != '\n' {
		return append(text, '\n')
	}
	return text
}

// cutEmpty removes the {} or null that stands for no remotes.
func cutEmpty(text []byte, empty *yaml.Node) []byte {
	lines := bytes.SplitAfter(text, []byte("\n"))
	if empty.Line < 1 || empty.Line > len(lines) {
		return text
	}
	line, from := lines[empty.Line-1], empty.Column-1
	length := len(empty.Value)
	if empty.Kind == yaml.MappingNode && from < len(line) {
		length = bytes.IndexByte(line[from:], '}') + 1
	}
	if length == 0 || from+length > len(line) {
		return text
	}
	before := bytes.TrimRight(line[:from], " ")
	lines[empty.Line-1] = slices.Concat(before, line[from+length:])
	return bytes.Join(lines, nil)
}

// spliceOut cuts the lines of the remote at index: from the comments directly
// above its name to the last line that is indented further than the name.
func (f *File) spliceOut(index int) []byte {
	mapping := f.mapping()
	if mapping == nil || 2*index >= len(mapping.Content) {
		return nil
	}
	lines := bytes.SplitAfter(f.text, []byte("\n"))
	name := mapping.Content[2*index]
	from, to := name.Line-1, name.Line
	if to > len(lines) {
		return nil
	}
	for from > 0 && isComment(lines[from-1]) && indentOf(lines[from-1]) == name.Column-1 {
		from--
	}
	for next := to; next < len(lines); next++ {
		if blank := len(bytes.TrimSpace(lines[next])) == 0; blank {
			continue
		}
		if indentOf(lines[next]) < name.Column {
			break
		}
		to = next + 1
	}
	return bytes.Join(slices.Concat(lines[:from], lines[to:]), nil)
}

func isComment(line []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("#"))
}

func indentOf(line []byte) int {
	return len(line) - len(bytes.TrimLeft(line, " "))
}

// encodeWith lets the library write the file anew with r in it.
func (f *File) encodeWith(r Remote) []byte {
	root, _ := parseYAML(f.text)
	mapping := remotesOf(root)
	if mapping == nil {
		return []byte("remotes:\n" + r.block(2, 2))
	}
	if mapping.Kind != yaml.MappingNode {
		*mapping = yaml.Node{Kind: yaml.MappingNode}
	}
	mapping.Content = append(mapping.Content, value(r.Name), r.node())
	return encode(root)
}

func (f *File) encodeWithout(index int) []byte {
	root, _ := parseYAML(f.text)
	mapping := remotesOf(root)
	if mapping == nil || 2*index >= len(mapping.Content) {
		return nil
	}
	mapping.Content = slices.Delete(mapping.Content, 2*index, 2*index+2)
	return encode(root)
}

// encode returns nil if something cannot be written, such as an alias without
// its anchor.
func encode(root *yaml.Node) (text []byte) {
	defer func() {
		if recover() != nil {
			text = nil
		}
	}()
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if encoder.Encode(root) != nil {
		return nil
	}
	return b.Bytes()
}

// spliceOver writes the values of r over those of the remote at index, line by line: it replaces or cuts keys that differ
// and appends new ones. It returns nil if the remote does not have one key per line.
func (f *File) spliceOver(index int, r Remote) []byte {
	mapping := f.mapping()
	if mapping == nil || 2*index+1 >= len(mapping.Content) {
		return nil
	}
	old := mapping.Content[2*index+1]
	if old.Kind != yaml.MappingNode || old.Style&yaml.FlowStyle != 0 || len(old.Content) == 0 {
		return nil
	}
	lines := bytes.SplitAfter(f.text, []byte("\n"))
	change := map[string]bool{}
	for _, d := range Compare(f.entries[index].remote, r) {
		change[d.Key] = true
	}
	values := r.values()
	column, end := old.Content[0].Column-1, 0
	for i := 0; i < len(old.Content); i += 2 {
		name, was := old.Content[i], old.Content[i+1]
		from, to := name.Line-1, lastLine(lines, name.Line-1, column)
		end = max(end, to)
		if !change[name.Value] {
			continue
		}
		delete(change, name.Value)
		for line := from; line < to; line++ {
			lines[line] = nil
		}
		if is, ok := values[name.Value]; ok {
			lines[from] = keyLines(name.Value, is, column, was.LineComment)
		}
	}
	var added []byte
	for _, k := range keys {
		if is, ok := values[k.name]; ok && change[k.name] {
			added = append(added, keyLines(k.name, is, column, "")...)
		}
	}
	if end > 0 && lines[end-1] != nil {
		lines[end-1] = endLine(lines[end-1])
	}
	return bytes.Join(slices.Concat(lines[:end], [][]byte{added}, lines[end:]), nil)
}

// lastLine returns the line after the value of the key at a line. A value is indented further, or is an item of a list.
func lastLine(lines [][]byte, from, column int) int {
	to := from + 1
	for next := to; next < len(lines); next++ {
		text := bytes.TrimSpace(lines[next])
		switch {
		case len(text) == 0 || text[0] == '#':
			continue
		case indentOf(lines[next]) > column, indentOf(lines[next]) == column && bytes.HasPrefix(text, []byte("- ")):
			to = next + 1
		default:
			return to
		}
	}
	return to
}

// values are those that a file needs to hold, by key.
func (r Remote) values() map[string]*yaml.Node {
	node, values := r.node(), map[string]*yaml.Node{}
	for i := 0; i < len(node.Content); i += 2 {
		values[node.Content[i].Value] = node.Content[i+1]
	}
	return values
}

// keyLines returns the lines of a key and its value.
func keyLines(name string, v *yaml.Node, column int, comment string) []byte {
	mapping := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{value(name), v}}
	v.LineComment = comment
	var text []byte
	for line := range bytes.Lines(encode(mapping)) {
		text = append(append(text, strings.Repeat(" ", column)...), line...)
	}
	return text
}

// encodeOver lets the library write the file anew with the values of r.
func (f *File) encodeOver(index int, r Remote) []byte {
	root, _ := parseYAML(f.text)
	mapping := remotesOf(root)
	if mapping == nil || 2*index+1 >= len(mapping.Content) {
		return nil
	}
	mapping.Content[2*index+1] = r.node()
	return encode(root)
}
