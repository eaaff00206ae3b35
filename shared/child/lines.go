package child

import "bytes"

// maxLine is where a line without an end is cut, in bytes.
const maxLine = 256 << 10

// lines cuts a stream into lines. It is used by one goroutine at a time.
type lines struct {
	emit func(string)
	rest []byte
}

// Write never fails.
func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	for {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			break
		}
		l.rest = append(l.rest, p[:end]...)
		p = p[end+1:]
		l.flush()
	}
	l.rest = append(l.rest, p...)
	if len(l.rest) >= maxLine {
		l.flush()
	}
	return n, nil
}

// flush emits what is left of an unfinished line; empty lines are dropped.
func (l *lines) flush() {
	if text := bytes.TrimRight(l.rest, "\r"); len(text) > 0 {
		l.emit(string(text))
	}
	l.rest = l.rest[:0]
}
