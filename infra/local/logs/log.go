package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	// maxSize is where a file is set aside, in bytes.
	maxSize = 16 << 20
	// A part may show burst lines in every window.
	burst  = 12
	window = 5 * time.Second
)

// Dir is where the files are, and who shows lines to people.
type Dir struct {
	Path string
	Show func(line string)
	// All shows every line instead of the alarming ones.
	All bool
}

// Log is the log of one part. It is safe for concurrent use.
type Log struct {
	dir  Dir
	name string

	mu      sync.Mutex // guards what follows
	file    *os.File
	size    int64
	since   time.Time // start of the window
	shown   int       // lines in the window
	tooMany bool      // the note about the window's flood was shown
	failed  bool      // the note about a file that cannot be written was shown
}

// Open starts a log; the last run's becomes <name>.log.1.
func (d Dir) Open(name string) (*Log, error) {
	if err := os.MkdirAll(d.Path, 0o700); err != nil {
		return nil, err
	}
	l := &Log{dir: d, name: name}
	return l, l.rotate()
}

// Path is the file of this run.
func (l *Log) Path() string { return filepath.Join(l.dir.Path, l.name+".log") }

// rotate sets the current file aside and starts another. The caller holds mu,
// or is alone.
func (l *Log) rotate() error {
	if l.file != nil {
		_ = l.file.Close() // nothing is buffered
		l.file = nil
	}
	if err := os.Rename(l.Path(), l.Path()+".1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(l.Path(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	l.file, l.size = file, 0
	return nil
}

// Write takes whole lines, as a slog handler writes them. It never fails:
// trouble with a file must not stop the part that logs.
func (l *Log) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		if text := bytes.TrimRight(line, "\r\n"); len(text) > 0 {
			l.Line(string(text))
		}
	}
	return len(p), nil
}

// Line takes one line without its end.
func (l *Log) Line(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keep(line)
	entry := parse(line)
	if l.dir.All || entry.level >= slog.LevelWarn {
		l.show(entry.time, entry.String(l.name))
	}
}

func (l *Log) keep(line string) {
	if l.file == nil {
		return
	}
	if l.size > 0 && l.size+int64(len(line)) >= maxSize {
		if err := l.rotate(); err != nil {
			l.complain(err)
			return
		}
	}
	n, err := io.WriteString(l.file, line+"\n")
	l.size += int64(n)
	l.complain(err)
}

// complain says once that the file is not complete.
func (l *Log) complain(err error) {
	if err == nil || l.failed {
		return
	}
	l.failed = true
	l.dir.Show(fmt.Sprintf("%s: the log cannot be written: %v", l.name, err))
}

// show passes a line on, within the limits of a flood.
func (l *Log) show(now time.Time, line string) {
	if l.dir.All {
		l.dir.Show(line)
		return
	}
	if now.Sub(l.since) >= window || now.Before(l.since) {
		l.since, l.shown, l.tooMany = now, 0, false
	}
	if l.shown < burst {
		l.shown++
		l.dir.Show(line)
		return
	}
	if !l.tooMany {
		l.tooMany = true
		l.dir.Show(fmt.Sprintf("%s: more of this in %s", l.name, l.Path()))
	}
}

// Close ends the log; lines that come later are shown but not kept.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}
