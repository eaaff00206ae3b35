package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/rs/cors"
	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/functions/control"
	"github.com/wafleet/wafleet/shared/session"
)

// requestTimeout ends what a request does. API Gateway gives up after 30 s; an
// error body has to be on its way before.
const requestTimeout = 25 * time.Second

// Config is what the handler says about itself.
type Config struct {
	Log     *slog.Logger
	Version string    // of wafleet; "dev" where empty
	Started time.Time // of the process; now where zero
	// CORSOrigins may call from a browser, see [ParseOrigins]; none where empty.
	CORSOrigins []string
	Observer    Observer // nil: nobody
}

// Observer counts answers. A route is one of a few words: a method and a pattern,
// "(unbuilt)" or "(none)".
type Observer interface {
	Answered(route string, status int, took time.Duration)
}

// Handler serves the whole API. It is safe for concurrent use.
type Handler struct {
	control *control.Control
	access  *access.Access
	log     *slog.Logger
	version string
	started time.Time
	routes  *node
	cors    *cors.Cors // nil for no origin
	observe Observer   // nil: nobody
}

// New returns the API over the use cases.
func New(control *control.Control, access *access.Access, config Config) *Handler {
	h := &Handler{
		control: control, access: access, log: config.Log, version: config.Version, started: config.Started,
		cors: newCORS(config.CORSOrigins), observe: config.Observer,
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.version == "" {
		h.version = "dev"
	}
	if h.started.IsZero() {
		h.started = time.Now()
	}
	h.routes = newRoutes(h)
	return h
}

// call is one request on its way through the API.
type call struct {
	w         *recorder
	r         *http.Request
	started   time.Time
	requestID string
	segments  []string // of the path, decoded
	route     *route   // nil where none fits
	caller    access.Caller
	session   session.Name // empty where the route has none or the name is wrong
	problem   *problem     // what went wrong, for the log
	held      *answer      // where not nil, takes the answer instead of the caller
	bodyRead  bool         // or as far as it will be
}

func (c *call) context() context.Context { return c.r.Context() }

// ServeHTTP implements [http.Handler]. It never panics and always answers.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.cors == nil {
		h.serve(w, r)
		return
	}
	h.cors.ServeHTTP(w, r, h.serve)
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	c := &call{
		w:         &recorder{ResponseWriter: w, bodyless: r.Method == http.MethodHead},
		r:         r.WithContext(ctx),
		started:   time.Now(),
		requestID: requestIDOf(r),
	}
	defer h.done(c)
	c.setHeaders()
	if err := h.safely(c); err != nil {
		h.fail(c, err)
	}
}

// setHeaders is what every answer carries. Answers hold credentials or states
// that are old within a second, so nothing is cached.
func (c *call) setHeaders() {
	header := c.w.Header()
	header.Set("X-Request-Id", c.requestID)
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	header.Set("Strict-Transport-Security", "max-age=31536000")
}

// answer authenticates, finds the route and runs its endpoint. The key comes
// first: without one nothing under /api can be learnt, not even what exists.
func (h *Handler) answer(c *call) error {
	segments, err := splitPath(c.r.URL)
	if err != nil {
		return err
	}
	c.segments = segments
	if c.needsKey() {
		if err := refuseKeyInURL(c.r.URL); err != nil {
			return err
		}
	}
	found, allowed := h.routes.find(segments, c.r.Method)
	c.route = found
	if c.r.Method == http.MethodOptions {
		return answerOptions(c, allowed)
	}
	if c.needsKey() {
		if err := h.authenticate(c); err != nil {
			return err
		}
	}
	switch {
	case found != nil:
		return h.run(c)
	case len(allowed) > 0:
		c.w.Header().Set("Allow", strings.Join(allowed, ", "))
		return errMethodNotAllowed
	}
	return errRouteNotFound
}

func (h *Handler) run(c *call) error {
	if at := c.route.sessionAt; at >= 0 && !c.route.unbuilt {
		name, err := session.ParseName(c.segments[at])
		if err != nil {
			return err
		}
		c.session = name
	}
	if err := c.checkRight(); err != nil {
		return err
	}
	if key := c.r.Header["Idempotency-Key"]; key != nil && c.repeatable() {
		return h.once(c, key)
	}
	return c.route.do(c)
}

// answerOptions says what a path can do. It needs no key, as a browser's
// preflight cannot send one.
func answerOptions(c *call, allowed []string) error {
	if len(allowed) == 0 {
		return errRouteNotFound
	}
	c.w.Header().Set("Allow", strings.Join(allowed, ", "))
	return writeJSON(c, http.StatusOK, map[string]any{"success": true, "allow": allowed})
}
