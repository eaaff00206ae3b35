//go:build harness

package httpapi

import (
	"net/http"

	"github.com/wafleet/wafleet/functions/access"
)

// The panicking route exists only in binaries that a test builds, to prove that
// a panic inside the deployed program is an answer and not the end of it.
func init() {
	extra = append(extra, route{method: http.MethodGet, pattern: "/api/harness/panic", needs: access.Read, do: func(*call) error {
		panic("asked for by the harness")
	}})
}
