package httpapi

import (
	"net/http"
	"regexp"

	"github.com/google/uuid"
)

// saneID is what may be repeated in headers, bodies and logs.
var saneID = regexp.MustCompile(`^[A-Za-z0-9._=-]{1,64}$`)

// requestIDOf keeps the caller's id where it is sane and makes one otherwise.
func requestIDOf(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); saneID.MatchString(id) {
		return id
	}
	return uuid.Must(uuid.NewV7()).String()
}
