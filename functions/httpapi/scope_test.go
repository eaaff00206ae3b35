package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/shared/store"
)

// keyOf makes a key over HTTP, with the service's own as the admin.
func (s *service) keyOf(body string) string {
	s.Helper()
	made := s.do(ask{method: http.MethodPost, path: "/api/keys", body: body}).want(http.StatusCreated).object()
	return made["key"].(string)
}

// newAdminService is a service whose own key has the scope admin.
func newAdminService(t *testing.T) *service {
	t.Helper()
	s := newService(t)
	s.makeAdmin()
	return s
}

func (s *service) makeAdmin() {
	s.Helper()
	hash := s.key.Hash()
	key := store.NewKey{ID: s.key.ID(), Hash: hash[:], Name: "admin", Scope: store.ScopeAdmin}
	if err := s.store.AdmitKey(context.Background(), s.tenant, key); err != nil {
		s.Fatal(err)
	}
}

// endpoints is every one that needs a key, with a body that is in order. A
// {session} stands where the session's name goes.
var endpoints = []struct {
	method, path, body string
	needs              string // the right, as in the package access
}{
	{http.MethodGet, "/api/server/version", "", "read"},
	{http.MethodGet, "/api/version", "", "read"},
	{http.MethodGet, "/api/server/status", "", "read"},
	{http.MethodGet, "/api/sessions", "", "read"},
	{http.MethodHead, "/api/sessions", "", "read"},
	{http.MethodPost, "/api/sessions", `{"start":false}`, "act"},
	{http.MethodGet, "/api/sessions/{session}", "", "read"},
	{http.MethodHead, "/api/sessions/{session}", "", "read"},
	{http.MethodGet, "/api/sessions/{session}/me", "", "read"},
	{http.MethodHead, "/api/sessions/{session}/me", "", "read"},
	{http.MethodPost, "/api/sessions/{session}/start", "", "act"},
	{http.MethodPost, "/api/sessions/{session}/stop", "", "act"},
	{http.MethodGet, "/api/{session}/auth/qr", "", "code"},
	{http.MethodHead, "/api/{session}/auth/qr", "", "code"},
	{http.MethodGet, "/api/sessions/{session}/qrcode", "", "code"},
	{http.MethodPost, "/api/{session}/auth/request-code", `{"phone":"5511999999999"}`, "code"},
	{http.MethodGet, "/api/keys", "", "keys"},
	{http.MethodHead, "/api/keys", "", "keys"},
	{http.MethodPost, "/api/keys", `{"name":"made by a test"}`, "keys"},
	{http.MethodDelete, "/api/keys/nobody", "", "keys"},

	// The last, as a code is waited for where a session runs, and all need one.
	{http.MethodPut, "/api/sessions/{session}", `{"config":{}}`, "act"},
	{http.MethodPost, "/api/sessions/{session}/restart", "", "act"},
	{http.MethodPost, "/api/sessions/{session}/logout", "", "act"},
	{http.MethodDelete, "/api/sessions/{session}", "", "act"},
}

// TestEveryScopeOnEveryEndpoint: allowed means that the request got past the
// gate, whatever became of it there.
func TestEveryScopeOnEveryEndpoint(t *testing.T) {
	t.Parallel()
	s := newAdminService(t)
	const all, reading = "read act code keys", "read"
	for _, who := range []struct {
		key, named, unnamed string // rights where a session is named, and where none is
		foreign             bool   // sees other sessions than its own
	}{
		{`{"scope":"admin"}`, all, all, true},
		{`{}`, "read act code", "read act code", true},
		{`{"scope":"tenant"}`, "read act code", "read act code", true},
		{`{"scope":"session","session":"own"}`, "read act code", reading, false},
		{`{"scope":"read"}`, reading, reading, true},
		{`{"scope":"read","session":"own"}`, reading, reading, false},
	} {
		key := s.keyOf(who.key)
		s.fresh("own")
		s.fresh("foreign")
		for _, e := range endpoints {
			for _, name := range []string{"own", "foreign"} {
				path := strings.ReplaceAll(e.path, "{session}", name)
				rights := who.unnamed
				if path != e.path {
					rights = who.named
				}
				got := s.do(ask{method: e.method, path: path, body: e.body, key: key})
				what := fmt.Sprintf("%s %s with %s", e.method, path, who.key)
				switch {
				case path != e.path && name == "foreign" && !who.foreign:
					wantCode(t, what, got, http.StatusNotFound, httpapi.CodeSessionNotFound)
				case !strings.Contains(rights, e.needs):
					wantCode(t, what, got, http.StatusForbidden, httpapi.CodeForbidden)
				case got.Code == http.StatusForbidden || got.Code == http.StatusUnauthorized || got.Code >= 500 || strings.Contains(got.Body.String(), string(httpapi.CodeSessionNotFound)):
					t.Errorf("%s: %d %s", what, got.Code, got.Body)
				}
			}
		}
	}
}

// fresh makes a session that is stopped, in the place of one that may be there.
func (s *service) fresh(name string) {
	s.Helper()
	s.do(ask{method: http.MethodDelete, path: "/api/sessions/" + name})
	s.start(name)
	s.post("/api/sessions/"+name+"/stop", "").want(http.StatusOK)
}

func wantCode(t *testing.T, what string, got answer, status int, code httpapi.Code) {
	t.Helper()
	if got.Code != status || got.Body.Len() > 0 && !strings.Contains(got.Body.String(), string(code)) {
		t.Errorf("%s: %d %s, want %d %s", what, got.Code, got.Body, status, code)
	}
}

func TestListsShowABoundKeyItsSessionOnly(t *testing.T) {
	t.Parallel()
	s := newAdminService(t)
	s.start("own")
	s.start("other")
	for body, want := range map[string]string{
		`{}`: "other own", `{"session":"own"}`: "own", `{"scope":"read","session":"own"}`: "own", `{"scope":"read"}`: "other own", `{"session":"new"}`: "",
	} {
		var list []map[string]any
		s.do(ask{path: "/api/sessions?all=true", key: s.keyOf(body)}).want(http.StatusOK).decode(&list)
		var names []string
		for _, one := range list {
			names = append(names, one["name"].(string))
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s lists %q, want %q", body, got, want)
		}
	}
	// The one session need not exist yet: its key may make it.
	key := s.keyOf(`{"session":"new"}`)
	s.do(ask{method: http.MethodPost, path: "/api/sessions/new/start", key: key}).want(http.StatusCreated)
	s.do(ask{method: http.MethodPost, path: "/api/sessions/newer/start", key: key}).wantError(http.StatusNotFound, httpapi.CodeSessionNotFound)
}

func TestTheKeysEndpoints(t *testing.T) {
	t.Parallel()
	s := newAdminService(t)
	created := s.do(ask{method: http.MethodPost, path: "/api/keys", body: `{"name":"n","scope":"read","session":"a","expiresInSeconds":3600}`}).want(http.StatusCreated)
	made := created.object()
	if created.Header().Get("Cache-Control") != "no-store" || made["success"] != true || made["message"] == "" {
		t.Errorf("%v %v", created.Header(), made)
	}
	secret, id := made["key"].(string), made["id"].(string)
	if !strings.HasPrefix(secret, "wf_"+id+"_") {
		t.Errorf("%v", made)
	}
	expires, err := time.Parse(time.RFC3339, made["expiresAt"].(string))
	if left := time.Until(expires); err != nil || left < 50*time.Minute || left > 70*time.Minute {
		t.Errorf("expires at %v", made["expiresAt"])
	}
	s.do(ask{path: "/api/sessions", key: secret}).want(http.StatusOK)

	var list []map[string]any
	listed := s.get("/api/keys").want(http.StatusOK)
	listed.decode(&list)
	if len(list) != 2 || strings.Contains(listed.Body.String(), secret[len(secret)-20:]) || strings.Contains(listed.Body.String(), "hash") {
		t.Fatalf("%s", listed.Body)
	}
	shown := list[0]
	for name, want := range map[string]any{
		"id": id, "name": "n", "scope": "read", "isAdmin": false, "session": "a", "expiresAt": made["expiresAt"], "createdAt": made["createdAt"],
		"createdBy": s.key.ID(), "revokedAt": nil,
	} {
		if shown[name] != want {
			t.Errorf("%s is %v, want %v", name, shown[name], want)
		}
	}
	if len(shown) != 10 || shown["lastUsedAt"] == nil || list[1]["expiresAt"] != nil || list[1]["session"] != nil || list[1]["isAdmin"] != true {
		t.Errorf("%v", list)
	}
	s.get("/api/keys?limit=1&offset=1").want(http.StatusOK).decode(&list)
	if len(list) != 1 || list[0]["id"] != s.key.ID() {
		t.Errorf("second page %v", list)
	}

	_, theirs := s.newTenant("other")
	for range 2 {
		gone := s.do(ask{method: http.MethodDelete, path: "/api/keys/" + id}).want(http.StatusOK).object()
		if gone["success"] != true || gone["message"] != "API key revoked" {
			t.Errorf("%v", gone)
		}
	}
	s.do(ask{path: "/api/sessions", key: secret}).wantError(http.StatusUnauthorized, httpapi.CodeKeyInvalid)
	s.do(ask{method: http.MethodDelete, path: "/api/keys/" + s.key.ID()}).wantError(http.StatusConflict, httpapi.CodeKeyInUse)
	s.do(ask{method: http.MethodDelete, path: "/api/keys/" + theirs.ID()}).wantError(http.StatusNotFound, httpapi.CodeKeyNotFound)
	s.do(ask{method: http.MethodDelete, path: "/api/keys/a%00b"}).wantError(http.StatusNotFound, httpapi.CodeKeyNotFound)
	s.do(ask{method: http.MethodDelete, path: "/api/keys/%ff"}).wantError(http.StatusNotFound, httpapi.CodeKeyNotFound)
	s.do(ask{path: "/api/sessions", key: theirs.Reveal()}).want(http.StatusOK)
	s.do(ask{method: http.MethodPut, path: "/api/keys/" + id}).wantError(http.StatusNotImplemented, httpapi.CodeNotImplemented)
	if strings.Contains(s.log.String(), secret[len(secret)-20:]) {
		t.Error("the secret is in the log")
	}
	var deeds int
	if err := s.store.DB().QueryRow(`SELECT count(*) FROM audit WHERE tenant_id = $1 AND action IN ('key.create', 'key.revoke') AND key_id = $2 AND subject = $3`,
		s.tenant, s.key.ID(), id).Scan(&deeds); err != nil || deeds != 2 {
		t.Errorf("%d deeds in the audit, %v", deeds, err)
	}
}

func TestKeysAsWAHAAsksForThem(t *testing.T) {
	t.Parallel()
	s := newAdminService(t)
	for body, want := range map[string]map[string]any{
		`{"isAdmin":true,"session":null}`: {"isAdmin": true, "scope": "admin", "session": nil},
		`{"isAdmin":false,"session":"a"}`: {"isAdmin": false, "scope": "session", "session": "a"},
		``:                                {"isAdmin": false, "scope": "tenant", "session": nil, "expiresAt": nil},
	} {
		made := s.do(ask{method: http.MethodPost, path: "/api/keys", body: body}).want(http.StatusCreated).object()
		for name, value := range want {
			if made[name] != value {
				t.Errorf("%s: %s is %v, want %v", body, name, made[name], value)
			}
		}
	}
	for body, field := range map[string]string{
		`{"isAdmin":true,"session":"a"}`: "session", `{"scope":"session"}`: "session", `{"expiresAt":"2001-01-01T00:00:00Z"}`: "expiresAt", `[]`: "body",
	} {
		refused := s.do(ask{method: http.MethodPost, path: "/api/keys", body: body}).wantError(http.StatusBadRequest, httpapi.CodeInvalidRequest)
		if fields := fieldsOf(refused); len(fields) != 1 || fields[0] != field {
			t.Errorf("%s: %v", body, fields)
		}
	}
}
