package pgserver

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(envParent) != "" {
		actAsParent()
		return
	}
	goleak.VerifyTestMain(m)
}

func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	cfg.Fast = true
	s, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	// A second Stop is harmless, so tests may stop earlier. t.Context has ended by now.
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

func queryText(t *testing.T, s *Server, query string) (text string) {
	t.Helper()
	db, err := sql.Open("postgres", s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), query).Scan(&text); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return text
}

func createNote(t *testing.T, s *Server, text string) {
	t.Helper()
	execute(t, s, "CREATE TABLE note AS SELECT '"+text+"'::text AS body")
}

func execute(t *testing.T, s *Server, statements string) {
	t.Helper()
	db, err := sql.Open("postgres", s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statements); err != nil {
		t.Fatal(err)
	}
}

func TestRestartKeepsData(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(openDir(t), "sub", "postgres")
	first := start(t, Config{DataDir: dir, MaxConnections: 17})
	createNote(t, first, "kept")
	const collation = "SELECT datcollate FROM pg_database WHERE datname = 'postgres'"
	for query, want := range map[string]string{
		"SHOW max_connections":         "17",
		"SHOW server_encoding":         "UTF8",
		collation:                      "C",
		"SHOW listen_addresses":        "127.0.0.1",
		"SHOW unix_socket_directories": "",
		"SHOW fsync":                   "off",
		"SHOW timezone":                "UTC",
	} {
		if got := queryText(t, first, query); got != want {
			t.Errorf("%s = %q, want %q", query, got, want)
		}
	}
	stop(t, first)
	select {
	case <-first.Done():
	default:
		t.Error("Done is open after Stop")
	}

	second := start(t, Config{DataDir: dir})
	if got := queryText(t, second, "SELECT body FROM note"); got != "kept" {
		t.Errorf("note = %q", got)
	}
	if !strings.HasPrefix(second.Source(), "PostgreSQL ") || strings.Contains(second.Source(), "\n") {
		t.Errorf("source = %q", second.Source())
	}
}

func TestCrashIsRecoveredFrom(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(openDir(t), "postgres")
	first := start(t, Config{DataDir: dir})
	// Fast commits without waiting for the write-ahead log; what must be kept has to wait.
	execute(t, first, "SET synchronous_commit = on; CREATE TABLE note AS SELECT 'kept'::text AS body")
	if err := first.Crash(); err != nil {
		t.Fatal(err)
	}
	stop(t, first) // has nothing left to do

	var log bytes.Buffer
	second := start(t, Config{DataDir: dir, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if got := queryText(t, second, "SELECT body FROM note"); got != "kept" {
		t.Errorf("note = %q", got)
	}
	stop(t, second)
	if !strings.Contains(log.String(), "automatic recovery in progress") {
		t.Errorf("the server that followed logged %s", &log)
	}
}

func TestEveryConnectionNeedsThePassword(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(openDir(t), "postgres")
	s := start(t, Config{DataDir: dir})
	info, err := os.Stat(dir + ".password")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("password file: %v, %v", info, err)
	}
	db, err := sql.Open("postgres", serverURL(s.port, "postgres", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.PingContext(t.Context()); err == nil {
		t.Error("connected with a wrong password")
	}
}

func TestLostPasswordIsReplaced(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(openDir(t), "postgres")
	first := start(t, Config{DataDir: dir})
	createNote(t, first, "kept")
	stop(t, first)
	if err := os.Remove(dir + ".password"); err != nil {
		t.Fatal(err)
	}
	second := start(t, Config{DataDir: dir})
	if second.password == first.password {
		t.Error("password did not change")
	}
	if got := queryText(t, second, "SELECT body FROM note"); got != "kept" {
		t.Errorf("note = %q", got)
	}
}

func TestTemporaryDataIsRemoved(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	stop(t, s)
	if _, err := os.Stat(s.temp); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s after Stop: %v", s.temp, err)
	}
}

func TestSecondServerOnOneDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(openDir(t), "postgres")
	first := start(t, Config{DataDir: dir})
	if _, err := Start(t.Context(), Config{DataDir: dir}); !errors.Is(err, ErrInUse) {
		t.Errorf("err = %v, want ErrInUse", err)
	}
	if got := queryText(t, first, "SELECT 'alive'"); got != "alive" {
		t.Errorf("first server says %q", got)
	}
}

func TestOtherMajorVersionIsRefusedAndUntouched(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(openDir(t), "postgres")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte("10\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Config{DataDir: dir})
	if !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "version 10") || !strings.Contains(err.Error(), "PostgreSQL ") {
		t.Errorf("err = %v, want ErrVersion with both versions", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("data directory was changed: %v", entries)
	}
}

func TestForeignDirectoryIsRefusedAndUntouched(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Config{DataDir: dir}); err == nil || !strings.Contains(err.Error(), "not a Postgres data directory") {
		t.Errorf("err = %v", err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

func TestFailureToStartQuotesTheLog(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(openDir(t), "postgres")
	first := start(t, Config{DataDir: dir})
	stop(t, first)
	conf, err := os.OpenFile(filepath.Join(first.data.real, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(conf, "no_such_setting = 1")
	if err := conf.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Config{DataDir: dir}); err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("err = %v, want the server's log in it", err)
	}
}

func TestTakenPortIsReported(t *testing.T) {
	t.Parallel()
	first := start(t, Config{})
	if _, err := Start(t.Context(), Config{Port: first.port, Fast: true}); err == nil {
		t.Error("two servers on one port")
	}
}

func TestCancelledStartLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("changed my mind")
	cancel(why)
	dir := filepath.Join(openDir(t), "postgres")
	if _, err := Start(ctx, Config{DataDir: dir}); !errors.Is(err, why) {
		t.Errorf("err = %v, want the cause", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("data directory: %v", err)
	}
}

// A terminal's Ctrl-C goes to the foreground process group; the server must not be in it.
func TestServerHasItsOwnProcessGroup(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	pid := s.process.Pid()
	if group, err := syscall.Getpgid(pid); err != nil || group != pid {
		t.Errorf("process %d is in group %d, %v", pid, group, err)
	}
}

func TestStopWithoutPatienceStillEndsTheServer(t *testing.T) {
	t.Parallel()
	s, err := Start(t.Context(), Config{Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// Both outcomes are right: the fast shutdown may win the race against the impatient context.
	_ = s.Stop(ctx)
	select {
	case <-s.Done():
	default:
		t.Error("the server outlives Stop")
	}
}

func TestStopTwiceReturnsTheSame(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	stop(t, s)
	stop(t, s)
}

func TestConfigMistakesAreReportedTogether(t *testing.T) {
	t.Parallel()
	_, err := Start(t.Context(), Config{Port: 70000, MaxConnections: -1})
	if err == nil || !strings.Contains(err.Error(), "70000") || !strings.Contains(err.Error(), "-1") {
		t.Errorf("err = %v", err)
	}
}
