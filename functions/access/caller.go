package access

import (
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// Right is what an endpoint needs. The zero value is nobody's.
type Right uint8

// The rights.
const (
	Read Right = 1 << iota // see what is there
	Code                   // get a QR or pairing code, which is a credential
	Act                    // change something
	Keys                   // see and change keys
)

// rights of each scope. One that is not here, from a newer version say, has none.
var rights = map[store.Scope]Right{
	store.ScopeAdmin:   Read | Code | Act | Keys,
	store.ScopeTenant:  Read | Code | Act,
	store.ScopeSession: Read | Code | Act,
	store.ScopeRead:    Read,
}

// Caller is who sent a request.
type Caller struct {
	Tenant  session.TenantID
	KeyID   string // public part of the key
	Scope   store.Scope
	Session session.Name // the only one that the caller sees; empty for all
	Quota   int          // sessions that the tenant may have; 0 for any number
}

// May reports whether the caller has a right on a session, or, with an empty
// name, where no session is named. Errors: session.ErrNotFound for a session
// that is not the caller's, [ErrForbidden].
func (c Caller) May(right Right, name session.Name) error {
	bound := c.Session != "" || c.Scope == store.ScopeSession
	switch {
	case bound && name != "" && name != c.Session:
		return session.ErrNotFound
	case right == 0 || rights[c.Scope]&right != right:
		return ErrForbidden
	case bound && name == "" && right != Read:
		return ErrForbidden
	}
	return nil
}

// Actor is the caller in the audit.
func (c Caller) Actor(requestID string) store.Actor {
	return store.Actor{Tenant: c.Tenant, Key: c.KeyID, Request: requestID}
}
