package conformance

import (
	"encoding/json"
	"net/http"

	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// tenant is an owner of sessions, with its key.
type tenant struct {
	id  session.TenantID
	key string
}

func (s *system) newTenant(name string) *tenant {
	s.Helper()
	id, err := s.store.CreateTenant(s.Context(), name)
	if err != nil {
		s.Fatal(err)
	}
	return &tenant{id: id, key: s.admitKey(id)}
}

// admitKey makes a key with every right, the way an operator makes a tenant's
// first one.
func (s *system) admitKey(id session.TenantID) string {
	s.Helper()
	key := apikey.New()
	hash := key.Hash()
	if err := s.store.AdmitKey(s.Context(), id, store.NewKey{ID: key.ID(), Hash: hash[:], Name: "conformance", Scope: store.ScopeAdmin}); err != nil {
		s.Fatal(err)
	}
	s.secret(key.Reveal())
	return key.Reveal()
}

// revokedKey is a key of the tenant that works no more, over HTTP.
func (s *system) revokedKey() string {
	s.Helper()
	key := s.scopedKey(store.ScopeTenant, "")
	id, _, err := apikey.Parse(key)
	if err != nil {
		s.Fatal(err)
	}
	s.owner(request{method: http.MethodDelete, path: "/api/keys/" + id})
	return key
}

// scopedKey makes a key over HTTP; name is the session that it is bound to, if
// any.
func (s *system) scopedKey(as store.Scope, name string) (key string) {
	s.Helper()
	body := map[string]string{"name": "conformance", "scope": string(as)}
	if name != "" {
		body["session"] = name
	}
	text, err := json.Marshal(body)
	if err != nil {
		s.Fatal(err)
	}
	made := s.owner(request{method: http.MethodPost, path: "/api/keys", body: string(text)})
	s.secret(made.text("key"))
	return made.text("key")
}
