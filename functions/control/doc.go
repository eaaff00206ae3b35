// Package control is what the API can do, without HTTP: the use cases of the
// control plane over the store.
//
// It owns the checks that need more than a decoder (is this store available in
// this deployment, is the session in the right status) and the two waits (for a
// QR code, for a pairing code). It does not own wording on the wire
// (functions/httpapi), who may ask (functions/access) nor the rows' rules
// (shared/store, which decides under a row's lock who wins a race).
//
// Nothing here runs by itself: every method ends with the context of its
// request, and no goroutine outlives a call.
//
// # Hints
//
// What is stored may be told to connectors on a second way ([Hinter]), after the
// commit and within the request: where it runs as a Lambda, nothing runs after
// the answer.
//
// # Requests that come again
//
// [Control.Claim] takes a caller's key for a request, and [Control.Settle] keeps
// the answer under it or gives it back. What is asked, what an answer looks like
// and which are worth keeping is the caller's business; that one run at a time
// holds a key is the store's.
//
// # Waits
//
// Control plane and connectors meet in rows only, so a wait is a poll: 2 ms at
// first, growing to 100 ms. A QR code waits at most 5 s. A pairing code waits at
// most 5 s for the session to be ready for one and 5 s for the holder's answer;
// its request row is removed however the wait ends, because it holds a phone
// number and its answer is a credential.
package control
