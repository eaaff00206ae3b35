package e2e

import (
	"database/sql"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

// operator is a connection that the faults of the database do not touch.
func (s *system) operator() *sql.DB {
	s.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		s.Fatal(err)
	}
	query := u.Query()
	query.Set("options", "-c default_transaction_read_only=off")
	u.RawQuery = query.Encode()
	db, err := sql.Open("postgres", u.String())
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { db.Close() })
	return db
}

func (s *system) do(db *sql.DB, query string, args ...any) {
	s.Helper()
	if _, err := db.ExecContext(s.Context(), query, args...); err != nil {
		s.Fatal(err)
	}
}

// TestAFailoverIsSurvived: the old primary stays in reach and takes no writes,
// as behind an address that has not moved yet, and then every connection breaks.
func TestAFailoverIsSurvived(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	c := s.connector(shortLease)
	s.pair("a", "5511999990451", postgresStart)
	s.pair("b", "5511999990452", documentedStart)
	operator := s.operator()
	demote := func(readOnly string) {
		s.do(operator, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = `+readOnly+`', current_database()); END $$`)
		s.do(operator, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'`)
	}
	demote("on")
	s.eventually("a refused start", func() bool {
		a := s.call("POST", "/api/sessions/c/start", "")
		return a.code == 503 && a.header.Get("Retry-After") != ""
	})
	c.waitFor("every session is given up")
	s.eventually("the end of the sockets", func() bool { return s.sim.Stats().Open == 0 })
	s.wait("a", session.Starting) // reads go on
	demote("off")
	s.wait("a", session.Working)
	s.wait("b", session.Working)
	if code := c.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestHeartbeatsHaveTheirOwnConnection: whatever waits for a lock, for longer
// than the process is trusted, the process is alive and keeps its sessions.
func TestHeartbeatsHaveTheirOwnConnection(t *testing.T) {
	t.Parallel()
	const waiting = 10 // more than there are connections
	s := newSystem(t, options{})
	c := s.connector("LEASE_TTL=6s", "DATABASE_MAX_CONNS=8") // trusted for 4 s
	s.pair("a", "5511999990461", postgresStart)
	worker := s.get("a").text("assignedWorker")
	numbers := make([]string, waiting)
	for i := range numbers {
		numbers[i] = fmt.Sprint(5511999990470 + i)
		s.start(fmt.Sprint("w", i), postgresStart)
	}
	for i := range numbers {
		s.wait(fmt.Sprint("w", i), session.ScanQRCode)
	}

	operator := s.operator()
	lock, err := operator.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Rollback()
	for _, table := range []string{"pairing", "session_run"} {
		if _, err := lock.ExecContext(t.Context(), "LOCK TABLE "+table+" IN ACCESS EXCLUSIVE MODE"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.sim.Drop("", "fin"); err != nil { // everybody has something to write
		t.Fatal(err)
	}
	until := `SELECT count(*) FROM connector WHERE lease_until > now() + interval '1 second' AND started_at < now() - interval '%d seconds'`
	began := s.rows(`SELECT extract(epoch FROM now() - started_at)::int FROM connector`)
	s.eventually("a lease that outlives the trust", func() bool { return s.rows(fmt.Sprintf(until, began+6)) == 1 })
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	s.wait("a", session.Working)
	if now := s.get("a"); now.text("assignedWorker") != worker {
		t.Errorf("the session was moved: %s", now.body)
	}
	for _, name := range []string{"w0", "w9"} {
		s.wait(name, session.ScanQRCode)
	}
	if code := c.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestARequestWithoutAConnectionIsAnswered: the API's own connections are all
// taken, and it says so before its callers give up.
func TestARequestWithoutAConnectionIsAnswered(t *testing.T) {
	t.Parallel()
	onHostOnly(t, "a Lambda serves one request at a time: the pool that is emptied here is the listener's")
	s := newSystem(t, options{})
	s.start("a", "")
	taken := 0
	for range 20 { // as many as the pool has
		conn, err := s.store.DB().Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		taken++
	}
	began := time.Now()
	a := s.call("GET", "/api/sessions/a", "")
	if took := time.Since(began); a.code != 503 || a.header.Get("Retry-After") == "" || took > 28*time.Second {
		t.Errorf("%d connections are taken: %d after %v: %s", taken, a.code, took, a.body)
	}
}
