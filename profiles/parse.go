package profiles

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// parseYAML returns the root node of text, nil if it holds nothing but
// comments.
func parseYAML(text []byte) (*yaml.Node, *Problem) {
	if p := checkText(text); p != nil {
		return nil, p
	}
	root, err := decode(text)
	if err == nil {
		return root, nil
	}
	line, what := splitLine(err.Error())
	if found := mistakenLine(text); found > 0 {
		line = found
	}
	return nil, &Problem{Line: line, What: "is not YAML: " + what}
}

// checkText recognizes files that are not text at all.
func checkText(text []byte) *Problem {
	line := 1
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		switch {
		case r == '\n':
			line++
		case r == utf8.RuneError && size == 1:
			return &Problem{Line: line, What: fmt.Sprintf("is not UTF-8 text: byte %#02x", text[i])}
		case r < ' ' && r != '\t' && r != '\r':
			return &Problem{Line: line, What: fmt.Sprintf("is not a text file: control character %#02x", text[i])}
		}
		i += size
	}
	return nil
}

var errTwo = errors.New("more than one document")

// decode turns a panic of the YAML library into an error: the file is the
// user's, and may hold anything.
func decode(text []byte) (root *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			root, err = nil, fmt.Errorf("%v", p)
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	if err := decoder.Decode(&document); err == io.EOF {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if err := decoder.Decode(&second); err == nil {
		return nil, errTwo
	} else if err != io.EOF {
		return nil, err
	}
	if isNull(document.Content[0]) {
		return nil, nil
	}
	return document.Content[0], nil
}

var linePrefix = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

func splitLine(message string) (line int, what string) {
	m := linePrefix.FindStringSubmatch(message)
	line, _ = strconv.Atoi(m[1])
	return line, strings.TrimPrefix(message, m[0])
}

// maxSearched bounds the work of mistakenLine, which parses once a line.
const maxSearched = 500

// mistakenLine finds the first line with which text is no longer YAML. The
// library often names the line of the construct around it. It returns 0 if
// the search would take long.
func mistakenLine(text []byte) int {
	lines := bytes.SplitAfter(text, []byte("\n"))
	if len(lines) > maxSearched || len(text) > 100*maxSearched {
		return 0
	}
	for n := len(lines) - 1; n > 0; n-- {
		if _, err := decode(bytes.Join(lines[:n], nil)); err == nil {
			return n + 1
		}
	}
	return 1
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// target follows an alias.
func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// kindOf returns the user's word for the kind of a node.
func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind != yaml.ScalarNode:
		return "something else"
	}
	switch tag := n.ShortTag(); tag {
	case "!!null":
		return "null"
	case "!!int", "!!float":
		return "the number " + shown(n.Value)
	case "!!bool":
		return "the truth value " + shown(n.Value)
	case "!!timestamp":
		return "the date " + shown(n.Value)
	case "!!str":
		return "the text " + strconv.Quote(n.Value)
	default:
		return "of type " + shown(tag)
	}
}
