// Package httpapi is the HTTP contract: one [http.Handler] that both the Lambda
// and a local listener serve.
//
// It owns routes, authentication, bodies in and out, error words and the access
// log. What a request means is functions/control's; who may ask is
// functions/access's, and each route says which right it needs. A route under
// /api that says nothing is forbidden to all.
//
// # Keys
//
// A key comes in a header. One in the query string of a path under /api is
// refused with 400 even beside a header: it is in the logs of every proxy on the
// way by then. What needs no key does not look for one. Where the deployment
// limits the rate of a key, every answer to an authenticated request says in
// RateLimit-Limit, RateLimit-Remaining and RateLimit-Reset (seconds) what is left
// of its bucket; 429 says in Retry-After when to come back.
//
// # A request's way
//
//	ServeHTTP ─ request id, security headers, 25 s deadline, recover, access log
//	   └ answer ─ path → segments → route → key and rate (everything under /api) → right → endpoint
//	        └ endpoint(call) error ─ decode, one use case, writeJSON
//	             └ an error becomes the one error body in [problemOf], nowhere else
//
// # Paths
//
// A path is split at its raw slashes and each segment is decoded by itself, so
// that an encoded slash stays inside a session's name, where it is refused.
// Empty segments are dropped: "//api/x/" is "/api/x", without a redirect, because
// clients do not follow one on a POST.
//
// # Idempotency
//
// A POST with the header Idempotency-Key runs once. Who sends it again within
// 24 h gets the first answer, with the header Idempotency-Replayed. One
// statement claims the key before the endpoint runs, one stores the answer
// before it goes out. Such a request runs to its end also where its caller
// leaves: that is when somebody will ask again.
//
// Answers that a second try could better are not stored (kept), and neither are
// credentials: a route whose answer has one says so in its field keeps. Headers
// are not stored either, so a repeated answer has no ETag. A process
// that dies between its deed and its answer leaves a claim that lapses after a
// minute; the request then runs again, and finds what the first one did.
//
// # The way out
//
// Every answer is whole in memory before it leaves, in call.send: a session or a
// file of the page that has not changed since (If-None-Match) is 304, and text of
// 1 KiB or more is compressed for who accepts gzip. As the body is there already, the standard
// library's writer in a pool does, and the length is known; a wrapper of the
// [http.ResponseWriter] would have to buffer it once more to find out.
//
// CORS is off unless [Config] names origins; it wraps the handler, so that every
// answer has its headers.
//
// # The contract
//
// openapi.yaml is written by hand and comes first. It is served as /openapi.json
// and shown by /docs, a page that is shipped whole. Tests hold routes, codes,
// reasons and every answer that a test gets against it (shared/e2e/contract).
//
// # What is not there
//
// An endpoint of the vendor's API that is not built yet is a line in a table
// ([unbuilt]) and answers 501.
package httpapi
