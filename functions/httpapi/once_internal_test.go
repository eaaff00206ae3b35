package httpapi

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/functions/control"
	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/schema"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// own is a handler with a database and a key, for routes that a test adds.
type own struct {
	*Handler
	store *store.Store
	key   apikey.Key
	log   bytes.Buffer
}

func newOwn(t *testing.T) *own {
	t.Helper()
	opened, err := store.Open(pgtest.New(t, func(ctx context.Context, url string) error { return schema.Migrate(ctx, url, nil) }), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	tenant, err := opened.CreateTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	o := &own{store: opened, key: apikey.New()}
	id, hash, err := apikey.Parse(o.key.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.AdmitKey(t.Context(), tenant, store.NewKey{ID: id, Hash: hash[:], Scope: store.ScopeTenant}); err != nil {
		t.Fatal(err)
	}
	o.Handler = New(control.New(opened, control.Config{}), access.New(opened, access.Config{}), Config{Log: slog.New(slog.NewJSONHandler(&o.log, nil))})
	return o
}

// post sends a request that can be repeated.
func (o *own) post(path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, nil)
	r.Header.Set("apikey", o.key.Reveal())
	r.Header.Set("Idempotency-Key", "k"+path)
	w := httptest.NewRecorder()
	o.ServeHTTP(w, r)
	return w
}

func (o *own) wantRows(t *testing.T, want string) {
	t.Helper()
	var rows string
	const all = `SELECT COALESCE(string_agg(status || ' ' || convert_from(body, 'UTF8'), ', ' ORDER BY key), '') FROM idempotency`
	if err := o.store.DB().QueryRow(all).Scan(&rows); err != nil || rows != want {
		t.Errorf("stored %q, want %q, error %v", rows, want, err)
	}
}

func TestACredentialIsNotStored(t *testing.T) {
	t.Parallel()
	o := newOwn(t)
	o.routes.add(route{method: http.MethodPost, pattern: "/api/made", needs: access.Act, keeps: without("key"), do: func(c *call) error {
		return writeJSON(c, http.StatusCreated, map[string]any{"id": "one", "key": "hidden", "key2": "a\"b"})
	}})
	if first := o.post("/api/made"); first.Code != http.StatusCreated || !strings.Contains(first.Body.String(), `"key":"hidden"`) {
		t.Errorf("%d %s", first.Code, first.Body)
	}
	again := o.post("/api/made")
	const kept = "{\"id\":\"one\",\"key2\":\"a\\\"b\"}\n"
	if again.Code != http.StatusCreated || again.Body.String() != kept || again.Header().Get("Idempotency-Replayed") != "true" {
		t.Errorf("%d %v %s", again.Code, again.Header(), again.Body)
	}
	o.wantRows(t, "201 "+kept)
	for _, body := range []string{`"hidden"`, `[{"key":"hidden"}]`, `{`, ``} {
		if got := without("key").of(answer{Status: http.StatusOK, Body: []byte(body)}); got != nil {
			t.Errorf("%s is kept as %s", body, got.Body)
		}
	}
}

func TestAPanicFreesItsKey(t *testing.T) {
	t.Parallel()
	o := newOwn(t)
	panics := true
	o.routes.add(route{method: http.MethodPost, pattern: "/api/early", needs: access.Act, do: func(c *call) error {
		if panics {
			panic("inner secret")
		}
		return writeJSON(c, http.StatusOK, "fine")
	}})
	o.routes.add(route{method: http.MethodPost, pattern: "/api/late", needs: access.Act, do: func(c *call) error {
		_ = writeJSON(c, http.StatusOK, "done")
		panic("too late")
	}})
	if early := o.post("/api/early"); early.Code != http.StatusInternalServerError || strings.Contains(early.Body.String(), "inner secret") {
		t.Errorf("%d %s", early.Code, early.Body)
	}
	o.wantRows(t, "")
	panics = false
	if again := o.post("/api/early"); again.Code != http.StatusOK || again.Header().Get("Idempotency-Replayed") != "" {
		t.Errorf("%d %s", again.Code, again.Body)
	}
	// What was done before the panic is done.
	if late := o.post("/api/late"); late.Code != http.StatusOK || late.Body.String() != "\"done\"\n" {
		t.Errorf("%d %s", late.Code, late.Body)
	}
	o.wantRows(t, "200 \"fine\"\n, 200 \"done\"\n")
	if log := o.log.String(); strings.Count(log, "panic in a request") != 2 {
		t.Errorf("log %s", log)
	}
}

// TestWhatIsNotKept: an answer that a second try could better.
func TestWhatIsNotKept(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{
		0: false, 200: true, 201: true, 400: true, 404: true, 409: true, 422: true,
		401: false, 403: false, 429: false, 499: false, 500: false, 501: false, 503: false, 504: false,
	} {
		if got := (keep{}).of(answer{Status: status}) != nil; got != want {
			t.Errorf("%d is kept: %v", status, got)
		}
	}
}

// TestFingerprintsTellRequestsApart: no part may run into the next one.
func TestFingerprintsTellRequestsApart(t *testing.T) {
	t.Parallel()
	seen := map[[32]byte]string{}
	for _, one := range []struct {
		key, method string
		segments    []string
		body        string
	}{
		{"k", "POST", []string{"a", "b"}, ""}, {"k", "POST", []string{"a/b"}, ""}, {"k", "POST", []string{"ab"}, ""}, {"k", "POST", []string{"a"}, "b"}, {"k", "POST", []string{"a"}, "/b"},
		{"k", "POST", nil, "ab"}, {"kP", "OST", nil, "ab"}, {"k", "PUT", nil, "ab"}, {"", "kPOST", nil, "ab"}, {"k", "POST", []string{"/"}, ""}, {"k", "POST", []string{"%2F"}, ""}, {"k", "POST", nil, ""},
	} {
		c := &call{r: &http.Request{Method: one.method}, caller: access.Caller{Tenant: session.NewTenantID(), KeyID: one.key}, segments: one.segments}
		sum := fingerprintOf(c, []byte(one.body))
		if before, known := seen[sum]; known {
			t.Errorf("%v is %s", one, before)
		}
		seen[sum] = strings.Join(one.segments, "|")
		if again := fingerprintOf(c, []byte(one.body)); again != sum {
			t.Errorf("%v has two", one)
		}
	}
}

// BenchmarkCompress: a list of a hundred sessions.
func BenchmarkCompress(b *testing.B) {
	body := bytes.Repeat([]byte(`{"session":"my-session","name":"my-session","status":"WORKING","config":{"log":{"level":"INFO"}}},`), 300)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		_, release := compress(body)
		release()
	}
}
