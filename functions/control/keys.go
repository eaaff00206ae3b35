package control

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

const (
	// keyLife is how long a revoked key may still work.
	keyLife = 30 * time.Second
	// unknownKeyLife is how long a key just made may be refused, where somebody
	// tried it before it existed.
	unknownKeyLife = time.Second
	// maxCachedKeys bounds the memory that callers with made-up ids can take.
	maxCachedKeys = 4096
)

// Caller is who sent a request.
type Caller struct {
	Tenant session.TenantID
	KeyID  string // public part of the key
	Quota  int    // of sessions, 0 for any number
}

// Authenticate recognises a key. Errors: [ErrKeyInvalid],
// session.ErrUnavailable.
func (c *Control) Authenticate(ctx context.Context, presented string) (Caller, error) {
	id, hash, err := apikey.Parse(presented)
	if err != nil {
		return Caller{}, ErrKeyInvalid
	}
	key, err := c.keys.get(ctx, id)
	if err != nil {
		return Caller{}, err
	}
	if !apikey.Matches(key.Hash, hash) || key.Revoked {
		return Caller{}, ErrKeyInvalid
	}
	return Caller{Tenant: key.Tenant, KeyID: key.ID}, nil
}

// keyCache remembers keys by id for a bounded time. Trouble of the database is
// never remembered.
type keyCache struct {
	keys Keys
	now  func() time.Time // wall time

	mu      sync.Mutex // guards entries; not held while the database is asked
	entries map[string]cachedKey
}

type cachedKey struct {
	key   store.Key // without a hash: there is no such key
	until time.Time
}

func newKeyCache(keys Keys) *keyCache {
	return &keyCache{keys: keys, now: wallTime, entries: map[string]cachedKey{}}
}

// wallTime leaves the monotonic reading out: that one may stand still while
// Lambda freezes the process, and a revoked key would work for longer.
func wallTime() time.Time { return time.Now().Round(0) }

// get returns an empty key, which no presented one matches, where the id is
// unknown.
func (c *keyCache) get(ctx context.Context, id string) (store.Key, error) {
	asked := c.now()
	if key, ok := c.cached(id, asked); ok {
		return key, nil
	}
	key, err := c.keys.KeyByID(ctx, id)
	life := keyLife
	if errors.Is(err, session.ErrNotFound) {
		key, life, err = store.Key{}, unknownKeyLife, nil
	}
	if err != nil {
		return store.Key{}, err
	}
	c.remember(id, cachedKey{key: key, until: asked.Add(life)}, asked)
	return key, nil
}

func (c *keyCache) cached(id string, now time.Time) (store.Key, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	entry, ok := c.entries[id]
	return entry.key, ok && now.Before(entry.until)
}

func (c *keyCache) remember(id string, entry cachedKey, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= maxCachedKeys {
		c.makeRoom(now)
	}
	c.entries[id] = entry
}

// makeRoom drops what has passed, and everything where nothing has: asking
// again is cheap, growing is not.
func (c *keyCache) makeRoom(now time.Time) {
	for id, entry := range c.entries {
		if !now.Before(entry.until) {
			delete(c.entries, id)
		}
	}
	if len(c.entries) >= maxCachedKeys {
		clear(c.entries)
	}
}
