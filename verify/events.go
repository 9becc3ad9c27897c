package verify

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxEvent is how long a line may be, its newline included: the readers of event logs fail on a longer one.
const maxEvent = 1 << 20

// EventError means that a line of an event log is not an event.
type EventError struct {
	Line int64 // counted from 1
	Why  string
}

func (e *EventError) Error() string {
	return fmt.Sprintf("cannot accept event log: line %d: %s", e.Line, e.Why)
}

// CheckEvents reads an event log to its end and counts its events. The first line that is not one JSON object in UTF-8
// with a newline at its end is an *EventError; lines then counts the events before it. Other errors are those of r.
func CheckEvents(r io.Reader) (lines int64, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	var held []byte
	for {
		held, err = readEvent(in, held[:0])
		if err == io.EOF && len(held) == 0 {
			return lines, nil
		}
		if err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull) {
			return lines, fmt.Errorf("cannot read event log: %w", err)
		}
		if why := refuseEvent(held, err); why != "" {
			return lines, &EventError{Line: lines + 1, Why: why}
		}
		lines++
	}
}

// readEvent appends a line with its newline to held; bufio.ErrBufferFull means that it is longer than maxEvent.
func readEvent(in *bufio.Reader, held []byte) ([]byte, error) {
	for {
		part, err := in.ReadSlice('\n')
		held = append(held, part...)
		if err != bufio.ErrBufferFull || len(held) > maxEvent {
			return held, err
		}
	}
}

func refuseEvent(line []byte, err error) (why string) {
	switch {
	case len(line) > maxEvent:
		return "it is longer than 1 MiB, which readers of the log cannot take"
	case err == io.EOF:
		return "the last line is not complete"
	case !utf8.Valid(line):
		return "it is not UTF-8"
	case !bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("{")) || !json.Valid(line):
		return "it is not a JSON object"
	}
	return ""
}
