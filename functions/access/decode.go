package access

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// keyFields is the body of a request for a key; others are ignored.
type keyFields struct {
	name, scope, session, expiresAt *string
	isAdmin                         *bool // WAHA's word for the scopes admin and tenant
	expiresIn                       *float64
}

// DecodeKeyRequest reads {name?, scope?, session?, expiresAt? or
// expiresInSeconds?}, and WAHA's isAdmin for a scope. null is as good as
// nothing. Its error is a [*session.FieldError] or session.FieldErrors.
func DecodeKeyRequest(body []byte) (KeyRequest, error) {
	raw, err := decodeObject(body)
	if err != nil {
		return KeyRequest{}, err
	}
	var (
		fields keyFields
		wrong  session.FieldErrors
	)
	for _, field := range []struct {
		name, kind string
		into       any
	}{
		{"name", "a string", &fields.name}, {"scope", "a string", &fields.scope}, {"session", "a string", &fields.session},
		{"isAdmin", "true or false", &fields.isAdmin},
		{"expiresAt", "a time such as 2030-01-31T12:00:00Z", &fields.expiresAt}, {"expiresInSeconds", "a whole number", &fields.expiresIn},
	} {
		if text, ok := raw[field.name]; ok && json.Unmarshal(text, field.into) != nil {
			wrong = append(wrong, &session.FieldError{Field: field.name, Problem: "must be " + field.kind})
		}
	}
	if len(wrong) > 0 {
		return KeyRequest{}, wrong
	}
	request := fields.request(&wrong)
	if len(wrong) > 0 {
		return KeyRequest{}, wrong
	}
	return request, nil
}

func decodeObject(body []byte) (map[string]json.RawMessage, error) {
	if body = bytes.TrimSpace(body); len(body) == 0 {
		return nil, nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil || raw == nil || !utf8.Valid(body) {
		return nil, &session.FieldError{Field: "body", Problem: "must be empty or one JSON object"}
	}
	return raw, nil
}

func (f keyFields) request(wrong *session.FieldErrors) KeyRequest {
	fail := func(field, problem string) {
		*wrong = append(*wrong, &session.FieldError{Field: field, Problem: problem})
	}
	r := KeyRequest{Name: text(f.name), Scope: store.Scope(text(f.scope)), Session: text(f.session)}
	if f.scope != nil && r.Scope == "" {
		fail("scope", "must be admin, tenant, session or read")
	}
	if f.isAdmin != nil {
		switch {
		case *f.isAdmin && f.scope == nil:
			r.Scope = store.ScopeAdmin
		case f.scope != nil && *f.isAdmin != (r.Scope == store.ScopeAdmin):
			fail("isAdmin", "must fit scope, or be left out")
		}
	}
	if f.expiresAt != nil {
		at, err := time.Parse(time.RFC3339, *f.expiresAt)
		if err != nil || at.IsZero() {
			fail("expiresAt", "must be a time such as 2030-01-31T12:00:00Z")
		}
		r.ExpiresAt = at
	}
	if f.expiresIn != nil {
		n := *f.expiresIn
		if n < 1 || n > MaxLife.Seconds() || n != math.Trunc(n) {
			fail("expiresInSeconds", "must be one whole number from 1 to 315360000, which is ten years")
			return r
		}
		r.ExpiresIn = time.Duration(n) * time.Second
	}
	return r
}

func text(field *string) string {
	if field == nil {
		return ""
	}
	return strings.TrimSpace(*field)
}
