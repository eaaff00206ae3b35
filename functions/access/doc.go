// Package access decides who may do what: it recognises API keys, knows what
// their scopes allow and how often they may ask, and makes, lists, rotates and
// revokes them. It knows no HTTP.
//
// It owns the use cases around tenants and keys, their validation, the cache of
// keys and the buckets of the rate limit. It does not own what a session may do
// (functions/control), the rows and their audit (shared/store), the form of a
// key (shared/apikey), nor which endpoint needs which right (functions/httpapi).
//
// There is no mode without keys. Nothing runs by itself.
//
// # Scopes
//
//	          Read   Code (QR, pairing)   Act   Keys
//	admin      x             x             x     x
//	tenant     x             x             x
//	session    x             x             x          of one session
//	read       x                                      of one session, or of all
//
// A key that is bound to a session gets session.ErrNotFound for any other name,
// as if there were no such session. Where no session is named it may read, and
// whoever lists filters by Caller.Session; it may do nothing else there, so that
// an endpoint that finds its session in a body fails closed.
//
// # Authentication
//
// A key is looked up by its public id and its hash compared in constant time.
// The row is remembered for 30 s, and never beyond the key's expiry: this is how
// long a revoked key may still work in another process. An id that nobody has is
// remembered for 1 s, in a memory of its own, so that made-up ids cannot push
// real keys out. Who presents a wrong secret for an id asks the database no more
// often than who presents the right one, and is slowed down in memory after a
// hundred mistakes; who presents the right one is not.
//
// A key that an operator chose (any text that is no "wf_...") and that is
// shorter than 16 characters is refused before anything else, whatever the
// table says. Only Config.WeakKeys, which `make run` sets for its API on the
// loopback, accepts it.
//
// # Rate limit
//
// Each key has a token bucket in the process, of at most 4096 at once. Several
// processes have several: behind Lambda every instance counts for itself, and
// the throttle of the gateway's stage bounds the sum. The limit is there so that
// one client's loop does not take the database from the others.
package access
