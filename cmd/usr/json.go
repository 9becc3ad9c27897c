package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

const outputVersion = 1

// document is every JSON object that the program prints: the data of a success, or the error.
type document struct {
	Data  any
	Error *failure
}

// MarshalJSON puts the version first.
func (d document) MarshalJSON() ([]byte, error) {
	if d.Error != nil {
		return encode(struct {
			Version int      `json:"usr_output_version"`
			Data    any      `json:"data,omitempty"` // done before the failure
			Error   *failure `json:"error"`
		}{outputVersion, d.Data, d.Error})
	}
	return encode(struct {
		Version int `json:"usr_output_version"`
		Data    any `json:"data"`
	}{outputVersion, d.Data})
}

// encode is json.Marshal without the escapes for web pages.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// writeJSON prints v indented. It escapes what JSON allows in strings but terminals obey or people cannot see: DEL, the C1
// controls, the marks that turn the direction of text. These occur in strings only.
func writeJSON(w io.Writer, v any) error {
	raw, err := encode(v)
	if err != nil {
		return fmt.Errorf("cannot write JSON: %w", err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(raw), "", "  "); err != nil {
		return fmt.Errorf("cannot write JSON: %w", err)
	}
	b.WriteByte('\n')
	_, err = w.Write(escapeControls(b.Bytes()))
	return err
}

// writeJSONLine prints v in one line.
func writeJSONLine(w io.Writer, v any) error {
	raw, err := encode(v)
	if err != nil {
		return fmt.Errorf("cannot write JSON: %w", err)
	}
	_, err = w.Write(append(escapeControls(bytes.TrimSpace(raw)), '\n'))
	return err
}

func escapeControls(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r < 0x7f || unicode.IsPrint(r) {
			out = append(out, text[i:i+size]...)
		} else {
			for _, unit := range utf16.Encode([]rune{r}) {
				out = fmt.Appendf(out, `\u%04x`, unit)
			}
		}
		i += size
	}
	return out
}

// jsonPath is a path in JSON, which cannot hold bytes that are not UTF-8.
type jsonPath struct {
	Path  string `json:"path,omitempty"`
	Bytes []byte `json:"path_b64,omitempty"` // base64 of the path, in place of Path
}

func newJSONPath(path string) jsonPath {
	if utf8.ValidString(path) {
		return jsonPath{Path: path}
	}
	return jsonPath{Bytes: []byte(path)}
}

func jsonPaths(paths []string) []jsonPath {
	out := make([]jsonPath, len(paths))
	for i, p := range paths {
		out[i] = newJSONPath(p)
	}
	return out
}
