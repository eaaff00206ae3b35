package store_test

import (
	"database/sql"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// owned is a pool whose connections belong to a connector.
func (f *fleet) owned(owner session.ConnectorID, held func() error) *store.Store {
	f.Helper()
	s := must[*store.Store](f)(store.Open(pgtest.Direct(f.url), store.Options{
		MaxOpen: 2, ApplicationName: "wafleet-devices", Owner: func() session.ConnectorID { return owner }, Held: held,
	}))
	f.Cleanup(func() { s.Close() })
	return s
}

// Whoever takes a session over knows that nothing of the dead arrives any more:
// not what it has begun, and not what it sent before.
func TestATakeoverEndsTheConnectionsOfTheDead(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	dead, alive := f.connector("a-host-with-a-rather-long-name-that-people-gave-it"), f.connector("alive")
	began := func(owner session.ConnectorID) *sql.Tx {
		t.Helper()
		return must[*sql.Tx](f)(f.owned(owner, nil).DB().BeginTx(t.Context(), nil))
	}
	late, fine := began(dead), began(alive)
	ends := func(tx *sql.Tx) bool { _, err := tx.ExecContext(t.Context(), `SELECT 1`); return err != nil }

	f.start("a")
	f.start("b")
	f.claim(dead, 1)
	f.claim(alive, 1)
	if ends(late) || ends(fine) {
		t.Fatal("a claim of what nobody held ended a connection")
	}
	if err := f.EndLease(t.Context(), dead); err != nil {
		t.Fatal(err)
	}
	f.orphans()
	if taken := f.claim(alive, 1); len(taken) != 1 || taken[0].From != dead {
		t.Fatalf("taken %+v", taken)
	}
	if !ends(late) {
		t.Error("the dead can still write")
	}
	if ends(fine) {
		t.Error("the living cannot write any more")
	}
	fine.Rollback()
}

// The same where nobody takes the session over, because nobody wants it.
func TestTheEndOfAnUnwantedTermEndsTheConnectionsOfTheDead(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	dead := f.connector("dead")
	late := must[*sql.Tx](f)(f.owned(dead, nil).DB().BeginTx(t.Context(), nil))
	f.start("a")
	f.claim(dead, 1)
	must[session.Session](f)(f.Stop(t.Context(), f.actor(), "a"))
	if err := f.EndLease(t.Context(), dead); err != nil {
		t.Fatal(err)
	}
	f.orphans()
	if _, err := late.ExecContext(t.Context(), `SELECT 1`); err == nil {
		t.Error("the dead can still write")
	}
}

func TestAPoolThatMayNotWriteDoesNot(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	var over atomic.Bool
	s := f.owned("c", func() error {
		if over.Load() {
			return session.ErrLeaseLost
		}
		return nil
	})
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	over.Store(true)
	for range 2 { // on the connection that there is, and on a new one
		if err := s.Ping(t.Context()); err == nil {
			t.Error("it wrote")
		}
	}
	over.Store(false)
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("after it: %v", err)
	}
}

// A statement that the pool gives up does not land when the lock that it waited
// for goes.
func TestAStatementThatIsGivenUpDoesNotLand(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.sql(`CREATE TABLE ratchet (step int); INSERT INTO ratchet VALUES (0)`)
	lock := must[*sql.Tx](f)(f.DB().BeginTx(t.Context(), nil))
	if _, err := lock.Exec(`UPDATE ratchet SET step = 1`); err != nil {
		t.Fatal(err)
	}
	s := must[*store.Store](f)(store.Open(pgtest.Direct(f.url), store.Options{Answer: time.Second, Owner: func() session.ConnectorID { return "c" }}))
	t.Cleanup(func() { s.Close() })
	if _, err := s.DB().ExecContext(t.Context(), `UPDATE ratchet SET step = 2`); err == nil {
		t.Fatal("it did not wait for the lock")
	}
	if err := lock.Commit(); err != nil {
		t.Fatal(err)
	}
	f.sql(`BEGIN; LOCK TABLE ratchet IN ACCESS EXCLUSIVE MODE; COMMIT`) // after whatever waits for it
	if n := f.count(`SELECT step FROM ratchet`); n != 1 {
		t.Errorf("step %d", n)
	}
}

// A pool outlives the lease of its owner: a connection from before does not.
func TestAConnectionCarriesItsOwnersName(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	var owner atomic.Pointer[session.ConnectorID]
	owner.Store(new(session.ConnectorID))
	s := must[*store.Store](f)(store.Open(pgtest.Direct(f.url), store.Options{
		MaxOpen: 1, ApplicationName: "wafleet-devices", Owner: func() session.ConnectorID { return *owner.Load() },
	}))
	t.Cleanup(func() { s.Close() })
	name := func() (name string) {
		t.Helper()
		if err := s.DB().QueryRowContext(t.Context(), `SELECT current_setting('application_name')`).Scan(&name); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, id := range []session.ConnectorID{"", session.NewConnectorID("one"), session.NewConnectorID("two")} {
		owner.Store(&id)
		want := strings.TrimSpace("wafleet-devices " + string(id[max(0, len(id)-36):]))
		for range 2 {
			if got := strings.TrimSpace(name()); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
	}
	tx, err := s.DB().BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelSerializable, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
}
