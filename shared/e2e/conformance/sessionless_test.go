package conformance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/store"
)

// right is what an endpoint without a session asks of a key.
type right int

const (
	open     right = iota // nothing
	anyKey                // that there is one
	aboutKey              // that it is an admin's
	unbuilt               // that there is one; what it may is not known yet
)

// sessionless is every endpoint that is about no session. {key} is the id of a
// key of the tenant, a new one in each request.
var sessionless = []struct {
	method, path string
	status       int // for who may
	asks         right
}{
	{"GET", "/", 200, open},
	{"GET", "/ping", 200, open},
	{"GET", "/health", 200, open},
	{"GET", "/openapi.json", 200, open},
	{"GET", "/docs", 200, open},
	{"GET", "/api/server/version", 200, anyKey},
	{"GET", "/api/version", 200, anyKey},
	{"GET", "/api/server/status", 200, anyKey},
	{"GET", "/api/keys", 200, aboutKey},
	{"POST", "/api/keys", 201, aboutKey},
	{"DELETE", "/api/keys/{key}", 200, aboutKey},
	{"POST", "/api/sendText", 501, unbuilt},
	{"GET", "/api/contacts", 501, unbuilt},
	{"PUT", "/api/reaction", 501, unbuilt},
}

// sessionlessAnswer is the contract's answer to a caller.
func sessionlessAnswer(method string, status int, asks right, by caller) cell {
	granted := cell{status: status}
	switch {
	case asks == open:
		return granted
	case by == nobody:
		return noKey
	case by == revoked:
		return wrongKey
	case asks == unbuilt:
		return cell{status: status, code: httpapi.CodeNotImplemented}
	case asks == anyKey || by == owner:
		return granted
	case by == foreign && method == "DELETE":
		return cell{status: 404, code: httpapi.CodeKeyNotFound}
	case by == foreign:
		return granted
	}
	return forbidden
}

func TestEndpointsWithoutASession(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	keys := s.keyring()
	cases := 0
	for _, e := range sessionless {
		for _, by := range callers {
			cases++
			want := sessionlessAnswer(e.method, e.status, e.asks, by)
			t.Run(fmt.Sprintf("%s %s/%s", e.method, e.path, by), func(t *testing.T) {
				var answers []answer
				for _, d := range s.doors() {
					a := &attempt{door: d, fixture: &fixture{name: "some-session"}}
					key := keys.keyFor(&trial{endpoint: endpoint{row: e.method + e.path}, by: by}, a)
					path := e.path
					if before, after, named := strings.Cut(path, "{key}"); named {
						path = before + s.newKeyID() + after
					}
					got := d.ask(request{method: e.method, path: path, key: key})
					if made := got.text("key"); made != "" {
						s.secret(made)
					}
					if got.status != want.status || got.code() != string(want.code) {
						t.Errorf("%s: %d %.200s, want %d %s", d.name, got.status, got.body, want.status, want.code)
					}
					for name, value := range securityHeaders {
						if got.header.Get(name) != value && e.asks != open {
							t.Errorf("%s: header %s is %q, want %q", d.name, name, got.header.Get(name), value)
						}
					}
					answers = append(answers, got)
				}
				if one, other := shapeOf(answers[0].body), shapeOf(answers[1].body); one != other {
					t.Errorf("the bodies have the shapes %s and %s", one, other)
				}
				for _, fault := range compareHeaders(answers[0].header, answers[1].header) {
					t.Error(fault)
				}
			})
		}
	}
	t.Logf("%d cases", cases)
}

// newKeyID is the id of a new key of the tenant.
func (s *system) newKeyID() string {
	s.Helper()
	id, _, err := apikey.Parse(s.scopedKey(store.ScopeRead, ""))
	if err != nil {
		s.Fatal(err)
	}
	return id
}

// TestARequestRepeatedAtTheOtherDoor: an Idempotency-Key means the same request
// at whichever door it comes, and keeps no credential.
func TestARequestRepeatedAtTheOtherDoor(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	doors := s.doors()
	for i, first := range doors {
		second := doors[1-i]
		once := header("Idempotency-Key: once-at-" + first.name)
		start := request{method: "POST", path: "/api/sessions/made-at-" + first.name + "/start", key: s.tenant.key, header: once}
		made := first.want(201, start)
		again := second.want(201, start)
		if string(again.body) != string(made.body) || again.header.Get("Idempotency-Replayed") != "true" || made.header.Get("Idempotency-Replayed") != "" {
			t.Errorf("%s said %s, then %s said %v %s", first.name, made.body, second.name, again.header, again.body)
		}
		start.path = "/api/sessions/another/start"
		if other := second.ask(start); other.code() != string(httpapi.CodeKeyReused) {
			t.Errorf("another request under the same key: %d %s", other.status, other.body)
		}
		newKey := request{method: "POST", path: "/api/keys", key: s.tenant.key, header: header("Idempotency-Key: key-at-" + first.name)}
		secret := first.want(201, newKey).text("key")
		s.secret(secret)
		if again := second.want(201, newKey); secret == "" || again.text("key") != "" {
			t.Errorf("the key is there %v, and again %v", secret != "", again.text("key") != "")
		}
	}
	s.noSecretInDatabase(s.keySecrets())
}
