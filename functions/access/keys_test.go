package access

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func fieldsOf(err error) []string {
	var one *session.FieldError
	var many session.FieldErrors
	if errors.As(err, &one) {
		many = session.FieldErrors{one}
	} else {
		errors.As(err, &many)
	}
	var names []string
	for _, mistake := range many {
		names = append(names, mistake.Field)
	}
	return names
}

func TestKeyRequestsAreChecked(t *testing.T) {
	t.Parallel()
	a := New(nil, Config{})
	soon, late := time.Now().Add(time.Hour), time.Now().Add(11*365*24*time.Hour)
	for _, one := range []struct {
		KeyRequest
		wrong []string
		scope store.Scope
	}{
		{KeyRequest{}, nil, store.ScopeTenant},
		{KeyRequest{Session: "a"}, nil, store.ScopeSession},
		{KeyRequest{Scope: store.ScopeRead, Session: "a", ExpiresAt: soon}, nil, store.ScopeRead},
		{KeyRequest{Scope: store.ScopeRead, ExpiresIn: time.Second}, nil, store.ScopeRead},
		{KeyRequest{Scope: store.ScopeAdmin, Name: strings.Repeat("ä", 100)}, nil, store.ScopeAdmin},
		{KeyRequest{Name: strings.Repeat("a", 101)}, []string{"name"}, ""},
		{KeyRequest{Name: "a\nb"}, []string{"name"}, ""},
		{KeyRequest{Name: "a\x00"}, []string{"name"}, ""},
		{KeyRequest{Name: "\xff"}, []string{"name"}, ""},
		{KeyRequest{Scope: "root"}, []string{"scope"}, ""},
		{KeyRequest{Scope: store.ScopeSession}, []string{"session"}, ""},
		{KeyRequest{Scope: store.ScopeTenant, Session: "a"}, []string{"session"}, ""},
		{KeyRequest{Scope: store.ScopeAdmin, Session: "a"}, []string{"session"}, ""},
		{KeyRequest{Session: "a b"}, []string{"session"}, ""},
		{KeyRequest{Session: "keys"}, []string{"session"}, ""},
		{KeyRequest{ExpiresAt: time.Now().Add(-time.Second)}, []string{"expiresAt"}, ""},
		{KeyRequest{ExpiresAt: late}, []string{"expiresAt"}, ""},
		{KeyRequest{ExpiresAt: soon, ExpiresIn: time.Second}, []string{"expiresAt"}, ""},
		{KeyRequest{ExpiresIn: -time.Second}, []string{"expiresInSeconds"}, ""},
		{KeyRequest{Name: "\t", Scope: "x", ExpiresIn: 2 * MaxLife}, []string{"name", "scope", "expiresInSeconds"}, ""},
	} {
		checked, err := a.check(one.KeyRequest)
		if diff := cmp.Diff(one.wrong, fieldsOf(err)); diff != "" || checked.Scope != one.scope {
			t.Errorf("%+v: %+v, %v", one.KeyRequest, checked, err)
		}
	}
}

func TestDecodeKeyRequest(t *testing.T) {
	t.Parallel()
	at := time.Date(2040, 1, 31, 12, 0, 0, 0, time.UTC)
	for body, want := range map[string]KeyRequest{
		``: {}, `{}`: {}, ` {"webhooks":[1],"name":null,"isAdmin":null,"expiresInSeconds":null} `: {},
		`{"name":"n","scope":"read","session":"a","expiresAt":"2040-01-31T12:00:00Z"}`: {Name: "n", Scope: store.ScopeRead, Session: "a", ExpiresAt: at},
		`{"expiresInSeconds":90}`: {ExpiresIn: 90 * time.Second}, `{"expiresInSeconds":9e1}`: {ExpiresIn: 90 * time.Second},
		`{"isAdmin":true}`: {Scope: store.ScopeAdmin}, `{"isAdmin":false}`: {}, `{"isAdmin":false,"session":"a"}`: {Session: "a"},
		`{"isAdmin":true,"session":null}`: {Scope: store.ScopeAdmin}, `{"isAdmin":true,"scope":"admin"}`: {Scope: store.ScopeAdmin},
	} {
		if got, err := DecodeKeyRequest([]byte(body)); err != nil || !got.ExpiresAt.Equal(want.ExpiresAt) || !cmp.Equal(got, want) {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
	for body, field := range map[string]string{
		`{`: "body", `[]`: "body", `null`: "body", `{} {}`: "body", `"x"`: "body", "{\"name\":\"\xff\"}": "body",
		`{"scope":"read","scope":"admin"}`: "scope", `{"name":"n","x":{"y":1,"y":2}}`: "x.y", `{"name":"\u0000"}`: "name",
		`{"name":1}`: "name", `{"scope":["admin"]}`: "scope", `{"scope":""}`: "scope", `{"session":{}}`: "session", `{"isAdmin":"yes"}`: "isAdmin",
		`{"isAdmin":true,"scope":"read"}`: "isAdmin", `{"isAdmin":false,"scope":"admin"}`: "isAdmin",
		`{"expiresAt":"tomorrow"}`: "expiresAt", `{"expiresAt":"0001-01-01T00:00:00Z"}`: "expiresAt", `{"expiresAt":5}`: "expiresAt",
		`{"expiresInSeconds":0}`: "expiresInSeconds", `{"expiresInSeconds":-1}`: "expiresInSeconds", `{"expiresInSeconds":1.5}`: "expiresInSeconds",
		`{"expiresInSeconds":1e300}`: "expiresInSeconds", `{"expiresInSeconds":"60"}`: "expiresInSeconds", `{"expiresInSeconds":315360001}`: "expiresInSeconds",
	} {
		if got, err := DecodeKeyRequest([]byte(body)); !cmp.Equal(fieldsOf(err), []string{field}) {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
}

func FuzzDecodeKeyRequest(f *testing.F) {
	f.Add([]byte(`{"name":"n","scope":"read","session":"a","expiresAt":"2040-01-31T12:00:00Z"}`))
	f.Add([]byte(`{"isAdmin":true,"expiresInSeconds":1e3}`))
	a := New(nil, Config{})
	f.Fuzz(func(t *testing.T, body []byte) {
		request, err := DecodeKeyRequest(body)
		if err != nil {
			if len(fieldsOf(err)) == 0 {
				t.Fatalf("%q: %v names no field", body, err)
			}
			return
		}
		key, err := a.check(request)
		if (err == nil) == (key.Scope == "") || err != nil && len(fieldsOf(err)) == 0 {
			t.Fatalf("%q: %+v, %v", body, key, err)
		}
	})
}

func TestWhoManagesKeys(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, Config{})
	mine := k.create(KeyRequest{Scope: store.ScopeAdmin})
	me := Caller{Tenant: k.tenant, KeyID: mine.ID()}.Actor("r-1")
	if err := k.RevokeKey(t.Context(), me, mine.ID()); !errors.Is(err, ErrOwnKey) {
		t.Errorf("a key revokes itself: %v", err)
	}
	if err := k.RevokeKey(t.Context(), me, "nobody"); !errors.Is(err, ErrKeyNotFound) {
		t.Errorf("no such key: %v", err)
	}
	made, _, err := k.CreateKey(t.Context(), me, KeyRequest{Name: "n"})
	if err != nil || made.CreatedBy != mine.ID() {
		t.Errorf("%+v, %v", made, err)
	}
	entries, err := k.Audit(t.Context(), k.tenant, store.AuditFilter{Key: mine.ID(), Limit: 9})
	if err != nil || len(entries) != 1 || entries[0].Action != "key.create" || entries[0].Subject != made.ID || entries[0].Request != "r-1" {
		t.Errorf("%+v, %v", entries, err)
	}
}

func TestTenantsAreChecked(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, Config{})
	for _, name := range []string{"", " ", "a ", strings.Repeat("a", 101), "a\nb", "\xff"} {
		if _, err := k.CreateTenant(t.Context(), name); !cmp.Equal(fieldsOf(err), []string{"tenant"}) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := k.CreateTenant(t.Context(), "acme"); !errors.Is(err, store.ErrTenantExists) {
		t.Error(err)
	}
	if _, err := k.Operator(t.Context(), "nobody", ""); !errors.Is(err, ErrTenantNotFound) {
		t.Error(err)
	}
	if by, err := k.Operator(t.Context(), "acme", "r"); err != nil || by != (store.Actor{Tenant: k.tenant, Key: store.Operator, Request: "r"}) {
		t.Errorf("%+v, %v", by, err)
	}
	for _, n := range []int{-1, maxQuota + 1} {
		if err := k.SetQuota(t.Context(), k.operator(), &n); !cmp.Equal(fieldsOf(err), []string{"sessions"}) {
			t.Errorf("%d: %v", n, err)
		}
	}
}

// TestTheSecretIsNowhere looks for it in everything that is kept or printed.
func TestTheSecretIsNowhere(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, Config{})
	made, secret, err := k.CreateKey(t.Context(), k.operator(), KeyRequest{Name: "n"})
	if err != nil {
		t.Fatal(err)
	}
	_, next, err := k.RotateKey(t.Context(), k.operator(), secret.ID(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	caller, err := k.Authenticate(t.Context(), next.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	list, err := k.Keys(t.Context(), k.tenant, store.Page{Limit: 9})
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	fmt.Fprintf(&said, "%+v %#v %+v %+v", made, list, caller, secret)
	slog.New(slog.NewJSONHandler(&said, nil)).Info("x", "made", made, "secret", secret, "caller", caller)
	const everything = `SELECT string_agg(query_to_xml(format('SELECT * FROM %I', tablename), true, false, '')::text, '') FROM pg_tables WHERE schemaname = 'public'`
	var dump string
	if err := k.counted.DB().QueryRowContext(t.Context(), everything).Scan(&dump); err != nil {
		t.Fatal(err)
	}
	said.WriteString(dump)
	if strings.Count(dump, secret.ID()) < 3 { // its row, its birth and its rotation
		t.Errorf("the dump lacks the id: %s", dump)
	}
	for _, one := range []apikey.Key{secret, next} {
		if _, hidden, _ := strings.Cut(one.Reveal()[3:], "_"); strings.Contains(said.String(), hidden) {
			t.Error("the secret is kept or printed")
		}
	}
}
