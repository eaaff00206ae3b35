package wasim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxControlBody bounds the body of a control request, in bytes.
const maxControlBody = 64 << 10

// maxEventWait bounds the long poll of GET /events.
const maxEventWait = 60 * time.Second

// request is the body of every POST; each route reads its own fields.
type request struct {
	JID    string   `json:"jid"`
	Number string   `json:"number"`
	QR     string   `json:"qr"`
	Code   flexible `json:"code"` // pairing code, stream error code or ban code
	Mode   string   `json:"mode"`
	Reason int      `json:"reason"`
	Count  int      `json:"count"`
	Kind   string   `json:"kind"`
	Times  int      `json:"times"`

	ExpireSeconds int    `json:"expire"`
	Message       string `json:"message"`
	Version       string `json:"version"`
	LatencyMS     int    `json:"latencyMs"`
	HandshakeMS   int    `json:"handshakeMs"`
}

// flexible is a JSON string or number, kept as text.
type flexible string

func (f *flexible) UnmarshalJSON(raw []byte) error {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		*f = flexible(text)
		return nil
	}
	var n json.Number
	if err := json.Unmarshal(raw, &n); err != nil {
		return errors.New("must be a string or a number")
	}
	*f = flexible(n)
	return nil
}

// route is one line of the control API.
type route struct {
	method, path string
	help         string
	serve        func(s *Server, r *http.Request, body request) (any, error)
}

func get(path, help string, serve func(*Server, *http.Request) (any, error)) route {
	return route{http.MethodGet, path, help, func(s *Server, r *http.Request, _ request) (any, error) { return serve(s, r) }}
}

func post(path, help string, serve func(*Server, context.Context, request) (any, error)) route {
	return route{http.MethodPost, path, help, func(s *Server, r *http.Request, b request) (any, error) {
		return serve(s, r.Context(), b)
	}}
}

// controlRoutes is the control API, in the order of its documentation.
var controlRoutes = []route{
	get("/info", "what a client needs: dialAddr, caPem, rootKey", func(s *Server, _ *http.Request) (any, error) {
		return Info{DialAddr: s.DialAddr(), CAPEM: string(s.CAPEM()), RootKey: s.RootKeyHex()}, nil
	}),
	get("/stats", "counters", func(s *Server, _ *http.Request) (any, error) { return s.Stats(), nil }),
	get("/connections", "open websockets", func(s *Server, _ *http.Request) (any, error) { return s.Connections(), nil }),
	get("/devices", "paired devices", func(s *Server, _ *http.Request) (any, error) { return s.Devices(), nil }),
	get("/events", "the timeline; ?since=SEQ&wait=10s", serveEvents),
	post("/scan", `{number, qr}: a phone scans a QR code`, func(s *Server, ctx context.Context, b request) (any, error) {
		return paired(s.ScanContext(ctx, b.Number, b.QR))
	}),
	post("/link-code", `{number, code}: a phone's owner types a pairing code`, func(s *Server, ctx context.Context, b request) (any, error) {
		return paired(s.LinkCodeContext(ctx, b.Number, string(b.Code)))
	}),
	post("/drop", `{jid?, mode: fin|rst|close}: ends connections`, func(s *Server, _ context.Context, b request) (any, error) {
		return affected(s.Drop(b.JID, DropMode(b.Mode)))
	}),
	post("/silent", `{jid?, mode: mute|freeze|off}: silences open connections`, func(s *Server, _ context.Context, b request) (any, error) {
		if b.Mode == "" {
			b.Mode = string(SilenceMute)
		}
		return affected(s.Silent(b.JID, SilenceMode(b.Mode)))
	}),
	post("/stream-error", `{jid?, code}: sends stream:error and closes`, func(s *Server, _ context.Context, b request) (any, error) {
		return affected(s.StreamError(b.JID, string(b.Code)))
	}),
	post("/malformed", `{jid?, kind: handler|frame|goroutine|off, times?}: a stanza that makes whatsmeow panic, now or at the next times logins`,
		func(s *Server, _ context.Context, b request) (any, error) {
			return affected(s.Malformed(b.JID, MalformedKind(b.Kind), b.Times))
		}),
	post("/logout", `{jid}: the phone removes the device`, func(s *Server, _ context.Context, b request) (any, error) {
		return done(s.Logout(b.JID))
	}),
	post("/fail-login", `{jid?, reason, count, code?, expire? (s), message?}: logins fail; reason 0 ends it, count -1 has no end`, serveFailLogin),
	post("/refuse", `{mode: close|hang|http|off, count?}: refuses new connections`, func(s *Server, _ context.Context, b request) (any, error) {
		if b.Mode == "" {
			return nil, badRequest("mode is missing; use close, hang, http or off")
		}
		return done(s.Refuse(RefuseMode(b.Mode), b.Count))
	}),
	post("/min-version", `{version}: older clients fail with 405; "" ends it`, func(s *Server, _ context.Context, b request) (any, error) {
		return done(s.SetMinVersion(b.Version))
	}),
	post("/latency", `{latencyMs, handshakeMs}: delays what the server sends; zeros end it`, func(s *Server, _ context.Context, b request) (any, error) {
		s.SetLatency(time.Duration(b.LatencyMS)*time.Millisecond, time.Duration(b.HandshakeMS)*time.Millisecond)
		return done(nil)
	}),
	post("/replace", `{jid}: another owner logs in as the device`, func(s *Server, _ context.Context, b request) (any, error) {
		return affected(s.ConnectAs(b.JID))
	}),
}

// Info is the answer of GET /info.
type Info struct {
	DialAddr string `json:"dialAddr"`
	CAPEM    string `json:"caPem"`
	RootKey  string `json:"rootKey"` // 64 hex digits
}

// answer is the body of a POST's success.
type answer struct {
	OK       bool   `json:"ok"`
	JID      string `json:"jid,omitempty"`
	Affected *int   `json:"affected,omitempty"` // connections
}

func done(err error) (any, error)               { return answer{OK: true}, err }
func affected(n int, err error) (any, error)    { return answer{OK: true, Affected: &n}, err }
func paired(jid string, err error) (any, error) { return answer{OK: true, JID: jid}, err }

func serveFailLogin(s *Server, _ context.Context, b request) (any, error) {
	o := FailOptions{Reason: b.Reason, Count: b.Count, Expire: time.Duration(b.ExpireSeconds) * time.Second, Message: b.Message}
	if b.Code != "" {
		code, err := strconv.Atoi(string(b.Code))
		if err != nil {
			return nil, badRequest("code must be a number")
		}
		o.Code = code
	}
	return done(s.FailLoginWith(b.JID, o))
}

// serveEvents answers with the events after since, waiting for the first one if asked to.
func serveEvents(s *Server, r *http.Request) (any, error) {
	var since uint64
	var wait time.Duration
	var err error
	if v := r.URL.Query().Get("since"); v != "" {
		if since, err = strconv.ParseUint(v, 10, 64); err != nil {
			return nil, badRequest("since must be a number")
		}
	}
	if v := r.URL.Query().Get("wait"); v != "" {
		if _, err := strconv.Atoi(v); err == nil {
			v += "s"
		}
		if wait, err = time.ParseDuration(v); err != nil || wait < 0 {
			return nil, badRequest("wait must be a duration like 10s")
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), min(wait, maxEventWait))
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	if wait > 0 {
		// Either an event is there, or the time is up; both end in the list.
		_, _ = s.WaitEventSince(ctx, since, func(Event) bool { return true })
	}
	events := s.EventsSince(since)
	if events == nil {
		events = []Event{}
	}
	return events, nil
}

// badRequest is an error that is the caller's.
type badRequest string

func (e badRequest) Error() string { return string(e) }

// statusOf maps an error to an HTTP status.
func statusOf(err error) int {
	var bad badRequest
	switch {
	case errors.As(err, &bad), errors.Is(err, ErrBadJID), errors.Is(err, ErrBadNumber), errors.Is(err, ErrBadQR),
		errors.Is(err, ErrBadCode), errors.Is(err, ErrBadMode):
		return http.StatusBadRequest
	case errors.Is(err, ErrUnknownDevice), errors.Is(err, ErrUnknownQR), errors.Is(err, ErrNoHello):
		return http.StatusNotFound
	case errors.Is(err, ErrRejected), errors.Is(err, ErrWrongCode), errors.Is(err, ErrBusy), errors.Is(err, ErrClientGone):
		return http.StatusConflict
	case errors.Is(err, ErrTimeout):
		return http.StatusRequestTimeout
	case errors.Is(err, ErrClosed):
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// ControlHandler is the control API. It has no authentication: serve it on a loopback address.
func (s *Server) ControlHandler() http.Handler {
	byPath := make(map[string]route, len(controlRoutes))
	for _, rt := range controlRoutes {
		byPath[rt.path] = rt
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := "/" + strings.Trim(r.URL.Path, "/")
		if path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			s.serveControlPage(w)
			return
		}
		rt, ok := byPath[path]
		if !ok {
			writeJSON(w, http.StatusNotFound, map[string]any{"error": "no such route: " + path, "routes": routeList()})
			return
		}
		if r.Method != rt.method {
			w.Header().Set("Allow", rt.method)
			writeJSON(w, http.StatusMethodNotAllowed, map[string]any{"error": path + " wants " + rt.method})
			return
		}
		body, err := readRequest(w, r)
		if err != nil {
			writeJSON(w, http.StatusBadRequest, map[string]any{"error": err.Error()})
			return
		}
		result, err := rt.serve(s, r, body)
		if err != nil {
			writeJSON(w, statusOf(err), map[string]any{"error": err.Error()})
			return
		}
		writeJSON(w, http.StatusOK, result)
	})
}

// readRequest decodes the body of a POST; an empty one is {}. Unknown fields are mistakes.
func readRequest(w http.ResponseWriter, r *http.Request) (body request, err error) {
	if r.Method != http.MethodPost {
		return body, nil
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControlBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&body); err != nil && !errors.Is(err, io.EOF) {
		return body, fmt.Errorf("bad JSON body: %w", err)
	}
	if dec.More() {
		return body, errors.New("bad JSON body: something follows the object")
	}
	return body, nil
}

func routeList() []string {
	list := make([]string, 0, len(controlRoutes))
	for _, rt := range controlRoutes {
		list = append(list, rt.method+" "+rt.path)
	}
	return list
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
