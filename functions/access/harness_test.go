package access

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/schema"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Wrap(m)) }

func migrate(ctx context.Context, url string) error { return schema.Migrate(ctx, url, nil) }

// counted is the real store, with its key look-ups counted.
type counted struct {
	*store.Store
	lookups atomic.Int64
}

func (c *counted) KeyByID(ctx context.Context, id string, presented []byte) (store.PresentedKey, error) {
	c.lookups.Add(1)
	return c.Store.KeyByID(ctx, id, presented)
}

// clock is a time that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// keyring is an Access with a tenant, over a database of its own.
type keyring struct {
	*testing.T
	*Access
	counted *counted
	url     string
	clock   *clock
	tenant  session.TenantID
}

func newKeyring(t *testing.T, config Config) *keyring {
	t.Helper()
	url := pgtest.New(t, migrate)
	k := &keyring{T: t, url: url, clock: &clock{now: time.Now()}}
	k.open(config)
	tenant, err := k.counted.CreateTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	k.tenant = tenant
	return k
}

func (k *keyring) open(config Config) {
	opened, err := store.Open(k.url, store.Options{MaxOpen: 4})
	if err != nil {
		k.Fatal(err)
	}
	k.Cleanup(func() { opened.Close() })
	k.counted = &counted{Store: opened}
	k.Access = New(k.counted, config)
	k.Access.now = k.clock.Now
}

// process is another process on the same database and clock.
func (k *keyring) process() *keyring {
	other := &keyring{T: k.T, url: k.url, clock: k.clock, tenant: k.tenant}
	other.open(k.config)
	return other
}

func (k *keyring) operator() store.Actor {
	return store.Actor{Tenant: k.tenant, Key: store.Operator}
}

// create makes a key.
func (k *keyring) create(r KeyRequest) apikey.Key {
	k.Helper()
	_, secret, err := k.CreateKey(k.Context(), k.operator(), r)
	if err != nil {
		k.Fatal(err)
	}
	return secret
}

// put stores a key that somebody chose.
func (k *keyring) put(text string) {
	k.Helper()
	id, hash, err := apikey.Parse(text)
	if err != nil {
		k.Fatal(err)
	}
	if err := k.counted.AdmitKey(k.Context(), k.tenant, store.NewKey{ID: id, Hash: hash[:], Scope: store.ScopeTenant}); err != nil {
		k.Fatal(err)
	}
}

// revoke ends a key behind this process's back.
func (k *keyring) revoke(key apikey.Key) {
	k.Helper()
	if err := k.counted.RevokeKey(k.Context(), k.operator(), key.ID()); err != nil {
		k.Fatal(err)
	}
}

// want authenticates and checks the outcome and how many look-ups there were in all.
func (k *keyring) want(key apikey.Key, outcome error, lookups int64) {
	k.Helper()
	caller, err := k.Authenticate(k.Context(), key.Reveal())
	if !errors.Is(err, outcome) || (err == nil) != (caller == Caller{Tenant: k.tenant, KeyID: key.ID(), Scope: store.ScopeTenant}) {
		k.Errorf("caller %+v, error %v; want error %v", caller, err, outcome)
	}
	if got := k.counted.lookups.Load(); got != lookups {
		k.Errorf("%d look-ups, want %d", got, lookups)
	}
}
