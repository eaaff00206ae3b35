package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/functions/control"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// unconnected is a handler whose database is never reached.
func unconnected(t testing.TB, log *slog.Logger) *Handler {
	t.Helper()
	opened, err := store.Open("postgres://x@127.0.0.1:1/x?sslmode=disable", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	return New(control.New(opened, control.Config{}), access.New(opened, access.Config{}), Config{Log: log})
}

func TestAPanicIsAnAnswer(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := unconnected(t, slog.New(slog.NewJSONHandler(&log, nil)))
	h.routes.add(route{method: http.MethodGet, pattern: "/early", do: func(*call) error { panic("inner secret") }})
	h.routes.add(route{method: http.MethodGet, pattern: "/late", do: func(c *call) error {
		_ = writeJSON(c, http.StatusOK, "answered")
		panic(errors.New("too late"))
	}})
	ask := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w
	}
	early := ask("/early")
	if early.Code != http.StatusInternalServerError || !strings.Contains(early.Body.String(), `"code":"INTERNAL_ERROR"`) || strings.Contains(early.Body.String(), "inner secret") {
		t.Errorf("%d %s", early.Code, early.Body)
	}
	if late := ask("/late"); late.Body.String() != "\"answered\"\n" {
		t.Errorf("%d %s", late.Code, late.Body)
	}
	if text := log.String(); strings.Count(text, "panic in a request") != 2 || !strings.Contains(text, "handler_internal_test.go") {
		t.Errorf("log %s", text)
	}
}

func TestEveryKnownErrorHasItsOwnAnswer(t *testing.T) {
	t.Parallel()
	for _, known := range plain {
		p := problemOf(fmt.Errorf("wrapped: %w", known.is))
		if p.code != known.code || p.message == "" || http.StatusText(p.status) == "" {
			t.Errorf("%v becomes %+v", known.is, p)
		}
	}
	unknown := problemOf(errors.New("pq: password is hunter2"))
	if unknown.status != http.StatusInternalServerError || strings.Contains(unknown.message, "hunter2") {
		t.Errorf("an unknown error becomes %+v", unknown)
	}
}

func TestEveryUnbuiltEndpointIsKnown(t *testing.T) {
	t.Parallel()
	root := newRoutes(unconnected(t, nil))
	if len(unbuilt) < 50 {
		t.Errorf("only %d endpoints", len(unbuilt))
	}
	for _, r := range unbuilt {
		method := r.method
		if method == anyMethod {
			method = http.MethodPatch
		}
		paths := []string{strings.TrimSuffix(r.pattern, subtreeSuffix)}
		if strings.HasSuffix(r.pattern, subtreeSuffix) {
			paths = append(paths, paths[0]+"/5511%40c.us/more")
		}
		for _, path := range paths {
			path = strings.ReplaceAll(path, sessionParam, "my-session")
			segments, err := splitPath(&url.URL{Path: path})
			if err != nil {
				t.Fatal(err)
			}
			found, _ := root.find(segments, method)
			if found == nil || !errors.Is(found.do(nil), errNotImplemented) {
				t.Errorf("%s %s is not 501", method, path)
			}
		}
	}
}

func TestRoutesDoNotShadowEachOther(t *testing.T) {
	t.Parallel()
	root := newRoutes(unconnected(t, nil))
	for path, want := range map[string]string{
		"GET /api/sessions/start":       "/api/sessions/{session}", // a session of that name
		"POST /api/sessions/start":      "/api/sessions/start",
		"GET /api/sessions/auth/qr":     "/api/{session}/auth/qr", // refused later: a reserved word
		"GET /api/server/auth/qr":       "/api/{session}/auth/qr",
		"GET /api/server/status":        "/api/server/status",
		"GET /api/mine/status":          "/api/{session}/status...",
		"POST /api/server/status/text":  "/api/{session}/status...",
		"HEAD /api/sessions":            "/api/sessions",
		"GET /api/sessions/chats":       "/api/sessions/{session}",
		"GET /api/contacts/all":         "/api/contacts...",
		"DELETE /api/sessions/mine":     "/api/sessions/{session}",
		"POST /api/contacts/auth/other": "/api/contacts...",
	} {
		method, target, _ := strings.Cut(path, " ")
		found, allowed := root.find(strings.Split(target[1:], "/"), method)
		if found == nil || found.pattern != want {
			t.Errorf("%s finds %+v (allowed %v), want %s", path, found, allowed, want)
		}
	}
}

func TestAccountOfADevice(t *testing.T) {
	t.Parallel()
	for jid, want := range map[string]string{
		"5511999999999:12@s.whatsapp.net": "5511999999999@c.us", "5511999999999@s.whatsapp.net": "5511999999999@c.us", "5511999999999.0:3@s.whatsapp.net": "5511999999999@c.us",
	} {
		if got := accountOf(session.Session{Run: session.Run{JID: jid}}); got == nil || got.ID != want {
			t.Errorf("%s becomes %+v", jid, got)
		}
	}
	if got := accountOf(session.Session{}); got != nil {
		t.Errorf("no device becomes %+v", got)
	}
}

// FuzzRouter: any method and path gets an answer with a body, never a redirect,
// a panic or an endpoint without a key.
func FuzzRouter(f *testing.F) {
	for _, seed := range []string{"/", "/ping", "//api//sessions/", "/api/sessions/a%2Fb/start", "/api/%zz", "/api/../..", "*", "", "/api/sessions/\x00", "/api/x/chats/%40"} {
		f.Add("GET", seed)
	}
	f.Add("BREW", "/api/sessions")
	f.Add("OPTIONS", "/api/sessions/x")
	h := unconnected(f, nil)
	f.Fuzz(func(t *testing.T, method, path string) {
		if path == "/health" {
			t.Skip("asks the database")
		}
		parsed, err := url.ParseRequestURI(path)
		if err != nil {
			parsed = &url.URL{Path: path}
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Method, r.URL = method, parsed
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch w.Code {
		case http.StatusOK, http.StatusUnauthorized, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusBadRequest, http.StatusNotImplemented, http.StatusServiceUnavailable:
		default:
			t.Fatalf("%q %q: %d %s", method, path, w.Code, w.Body)
		}
		if w.Header().Get("Location") != "" || (w.Body.Len() == 0 && method != http.MethodHead) {
			t.Fatalf("%q %q: %v %s", method, path, w.Header(), w.Body)
		}
	})
}
