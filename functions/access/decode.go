package access

import (
	"encoding/json"
	"math"
	"strings"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// keyFields is the body of a request for a key; others are ignored.
type keyFields struct {
	name, scope, session, expiresAt *string
	isAdmin                         *bool // WAHA's word for the scopes admin and tenant
	expiresIn                       *json.Number
}

// DecodeKeyRequest reads {name?, scope?, session?, expiresAt? or
// expiresInSeconds?}, and WAHA's isAdmin for a scope. null is as good as
// nothing. Its error is a [*session.FieldError] or session.FieldErrors.
func DecodeKeyRequest(body []byte) (KeyRequest, error) {
	raw, err := session.DecodeFields(body)
	if err != nil {
		return KeyRequest{}, err
	}
	var wrong session.FieldErrors
	const aTime, wholeNumber = "a time such as 2030-01-31T12:00:00Z", "a whole number"
	fields := keyFields{
		name: take[string](raw, "name", "a string", &wrong), scope: take[string](raw, "scope", "a string", &wrong),
		session: take[string](raw, "session", "a string", &wrong), isAdmin: take[bool](raw, "isAdmin", "true or false", &wrong),
		expiresAt: take[string](raw, "expiresAt", aTime, &wrong), expiresIn: take[json.Number](raw, "expiresInSeconds", wholeNumber, &wrong),
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

// take returns a field of one kind; nil where it is missing, null or wrong.
func take[T any](raw map[string]any, name, kind string, wrong *session.FieldErrors) *T {
	value := raw[name]
	if value == nil {
		return nil
	}
	typed, ok := value.(T)
	if !ok {
		*wrong = append(*wrong, &session.FieldError{Field: name, Problem: "must be " + kind})
		return nil
	}
	return &typed
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
		n, err := f.expiresIn.Float64()
		if err != nil || n < 1 || n > MaxLife.Seconds() || n != math.Trunc(n) {
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
