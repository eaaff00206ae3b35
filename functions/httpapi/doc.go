// Package httpapi is the HTTP contract: one [http.Handler] that both the Lambda
// and a local listener serve.
//
// It owns routes, authentication, bodies in and out, error words and the access
// log. What a request means is functions/control's.
//
// # A request's way
//
//	ServeHTTP ─ request id, security headers, 25 s deadline, recover, access log
//	   └ answer ─ path → segments → key (everything under /api) → route → endpoint
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
// # What is not there
//
// An endpoint of the vendor's API that is not built yet is a line in a table
// ([unbuilt]) and answers 501. There is no CORS, no compression and no rate
// limit here.
package httpapi
