package httpapi_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/functions/control"
	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// fakeKeys is a store that has nothing but keys, so that a test can own the time.
type fakeKeys struct {
	access.Store
	keys    map[string]store.PresentedKey
	lookups int
}

func (f *fakeKeys) KeyByID(_ context.Context, id string, _ []byte) (store.PresentedKey, error) {
	f.lookups++
	if key, ok := f.keys[id]; ok {
		return key, nil
	}
	return store.PresentedKey{}, session.ErrNotFound
}

func (f *fakeKeys) add() apikey.Key {
	key := apikey.New()
	hash := key.Hash()
	f.keys[key.ID()] = store.PresentedKey{
		Key: store.Key{ID: key.ID(), Tenant: "t", Scope: store.ScopeTenant}, Hash: hash[:], Left: time.Hour,
	}
	return key
}

// timeless is the API over keys alone.
func timeless(t *testing.T, config access.Config) (*service, *fakeKeys) {
	keys := &fakeKeys{keys: map[string]store.PresentedKey{}}
	s := &service{TB: t, key: keys.add(), log: &logBuffer{}}
	s.Handler = httpapi.New(control.New(nil, control.Config{}), access.New(keys, config), httpapi.Config{Log: slog.New(slog.NewJSONHandler(s.log, nil))})
	return s, keys
}

func TestTheRateLimitOnTheWire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, keys := timeless(t, access.Config{RatePerSecond: 0.5, RateBurst: 2})
		other := keys.add()
		want := func(a ask, status int, remaining, reset, retryAfter string) {
			t.Helper()
			got := s.do(a).want(status)
			header := got.Header()
			for name, value := range map[string]string{"RateLimit-Limit": "2", "RateLimit-Remaining": remaining, "RateLimit-Reset": reset, "Retry-After": retryAfter} {
				if header.Get(name) != value {
					t.Errorf("%s is %q, want %q", name, header.Get(name), value)
				}
			}
			if status == http.StatusTooManyRequests {
				got.wantError(status, httpapi.CodeRateLimited)
			}
		}
		version := ask{path: "/api/server/version"}
		want(version, http.StatusOK, "1", "2", "")
		want(ask{path: "/api/what"}, http.StatusNotFound, "0", "4", "") // every authenticated answer has them
		want(version, http.StatusTooManyRequests, "0", "4", "2")
		want(ask{path: "/api/server/version", key: other.Reveal()}, http.StatusOK, "1", "2", "")
		time.Sleep(1500 * time.Millisecond)
		want(version, http.StatusTooManyRequests, "0", "3", "1")
		time.Sleep(500 * time.Millisecond)
		want(version, http.StatusOK, "0", "4", "")
		want(ask{method: http.MethodPost, path: "/api/keys", key: other.Reveal()}, http.StatusForbidden, "1", "2", "")
		for _, open := range []ask{{path: "/ping", noKey: true}, {path: "/api/server/version", noKey: true}, {path: "/api/server/version", key: "nobody-has-this-key"}} {
			if header := s.do(open).Header(); header.Get("RateLimit-Limit") != "" {
				t.Errorf("%+v: %v", open, header)
			}
		}
	})
}

func TestGuessingIsSlowedDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, keys := timeless(t, access.Config{})
		guess := ask{path: "/api/server/version", key: s.key.Reveal()[:20] + apikey.New().Reveal()[20:]}
		for range 100 {
			s.do(guess).wantError(http.StatusUnauthorized, httpapi.CodeKeyInvalid)
		}
		limited := s.do(guess)
		limited.wantError(http.StatusTooManyRequests, httpapi.CodeRateLimited)
		if after := limited.Header().Get("Retry-After"); after != "30" {
			t.Errorf("Retry-After %q", after)
		}
		s.get("/api/server/version").want(http.StatusOK) // the right one is not slowed down
		if keys.lookups != 1 {
			t.Errorf("%d look-ups", keys.lookups)
		}
		after, err := strconv.Atoi(limited.Header().Get("Retry-After"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(after) * time.Second)
		s.do(guess).wantError(http.StatusUnauthorized, httpapi.CodeKeyInvalid)
	})
}

// TestNobodyIsInWithoutAKey: a table without keys opens nothing.
func TestNobodyIsInWithoutAKey(t *testing.T) {
	t.Parallel()
	opened, err := store.Open(pgtest.New(t, migrate), store.Options{MaxOpen: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	var log bytes.Buffer
	s := &service{TB: t, store: opened, key: apikey.New()}
	s.Handler = httpapi.New(control.New(opened, control.Config{SQLiteAvailable: true}), access.New(opened, access.DefaultConfig()), httpapi.Config{Log: slog.New(slog.NewJSONHandler(&log, nil))})
	for _, e := range endpoints {
		path := strings.ReplaceAll(e.path, "{session}", "a")
		for _, a := range []ask{{noKey: true}, {key: apikey.New().Reveal()}, {key: "admin"}, {key: "00000000-0000-0000-0000-000000000000"}} {
			a.method, a.path, a.body = e.method, path, e.body
			if got := s.do(a); got.Code != http.StatusUnauthorized {
				t.Errorf("%s %s: %d %s", e.method, path, got.Code, got.Body)
			}
		}
	}
	for _, table := range []string{"tenant", "api_key", "session", "audit"} {
		var n int
		if err := opened.DB().QueryRow(`SELECT count(*) FROM ` + table).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d rows in %s, %v", n, table, err)
		}
	}
}

// TestEveryBuiltRouteIsTested keeps the list of endpoints complete.
func TestEveryBuiltRouteIsTested(t *testing.T) {
	t.Parallel()
	if missing := httpapi.RoutesMissingFrom(func(method, pattern string) bool {
		for _, e := range endpoints {
			if e.method == method && (e.path == pattern || strings.HasPrefix(pattern, "/api/keys/") && strings.HasPrefix(e.path, "/api/keys/")) {
				return true
			}
		}
		return false
	}); len(missing) > 0 {
		t.Errorf("no scope is tested on %v", missing)
	}
}
