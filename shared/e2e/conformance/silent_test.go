package conformance

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/e2e/link"
	"github.com/wafleet/wafleet/shared/pgtest"
)

// inTime is how long an answer may take, of the 25 s of a request. API Gateway
// waits for 30 s.
const inTime = 28 * time.Second

// TestASilentDatabaseIsAnsweredFor: Postgres is connected and says nothing, and
// whoever asks is told to come back, more of them at once than there are
// connections.
func TestASilentDatabaseIsAnsweredFor(t *testing.T) {
	t.Parallel()
	s := newDeployment(t, pgtest.New(t, migrate))
	l, way := link.ToDatabase(t, s.url)
	s.listener = s.newListener("DATABASE_URL=" + way)
	s.owner(request{method: "POST", path: "/api/sessions/a/start"})
	asked := []request{
		{path: "/api/sessions"}, {path: "/api/sessions/a"}, {path: "/api/a/auth/qr"},
		{method: "POST", path: "/api/sessions", body: `{"name":"c"}`}, {method: "POST", path: "/api/sessions/b/start"},
		{method: "POST", path: "/api/sessions/a/stop"}, {method: "POST", path: "/api/sessions/a/restart"},
		{method: "PUT", path: "/api/sessions/a", body: config("sqlite3", "INFO", nil)}, {method: "DELETE", path: "/api/sessions/a"},
	}
	const times = 3 // 27 requests on 10 connections

	l.Swallow()
	var callers sync.WaitGroup
	for range times {
		for _, r := range asked {
			callers.Go(func() { s.saysLater(r) })
		}
	}
	callers.Wait()
	l.Restore()

	if !s.eventually(func() bool {
		return s.listener.ask(request{path: "/api/sessions/a", key: s.tenant.key}).status == 200
	}) {
		t.Error("the API does not answer when its database does")
	}
	if n := s.count(`SELECT count(*) FROM session`); n != 1 {
		t.Errorf("%d sessions, want the one that was there", n)
	}
}

// saysLater checks that the answer is a 503 that says when to come back.
func (s *system) saysLater(r request) {
	r.key = s.tenant.key
	ctx, cancel := context.WithTimeout(s.Context(), 2*inTime)
	defer cancel()
	began := time.Now()
	a, err := s.listener.try(ctx, r)
	took := time.Since(began)
	if err != nil {
		s.Errorf("%s %s: no answer after %v: %v", r.method, r.path, took, err)
		return
	}
	after, err := strconv.Atoi(a.header.Get("Retry-After"))
	if a.status != 503 || err != nil || after < 1 || took > inTime {
		s.Errorf("%s %s: %d after %v, Retry-After %q: %s", r.method, r.path, a.status, took, a.header.Get("Retry-After"), a.body)
	}
}
