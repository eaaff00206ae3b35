package pgserver

import (
	"log/slog"
	"strings"
	"sync"
)

// tailLines is how much of the server's output an error quotes.
const tailLines = 20

// logTail is the sink of the server's output: it passes complete lines on and remembers the last ones.
type logTail struct {
	log *slog.Logger

	mu      sync.Mutex
	partial string   // guarded by mu
	lines   []string // guarded by mu; at most tailLines
}

func (l *logTail) Write(p []byte) (int, error) {
	for _, line := range l.take(string(p)) {
		l.log.Debug(line, "component", "postgres")
	}
	return len(p), nil
}

// take adds output and returns the lines that it completed.
func (l *logTail) take(s string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	complete := strings.Split(l.partial+s, "\n")
	last := len(complete) - 1
	l.partial, complete = complete[last], complete[:last]
	l.lines = append(l.lines, complete...)
	if extra := len(l.lines) - tailLines; extra > 0 {
		l.lines = append([]string(nil), l.lines[extra:]...)
	}
	return complete
}

// quote formats the remembered lines for the end of an error.
func (l *logTail) quote() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return quoteTail(strings.Join(append(l.lines[:len(l.lines):len(l.lines)], l.partial), "\n"))
}
