package telemetry

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestASessionsLevelIsItsOwnAndChangesAtRunTime(t *testing.T) {
	var out bytes.Buffer
	process := New(&out, slog.LevelInfo).With("connector", "c")
	level := new(slog.LevelVar)
	own := WithLevel(process, level).With("session", "a")
	own.Debug("hidden")
	level.Set(slog.LevelDebug)
	own.Debug("shown")
	process.Debug("still hidden")
	level.Set(slog.LevelError)
	own.Warn("hidden again")
	text := out.String()
	if strings.Contains(text, "hidden") || strings.Count(text, "\n") != 1 {
		t.Fatalf("log:\n%s", text)
	}
	for _, want := range []string{`"msg":"shown"`, `"connector":"c"`, `"session":"a"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}

func TestRedactMasksNumbersAndCredentials(t *testing.T) {
	for in, want := range map[string]string{
		"": "",
		"Successfully paired 5511999999999:3@s.whatsapp.net": "Successfully paired [number]:3@s.whatsapp.net",
		"code 515, waiting 160 s":                            "code 515, waiting 160 s",
		"ref 2@aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU=":               "ref 2@[redacted]",
		"Frame websocket read pump starting":                 "Frame websocket read pump starting",
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}
