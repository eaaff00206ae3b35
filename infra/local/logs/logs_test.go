package logs

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"
)

// terminal collects what is shown.
type terminal struct{ lines []string }

func open(t *testing.T, all bool) (*Log, *terminal) {
	t.Helper()
	screen := &terminal{}
	log, err := Dir{Path: t.TempDir() + "/logs", Show: func(line string) { screen.lines = append(screen.lines, line) }, All: all}.Open("part")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return log, screen
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestOnlyAlarmsAreShownAndEverythingIsKept(t *testing.T) {
	t.Parallel()
	log, screen := open(t, false)
	logger := slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	logger.Debug("detail")
	logger.Info("news")
	logger.Warn("trouble", "n", 3, "session", "a", "connector", "host-1")
	logger.Error("worse")
	log.Line("panic: no JSON")
	if got := strings.Count(read(t, log.Path()), "\n"); got != 5 {
		t.Errorf("%d lines in the file, want 5", got)
	}
	if len(screen.lines) != 3 {
		t.Fatalf("shown: %q", screen.lines)
	}
	for i, want := range []string{" WARN  part: trouble session=a n=3", " ERROR part: worse", " WARN  part: panic: no JSON"} {
		if got := screen.lines[i]; !strings.HasSuffix(got, want) {
			t.Errorf("line %d = %q, want the end %q", i, got, want)
		}
	}
}

func TestAllIsShownOnRequest(t *testing.T) {
	t.Parallel()
	log, screen := open(t, true)
	for range 3 * burst {
		fmt.Fprintln(log, `{"level":"INFO","msg":"news"}`)
	}
	if len(screen.lines) != 3*burst {
		t.Errorf("%d lines shown, want %d", len(screen.lines), 3*burst)
	}
}

func TestFloodIsCutShort(t *testing.T) {
	t.Parallel()
	log, screen := open(t, false)
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	flood := func(at time.Time) {
		for range 3 * burst {
			log.Line(fmt.Sprintf(`{"time":%q,"level":"WARN","msg":"again"}`, at.Format(time.RFC3339Nano)))
		}
	}
	flood(began)
	if len(screen.lines) != burst+1 || !strings.Contains(screen.lines[burst], log.Path()) {
		t.Fatalf("%d lines shown, the last is %q", len(screen.lines), screen.lines[len(screen.lines)-1])
	}
	flood(began.Add(window))
	if len(screen.lines) != 2*(burst+1) {
		t.Errorf("%d lines shown after a second flood", len(screen.lines))
	}
}

func TestLastRunIsSetAside(t *testing.T) {
	t.Parallel()
	first, _ := open(t, false)
	first.Line("old")
	second, err := first.dir.Open("part")
	if err != nil {
		t.Fatal(err)
	}
	second.Line("new")
	if err := errors.Join(first.Close(), second.Close()); err != nil {
		t.Fatal(err)
	}
	if now, before := read(t, second.Path()), read(t, second.Path()+".1"); now != "new\n" || before != "old\n" {
		t.Errorf("files = %q and %q", now, before)
	}
	info, err := os.Stat(second.Path())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestSizeIsCapped(t *testing.T) {
	t.Parallel()
	log, _ := open(t, false)
	half := strings.Repeat("x", maxSize/2)
	for range 5 {
		log.keep(half)
	}
	for _, path := range []string{log.Path(), log.Path() + ".1"} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > maxSize+1 {
			t.Errorf("%s has %d bytes", path, info.Size())
		}
	}
}

func TestTerminalIsSafe(t *testing.T) {
	t.Parallel()
	log, screen := open(t, false)
	log.Line(`{"level":"WARN","msg":"\u001b[2J gone\nforged line"}`)
	log.Line(strings.Repeat("ü", maxShown))
	if got := screen.lines[0]; strings.ContainsAny(got, "\x1b\n") {
		t.Errorf("shown: %q", got)
	}
	if got := screen.lines[1]; len(got) > maxShown+3 || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("%d bytes shown: %q", len(got), got)
	}
}
