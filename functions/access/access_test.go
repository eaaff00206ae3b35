package access

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func TestAKeyIsLookedUpOncePer30Seconds(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, Config{})
	key := k.create(KeyRequest{})
	k.want(key, nil, 1)
	k.revoke(key) // the cache may not know for 30 s
	k.clock.add(30*time.Second - 1)
	k.want(key, nil, 1)
	k.clock.add(1)
	k.want(key, ErrKeyInvalid, 2)
	k.want(key, ErrKeyInvalid, 2)
}

func TestARevocationHereWorksAtOnce(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, Config{})
	key, other := k.create(KeyRequest{}), k.process()
	k.want(key, nil, 1)
	other.want(key, nil, 1)
	if err := k.RevokeKey(t.Context(), k.operator(), key.ID()); err != nil {
		t.Fatal(err)
	}
	k.want(key, ErrKeyInvalid, 2)
	other.want(key, nil, 1)
	k.clock.add(keyLife)
	other.want(key, ErrKeyInvalid, 2)
}

func TestAKeyExpiresOnTime(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, Config{})
	// The remaining life is the database's; the moment may be used up by a slow machine.
	key := k.create(KeyRequest{ExpiresIn: 20 * time.Second})
	k.want(key, nil, 1)
	k.clock.add(20 * time.Second)
	if _, cached := k.keys.cached(key.ID(), k.clock.Now()); cached {
		t.Error("remembered beyond its expiry")
	}
	if _, err := k.counted.DB().ExecContext(t.Context(), `UPDATE api_key SET expires_at = now()`); err != nil {
		t.Fatal(err)
	}
	k.want(key, ErrKeyInvalid, 2)
}

func TestARotationWithAGrace(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, Config{})
	old := k.create(KeyRequest{})
	_, next, err := k.RotateKey(t.Context(), k.operator(), old.ID(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	k.want(old, nil, 1)
	k.want(next, nil, 2)
	_, last, err := k.RotateKey(t.Context(), k.operator(), next.ID(), 0)
	if err != nil {
		t.Fatal(err)
	}
	k.want(next, ErrKeyInvalid, 3)
	k.want(last, nil, 4)
	if _, _, err := k.RotateKey(t.Context(), k.operator(), next.ID(), 0); !errors.Is(err, ErrKeyNotFound) {
		t.Errorf("a revoked key is rotated: %v", err)
	}
	var field *session.FieldError
	if _, _, err := k.RotateKey(t.Context(), k.operator(), last.ID(), -1); !errors.As(err, &field) || field.Field != "grace" {
		t.Errorf("a negative grace: %v", err)
	}
}

func TestAnUnknownKeyIsForgottenSoon(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, Config{})
	const text = "a-key-somebody-chose"
	want := func(outcome error, lookups int64) {
		t.Helper()
		if _, err := k.Authenticate(t.Context(), text); !errors.Is(err, outcome) || k.counted.lookups.Load() != lookups {
			t.Errorf("error %v, %d look-ups", err, k.counted.lookups.Load())
		}
	}
	want(ErrKeyInvalid, 1)
	k.put(text)
	want(ErrKeyInvalid, 1)
	k.clock.add(time.Second)
	want(nil, 2)
}

func TestTroubleIsNotRemembered(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, Config{})
	key := k.create(KeyRequest{})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.Authenticate(ended, key.Reveal()); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	k.want(key, nil, 2)
}

func TestMalformedAndWeakKeysAskNobody(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, Config{})
	k.put("k") // as make run does on a database that others use too
	for _, text := range []string{"", "two words", "k", strings.Repeat("k", 15)} {
		if _, err := k.Authenticate(t.Context(), text); !errors.Is(err, ErrKeyInvalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if n := k.counted.lookups.Load(); n != 0 {
		t.Errorf("%d look-ups", n)
	}
	k.open(Config{WeakKeys: true})
	if _, err := k.Authenticate(t.Context(), "k"); err != nil {
		t.Errorf("on the loopback: %v", err)
	}
}

// TestGuessesCostTheDatabaseNothing: the right secret is never slowed down by
// somebody who tries wrong ones.
func TestGuessesCostTheDatabaseNothing(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, Config{})
	key := k.create(KeyRequest{})
	guess := func() error {
		_, err := k.Authenticate(t.Context(), key.Reveal()[:20]+apikey.New().Reveal()[20:])
		return err
	}
	for range maxMistakes {
		if err := guess(); !errors.Is(err, ErrKeyInvalid) {
			t.Fatal(err)
		}
	}
	var limited *LimitedError
	k.clock.add(10 * time.Second)
	for range 1000 {
		if err := guess(); !errors.As(err, &limited) || limited.RetryAfter != 20*time.Second {
			t.Fatal(err)
		}
	}
	k.want(key, nil, 1)
	k.clock.add(20 * time.Second)
	k.want(key, nil, 2)
	if err := guess(); !errors.Is(err, ErrKeyInvalid) {
		t.Error(err)
	}
}

// TestMadeUpIDsTakeBoundedMemory is alone while it measures.
func TestMadeUpIDsTakeBoundedMemory(t *testing.T) {
	k := newKeyring(t, Config{RatePerSecond: 1, RateBurst: 1})
	key := k.create(KeyRequest{})
	k.want(key, nil, 1)
	cache := newKeyCache(nobody{})
	cache.remember(cache.known, "real", cachedKey{until: k.clock.Now().Add(keyLife)}, k.clock.Now())
	before := heap()
	for i := range 100_000 {
		if _, err := cache.get(t.Context(), fmt.Sprint("made-up-", i), apikey.Hash{}, k.clock.Now()); err != nil {
			t.Fatal(err)
		}
		if len(cache.unknown) > maxCachedKeys {
			t.Fatalf("%d entries", len(cache.unknown))
		}
	}
	if _, ok := cache.cached("real", k.clock.Now()); !ok {
		t.Error("made-up ids push real ones out")
	}
	for i := range 100_000 {
		k.rates.spend(fmt.Sprint("key-", i), k.clock.Now())
		if len(k.rates.byKey) > maxBuckets {
			t.Fatalf("%d buckets", len(k.rates.byKey))
		}
	}
	if grown := heap() - before; grown > 16<<20 {
		t.Errorf("%d KiB more", grown>>10)
	}
	runtime.KeepAlive(cache)
	runtime.KeepAlive(k)
}

// nobody has no key.
type nobody struct{}

func (nobody) KeyByID(context.Context, string, []byte) (store.PresentedKey, error) {
	return store.PresentedKey{}, session.ErrNotFound
}

func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func TestDeadEntriesMakeRoomFirst(t *testing.T) {
	t.Parallel()
	cache := newKeyCache(nil)
	now := time.Now()
	cache.remember(cache.known, "stays", cachedKey{until: now.Add(time.Hour)}, now)
	for i := range 2 * maxCachedKeys {
		cache.remember(cache.known, fmt.Sprint(i), cachedKey{until: now}, now) // passes at once
	}
	if _, ok := cache.cached("stays", now); !ok {
		t.Error("a living entry made room for dead ones")
	}
	for i := range maxCachedKeys {
		cache.remember(cache.known, fmt.Sprint("new", i), cachedKey{until: now.Add(time.Hour)}, now)
	}
	if len(cache.known) > maxCachedKeys {
		t.Fatalf("%d entries", len(cache.known))
	}
}

// TestHashesAreComparedInConstantTime reads the source: a measurement on a busy
// machine would show anything.
func TestHashesAreComparedInConstantTime(t *testing.T) {
	t.Parallel()
	source := func(file string) string {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const compare = "func Matches(stored []byte, presented Hash) bool {\n\treturn subtle.ConstantTimeCompare(stored, presented[:]) == 1\n}"
	if !strings.Contains(source("../../shared/apikey/apikey.go"), compare) {
		t.Error("apikey.Matches compares otherwise")
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	decides := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text := source(file)
		decides += strings.Count(text, "apikey.Matches(key.Hash, hash)")
		if strings.Contains(text, "bytes.Equal") || strings.Contains(text, ".Hash ==") {
			t.Errorf("%s compares hashes otherwise", file)
		}
	}
	if decides != 1 {
		t.Errorf("%d places decide about a key", decides)
	}
}

func TestCallersCarryTheirTenantsQuota(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, Config{SessionQuota: 7})
	key := k.create(KeyRequest{Scope: store.ScopeRead, Session: "a"})
	quota := func() int {
		t.Helper()
		k.clock.add(keyLife)
		caller, err := k.Authenticate(t.Context(), key.Reveal())
		if err != nil || caller.Scope != store.ScopeRead || caller.Session != "a" {
			t.Fatalf("%+v, %v", caller, err)
		}
		return caller.Quota
	}
	if n := quota(); n != 7 {
		t.Errorf("the default is %d", n)
	}
	for _, own := range []int{3, 0} {
		if err := k.SetQuota(t.Context(), k.operator(), &own); err != nil {
			t.Fatal(err)
		}
		if n := quota(); n != own {
			t.Errorf("quota %d, want %d", n, own)
		}
	}
	if err := k.SetQuota(t.Context(), k.operator(), nil); err != nil || quota() != 7 {
		t.Errorf("back to the default: %v", err)
	}
}

func TestTwoProcessesNoteUseOnceAMinute(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, Config{})
	key, other := k.create(KeyRequest{}), k.process()
	uses := func() (n int) {
		t.Helper()
		if err := k.counted.DB().QueryRowContext(t.Context(), `SELECT count(*) FROM uses`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	const watch = `CREATE TABLE uses (n int); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO uses VALUES (1); RETURN NEW; END';
		CREATE TRIGGER note AFTER UPDATE ON api_key FOR EACH ROW EXECUTE FUNCTION note()`
	if _, err := k.counted.DB().ExecContext(t.Context(), watch); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 10 {
		for _, process := range []*keyring{k, other} {
			all.Go(func() {
				if _, err := process.Authenticate(t.Context(), key.Reveal()); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	k.clock.add(keyLife) // both ask the database again, within its minute
	for _, process := range []*keyring{k, other} {
		if _, err := process.Authenticate(t.Context(), key.Reveal()); err != nil {
			t.Error(err)
		}
	}
	if n := uses(); n != 1 {
		t.Errorf("%d writes of last_used_at", n)
	}
}
