package health

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// database is a Pinger; nil is one that answers.
type database func(context.Context) error

func (d database) Ping(ctx context.Context) error {
	if d == nil {
		return nil
	}
	return d(ctx)
}

var metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("metrics")) })

func fine() error { return nil }

func TestWhatEachPathSays(t *testing.T) {
	t.Parallel()
	away := database(func(context.Context) error { return errors.New("no database") })
	lost := func() error { return session.ErrLeaseLost }
	for name, c := range map[string]struct {
		alive        func() error
		draining     bool
		db           database
		livez, ready string // the problem; empty: 200
	}{
		"fine":           {alive: fine},
		"between leases": {livez: "no lease yet", ready: "no lease yet"},
		"lease lost":     {alive: lost, livez: session.ErrLeaseLost.Error(), ready: session.ErrLeaseLost.Error()},
		"draining":       {alive: fine, draining: true, ready: "draining"},
		"no database":    {alive: fine, db: away, ready: "no database"}, // no reason to be killed
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s State
			s.SetAlive(fine)
			s.SetAlive(c.alive)
			if c.draining {
				s.SetDraining()
			}
			h := Handler(&s, c.db, metrics)
			wantAnswer(t, h, "/livez", c.livez)
			wantAnswer(t, h, "/readyz", c.ready)
		})
	}
}

func wantAnswer(t *testing.T, h http.Handler, path, problem string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	var body struct{ Status, Problem string }
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%s answers %q: %v", path, w.Body, err)
	}
	status, word := http.StatusOK, "ok"
	if problem != "" {
		status, word = http.StatusServiceUnavailable, "error"
	}
	if w.Code != status || body.Status != word || body.Problem != problem {
		t.Errorf("%s answers %d %q, want %d %q", path, w.Code, w.Body, status, problem)
	}
}

func TestMetricsAndNothingElse(t *testing.T) {
	t.Parallel()
	h := Handler(&State{}, database(nil), metrics)
	for request, status := range map[string]int{
		"GET /metrics": 200, "GET /": 404, "POST /livez": 405, "GET /debug/pprof/": 200, "GET /debug/pprof/heap": 200, "GET /debug/pprof/mutex": 200, "GET /debug/pprof/cmdline": 404,
	} {
		method, path, _ := strings.Cut(request, " ")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if w.Code != status {
			t.Errorf("%s answers %d, want %d", request, w.Code, status)
		}
	}
}

func TestADatabaseThatHangsIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s State
		s.SetAlive(fine)
		began := time.Now()
		wantAnswer(t, Handler(&s, database(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }), metrics), "/readyz", "context deadline exceeded")
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// serve runs a server on a free port and returns its port and how to end it.
func serve(t *testing.T, s *State) (port string, end func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, listener, Handler(s, database(nil), metrics)) }()
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	return port, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("a planned end: %v", err)
		}
	}
}

func TestCheckAsksTheOneThatRuns(t *testing.T) {
	t.Parallel()
	var s State
	port, end := serve(t, &s)
	for _, host := range []string{"127.0.0.1", "", "0.0.0.0", "[::]", "localhost"} {
		if err := Check(t.Context(), host+":"+port); err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("%q before the lease: %v", host, err)
		}
	}
	s.SetAlive(fine)
	if err := Check(t.Context(), ":"+port); err != nil {
		t.Error(err)
	}
	end()
	if err := Check(t.Context(), ":"+port); err == nil {
		t.Error("nobody is there, and all is well")
	}
	for _, address := range []string{"", "nonsense", "a b:1"} {
		if err := Check(t.Context(), address); err == nil {
			t.Errorf("%q is no address", address)
		}
	}
}

// The check talks to this machine; a proxy in the environment is not asked.
func TestCheckUsesNoProxy(t *testing.T) {
	if transport, ok := client.Transport.(*http.Transport); !ok || transport.Proxy != nil || !transport.DisableKeepAlives {
		t.Errorf("%+v", client.Transport)
	}
}

func TestServeSaysWhyItEnds(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	if err := Serve(t.Context(), listener, metrics); err == nil || !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// A client that does not let go cannot hold the process up.
func TestServeEndsUnderAnOpenRequest(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered, release := make(chan struct{}), make(chan struct{})
	stuck := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(entered); <-release })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, listener, stuck) }()
	asked := make(chan error, 1)
	go func() { asked <- Check(t.Context(), listener.Addr().String()) }()
	<-entered
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := <-asked; err == nil {
		t.Error("a request without an answer is well")
	}
	close(release)
}
