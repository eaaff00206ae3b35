package httpapi

import (
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"time"

	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/session"
)

// safely runs the request and turns a panic into an error: under Lambda a panic
// ends the process and with it the next request too.
func (h *Handler) safely(c *call) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicked{value: value, stack: debug.Stack()}
		}
	}()
	return h.answer(c)
}

// logProblem logs what an operator has to know; a client's mistake is only in
// the access log.
func (h *Handler) logProblem(c *call, p problem, err error) {
	attributes := []any{"request_id", c.requestID, "error", err.Error()}
	var panicError *panicked
	switch {
	case errors.As(err, &panicError):
		h.log.ErrorContext(c.context(), "panic in a request", append(attributes, "stack", string(panicError.stack))...)
	case p.code == CodeInternal:
		h.log.ErrorContext(c.context(), "request failed", attributes...)
	case p.code == CodeUnavailable:
		h.log.WarnContext(c.context(), "request failed", attributes...)
	}
}

// done tells who counts and who reads the log.
func (h *Handler) done(c *call) {
	h.logAccess(c)
	if h.observe != nil {
		h.observe.Answered(c.counted(), c.w.status, time.Since(c.started))
	}
}

// counted is the route in metrics, which must take few values.
func (c *call) counted() string {
	switch {
	case c.route == nil:
		return "(none)"
	case c.route.unbuilt:
		return "(unbuilt)"
	}
	return c.route.method + " " + c.route.pattern
}

// logAccess writes one line per request: the route's pattern rather than the
// path, no query, no header, no body.
func (h *Handler) logAccess(c *call) {
	attributes := []slog.Attr{
		slog.String("method", loggedMethod(c.r.Method)),
		slog.String("route", c.pattern()),
		slog.Int("status", c.w.status),
		slog.Int("bytes", c.w.bytes),
		slog.Int64("duration_us", time.Since(c.started).Microseconds()),
		slog.String("request_id", c.requestID),
	}
	if c.caller.Tenant != "" {
		attributes = append(attributes, slog.String("tenant", string(c.caller.Tenant)), slog.String("key", apikey.Loggable(c.caller.KeyID)))
	}
	if c.session != "" {
		attributes = append(attributes, slog.String("session", loggedName(c.session)))
	}
	if c.problem != nil {
		attributes = append(attributes, slog.String("code", string(c.problem.code)))
	}
	h.log.LogAttrs(c.context(), c.logLevel(), "request", attributes...)
}

func (c *call) pattern() string {
	if c.route == nil {
		return "(none)"
	}
	return c.route.pattern
}

// logLevel keeps the probes of load balancers out of a normal log.
func (c *call) logLevel() slog.Level {
	if pattern := c.pattern(); c.w.status < http.StatusBadRequest && (pattern == "/ping" || pattern == "/health") {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

var phoneLike = regexp.MustCompile(`^[0-9]{7,}$`)

// loggedName masks a session that its owner named after a phone number.
func loggedName(name session.Name) string {
	if phoneLike.MatchString(string(name)) {
		return session.Phone(name).String()
	}
	return string(name)
}

// loggedMethod keeps words that a caller made up out of the log.
func loggedMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "(other)"
}
