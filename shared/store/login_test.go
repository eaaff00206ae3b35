package store_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// keeper is who gives the logins: what it has is what a rotation left behind,
// next is what it finds when it looks again.
type keeper struct {
	mu      sync.Mutex // guards what follows
	have    store.Login
	next    store.Login
	away    error
	renewed int

	asked atomic.Int32
}

func (k *keeper) Login(context.Context) (store.Login, error) {
	k.asked.Add(1)
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.have, k.away
}

func (k *keeper) Renew(_ context.Context, refused store.Login) (store.Login, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.renewed++
	if k.have == refused {
		k.have = k.next
	}
	return k.have, k.away
}

func (k *keeper) set(do func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	do()
}

// role is a role of this test alone, and a URL without its password. It leads
// around a pooler, which knows only who its file names.
func (f *fleet) role(password string) (name, at string) {
	f.Helper()
	u, err := url.Parse(pgtest.Direct(f.url))
	if err != nil {
		f.Fatal(err)
	}
	name = "role_" + strings.TrimPrefix(u.Path, "/wafleet_test_")
	f.sql(fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD '%s'; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO %s`, name, password, name))
	f.Cleanup(func() { // roles are the server's, not the database's
		if _, err := f.DB().ExecContext(context.WithoutCancel(f.Context()), `DROP OWNED BY `+name+`; DROP ROLE `+name); err != nil {
			f.Error(err)
		}
	})
	u.User = nil
	return name, u.String()
}

func (f *fleet) open(at string, o store.Options) *store.Store {
	f.Helper()
	s := must[*store.Store](f)(store.Open(at, o))
	f.Cleanup(func() { s.Close() })
	return s
}

func TestEveryConnectionAsksWhoLogsIn(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	name, at := f.role("one")
	from := &keeper{have: store.Login{User: name, Password: "one"}}
	s := f.open(at, store.Options{MaxOpen: 2, Credentials: from})
	var user string
	for range 3 { // on one connection
		if err := s.DB().QueryRowContext(t.Context(), `SELECT session_user`).Scan(&user); err != nil || user != name {
			t.Fatalf("user %q, error %v", user, err)
		}
	}
	if n := from.asked.Load(); n != 1 {
		t.Errorf("asked %d times for one connection", n)
	}
	held := must[interface{ Rollback() error }](f)(s.DB().BeginTx(t.Context(), nil))
	defer held.Rollback()
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := from.asked.Load(); n != 2 {
		t.Errorf("asked %d times for two connections", n)
	}
}

// TestARotationEndsNothing: what is connected stays, what connects finds the new
// password by itself, and hints go on.
func TestARotationEndsNothing(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	name, at := f.role("one")
	one, two := store.Login{User: name, Password: "one"}, store.Login{User: name, Password: "two"}
	from := &keeper{have: one, next: two}
	s := f.open(at, store.Options{MaxOpen: 2, Credentials: from, ApplicationName: "rotated"})
	running, err := s.DB().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Rollback()

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	hints, listened := make(chan session.ID, 100), make(chan error, 1)
	go func() { listened <- s.Listen(ctx, nil, func(id session.ID) { hints <- id }) }()
	if first := <-hints; first != "" {
		t.Fatalf("the first hint is %q", first)
	}

	f.sql(fmt.Sprintf(`ALTER ROLE %s PASSWORD 'two'`, name))
	stale := f.open(at, store.Options{Credentials: &keeper{have: one, next: one}})
	if err := stale.Ping(t.Context()); !errors.Is(err, session.ErrUnavailable) {
		t.Fatalf("the old password: %v", err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("a new connection: %v", err)
	}
	if _, err := running.ExecContext(t.Context(), `SELECT 1`); err != nil {
		t.Errorf("a connection that was there: %v", err)
	}
	// The listening connection is lost once, with the old password in nobody's mind.
	from.set(func() { from.have = one })
	f.sql(`SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND usename = '` + name + `'`)
	if again := <-hints; again != "" {
		t.Errorf("the hint after the loss is %q", again)
	}
	f.sql(`SELECT pg_notify('` + store.HintChannel + `', 'x')`)
	if got := <-hints; got != "x" {
		t.Errorf("hint %q", got)
	}
	stop()
	if err := <-listened; err != nil {
		t.Error(err)
	}
	if from.renewed != 2 {
		t.Errorf("renewed %d times, want 2: one for the pool, one for the hints", from.renewed)
	}
}

func TestALoginThatCannotBeHad(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	name, at := f.role("one")
	away := fmt.Errorf("%w: nobody answers", session.ErrUnavailable)
	from := &keeper{away: away}
	s := f.open(at, store.Options{Credentials: from})
	if err := s.Ping(t.Context()); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	wrong := &keeper{have: store.Login{User: name, Password: "geheim"}, next: store.Login{User: name, Password: "geheim-2"}}
	s = f.open(at, store.Options{Credentials: wrong})
	err := s.Ping(t.Context())
	if !errors.Is(err, session.ErrUnavailable) || strings.Contains(err.Error(), "geheim") {
		t.Errorf("error %v", err)
	}
	if wrong.asked.Load() != 1 || wrong.renewed != 1 {
		t.Errorf("asked %d times, renewed %d times", wrong.asked.Load(), wrong.renewed)
	}
	from.set(func() { from.away, from.have = nil, store.Login{User: name, Password: "one"} })
	if err := f.open(at, store.Options{Credentials: from}).Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if text := fmt.Sprintf("%v %+v %s", wrong.have, wrong.have, wrong.have); strings.Contains(text, "geheim") {
		t.Errorf("a login prints as %s", text)
	}
}
