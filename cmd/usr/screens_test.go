package main

import (
	"bytes"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// TestGoldenScreens plays the demo on a terminal of 80 columns and holds the pictures and the guide's screens against it.
// scripts/screens makes them anew.
func TestGoldenScreens(t *testing.T) {
	screens := playScreens(t)
	compareGolden(t, "../../docs/audit.svg", still(screens["pull"]))
	loop := recording(screens["before"] + screens["diff"] + remark("Pull the increment.") + screens["pull"] + screens["loop"])
	compareGolden(t, "../../docs/loop.svg", loop)
	if len(loop) > 300_000 {
		t.Errorf("the recording has %d bytes", len(loop))
	}

	_, pulled, _ := strings.Cut(screens["pull"], "\ncost: ")
	guide, shown := doc(t, "guide.md"), map[string]string{
		"diff": screens["diff"], "insync": screens["insync"], "question": screens["question"], "pulled": "…\ncost: " + pulled,
	}
	for name, screen := range shown {
		block := regexp.MustCompile("(<!-- screen: " + name + " -->\n```text\n)(?s:.*?)```")
		if !block.MatchString(guide) {
			t.Errorf("the guide has no screen %s", name)
		}
		guide = block.ReplaceAllLiteralString(guide, "<!-- screen: "+name+" -->\n```text\n"+sgr.ReplaceAllString(screen, "")+"```")
	}
	compareGolden(t, "../../docs/guide.md", guide)
}

// playScreens plays the demo and returns what is on the terminal, by name. "loop" is all that comes after the first
// pull of changes.
func playScreens(t *testing.T) map[string]string {
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	a := newApp(env{stdin: strings.NewReader(""), stdout: &out, stderr: &out, getenv: os.Getenv, now: time.Now,
		isTerminal: func(s any) bool { return s == &out }, width: func(any) int { return 80 }}, nil)
	a.cli.Format, a.cli.Color = "auto", "auto"
	dir := t.TempDir()
	d := &demo{app: a, dir: dir, local: filepath.Join(dir, "local"), cluster: filepath.Join(dir, "cluster")}
	stop, err := d.prepare()
	must(t, err)
	defer stop()

	screens, name := map[string]string{}, ""
	for _, s := range demoSteps() {
		if s.write != nil {
			must(t, s.write(d))
		}
		switch {
		case strings.HasPrefix(s.command, "remotes"):
			continue
		case strings.HasPrefix(s.say, "A batch job"):
			name = "before"
		case name == "before":
			name = "diff"
		case name == "diff":
			screens["question"] = askedScreen(t, d)
			name = "pull"
		case name == "pull":
			name = "loop"
		}
		text := ""
		if s.command != "" {
			must(t, d.run(t.Context(), s))
			text = "$ " + s.line() + "\n" + steady(string(d.played[len(d.played)-1].Output), strings.HasPrefix(s.command, "pull"))
		}
		if name == "loop" || name == "before" {
			text = remark(s.say) + text
		}
		if strings.HasPrefix(s.command, "diff") && strings.Contains(text, "in-sync") {
			screens["insync"] = text[strings.Index(text, "$ "):]
		}
		screens[name] += text
	}
	return screens
}

// remark is what somebody says between two commands.
func remark(text string) string { return "\n# " + strings.Join(wrap(text, 78), "\n# ") + "\n" }

// askedScreen is the question of a pull into a copy of the local root, which is answered with no.
func askedScreen(t *testing.T, d *demo) string {
	root := t.TempDir()
	must(t, os.CopyFS(root, os.DirFS(d.local)))
	var out bytes.Buffer
	e := d.env(t.Context(), &out)
	e.stdin, e.stderr, e.isTerminal = strings.NewReader("n\n"), &out, func(any) bool { return true }
	if code := run(t.Context(), []string{"pull", demoDataset, demoRemote, "--root", root}, e); code != codeDeclined {
		t.Fatalf("exit code %d\n%s", code, &out)
	}
	return regexp.MustCompile(`(?m)^Pull .* \[y/N\]`).FindString(out.String()) + "\n"
}

// steady puts fixed values in the place of those that differ from run to run, and wraps the costs anew.
func steady(text string, pull bool) string {
	wire := [2]string{"4.1 kB sent", "63 B received"}
	if pull {
		wire = [2]string{"362 B sent", "27 kB received"}
	}
	for _, r := range []struct{ was, is string }{
		{`\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{6}`, "20261123T151924.863190Z-f35176"},
		{`\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?`, "2026-11-23 15:19$1"},
		{`algorithm: \w+`, "algorithm: blake3"},
	} {
		text = regexp.MustCompile(r.was).ReplaceAllString(text, r.is)
	}
	return regexp.MustCompile(`(?m)^cost: .*(\n  .*)*$`).ReplaceAllStringFunc(text, func(cost string) string {
		cost = strings.ReplaceAll(cost, "\n  ", " ")
		for _, r := range []struct{ was, is string }{
			{`[\d.]+ k?B sent`, wire[0]}, {`[\d.]+ k?B received`, wire[1]}, {`locked for [\d.]+ s`, "locked for 0.04 s"},
			{`log for [\d.]+ ms`, "log for 0.4 ms"}, {`[\d.]+ s in all`, "0.46 s in all"},
		} {
			cost = regexp.MustCompile(r.was).ReplaceAllString(cost, r.is)
		}
		parts := strings.Split(strings.TrimPrefix(cost, "cost: "), ", ")
		for i := range parts {
			parts[i] = tied(parts[i])
		}
		return strings.ReplaceAll(strings.Join(wrap("cost: "+strings.Join(parts, ", "), 80), "\n"), tie, " ")
	})
}

// The measures of a picture, in pixels.
const (
	cellWidth, lineHeight, margin = 7.8, 17, 14
	screenRows                    = 32 // of a recording
)

// sgr is how a terminal is told about colours.
var sgr = regexp.MustCompile("\x1b\\[([0-9;]*)m")

// screenLines folds long lines as a terminal does; none of those is coloured.
func screenLines(text string) (lines []string) {
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		for runes := []rune(line); len(runes) > 80 && !strings.Contains(line, "\x1b"); runes = []rune(line) {
			lines, line = append(lines, string(runes[:80])), string(runes[80:])
		}
		lines = append(lines, line)
	}
	return lines
}

// still is a picture of a terminal's whole text.
func still(text string) string {
	lines := screenLines(text)
	return picture(len(lines), "", drawLines(lines))
}

// recording is a moving picture of a terminal: its text moves up as commands are typed and answered.
func recording(text string) string {
	lines := screenLines(text)
	type frame struct {
		rows    int
		seconds float64
	}
	var frames []frame
	for i, line := range lines {
		plain := sgr.ReplaceAllString(line, "")
		switch {
		case strings.HasPrefix(plain, "# "):
			frames = append(frames, frame{i + 1, 2})
		case strings.HasPrefix(plain, "$ "):
			frames = append(frames, frame{i + 1, 1}, frame{i + 1, 4})
		default:
			frames[len(frames)-1].rows = i + 1
		}
	}
	total, at := 0.0, 0.0
	for _, f := range frames {
		total += f.seconds
	}
	up := func(rows int) int { return (screenRows - rows) * lineHeight }
	var style strings.Builder
	fmt.Fprintf(&style, "<style>@keyframes play{")
	for _, f := range frames {
		fmt.Fprintf(&style, "%.2f%%{transform:translateY(%dpx)}", 100*at/total, up(f.rows))
		at += f.seconds
	}
	fmt.Fprintf(&style, "}#all{animation:play %.1fs step-end infinite}</style>", total)
	return picture(screenRows, style.String(), fmt.Sprintf("<g id=\"all\" transform=\"translate(0 %d)\">\n%s</g>\n", up(len(lines)), drawLines(lines)))
}

// picture is a dark terminal of so many rows.
func picture(rows int, style, inside string) string {
	width, height := 80*cellWidth+2*margin, rows*lineHeight+2*margin
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%[1]g" height="%[2]d" viewBox="0 0 %[1]g %[2]d" `+
		`font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="13" xml:space="preserve">%[3]s`+
		`<rect width="100%%" height="100%%" rx="6" fill="#1d1f21"/>`+
		`<svg y="%[4]d" width="100%%" height="%[5]d"><g fill="#d4d6d3">`+"\n%[6]s</g></svg></svg>\n",
		width, height, style, margin, rows*lineHeight, inside)
}

// drawLines sets each word group at its column, so that tables stand straight in any font.
func drawLines(lines []string) string {
	var b strings.Builder
	for row, line := range lines {
		column, look := 0, ""
		if strings.HasPrefix(line, "# ") {
			look = ` fill="#8a8d89"`
		}
		for line != "" {
			text, code := line, ""
			if at := sgr.FindStringSubmatchIndex(line); at != nil {
				text, code, line = line[:at[0]], line[at[2]:at[3]], line[at[1]:]
			} else {
				line = ""
			}
			for _, at := range regexp.MustCompile(`\S+(?: \S+)*`).FindAllStringIndex(text, -1) {
				words, x := text[at[0]:at[1]], column+utf8.RuneCountInString(text[:at[0]])
				fmt.Fprintf(&b, "<text x=\"%.1f\" y=\"%d\"%s textLength=\"%.1f\">%s</text>\n", margin+float64(x)*cellWidth,
					row*lineHeight+lineHeight-4, look, float64(utf8.RuneCountInString(words))*cellWidth, html.EscapeString(words))
			}
			column += utf8.RuneCountInString(text)
			if code != "" || line != "" {
				look = looks(code)
			}
		}
	}
	return b.String()
}

// looks is what the codes of a colour mean in SVG.
func looks(codes string) string {
	look := ""
	for _, code := range strings.Split(codes, ";") {
		look += map[string]string{"1": ` font-weight="bold"`, "2": ` fill="#8a8d89"`, "31": ` fill="#e06c6c"`, "32": ` fill="#8fbf6f"`,
			"33": ` fill="#e0b060"`}[code]
	}
	return look
}
