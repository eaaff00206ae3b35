package whatsapp

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	waBinary "go.mau.fi/whatsmeow/binary"
	waLog "go.mau.fi/whatsmeow/util/log"

	"github.com/wafleet/wafleet/shared/telemetry"
)

// logger gives whatsmeow's texts to slog, redacted. Its level is the session's
// and changes at run time, because Sub shares the handler.
type logger struct {
	log    *slog.Logger
	module string
}

var _ waLog.Logger = logger{}

func (l logger) Debugf(msg string, args ...any) { l.write(slog.LevelDebug, msg, args) }
func (l logger) Infof(msg string, args ...any)  { l.write(slog.LevelDebug, msg, args) } // whatsmeow is talkative
func (l logger) Warnf(msg string, args ...any)  { l.write(slog.LevelWarn, msg, args) }
func (l logger) Errorf(msg string, args ...any) { l.write(slog.LevelError, msg, args) }

func (l logger) Sub(module string) waLog.Logger {
	if l.module != "" {
		module = l.module + "/" + module
	}
	return logger{l.log, module}
}

// write formats nothing for a level that is off. Of a stanza only the tag is
// written: its attributes and contents are numbers, keys and codes.
func (l logger) write(level slog.Level, msg string, args []any) {
	if !l.log.Enabled(context.Background(), level) {
		return
	}
	args = slices.Clone(args) // the caller's
	for i, arg := range args {
		switch node := arg.(type) {
		case *waBinary.Node:
			args[i] = "<" + node.Tag + ">"
		case waBinary.Node:
			args[i] = "<" + node.Tag + ">"
		}
	}
	l.log.LogAttrs(context.Background(), level, telemetry.Redact(fmt.Sprintf(msg, args...)), slog.String("module", "whatsmeow/"+l.module))
}
