package httpapi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/functions/control"
	"github.com/wafleet/wafleet/shared/session"
)

// Code is the stable word of an error body.
type Code string

// The documented codes; each has one HTTP status.
const (
	CodeInvalidRequest     Code = "INVALID_REQUEST"
	CodeKeyMissing         Code = "API_KEY_MISSING"
	CodeKeyInvalid         Code = "API_KEY_INVALID"
	CodeForbidden          Code = "FORBIDDEN"
	CodeKeyNotFound        Code = "KEY_NOT_FOUND"
	CodeKeyInUse           Code = "KEY_IN_USE"
	CodeRateLimited        Code = "RATE_LIMITED"
	CodeSessionNotFound    Code = "SESSION_NOT_FOUND"
	CodeRouteNotFound      Code = "ROUTE_NOT_FOUND"
	CodeMethodNotAllowed   Code = "METHOD_NOT_ALLOWED"
	CodeSessionActive      Code = "SESSION_ACTIVE"
	CodeSessionStopped     Code = "SESSION_STOPPED"
	CodeStoreInUse         Code = "STORE_IN_USE"
	CodeSessionExists      Code = "SESSION_EXISTS"
	CodeNotAuthenticated   Code = "NOT_AUTHENTICATED"
	CodeSessionQuota       Code = "SESSION_QUOTA_EXCEEDED"
	CodeBodyTooLarge       Code = "BODY_TOO_LARGE"
	CodeWrongStatus        Code = "WRONG_STATUS"
	CodePairingCodeRefused Code = "PAIRING_CODE_REFUSED"
	CodeClientClosed       Code = "CLIENT_CLOSED_REQUEST"
	CodeInternal           Code = "INTERNAL_ERROR"
	CodeNotImplemented     Code = "NOT_IMPLEMENTED"
	CodeSecretsUnavailable Code = "SECRETS_UNAVAILABLE"
	CodeQRNotReady         Code = "QR_NOT_READY"
	CodeUnavailable        Code = "UNAVAILABLE"
	CodePairingCodeTimeout Code = "PAIRING_CODE_TIMEOUT"
	CodeKeyReused          Code = "IDEMPOTENCY_KEY_REUSED"
	CodeInProgress         Code = "IDEMPOTENCY_IN_PROGRESS"
	CodeBodyTimeout        Code = "BODY_TIMEOUT"
	CodeBodyEncoded        Code = "BODY_ENCODED"
)

// statusClientClosed never reaches anybody: the caller has gone. It keeps the
// access log from showing an error of ours.
const statusClientClosed = 499

// Errors of the API itself.
var (
	errRouteNotFound    = errors.New("no such route")
	errMethodNotAllowed = errors.New("method not allowed")
	errNotImplemented   = errors.New("not implemented")
	errBodyTooLarge     = errors.New("body too large")
	errBodyTooSlow      = errors.New("body too slow")
	errBodyEncoded      = errors.New("body has a content encoding")
)

// problem is an error as a client sees it.
type problem struct {
	status     int
	code       Code
	message    string
	retryAfter int // seconds; 0 for no such header
	fields     session.FieldErrors
	wrong      *control.WrongStatusError
}

// plain is the answer to errors that carry nothing but themselves. The order is
// of no importance: no error is two of them.
var plain = []struct {
	is error
	problem
}{
	{errKeyMissing, problem{status: http.StatusUnauthorized, code: CodeKeyMissing,
		message: "An API key is required: send it in the header apikey, never in the URL"}},
	{access.ErrKeyInvalid, problem{status: http.StatusUnauthorized, code: CodeKeyInvalid,
		message: "The API key is not valid"}},
	{access.ErrForbidden, problem{status: http.StatusForbidden, code: CodeForbidden,
		message: "The scope of this API key does not allow this request"}},
	{access.ErrKeyNotFound, problem{status: http.StatusNotFound, code: CodeKeyNotFound,
		message: "API key not found"}},
	{access.ErrOwnKey, problem{status: http.StatusConflict, code: CodeKeyInUse,
		message: "An API key cannot revoke itself: use another key, or the command wafleet revoke-key"}},
	{session.ErrNotFound, problem{status: http.StatusNotFound, code: CodeSessionNotFound,
		message: "Session not found"}},
	{errRouteNotFound, problem{status: http.StatusNotFound, code: CodeRouteNotFound,
		message: "There is no such endpoint"}},
	{errMethodNotAllowed, problem{status: http.StatusMethodNotAllowed, code: CodeMethodNotAllowed,
		message: "This endpoint has no such method; the header Allow says which it has"}},
	{session.ErrActive, problem{status: http.StatusConflict, code: CodeSessionActive,
		message: "Session already exists and is active"}},
	{session.ErrStopped, problem{status: http.StatusConflict, code: CodeSessionStopped,
		message: "Session is already stopped"}},
	{session.ErrStoreInUse, problem{status: http.StatusConflict, code: CodeStoreInUse,
		message: "config.store cannot change while a device is linked: log out first"}},
	{session.ErrExists, problem{status: http.StatusUnprocessableEntity, code: CodeSessionExists,
		message: "A session of that name exists already: choose another name, or update it with PUT"}},
	{session.ErrNotAuthenticated, problem{status: http.StatusConflict, code: CodeNotAuthenticated,
		message: "No device is linked to the session, so there is nothing to log out"}},
	{session.ErrQuota, problem{status: http.StatusForbidden, code: CodeSessionQuota,
		message: "The tenant has as many sessions as it may: delete one, or ask the operator for more"}},
	{errBodyTooLarge, problem{status: http.StatusRequestEntityTooLarge, code: CodeBodyTooLarge,
		message: "The body must be at most " + bodyLimit()}},
	{errBodyTooSlow, problem{status: http.StatusRequestTimeout, code: CodeBodyTimeout,
		message: "The body did not arrive in time"}},
	{errBodyEncoded, problem{status: http.StatusUnsupportedMediaType, code: CodeBodyEncoded,
		message: "The body must be plain JSON, without a Content-Encoding"}},
	{control.ErrRepeatDiffers, problem{status: http.StatusUnprocessableEntity, code: CodeKeyReused,
		message: "This Idempotency-Key was used for another request: use a new one"}},
	{control.ErrRepeatRuns, problem{status: http.StatusConflict, code: CodeInProgress,
		message: "The same request is still running. Ask again for its answer", retryAfter: 1}},
	{errNotImplemented, problem{status: http.StatusNotImplemented, code: CodeNotImplemented,
		message: "This endpoint is known but not built yet"}},
	{control.ErrCodeTimeout, problem{status: http.StatusGatewayTimeout, code: CodePairingCodeTimeout,
		message: "No pairing code arrived in time. Try again", retryAfter: 1}},
	{session.ErrUnavailable, problem{status: http.StatusServiceUnavailable, code: CodeUnavailable,
		message: "The database, or what keeps its keys, cannot be reached. Try again", retryAfter: 1}},
	{context.DeadlineExceeded, problem{status: http.StatusServiceUnavailable, code: CodeUnavailable,
		message: "The request took too long. Try again", retryAfter: 1}},
}

// problemOf is the one place where an error becomes an answer. What it does not
// know is 500, without a word of what happened.
func problemOf(err error) problem {
	var (
		field   *session.FieldError
		fields  session.FieldErrors
		wrong   *control.WrongStatusError
		refused *control.CodeRefusedError
		limited *access.LimitedError
	)
	switch {
	case errors.As(err, &field):
		return invalid(session.FieldErrors{field})
	case errors.As(err, &fields):
		return invalid(fields)
	case errors.As(err, &wrong):
		return problem{status: http.StatusUnprocessableEntity, code: CodeWrongStatus, message: sentence(wrong.Error()), wrong: wrong}
	case errors.As(err, &limited):
		wait := max(1, seconds(limited.RetryAfter))
		return problem{status: http.StatusTooManyRequests, code: CodeRateLimited, message: fmt.Sprintf("Too many requests. Try again in %d s", wait), retryAfter: wait}
	case errors.As(err, &refused):
		return problem{status: http.StatusUnprocessableEntity, code: CodePairingCodeRefused, message: sentence(refused.Error())}
	case errors.Is(err, control.ErrSecretsUnavailable): // it names the field
		return problem{status: http.StatusNotImplemented, code: CodeSecretsUnavailable, message: sentence(err.Error())}
	case errors.Is(err, control.ErrQRNotReady):
		return problem{status: http.StatusServiceUnavailable, code: CodeQRNotReady, message: sentence(err.Error()), retryAfter: 1}
	}
	for _, known := range plain {
		if errors.Is(err, known.is) {
			return known.problem
		}
	}
	return problem{status: http.StatusInternalServerError, code: CodeInternal, message: "Something went wrong; the request id finds it in the log"}
}

// seconds rounds up, so that whoever waits for so long has waited enough.
func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

// Bounds of what an error body repeats of a request. One of 1 MiB can hold half
// a million mistakes, and one name can be as long as the request.
const (
	maxMistakes  = 10
	maxFieldText = 200 // bytes of a field's path
)

func invalid(all session.FieldErrors) problem {
	shown := make(session.FieldErrors, 0, maxMistakes)
	for _, mistake := range all[:min(len(all), maxMistakes)] {
		shown = append(shown, &session.FieldError{Field: cut(mistake.Field), Problem: mistake.Problem})
	}
	message := shown.Error()
	if more := len(all) - len(shown); more > 0 {
		message += fmt.Sprintf("; and %d more", more)
	}
	return problem{status: http.StatusBadRequest, code: CodeInvalidRequest, message: message, fields: shown}
}

func cut(text string) string {
	if len(text) <= maxFieldText {
		return text
	}
	return strings.ToValidUTF8(text[:maxFieldText], "") + "..."
}

// sentence gives an error's text a capital letter.
func sentence(text string) string {
	if text == "" || text[0] < 'a' || text[0] > 'z' {
		return text
	}
	return string(text[0]-'a'+'A') + text[1:]
}

// errorBody is the one body of every error.
type errorBody struct {
	Success    bool             `json:"success"`
	StatusCode int              `json:"statusCode"`
	Error      string           `json:"error"`
	Code       Code             `json:"code"`
	Message    string           `json:"message"`
	Session    session.Name     `json:"session,omitempty"`
	RequestID  string           `json:"requestId"`
	Status     session.Status   `json:"status,omitempty"`   // with WRONG_STATUS
	Expected   []session.Status `json:"expected,omitempty"` // with WRONG_STATUS
	Errors     []fieldProblem   `json:"errors,omitempty"`   // with INVALID_REQUEST
}

type fieldProblem struct {
	Field   string `json:"field"`
	Problem string `json:"problem"`
}

// fail answers with an error and logs it where it is ours.
func (h *Handler) fail(c *call, err error) {
	p := problemOf(err)
	if c.r.Context().Err() == context.Canceled && p.status >= http.StatusInternalServerError {
		p = problem{status: statusClientClosed, code: CodeClientClosed, message: "The client closed the request"}
	}
	c.problem = &p
	h.logProblem(c, p, err)
	if c.w.status != 0 {
		return // a panic after the answer began: nothing can be mended
	}
	header := c.w.Header()
	if p.retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	if p.status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", `ApiKey realm="wafleet"`)
	}
	// The body holds only strings and numbers, so encoding it cannot fail.
	_ = writeJSON(c, p.status, p.body(c))
}

func (p problem) body(c *call) errorBody {
	body := errorBody{
		StatusCode: p.status, Error: http.StatusText(p.status), Code: p.code, Message: p.message,
		Session: c.session, RequestID: c.requestID,
	}
	if p.wrong != nil {
		body.Status, body.Expected = p.wrong.Status, p.wrong.Expected
	}
	for _, field := range p.fields {
		body.Errors = append(body.Errors, fieldProblem{Field: field.Field, Problem: field.Problem})
	}
	return body
}

// panicked is a recovered panic on its way to the log.
type panicked struct {
	value any
	stack []byte
}

func (e *panicked) Error() string { return fmt.Sprintf("panic: %v", e.value) }
