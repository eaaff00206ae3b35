package httpapi

import (
	"net/http"

	"github.com/wafleet/wafleet/shared/session"
)

// requestCode answers POST /api/{session}/auth/request-code.
func (h *Handler) requestCode(c *call) error {
	body, err := readBody(c)
	if err != nil {
		return err
	}
	phone, method, err := session.DecodePhone(body)
	if err != nil {
		return err
	}
	switch method {
	case "":
	case "sms", "voice":
		return errNotImplemented
	default:
		return &session.FieldError{Field: "method", Problem: "must be left out, sms or voice"}
	}
	code, err := h.control.RequestCode(c.context(), c.caller.Actor(c.requestID), c.session, phone)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, map[string]string{"code": code})
}
