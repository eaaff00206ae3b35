// Package telemetry makes the loggers of every program: JSON lines by log/slog,
// with a level per session that changes at run time, and texts of others
// redacted before they are written.
//
// Fixed keys: session, epoch, connector, reason, request_id.
package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/wafleet/wafleet/shared/session"
)

// New returns a logger that writes JSON lines from level on.
func New(w io.Writer, level slog.Leveler) *slog.Logger {
	base := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug - 4})
	return slog.New(leveled{base, level})
}

// WithLevel returns a logger like log that obeys another level, so that one
// session can say more, or less, than the process.
func WithLevel(log *slog.Logger, level slog.Leveler) *slog.Logger {
	handler := log.Handler()
	if own, ok := handler.(leveled); ok {
		handler = own.Handler
	}
	return slog.New(leveled{handler, level})
}

// leveled filters in front of a handler that lets everything pass.
type leveled struct {
	slog.Handler
	level slog.Leveler
}

func (h leveled) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level.Level() }

func (h leveled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return leveled{h.Handler.WithAttrs(attrs), h.level}
}

func (h leveled) WithGroup(name string) slog.Handler {
	return leveled{h.Handler.WithGroup(name), h.level}
}

// Level translates a session's level.
func Level(level session.LogLevel) slog.Level {
	switch level {
	case session.LevelDebug:
		return slog.LevelDebug
	case session.LevelWarn:
		return slog.LevelWarn
	case session.LevelError:
		return slog.LevelError
	}
	return slog.LevelInfo
}

// ParseLevel reads the LOG_LEVEL of a program, in any case.
func ParseLevel(s string) (slog.Level, error) {
	level, ok := session.ParseLogLevel(s)
	if !ok {
		return 0, fmt.Errorf("must be one of DEBUG, INFO, WARN, ERROR, not %q", s)
	}
	return Level(level), nil
}

// Redact masks what may be a phone number or a credential in a text that is
// not ours: runs of seven or more digits, and runs of 16 or more characters of
// base64 that mix kinds of characters.
func Redact(text string) string {
	var out strings.Builder
	for start := 0; start < len(text); {
		end := start
		for end < len(text) && isWordByte(text[end]) {
			end++
		}
		if end == start {
			out.WriteByte(text[start])
			start++
			continue
		}
		out.WriteString(redactWord(text[start:end]))
		start = end
	}
	return out.String()
}

func isWordByte(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '+' || b == '/' || b == '='
}

func redactWord(word string) string {
	digits, upper, lower, run, longest := 0, 0, 0, 0, 0
	for _, b := range []byte(word) {
		switch {
		case b >= '0' && b <= '9':
			digits++
			run++
			longest = max(longest, run)
			continue
		case b >= 'a' && b <= 'z':
			lower++
		case b >= 'A' && b <= 'Z':
			upper++
		}
		run = 0
	}
	switch {
	case len(word) >= 16 && digits > 0 && upper+lower > 0:
		return "[redacted]"
	case longest >= 7:
		return "[number]"
	}
	return word
}
