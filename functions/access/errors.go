package access

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrKeyInvalid: the key is malformed, unknown, expired or revoked; which of
	// these is not for the caller to know.
	ErrKeyInvalid = errors.New("the API key is not valid")
	// ErrForbidden: the key is valid and its scope does not allow this.
	ErrForbidden = errors.New("the API key's scope does not allow this")
	// ErrKeyNotFound: the tenant has no key of that id; or, for a rotation, none
	// that works.
	ErrKeyNotFound = errors.New("there is no such API key")
	// ErrOwnKey: a key would revoke itself, and nobody might be left to mend it.
	ErrOwnKey = errors.New("an API key cannot revoke itself")
	// ErrTenantNotFound: no tenant has that name.
	ErrTenantNotFound = errors.New("there is no such tenant")
)

// LimitedError: too many requests of a key, or too many mistakes with its id.
type LimitedError struct {
	RetryAfter time.Duration
}

func (e *LimitedError) Error() string {
	return fmt.Sprintf("too many requests: try again in %s", e.RetryAfter)
}
