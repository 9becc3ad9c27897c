package main

import (
	"bytes"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/lipgloss/table"
	"github.com/dustin/go-humanize"
	"github.com/muesli/termenv"
)

// page collects the text of a result, so that a result that fails half-way prints nothing. Rich text has rules and wraps
// at the width of the terminal; plain text has neither, and is stable for grep. Colour never carries meaning that a word
// does not.
type page struct {
	w        io.Writer
	buf      bytes.Buffer
	renderer *lipgloss.Renderer
	rich     bool
	width    int // 0: never wrap
}

func newPage(w io.Writer, rich, coloured bool) *page {
	p := &page{w: w, rich: rich, renderer: lipgloss.NewRenderer(w)}
	p.renderer.SetColorProfile(termenv.Ascii)
	if coloured {
		p.renderer.SetColorProfile(termenv.ANSI) // 16 colours, which the user's theme makes readable
	}
	return p
}

func (p *page) flush() error {
	_, err := p.w.Write(p.buf.Bytes())
	return err
}

// tone is how good or bad a word is for the reader.
type tone int

const (
	neutral tone = iota
	good
	notable
	bad
	quiet
	heading
)

func (p *page) style(t tone) lipgloss.Style {
	s := p.renderer.NewStyle()
	switch t {
	case good:
		return s.Foreground(lipgloss.ANSIColor(2)) // green
	case notable:
		return s.Foreground(lipgloss.ANSIColor(3)) // yellow
	case bad:
		return s.Foreground(lipgloss.ANSIColor(1)).Bold(true) // red
	case quiet:
		return s.Faint(true)
	case heading:
		return s.Bold(true)
	}
	return s
}

// line writes one line as it is.
func (p *page) line(text string) { p.buf.WriteString(strings.TrimRight(text, " ") + "\n") }

// gap separates blocks.
func (p *page) gap() { p.buf.WriteByte('\n') }

// fact writes "key: value", wrapped with an indent in rich text.
func (p *page) fact(key, value string) { p.wrapped(key+": "+value, "", neutral) }

// state writes "key: word" or "key: word, rest" with the word in its tone.
func (p *page) state(key, word string, t tone, rest string) {
	text := key + ": " + word
	if rest != "" {
		text += ", " + rest
	}
	p.wrapped(text, word, t)
}

// wrapped breaks lines only at spaces, because ids and commands hold dashes.
func (p *page) wrapped(text, word string, t tone) {
	lines := []string{text}
	if p.rich && p.width > 0 {
		lines = wrap(quoted.ReplaceAllStringFunc(text, tied), p.width)
	}
	for _, l := range lines {
		if word != "" && strings.Contains(l, word) {
			l = strings.Replace(l, word, p.style(t).Render(word), 1)
			word = ""
		}
		p.line(strings.ReplaceAll(l, tie, " "))
	}
}

// tie is a space at which no line is broken. No printed name holds one: shown would quote it.
const tie = "\u00a0"

// quoted matches a command in a sentence, which must stay in one piece to be copied.
var quoted = regexp.MustCompile("`[^`]+`")

// tied keeps words together, such as a number and its unit.
func tied(text string) string { return strings.ReplaceAll(text, " ", tie) }

func wrap(text string, width int) []string {
	const indent = "  "
	var lines []string
	line := ""
	for _, word := range strings.Split(text, " ") {
		switch {
		case line == "":
			line = word
		case lipgloss.Width(line)+1+lipgloss.Width(word) > width:
			lines = append(lines, line)
			line = indent + word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

// grid is a table. Columns whose heading is in right hold numbers.
type grid struct {
	head  []string
	right map[int]bool
	flex  []int // the columns that give way where the table is too wide
	rows  [][]cell
}

type cell struct {
	text string
	tone tone
}

// row adds cells without a tone.
func (g *grid) row(texts ...string) {
	cells := make([]cell, len(texts))
	for i, t := range texts {
		cells[i] = cell{text: t}
	}
	g.rows = append(g.rows, cells)
}

// columns sets the headings; one that begins with ">" is right-aligned.
func columns(heads ...string) *grid {
	g := &grid{right: map[int]bool{}}
	for i, h := range heads {
		text, right := strings.CutPrefix(h, ">")
		g.head, g.right[i] = append(g.head, text), right
	}
	return g
}

func (p *page) table(g *grid) {
	out := p.render(g)
	if excess := lipgloss.Width(out) - p.width; p.rich && p.width > 0 && excess > 0 && len(g.flex) > 0 {
		g.narrow(excess)
		out = p.render(g)
	}
	for line := range strings.Lines(out) {
		p.line(strings.TrimRight(line, "\n"))
	}
}

// narrow breaks the texts of the flexible columns, the widest first, to make the table narrower by excess if it can.
func (g *grid) narrow(excess int) {
	const least = 10 // a date
	widths := map[int]int{}
	for _, col := range g.flex {
		for _, row := range g.rows {
			widths[col] = max(widths[col], lipgloss.Width(row[col].text))
		}
	}
	for ; excess > 0; excess-- {
		widest := g.flex[0]
		for _, col := range g.flex {
			if widths[col] > widths[widest] {
				widest = col
			}
		}
		if widths[widest] <= max(least, lipgloss.Width(g.head[widest])) {
			break
		}
		widths[widest]--
	}
	for col, width := range widths {
		for _, row := range g.rows {
			row[col].text = broken(row[col].text, width)
		}
	}
}

// broken breaks text at a space, or after a separator if there is one in the second half of a line, else anywhere.
func broken(text string, width int) string {
	var lines []string
	line := []rune{}
	for _, r := range text {
		if lipgloss.Width(string(line)+string(r)) > width {
			n := len(line)
			if r != ' ' {
				n = breakAt(line)
			}
			lines = append(lines, strings.TrimRight(string(line[:n]), " "))
			line = append([]rune{}, line[n:]...)
		}
		if r == ' ' && len(line) == 0 && len(lines) > 0 {
			continue
		}
		line = append(line, r)
	}
	return strings.Join(append(lines, string(line)), "\n")
}

func breakAt(line []rune) int {
	for _, separators := range []string{" ", "/_-.,"} {
		for n := len(line); n > len(line)/2; n-- {
			if strings.ContainsRune(separators, line[n-1]) {
				return n
			}
		}
	}
	return len(line)
}

func (p *page) render(g *grid) string {
	t := table.New().Border(lipgloss.NormalBorder()).
		BorderTop(false).BorderBottom(false).BorderLeft(false).BorderRight(false).BorderColumn(false).
		BorderHeader(p.rich).BorderStyle(p.renderer.NewStyle()).
		Headers(g.head...).StyleFunc(func(row, col int) lipgloss.Style { return p.cellStyle(g, row, col) })
	for _, row := range g.rows {
		texts := make([]string, len(row))
		for i, c := range row {
			texts[i] = c.text
		}
		t.Row(texts...)
	}
	return t.Render()
}

func (p *page) cellStyle(g *grid, row, col int) lipgloss.Style {
	s := p.renderer.NewStyle()
	if row >= 0 && row < len(g.rows) && col < len(g.rows[row]) {
		s = p.style(g.rows[row][col].tone)
	} else if row == table.HeaderRow && p.rich {
		s = p.style(heading)
	}
	if g.right[col] {
		s = s.Align(lipgloss.Right)
	}
	if col < len(g.head)-1 {
		s = s.PaddingRight(2)
	}
	return s
}

// number groups digits for people, and leaves them alone for grep.
func (p *page) number(n int64) string {
	if !p.rich {
		return strconv.FormatInt(n, 10)
	}
	return strings.ReplaceAll(humanize.Comma(n), ",", " ")
}

// counted is a number in a table; zero is faint.
func (p *page) counted(n int) cell {
	if n == 0 {
		return cell{text: "0", tone: quiet}
	}
	return cell{text: p.number(int64(n))}
}

func size(n int64) string {
	if n < 0 {
		return "?"
	}
	return humanize.Bytes(uint64(n))
}

// count is "1 file", "2 files".
func (p *page) count(n int64, noun string) string { return p.number(n) + " " + plural(n, noun) }

func plural(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return noun
}
