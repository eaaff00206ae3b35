package logs

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// maxShown is how much of a line a terminal gets, in bytes.
const maxShown = 400

// entry is a line as a person reads it.
type entry struct {
	time    time.Time
	level   slog.Level
	message string
	details []string // key=value, the session first
}

// parse reads a line of log/slog's JSON. Text of another form is an alarm: a
// part that logs JSON writes it only when it breaks.
func parse(line string) entry {
	now := entry{time: time.Now(), level: slog.LevelWarn, message: line}
	fields := map[string]json.RawMessage{}
	if json.Unmarshal([]byte(line), &fields) != nil {
		return now
	}
	var level string
	if json.Unmarshal(fields["level"], &level) != nil || now.level.UnmarshalText([]byte(level)) != nil {
		return now
	}
	now.message = text(fields[slog.MessageKey])
	if at, err := time.Parse(time.RFC3339Nano, text(fields[slog.TimeKey])); err == nil {
		now.time = at
	}
	now.details = details(fields)
	return now
}

func details(fields map[string]json.RawMessage) []string {
	var list []string
	for key, value := range fields {
		switch key {
		case slog.MessageKey, slog.TimeKey, slog.LevelKey, "connector", "stack":
			continue // the part's name stands for it, or too long
		}
		list = append(list, key+"="+text(value))
	}
	slices.SortFunc(list, func(a, b string) int {
		if isA, isB := strings.HasPrefix(a, "session="), strings.HasPrefix(b, "session="); isA != isB {
			if isA {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	return list
}

// text is a JSON string's content, and any other value as it stands.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// String is one line for the terminal: control characters, with which a text
// could paint over the screen, are escaped.
func (e entry) String(name string) string {
	parts := append([]string{e.message}, e.details...)
	line := fmt.Sprintf("%s %-5s %s: %s", e.time.Local().Format(time.TimeOnly), e.level, name, strings.Join(parts, " "))
	if len(line) > maxShown {
		line = strings.ToValidUTF8(line[:maxShown], "") + "..."
	}
	return strings.Map(printable, line)
}

func printable(r rune) rune {
	if r == '\t' {
		return ' '
	}
	if r < ' ' || r >= 0x7f && r < 0xa0 {
		return '·'
	}
	return r
}
