package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
)

const schemaFile = "../../docs/audit.schema.json"

// auditSchema is the published schema, or a strict one that knows no further keys: what the program prints and the
// schema does not name is a hole in the schema.
func auditSchema(t *testing.T, strict bool) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile(schemaFile)
	must(t, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	must(t, err)
	if strict {
		forbidMore(doc)
	}
	c := jsonschema.NewCompiler()
	c.AssertContent()
	must(t, c.AddResource("audit.schema.json", doc))
	schema, err := c.Compile("audit.schema.json")
	must(t, err)
	return schema
}

func forbidMore(schema any) {
	switch node := schema.(type) {
	case map[string]any:
		for _, child := range node {
			forbidMore(child)
		}
		if node["type"] == "object" {
			node["unevaluatedProperties"] = false
		}
	case []any:
		for _, child := range node {
			forbidMore(child)
		}
	}
}

func conforms(t *testing.T, schema *jsonschema.Schema, text string) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(text)))
	must(t, err)
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestSchema holds what the program really prints against the schema.
func TestSchema(t *testing.T) {
	b, schema := newBench(t), auditSchema(t, true)
	b.dataset("cluster", "densegen/x")
	b.dataset("cluster", "densegen/y")
	b.write("cluster/densegen/x/_derived/\xff.parquet", "x")
	b.write("cluster/densegen/x/odd\x1b\n", "x")
	step := func(code int, args ...string) {
		t.Helper()
		stdout, _ := b.run(code, append([]string{"--format", "json"}, args...)...)
		conforms(t, schema, stdout)
	}
	step(0, "diff", "densegen/x", "cluster", "--itemize")
	step(0, "pull", "densegen/x", "cluster", "--dry-run")
	step(0, "pull", "densegen/x", "cluster", "-y")
	step(0, "pull", "densegen/x", "cluster", "-y")
	must(t, dataset.Increment(b.path("cluster/densegen/x"), 5))
	step(1, "verify", "densegen/x", "cluster")
	step(0, "diff", "densegen/x", "cluster", "--itemize", "--verify", "parquet")
	step(0, "pull", "densegen/x", "cluster", "-y", "--primary-only", "--force")
	step(0, "undo", "densegen/x")
	must(t, dataset.Annotate(b.path("local/densegen/x")))
	step(6, "pull", "densegen/x", "cluster", "-y")
	step(0, "push", "densegen/x", "cluster", "-y", "--force")
	step(0, "undo", "densegen/x", "cluster")
	step(6, "pull", "densegen/*", "cluster", "-y")
	step(2, "pull", "nothing here?", "cluster", "--lock-timeout", "x")
	file := b.path("cluster/densegen/x/records.parquet")
	step(0, "diff", "a.parquet", "cluster", "--remote-path", filepath.Join(filepath.Dir(file), "records.parquet"))
}

func TestSchemaOfGoldens(t *testing.T) {
	schema := auditSchema(t, true)
	for _, name := range []string{"diff", "pull", "glob"} {
		text, err := os.ReadFile(filepath.Join("testdata", "golden", name+".json"))
		must(t, err)
		conforms(t, schema, string(text))
	}
}

// TestSchemaRefuses: a schema that takes anything would prove nothing.
func TestSchemaRefuses(t *testing.T) {
	schema := auditSchema(t, false)
	text, err := os.ReadFile(filepath.Join("testdata", "golden", "pull.json"))
	must(t, err)
	for name, change := range map[string]func(data map[string]any){
		"no action":        func(data map[string]any) { delete(data, "action") },
		"unknown state":    func(data map[string]any) { data["transfer_state"] = "DONE" },
		"unknown relation": func(data map[string]any) { data["relation"] = "ahead" },
		"count below zero": func(data map[string]any) { data["primary"].(map[string]any)["added"] = -1 },
		"no path":          func(data map[string]any) { delete(data["changes"].([]any)[0].(map[string]any), "path") },
		"not base64":       func(data map[string]any) { data["touched"] = []any{map[string]any{"path_b64": "\xff"}} },
		"no event lines":   func(data map[string]any) { delete(data[".events.log"].(map[string]any), "local") },
		"fingerprint":      func(data map[string]any) { data["fingerprint"] = map[string]any{"local": "aa", "remote": nil} },
	} {
		var doc map[string]any
		must(t, json.Unmarshal(text, &doc))
		change(doc["data"].(map[string]any))
		if schema.Validate(doc) == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if schema.Validate(map[string]any{"usr_output_version": 1.0}) == nil {
		t.Error("a document of nothing is taken")
	}
}
