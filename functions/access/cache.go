package access

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
	// maxCachedKeys bounds each memory of keys, the one of those that nobody has
	// too: callers can make ids up.
	maxCachedKeys = 4096
	// maxMistakes is how many wrong secrets an id may get before it is looked up
	// again.
	maxMistakes = 100
)

// keyCache remembers keys by id for a bounded time. Trouble of the database is
// never remembered.
type keyCache struct {
	keys Finder

	mu      sync.Mutex // guards the maps; not held while the database is asked
	known   map[string]cachedKey
	unknown map[string]cachedKey
}

type cachedKey struct {
	key      store.PresentedKey // without a hash: there is no such key
	until    time.Time
	mistakes int
}

func newKeyCache(keys Finder) *keyCache {
	return &keyCache{keys: keys, known: map[string]cachedKey{}, unknown: map[string]cachedKey{}}
}

// get returns an empty key, which no presented one matches, where the id is
// unknown.
func (c *keyCache) get(ctx context.Context, id string, presented apikey.Hash, now time.Time) (store.PresentedKey, error) {
	if key, ok := c.cached(id, now); ok {
		return key, nil
	}
	key, err := c.keys.KeyByID(ctx, id, presented[:])
	switch {
	case errors.Is(err, session.ErrNotFound):
		c.remember(c.unknown, id, cachedKey{until: now.Add(unknownKeyLife)}, now)
		return store.PresentedKey{}, nil
	case err != nil:
		return store.PresentedKey{}, err
	}
	life := keyLife
	if key.Left > 0 {
		life = min(life, key.Left)
	}
	c.remember(c.known, id, cachedKey{key: key, until: now.Add(life)}, now)
	return key, nil
}

func (c *keyCache) cached(id string, now time.Time) (store.PresentedKey, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if entry, ok := c.known[id]; ok && now.Before(entry.until) {
		return entry.key, true
	}
	entry, ok := c.unknown[id]
	return store.PresentedKey{}, ok && now.Before(entry.until)
}

// mistake counts a wrong secret and says how to refuse it.
func (c *keyCache) mistake(id string, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, entries := range []map[string]cachedKey{c.known, c.unknown} {
		entry, ok := entries[id]
		if !ok || !now.Before(entry.until) {
			continue
		}
		if entry.mistakes == maxMistakes {
			return &LimitedError{RetryAfter: entry.until.Sub(now)}
		}
		entry.mistakes++
		entries[id] = entry
	}
	return ErrKeyInvalid
}

func (c *keyCache) remember(entries map[string]cachedKey, id string, entry cachedKey, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(entries) >= maxCachedKeys {
		makeRoom(entries, now)
	}
	entries[id] = entry
}

// makeRoom drops what has passed, and everything where nothing has: asking
// again is cheap, growing is not.
func makeRoom(entries map[string]cachedKey, now time.Time) {
	for id, entry := range entries {
		if !now.Before(entry.until) {
			delete(entries, id)
		}
	}
	if len(entries) >= maxCachedKeys {
		clear(entries)
	}
}

// forget makes the next request look a key up again.
func (c *keyCache) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, id)
}
