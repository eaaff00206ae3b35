package settings

import (
	"errors"
	"log/slog"

	"github.com/wafleet/wafleet/shared/telemetry"
)

// Level is the LOG_LEVEL of a program, in any case. It is a slog.Leveler.
type Level slog.Level

// UnmarshalText implements [encoding.TextUnmarshaler].
func (l *Level) UnmarshalText(text []byte) error {
	level, err := telemetry.ParseLevel(string(text))
	if err != nil {
		return errors.New("must be " + l.Kind()) // the other one repeats the value
	}
	*l = Level(level)
	return nil
}

// Kind says what a level is, for a mistake.
func (Level) Kind() string { return "one of DEBUG, INFO, WARN, ERROR" }

// Level implements [slog.Leveler].
func (l Level) Level() slog.Level { return slog.Level(l) }

func (l Level) String() string { return slog.Level(l).String() }
