package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/schema"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Wrap(m)) }

// world is a fleet's database, and a hand on the other side of it.
type world struct {
	*testing.T
	*store.Store
	url    string
	tenant session.TenantID
}

func newWorld(t *testing.T) *world {
	t.Helper()
	url := pgtest.New(t, func(ctx context.Context, url string) error { return schema.Migrate(ctx, url, nil) })
	opened, err := store.Open(url, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	tenant, err := opened.CreateTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, opened, url, tenant}
}

func (w *world) start(names ...session.Name) {
	w.Helper()
	for _, name := range names {
		if _, _, err := w.Start(w.Context(), store.Actor{Tenant: w.tenant, Key: "test"}, name, nil, session.DefaultConfig(session.Defaults{}), 0); err != nil {
			w.Fatal(err)
		}
	}
}

// connector of a task, with ten slots, that claims all it can.
func (w *world) connector(name, task string, claims int) session.ConnectorID {
	w.Helper()
	id := session.NewConnectorID(name)
	if err := w.Register(w.Context(), store.Connector{ID: id, Address: "127.0.0.1:1", Slots: 10, Version: "test", Task: task}, time.Hour); err != nil {
		w.Fatal(err)
	}
	if got, err := w.ClaimIfFree(w.Context(), id, 10, 0, 10); err != nil || len(got) != claims {
		w.Fatalf("claimed %d, want %d, error %v", len(got), claims, err)
	}
	return id
}

func TestAsACommand(t *testing.T) {
	t.Parallel()
	w, program := newWorld(t), bootstrap.Build(t, "lambda.norpc")
	w.start("a", "b")
	dead := w.connector("dead", "", 2)
	if err := w.EndLease(t.Context(), dead); err != nil {
		t.Fatal(err)
	}
	w.connector("alive", "", 0)

	once := exec.Command(program)
	once.Env = []string{"DATABASE_URL=" + w.url}
	out, err := once.Output()
	var found summary
	if err != nil || json.Unmarshal(out, &found) != nil {
		t.Fatalf("%s, error %v", out, err)
	}
	oldest := found.OldestJobSeconds
	found.OldestJobSeconds = 0
	if want := (summary{Orphans: 2, Wanted: 2, Unplaced: 2, ConnectorsAlive: 1, Slots: 10, SlotsFree: 10}); found != want || oldest < 0 || oldest > 60 {
		t.Errorf("%s", out)
	}
	if bytes.Count(out, []byte("\n")) != 1 || bytes.Contains(out, []byte("_aws")) || bytes.Contains(out, []byte("leasesEnded")) {
		t.Errorf("not one line of counts: %s", out)
	}

	loop := exec.Command(program, "-every", "1s")
	loop.Env = once.Env
	var log bytes.Buffer
	loop.Stderr = &log
	pipe, err := loop.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := loop.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { loop.Process.Kill() })
	lines := bufio.NewScanner(pipe)
	for range 2 {
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), `{"orphans":0,"wanted":2,`) {
			t.Fatalf("line %q, error %v\n%s", lines.Text(), lines.Err(), &log)
		}
	}
	if err := loop.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := loop.Wait(); err != nil || log.Len() > 0 {
		t.Errorf("exit: %v\n%s", err, &log)
	}
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	program := bootstrap.Build(t, "lambda.norpc")
	const database = "DATABASE_URL=postgres://u:hidden-1@127.0.0.1:1/x?sslmode=disable"
	for name, one := range map[string]struct {
		args, env []string
		code      int
		says      []string
	}{
		"odd flag":     {args: []string{"-what"}, code: 2, says: []string{"-what"}},
		"odd argument": {args: []string{"what"}, code: 2, says: []string{"usage"}},
		"odd pause":    {args: []string{"-every", "soon"}, code: 2, says: []string{"-every"}},
		"short pause":  {args: []string{"-every", "1ms"}, code: 2, says: []string{"usage", "1s"}},
		"negative":     {args: []string{"-every", "-30s"}, code: 2, says: []string{"usage"}},
		"nothing set":  {code: 2, says: []string{"DATABASE_URL is missing"}},
		"all wrong": {
			env:  []string{"DATABASE_URL=mysql://u:hidden-1@h/x", "LOG_LEVEL=hidden-2", "AUDIT_KEEP=hidden-4", "FLEET=" + strings.Repeat("hidden-3", 100)},
			code: 2, says: []string{"DATABASE_URL must be", "LOG_LEVEL must be", "FLEET must have", "AUDIT_KEEP must be a duration"},
		},
		"the configuration": {
			args: []string{"-print-config"}, env: []string{database, "FLEET="}, code: 0, says: []string{"postgres://u:xxxxx@", "FLEET", "AUDIT_KEEP"},
		},
		"no sslmode":   {env: []string{"DATABASE_URL=postgres://u:hidden-1@h/x"}, code: 2, says: []string{"sslmode"}},
		"short memory": {env: []string{database, "AUDIT_KEEP=1h"}, code: 2, says: []string{"AUDIT_KEEP must be at least 24h"}},
		"no database":  {env: []string{database}, code: 1, says: []string{"sweep ended"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := exec.Command(program, one.args...)
			command.Env = append([]string{}, one.env...)
			out, err := command.CombinedOutput()
			if command.ProcessState.ExitCode() != one.code {
				t.Errorf("exit: %v\n%s", err, out)
			}
			for _, text := range one.says {
				if !strings.Contains(string(out), text) {
					t.Errorf("%q is not in %s", text, out)
				}
			}
			if strings.Contains(string(out), "hidden-") {
				t.Errorf("a value is repeated: %s", out)
			}
		})
	}
}
