package access

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

const (
	// maxName is in characters, of a key's name and a tenant's.
	maxName = 100
	// MaxLife is how far an expiry may be away, and a grace.
	MaxLife = 10 * 365 * 24 * time.Hour
)

// KeyRequest is a key as somebody asks for it.
type KeyRequest struct {
	Name      string
	Scope     store.Scope // session where empty and Session is set, tenant where both are empty
	Session   string
	ExpiresAt time.Time     // zero for never
	ExpiresIn time.Duration // zero for ExpiresAt
}

// CreateKey makes a key of the actor's tenant. The second value is the only
// place where its secret ever is. Errors: session.FieldErrors,
// session.ErrUnavailable.
func (a *Access) CreateKey(ctx context.Context, by store.Actor, r KeyRequest) (store.Key, apikey.Key, error) {
	wanted, err := a.check(r)
	if err != nil {
		return store.Key{}, apikey.Key{}, err
	}
	secret := fresh(&wanted)
	made, err := a.store.CreateKey(ctx, by, wanted)
	return made, secret, err
}

func fresh(into *store.NewKey) apikey.Key {
	secret := apikey.New()
	hash := secret.Hash()
	into.ID, into.Hash = secret.ID(), hash[:]
	return secret
}

// check finds every mistake.
func (a *Access) check(r KeyRequest) (store.NewKey, error) {
	var wrong session.FieldErrors
	fail := func(is bool, field, problem string) {
		if is {
			wrong = append(wrong, &session.FieldError{Field: field, Problem: problem})
		}
	}
	fail(!isName(r.Name), "name", "must be at most 100 characters on one line")
	if r.Scope == "" {
		r.Scope = store.ScopeTenant
		if r.Session != "" {
			r.Scope = store.ScopeSession
		}
	}
	_, known := rights[r.Scope]
	fail(!known, "scope", "must be admin, tenant, session or read")
	fail(r.Scope == store.ScopeSession && r.Session == "", "session", "is missing: a key of scope session is for one session")
	fail(r.Session != "" && (r.Scope == store.ScopeAdmin || r.Scope == store.ScopeTenant), "session", "must be left out: a key of this scope is for all sessions")
	if r.Session != "" {
		var field *session.FieldError
		if _, err := session.ParseName(r.Session); errors.As(err, &field) {
			wrong = append(wrong, field)
		}
	}
	now := a.now()
	fail(!r.ExpiresAt.IsZero() && r.ExpiresIn != 0, "expiresAt", "must be left out where expiresInSeconds is given")
	fail(!r.ExpiresAt.IsZero() && !r.ExpiresAt.After(now), "expiresAt", "must be in the future")
	fail(r.ExpiresAt.After(now.Add(MaxLife)), "expiresAt", "must be within ten years")
	fail(r.ExpiresIn < 0 || r.ExpiresIn > MaxLife, "expiresInSeconds", "must be from 1 to 315360000, which is ten years")
	if len(wrong) > 0 {
		return store.NewKey{}, wrong
	}
	return store.NewKey{Name: r.Name, Scope: r.Scope, Session: session.Name(r.Session), ExpiresAt: r.ExpiresAt, ExpiresIn: r.ExpiresIn}, nil
}

// isName reports whether a text fits on one line of a list.
func isName(text string) bool {
	return utf8.ValidString(text) && utf8.RuneCountInString(text) <= maxName && !strings.ContainsFunc(text, unicode.IsControl)
}

// Keys lists a tenant's keys, the newest first, also those that work no more.
func (a *Access) Keys(ctx context.Context, tenant session.TenantID, p store.Page) ([]store.Key, error) {
	return a.store.Keys(ctx, tenant, p)
}

// RevokeKey ends a key of the actor's tenant; again is no error. In this process
// and others it works for 30 s more at most. Errors: [ErrKeyNotFound],
// [ErrOwnKey].
func (a *Access) RevokeKey(ctx context.Context, by store.Actor, id string) error {
	switch {
	case id == by.Key:
		return ErrOwnKey
	case !apikey.IsID(id):
		return ErrKeyNotFound
	}
	err := a.store.RevokeKey(ctx, by, id)
	if err == nil {
		a.keys.forget(id)
	}
	return keyError(err)
}

// RotateKey puts a fresh key in the place of one that works: same name, scope,
// session and expiry. The old one works for the grace. Errors: [ErrKeyNotFound],
// a [*session.FieldError].
func (a *Access) RotateKey(ctx context.Context, by store.Actor, id string, grace time.Duration) (store.Key, apikey.Key, error) {
	if !apikey.IsID(id) {
		return store.Key{}, apikey.Key{}, ErrKeyNotFound
	}
	if grace < 0 || grace > MaxLife {
		return store.Key{}, apikey.Key{}, &session.FieldError{Field: "grace", Problem: "must not be negative, nor longer than ten years"}
	}
	var wanted store.NewKey
	secret := fresh(&wanted)
	made, err := a.store.RotateKey(ctx, by, id, wanted, grace)
	if err == nil {
		a.keys.forget(id)
	}
	return made, secret, keyError(err)
}

// keyError names what was not found.
func keyError(err error) error {
	if errors.Is(err, session.ErrNotFound) {
		return ErrKeyNotFound
	}
	return err
}
