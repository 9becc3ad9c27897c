package verify

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

func TestCheckEvents(t *testing.T) {
	long := `{"x":"` + strings.Repeat("y", 300_000) + "\"}\n"
	for text, lines := range map[string]int64{
		"": 0, "{}\n": 1, exact(maxEvent) + "{}\n": 2, "{\"a\":\"…\\u0000\"}\r\n { \"b\" : [1] } \n": 2, long + long: 2,
	} {
		if n, err := CheckEvents(strings.NewReader(text)); err != nil || n != lines {
			t.Errorf("%.40q: %d lines, %v", text, n, err)
		}
	}
	for text, want := range map[string]string{
		"{}":                                "line 1: the last line is not complete",
		"{}\n{\"a\":":                       "line 2: the last line is not complete",
		"{}\n\n{}\n":                        "line 2: it is not a JSON object",
		"[1]\n":                             "line 1: it is not a JSON object",
		"{}\n{} {}\n":                       "line 2: it is not a JSON object",
		"{}\n\"{\"\n":                       "line 2: it is not a JSON object",
		"{}\n\x00\x00\x00\x00{}\n":          "line 2: it is not a JSON object",
		"{}\n{}\n{\"a\":\"\xff\"}\n":        "line 3: it is not UTF-8",
		"{\"a\":\"\n\"}\n":                  "line 1: it is not a JSON object",
		long + "{\n":                        "line 2: it is not a JSON object",
		"\n":                                "line 1: it is not a JSON object",
		"{}\n" + exact(maxEvent+1):          "line 2: it is longer than 1 MiB, which readers of the log cannot take",
		strings.Repeat(" ", maxEvent+1<<20): "line 1: it is longer than 1 MiB, which readers of the log cannot take",
	} {
		_, err := CheckEvents(strings.NewReader(text))
		var bad *EventError
		if !errors.As(err, &bad) || err.Error() != "cannot accept event log: "+want {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	if _, err := CheckEvents(iotest.ErrReader(errFull)); !errors.Is(err, errFull) {
		t.Error(err)
	}
}

// exact is an event of so many bytes, its newline included.
func exact(n int) string { return `{"x":"` + strings.Repeat("y", n-9) + "\"}\n" }

func FuzzCheckEvents(f *testing.F) {
	f.Add("{}\n{\"a\":1}\n")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := CheckEvents(strings.NewReader(text))
		if err == nil && n != int64(strings.Count(text, "\n")) {
			t.Errorf("%d lines in %q", n, text)
		}
	})
}
