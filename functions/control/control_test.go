package control

import (
	"context"
	"errors"
	"fmt"
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

func (c *counted) KeyByID(ctx context.Context, id string) (store.Key, error) {
	c.lookups.Add(1)
	return c.Store.KeyByID(ctx, id)
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

type keyring struct {
	*testing.T
	*Control
	store  *counted
	clock  *clock
	tenant session.TenantID
}

func newKeyring(t *testing.T) *keyring {
	t.Helper()
	opened, err := store.Open(pgtest.New(t, migrate), store.Options{MaxOpen: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	tenant, err := opened.CreateTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	k := &keyring{T: t, store: &counted{Store: opened}, clock: &clock{now: time.Now()}, tenant: tenant}
	k.Control = New(k.store, Config{})
	k.keys.now = k.clock.Now
	return k
}

func (k *keyring) put(key apikey.Key, revoked bool) {
	k.Helper()
	hash := key.Hash()
	if err := k.store.PutKey(k.Context(), store.Key{ID: key.ID(), Tenant: k.tenant, Hash: hash[:], Revoked: revoked}, "test"); err != nil {
		k.Fatal(err)
	}
}

// want authenticates and checks the outcome and how many look-ups there were in all.
func (k *keyring) want(key apikey.Key, outcome error, lookups int64) {
	k.Helper()
	caller, err := k.Authenticate(k.Context(), key.Reveal())
	if !errors.Is(err, outcome) || (err == nil) != (caller == Caller{Tenant: k.tenant, KeyID: key.ID()}) {
		k.Errorf("caller %+v, error %v; want error %v", caller, err, outcome)
	}
	if got := k.store.lookups.Load(); got != lookups {
		k.Errorf("%d look-ups, want %d", got, lookups)
	}
}

func TestAKeyIsLookedUpOncePer30Seconds(t *testing.T) {
	t.Parallel()
	k := newKeyring(t)
	key := apikey.New()
	k.put(key, false)
	k.want(key, nil, 1)
	k.put(key, true) // revoked; the cache may not know for 30 s
	k.clock.add(30*time.Second - 1)
	k.want(key, nil, 1)
	k.clock.add(1)
	k.want(key, ErrKeyInvalid, 2)
	k.want(key, ErrKeyInvalid, 2)
}

func TestAnUnknownKeyIsForgottenSoon(t *testing.T) {
	t.Parallel()
	k := newKeyring(t)
	key := apikey.New()
	k.want(key, ErrKeyInvalid, 1)
	k.put(key, false)
	k.want(key, ErrKeyInvalid, 1)
	k.clock.add(time.Second)
	k.want(key, nil, 2)
}

func TestTroubleIsNotRemembered(t *testing.T) {
	t.Parallel()
	k := newKeyring(t)
	key := apikey.New()
	k.put(key, false)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.Authenticate(ended, key.Reveal()); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	k.want(key, nil, 2)
}

func TestMalformedKeysAskNobody(t *testing.T) {
	t.Parallel()
	k := newKeyring(t)
	if _, err := k.Authenticate(t.Context(), "two words"); !errors.Is(err, ErrKeyInvalid) {
		t.Errorf("error %v", err)
	}
	if n := k.store.lookups.Load(); n != 0 {
		t.Errorf("%d look-ups", n)
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	t.Parallel()
	cache := newKeyCache(nil)
	now := time.Now()
	cache.remember("stays", cachedKey{until: now.Add(time.Hour)}, now)
	for i := range 2 * maxCachedKeys {
		cache.remember(fmt.Sprint(i), cachedKey{until: now}, now) // passes at once
		if len(cache.entries) > maxCachedKeys {
			t.Fatalf("%d entries", len(cache.entries))
		}
	}
	if _, ok := cache.cached("stays", now); !ok {
		t.Error("a living entry made room for dead ones")
	}
	for i := range maxCachedKeys {
		cache.remember(fmt.Sprint("new", i), cachedKey{until: now.Add(time.Hour)}, now)
	}
	if len(cache.entries) > maxCachedKeys {
		t.Fatalf("%d entries", len(cache.entries))
	}
}

func TestPollEndsWithTheLastAnswer(t *testing.T) {
	t.Parallel()
	waiting := errors.New("not yet")
	ctx, cancel := context.WithCancel(t.Context())
	looks := 0
	err := poll(ctx, func() (bool, error) {
		looks++
		if looks == 3 {
			cancel()
			return false, session.ErrUnavailable // cut short by the end itself
		}
		return true, waiting
	})
	if !errors.Is(err, waiting) || looks != 3 {
		t.Errorf("error %v after %d looks", err, looks)
	}
	if err := poll(t.Context(), func() (bool, error) { return false, session.ErrUnavailable }); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}
