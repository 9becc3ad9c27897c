package rsync

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// output parses what rsync prints on stdout: items, progress records, statistics, and a few messages.
type output struct {
	nonce    string
	item     func(it Item, line string)
	progress func(int64)

	wire    int64  // sum over the items
	stats   *Stats // as rsync printed them
	ioError bool   // rsync skipped the search for deletions
}

func (o *output) read(r io.Reader) { eachOutputLine(r, o.line) }

func (o *output) line(line string) {
	if it, ok := parseItem(line, o.nonce); ok {
		o.wire += it.Wire
		if o.item != nil {
			o.item(it, line)
		}
		return
	}
	if n, ok := parseProgress(line); ok {
		if o.progress != nil {
			o.progress(n)
		}
		return
	}
	o.message(line)
}

func (o *output) message(line string) {
	if strings.HasPrefix(line, "IO error encountered") {
		o.ioError = true
	}
	sent, isSent := cutNumber(line, "Total bytes sent: ")
	received, isReceived := cutNumber(line, "Total bytes received: ")
	if (isSent || isReceived) && o.stats == nil {
		o.stats = &Stats{}
	}
	if isSent {
		o.stats.Sent = sent
	}
	if isReceived {
		o.stats.Received = received
	}
}

func cutNumber(line, prefix string) (int64, bool) {
	rest, found := strings.CutPrefix(line, prefix)
	n, err := strconv.ParseInt(rest, 10, 64)
	return n, found && err == nil
}

// parseProgress reads a record of --info=progress2 --no-h: "   1234567  12%   1.23MB/s    0:00:01 (xfr#1, to-chk=2/9)".
func parseProgress(line string) (int64, bool) {
	fields := strings.Fields(line)
	if len(fields) < 4 || !strings.HasSuffix(fields[1], "%") || !strings.HasSuffix(fields[2], "B/s") {
		return 0, false
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	return n, err == nil
}

// maxOutputLine is enough for two paths of PATH_MAX bytes with every byte written as \#ooo.
const maxOutputLine = 1 << 17

// eachOutputLine splits at \r, which begins a progress record, and at \n, which ends a line. It reads r to its end.
func eachOutputLine(r io.Reader, line func(string)) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 1<<14), maxOutputLine)
	s.Split(splitLine)
	for s.Scan() {
		if text := s.Text(); text != "" {
			line(text)
		}
	}
	_, _ = io.Copy(io.Discard, r) // after an endless line
}

func splitLine(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexAny(data, "\r\n"); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// stallWatch barks when a read takes longer than after. The time of callbacks between reads does not count.
type stallWatch struct {
	after time.Duration // 0: never
	bark  func()
	r     io.Reader
}

func (w *stallWatch) over(r io.Reader) io.Reader {
	w.r = r
	return w
}

func (w *stallWatch) Read(p []byte) (int, error) {
	if w.after > 0 {
		timer := time.AfterFunc(w.after, w.bark)
		defer timer.Stop()
	}
	return w.r.Read(p)
}

// bounded calls flooded when more than left bytes were read.
type bounded struct {
	io.Reader
	left    int64
	flooded func()
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.left -= int64(n); b.left < 0 {
		b.flooded()
	}
	return n, err
}

// pipeReaders read the two outputs of a process.
type pipeReaders struct {
	ends []*os.File
	done chan struct{} // closed when both have been read to the end
}

// pipe makes a pipe whose writing end is what, which the caller closes once the process has it.
func (r *pipeReaders) pipe(what *io.Writer) (*os.File, error) {
	in, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	r.ends = append(r.ends, in)
	*what = out
	return out, nil
}

func (r *pipeReaders) all(read ...func(io.Reader)) {
	var wg sync.WaitGroup
	for i, f := range read {
		wg.Go(func() { f(r.ends[i]) })
	}
	go func() {
		wg.Wait()
		r.close()
		close(r.done)
	}()
}

func (r *pipeReaders) close() {
	for _, f := range r.ends {
		_ = f.Close()
	}
}
