package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/shared/session"
)

// keyHeaders carry the key: the documented name and its alias. A key in the
// query string would end up in logs, so it is never read from there.
var keyHeaders = []string{"Apikey", "X-Api-Key"}

// keyParameters are how clients of other services send a key in a URL.
var keyParameters = map[string]bool{"apikey": true, "api_key": true, "x-api-key": true}

var errKeyMissing = errors.New("an API key is required")

// authenticate fills in the caller and takes the request from its key's
// allowance. Several different keys are refused rather than guessed at.
func (h *Handler) authenticate(c *call) error {
	presented, err := presentedKey(c.r.Header)
	if err != nil {
		return err
	}
	if c.caller, err = h.access.Authenticate(c.context(), presented); err != nil {
		return err
	}
	allowance, bounded := h.access.Spend(c.caller)
	if !bounded {
		return nil
	}
	header := c.w.Header()
	header.Set("RateLimit-Limit", strconv.Itoa(allowance.Limit))
	header.Set("RateLimit-Remaining", strconv.Itoa(allowance.Remaining))
	header.Set("RateLimit-Reset", strconv.Itoa(seconds(allowance.Reset)))
	if allowance.RetryAfter > 0 {
		return &access.LimitedError{RetryAfter: allowance.RetryAfter}
	}
	return nil
}

func presentedKey(header http.Header) (string, error) {
	var presented string
	for _, name := range keyHeaders {
		for _, value := range header.Values(name) {
			if presented != "" && value != presented {
				return "", access.ErrKeyInvalid
			}
			presented = value
		}
	}
	if presented == "" {
		return "", errKeyMissing
	}
	return presented, nil
}

// refuseKeyInURL reads the query more generously than anybody who uses it: what
// looks like a key to a person is one.
func refuseKeyInURL(u *url.URL) error {
	for _, pair := range strings.FieldsFunc(u.RawQuery, func(r rune) bool { return r == '&' || r == ';' }) {
		name, _, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(name); err == nil {
			name = decoded
		}
		if name = strings.ToLower(strings.TrimSpace(name)); keyParameters[name] {
			return &session.FieldError{Field: name, Problem: "must not be in the URL, where logs keep it: send the key in the header apikey, and replace this one"}
		}
	}
	return nil
}

// checkRight refuses what the caller's key does not allow. What is not built
// yet and what is open to all needs no right.
func (c *call) checkRight() error {
	if c.route.unbuilt || !c.needsKey() {
		return nil
	}
	return c.caller.May(c.route.needs, c.session)
}

// needsKey is true of everything under /api.
func (c *call) needsKey() bool { return len(c.segments) > 0 && c.segments[0] == "api" }
