package httpapi

import (
	"errors"

	"github.com/wafleet/wafleet/functions/control"
)

// keyHeaders carry the key: the documented name and its alias. A key in the
// query string would end up in logs, so it is never read from there.
var keyHeaders = []string{"Apikey", "X-Api-Key"}

var errKeyMissing = errors.New("an API key is required")

// authenticate fills in the caller. Several different keys are refused rather
// than guessed at.
func (h *Handler) authenticate(c *call) error {
	var presented string
	for _, name := range keyHeaders {
		for _, value := range c.r.Header.Values(name) {
			if presented != "" && value != presented {
				return control.ErrKeyInvalid
			}
			presented = value
		}
	}
	if presented == "" {
		return errKeyMissing
	}
	caller, err := h.control.Authenticate(c.context(), presented)
	c.caller = caller
	return err
}
