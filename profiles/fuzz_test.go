package profiles

import (
	"errors"
	"slices"
	"testing"
)

var oddFiles = []string{
	"", "\x00", "\xff\xfe", "\ufeffremotes: {}", kept, "remotes: {}", "remotes: &a {a: *a}", "remotes: &a [*a]",
	"remotes:\n  a: &a\n    <<: *a\n", "remotes:\n  a: &a\n    <<: [*a, *a]\n  b:\n    <<: *a\n",
	"remotes: !!binary x", "remotes:\n  ? [a, b]\n  : c\n", "? {a: b}\n: c\n", "{remotes: {a: {host: h, base_dir: /d}}}",
	"remotes:\n  a:\n    host: |+\n      h\n\n    base_dir: >-\n      /d\n", "--- # x\nremotes:\n...\n---\n", "%YAML 1.1\n---\nremotes:\n",
	"remotes:\n  a: {host: h,\nbase_dir: /d\n}\n  b: {host: h, base_dir: /d}\n", "remotes:\n  -oProxyCommand=x:\n    host: -x\n",
	"remotes:\n  \"a\\nb\":\n    'x\u001b[1m': 1\n", "- - - - -", "[[[[[[", "! ##\r\r#", "a: b: c", "*a", "&a", "<<: *a", "#", "\t", "\r", "remotes:\r  a:\r    host: h\r    base_dir: /d\r",
	"remotes:\n  a: {host: h, base_dir: /d}\u2028  b: {host: h, base_dir: /d}\n", "remotes:\n - \n", " -> ", `\#012`, "remotes:\n  a: &x {host: h, base_dir: /d}\n  b: *x\n",
	"remotes:\n  é: {}\n  a: {lock_timeout: 9999999999h, port: 0x16, streams: 1_0}\n",
}

// FuzzLoad holds that no file makes the reader panic, and that of a sound one
// every remote survives an addition and a removal.
func FuzzLoad(f *testing.F) {
	for _, text := range oddFiles {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		entries, problems := parse(text)
		for _, p := range problems {
			_ = p.String()
		}
		if len(problems) > 0 {
			return
		}
		file := &File{path: "x", text: text, entries: entries}
		before := file.remotes()
		if file.index("added") >= 0 {
			return
		}
		if file.Add(Default("added")) == nil {
			t.Fatal("added a remote without a host")
		}
		r := lab()
		r.Name = "added"
		// A form too odd to be changed safely may be refused, but not spoiled.
		for _, err := range []error{file.Add(r), file.Remove("added")} {
			var refused *Error
			var absent *UnknownError
			if err != nil && !errors.As(err, &refused) && !errors.As(err, &absent) {
				t.Fatalf("%q: %v", text, err)
			}
		}
		after := file.remotes()
		if len(after) > len(before) && after[len(before)].Name == "added" {
			after = after[:len(before)] // the removal was refused
		}
		if !slices.EqualFunc(before, after, equal) {
			t.Fatalf("%q: %+v became %+v", text, before, after)
		}
	})
}
