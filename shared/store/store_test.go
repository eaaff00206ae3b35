package store_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	_ "github.com/lib/pq"
	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/schema"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Wrap(m)) }

func migrate(ctx context.Context, url string) error { return schema.Migrate(ctx, url, nil) }

// ttl outlives every test, however slow the machine: leases end where a test ends
// them.
const ttl = time.Hour

// fleet is a database with one tenant, and helpers that fail the test.
type fleet struct {
	*testing.T
	*store.Store
	url    string
	tenant session.TenantID
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	url := pgtest.New(t, migrate)
	s, err := store.Open(url, store.Options{MaxOpen: 16, ApplicationName: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	tenant, err := s.CreateTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	return &fleet{T: t, Store: s, url: url, tenant: tenant}
}

// direct is a pool that no pooler is before, for what a connector needs.
func (f *fleet) direct() *store.Store {
	f.Helper()
	s := must[*store.Store](f)(store.Open(pgtest.Direct(f.url), store.Options{ApplicationName: "test"}))
	f.Cleanup(func() { s.Close() })
	return s
}

func (f *fleet) actor() store.Actor { return store.Actor{Tenant: f.tenant, Key: "test", Request: "r"} }

// orphans looks for sessions without a holder, and returns how many got a job.
func (f *fleet) orphans() (jobs int) {
	f.Helper()
	return must[store.Orphans](f)(f.EnqueueOrphans(f.Context())).Jobs
}

func must[T any](f *fleet) func(T, error) T {
	return func(value T, err error) T {
		f.Helper()
		if err != nil {
			f.Fatal(err)
		}
		return value
	}
}

func (f *fleet) start(name session.Name) session.Session {
	f.Helper()
	s, _, err := f.Start(f.Context(), f.actor(), name, nil, session.DefaultConfig(session.Defaults{}), 0)
	if err != nil {
		f.Fatal(err)
	}
	return s
}

func (f *fleet) connector(name string) session.ConnectorID {
	f.Helper()
	id := session.NewConnectorID(name)
	if err := f.Register(f.Context(), store.Connector{ID: id, Address: "127.0.0.1:1", Slots: 100, Version: "test"}, ttl); err != nil {
		f.Fatal(err)
	}
	return id
}

func (f *fleet) claim(me session.ConnectorID, slots int) []store.Claim {
	f.Helper()
	return must[[]store.Claim](f)(f.ClaimIfFree(f.Context(), me, slots, 0, slots))
}

func (f *fleet) status(name session.Name) (session.Status, session.ReasonCode) {
	f.Helper()
	found := must[session.Session](f)(f.Session(f.Context(), f.tenant, name))
	status, reason := found.View()
	if reason == nil {
		return status, ""
	}
	return status, reason.Code
}

// sql runs a statement that no product code has, such as moving a lease into
// the past.
func (f *fleet) sql(query string, args ...any) {
	f.Helper()
	db := must[*sql.DB](f)(sql.Open("postgres", f.url))
	defer db.Close()
	if _, err := db.ExecContext(f.Context(), query, args...); err != nil {
		f.Fatal(err)
	}
}

func (f *fleet) count(query string) int {
	f.Helper()
	db := must[*sql.DB](f)(sql.Open("postgres", f.url))
	defer db.Close()
	var n int
	if err := db.QueryRowContext(f.Context(), query).Scan(&n); err != nil {
		f.Fatal(err)
	}
	return n
}

func (f *fleet) wantStatus(name session.Name, want session.Status, code session.ReasonCode) {
	f.Helper()
	if status, reason := f.status(name); status != want || reason != code {
		f.Fatalf("session %s is %s %q, want %s %q", name, status, reason, want, code)
	}
}

func termOf(c store.Claim) store.Term { return store.Term{ID: c.ID, Epoch: c.Epoch} }

func report(c store.Claim, state session.Status) store.Report {
	return store.Report{Term: termOf(c), State: state, Seen: c.Wanted.Generation}
}
