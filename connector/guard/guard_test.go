package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/settings"
	"github.com/wafleet/wafleet/shared/store"
	"github.com/wafleet/wafleet/shared/telemetry"
)

// world is a database with two sessions that one connector holds.
type world struct {
	*testing.T
	*store.Store
	url    string
	tenant session.TenantID
	holder session.ConnectorID
	claims map[session.Name]store.Claim
	log    bytes.Buffer // what guards say
}

const longLease = 10 * time.Minute

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, url: pgtest.New(t, migrate), claims: map[session.Name]store.Claim{}}
	var err error
	if w.Store, err = store.Open(w.url, store.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Store.Close() })
	if w.tenant, err = w.CreateTenant(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []session.Name{"culprit", "other"} {
		if _, _, err := w.Start(t.Context(), store.Actor{Tenant: w.tenant, Key: "test"}, name, nil, session.DefaultConfig(session.Defaults{}), 0); err != nil {
			t.Fatal(err)
		}
	}
	w.holder = w.connector("holder")
	claims, err := w.ClaimIfFree(t.Context(), w.holder, 2, 0, 2)
	if err != nil || len(claims) != 2 {
		t.Fatalf("claimed %v, %v", claims, err)
	}
	for _, c := range claims {
		w.claims[c.Name] = c
	}
	return w
}

func (w *world) connector(name string) session.ConnectorID {
	w.Helper()
	id := session.NewConnectorID(name)
	if err := w.Register(w.Context(), store.Connector{ID: id, Address: "127.0.0.1:1", Slots: 10, Version: "test"}, longLease); err != nil {
		w.Fatal(err)
	}
	return id
}

// run guards a child in a role to its end. The culprit is its label.
func (w *world) run(role string) (code int) {
	w.Helper()
	code, err := w.guard(role).run(nil)
	if err != nil {
		w.Fatal(err)
	}
	return code
}

func (w *world) guard(role string) guard {
	return guard{
		cmd:      childOf(role+":"+string(w.holder), envLabel+"="+string(w.claims["culprit"].ID)),
		database: settings.Database{URL: w.url}, patience: patience, log: telemetry.New(&w.log, slog.LevelInfo),
	}
}

func (w *world) alive(id session.ConnectorID) bool {
	w.Helper()
	err := w.RenewHeld(w.Context(), id, longLease, store.Vitals{})
	if err != nil && !errors.Is(err, session.ErrLeaseLost) {
		w.Fatal(err)
	}
	return err == nil
}

func (w *world) holds(name session.Name) bool {
	w.Helper()
	c := w.claims[name]
	held, err := w.StillHeld(w.Context(), w.holder, store.Term{ID: c.ID, Epoch: c.Epoch})
	if err != nil {
		w.Fatal(err)
	}
	return held
}

func (w *world) logged(what string, want bool) {
	w.Helper()
	if strings.Contains(w.log.String(), what) != want {
		w.Errorf("the log says %q: %v, want %v\n%s", what, !want, want, &w.log)
	}
}

func TestACrashIsBlamedOnItsSessionAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if code := w.run("panic"); code != 2 {
		t.Errorf("exit code %d", code)
	}
	if w.alive(w.holder) || w.holds("culprit") || !w.holds("other") {
		t.Errorf("the lease lives: %v; held: the culprit %v, the other %v", w.alive(w.holder), w.holds("culprit"), w.holds("other"))
	}
	for name, want := range map[session.Name]session.ReasonCode{"culprit": session.InternalError, "other": ""} {
		s, err := w.Session(t.Context(), w.tenant, name)
		if err != nil {
			t.Fatal(err)
		}
		if status, reason := s.View(); status != session.Starting || (reason == nil) != (want == "") || reason != nil && reason.Code != want {
			t.Errorf("%s is %s %+v", name, status, reason)
		}
	}
	w.logged(`"panic":"panic: of [number]"`, true) // redacted
	w.logged("5511999990001", false)
	w.logged(`"msg":"a session ended its connector"`, true)
}

func TestADeathWithoutACulpritEndsTheLeaseOnly(t *testing.T) {
	t.Parallel()
	for role, code := range map[string]int{"killed": 128 + 9, "quit": 2} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if got := w.run(role); got != code {
				t.Errorf("exit code %d, want %d", got, code)
			}
			if w.alive(w.holder) || !w.holds("culprit") || !w.holds("other") {
				t.Errorf("the lease lives: %v; held: %v, %v", w.alive(w.holder), w.holds("culprit"), w.holds("other"))
			}
			w.logged(`"msg":"the connector is gone; its lease is ended"`, true)
		})
	}
}

// One that leaves in order is not touched: it may be another's lease by now.
func TestAChildThatEndedItsLeaseIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if code := w.run("leaves"); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !w.alive(w.holder) || w.log.Len() != 0 {
		t.Errorf("the guard did more than it had to: %s", &w.log)
	}
}

func TestTheLastLeaseIsEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if code := w.run("relets"); code != 3 {
		t.Errorf("exit code %d", code)
	}
	if !w.alive(w.holder) {
		t.Error("the lease that the child had given up was ended")
	}
	w.logged(`"connector":"second"`, true)
}

func TestASessionThatIsHeldElsewhereIsNotBlamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.holder = w.connector("another")
	w.run("nil")
	if w.alive(w.holder) {
		t.Error("the lease lives")
	}
	w.logged("was not held any more", true)
	s, err := w.Session(t.Context(), w.tenant, "culprit")
	if err != nil || s.Run.Epoch != w.claims["culprit"].Epoch || s.Run.Reason != nil {
		t.Errorf("%+v, %v", s.Run, err)
	}
}

// The database is away when the child dies: the guard does not give up at once,
// and not never.
func TestADatabaseThatIsAwayIsTriedAgain(t *testing.T) {
	t.Parallel()
	var tries int
	err := try(t.Context(), func(context.Context) error {
		if tries++; tries < 3 {
			return session.ErrUnavailable
		}
		return session.ErrFenced
	})
	if tries != 3 || !errors.Is(err, session.ErrFenced) {
		t.Errorf("%d tries, %v", tries, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := try(ctx, func(context.Context) error { return session.ErrUnavailable }); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("after the end of patience: %v", err)
	}
}

func TestADatabaseThatStaysAwayHoldsUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for name, url := range map[string]string{
		"silent":  "postgres://u:p@" + listener.Addr().String() + "/db?sslmode=disable",
		"refused": "postgres://u:p@127.0.0.1:1/db?sslmode=disable",
		"none":    "",
	} {
		g := w.guard("panic")
		g.database.URL, g.patience = url, 300*time.Millisecond
		if code, err := g.run(nil); code != 2 || err != nil {
			t.Errorf("%s: %d, %v", name, code, err)
		}
	}
	if !w.alive(w.holder) {
		t.Error("the lease does not live")
	}
	if n := strings.Count(w.log.String(), "the lease of the dead connector passes by itself"); n != 3 {
		t.Errorf("it is said %d times that the lease passes by itself\n%s", n, &w.log)
	}
	w.logged("u:p", false)
}

func TestSignalsArePassedOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.guard("obeys")
	// Not the command's own pipe: that is closed when the child has ended, read or not.
	out, written, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	g.cmd.Stdout = written
	defer written.Close()
	signals := make(chan os.Signal)
	codes := make(chan int, 1)
	go func() {
		code, err := g.run(signals)
		if err != nil {
			t.Error(err)
		}
		codes <- code
	}()
	lines := bufio.NewScanner(out)
	for _, want := range []string{"ready ", "got interrupt"} {
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), want) {
			t.Fatalf("the child says %q, want %q", lines.Text(), want)
		}
		if want == "ready " {
			signals <- syscall.SIGINT
		}
	}
	select {
	case code := <-codes:
		if code != 5 {
			t.Errorf("exit code %d", code)
		}
	case <-time.After(patience):
		t.Fatal("the guard does not end")
	}
	if w.alive(w.holder) {
		t.Error("the lease lives")
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"connector":                         "connector",
		"connector healthcheck -x":          "connector healthcheck -x",
		"-tenure run/c connector -tenure x": "connector -tenure x",
	} {
		g, err := newGuard(strings.Fields(args))
		if err != nil || strings.Join(g.cmd.Args, " ") != want || (g.tenure == "run/c") != strings.HasPrefix(args, "-") {
			t.Errorf("%q: runs %q with tenure %q, %v", args, g.cmd.Args, g.tenure, err)
		}
	}
	for _, args := range []string{"", "-tenure", "-other connector"} {
		if _, err := newGuard(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), usage) {
			t.Errorf("%q: %v", args, err)
		}
	}
	g, err := newGuard([]string{filepath.Join(t.TempDir(), "missing")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.run(nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing program: %v", err)
	}
}

func TestLabelsAreSwitchedOnBesideWhatIsSet(t *testing.T) {
	t.Parallel()
	for want, env := range map[string][]string{
		"tracebacklabels=1":           {"A=b"},
		"tracebacklabels=1 ":          {"GODEBUG="},
		"gctrace=0,tracebacklabels=1": {"GODEBUG=gctrace=1", "GODEBUG=gctrace=0", "A=b"},
	} {
		if got := withLabels(env); got != strings.TrimSpace(want) {
			t.Errorf("%q becomes %q", env, got)
		}
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 143} {
		if got := exitCode(exec.Command("sh", "-c", script).Run()); got != want {
			t.Errorf("%s: %d, want %d", script, got, want)
		}
	}
	if got := exitCode(errors.New("lost")); got != 1 {
		t.Errorf("an unknown end: %d", got)
	}
}
