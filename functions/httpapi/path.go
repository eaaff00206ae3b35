package httpapi

import (
	"net/url"
	"strings"

	"github.com/wafleet/wafleet/shared/session"
)

// splitPath returns the decoded segments of a path, without the empty ones. Its
// error is a [*session.FieldError].
func splitPath(u *url.URL) ([]string, error) {
	raw := strings.Split(u.EscapedPath(), "/")
	segments := raw[:0]
	for _, part := range raw {
		if part == "" {
			continue
		}
		decoded, err := url.PathUnescape(part)
		if err != nil {
			return nil, &session.FieldError{Field: "path", Problem: "must be percent-encoded correctly"}
		}
		segments = append(segments, decoded)
	}
	return segments, nil
}
