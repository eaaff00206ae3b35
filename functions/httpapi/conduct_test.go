package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/functions/control"
	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func TestPathsAreCleanedWithoutARedirect(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	for _, path := range []string{"/api/sessions/a", "/api/sessions/a/", "//api/sessions/a", "/api//sessions///a//", "/api/sessions/%61", "/%61pi/sessions/a", "/api/sessions/a?x=1&y=/&z"} {
		if name := s.get(path).want(http.StatusOK).object()["name"]; name != "a" {
			t.Errorf("%s: name %v", path, name)
		}
	}
	s.post("//api/sessions/b/start/", "").want(http.StatusCreated)
}

func TestHabitsOfClients(t *testing.T) {
	t.Parallel()
	s := newService(t)
	header := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}, "Content-Length": {"0"}}
	s.do(ask{method: http.MethodPost, path: "/api/sessions/a/start", header: header}).want(http.StatusCreated)
	s.do(ask{path: "/api/sessions/a", header: header, body: "{}"}).want(http.StatusOK)
	s.do(ask{path: "/api/sessions/a", noKey: true, header: http.Header{"X-Api-Key": {s.key.Reveal()}}}).want(http.StatusOK)
	s.do(ask{path: "/api/sessions/a", header: http.Header{"X-Api-Key": {s.key.Reveal()}}}).want(http.StatusOK)
	s.do(ask{method: http.MethodPost, path: "/api/sessions/a/stop", header: http.Header{"Content-Type": {"text/plain"}}}).want(http.StatusOK)
	s.putKey("k", s.tenant, false) // an operator's own
	s.do(ask{path: "/api/sessions/a", key: "k"}).want(http.StatusOK)
}

func TestHEADAndOPTIONS(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	get := s.get("/api/sessions/a").want(http.StatusOK)
	head := s.do(ask{method: http.MethodHead, path: "/api/sessions/a"}).want(http.StatusOK)
	if head.Body.Len() != 0 || head.Header().Get("Content-Length") != get.Header().Get("Content-Length") {
		t.Errorf("HEAD: %d bytes, length %q", head.Body.Len(), head.Header().Get("Content-Length"))
	}
	s.do(ask{method: http.MethodHead, path: "/api/sessions/b"}).want(http.StatusNotFound)
	options := s.do(ask{method: http.MethodOptions, path: "/api/sessions/a", noKey: true}).want(http.StatusOK)
	if allow := options.Header().Get("Allow"); allow != "DELETE, GET, HEAD, OPTIONS, PUT" {
		t.Errorf("Allow %q", allow)
	}
	if options.object()["success"] != true || options.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("OPTIONS: %s %v", options.Body, options.Header())
	}
	s.do(ask{method: http.MethodOptions, path: "/what"}).wantError(http.StatusNotFound, httpapi.CodeRouteNotFound)
	wrong := s.do(ask{method: http.MethodGet, path: "/api/sessions/a/start"})
	if allow := wrong.Header().Get("Allow"); allow != "OPTIONS, POST" {
		t.Errorf("Allow %q", allow)
	}
}

func TestHeadersOfEveryAnswer(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for _, path := range []string{"/", "/ping", "/api/sessions", "/api/sessions/a", "/api/what", "/what"} {
		header := s.get(path).Header()
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"} {
			if header.Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, header.Get(name))
			}
		}
		if !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") || header.Get("Content-Length") == "" {
			t.Errorf("%s: %v", path, header)
		}
		if path != "/" && header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control %q", path, header.Get("Cache-Control"))
		}
	}
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	s := newService(t)
	made := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	for sent, kept := range map[string]bool{
		"abc-1.2_3": true, "JKJaXmPLvHcESHA=": true, "": false, "a b": false, "a\"b": false, "a\nb": false, strings.Repeat("a", 65): false, "ä": false,
	} {
		a := s.do(ask{path: "/api/sessions/a", header: http.Header{"X-Request-Id": {sent}}})
		got := a.wantError(http.StatusNotFound, httpapi.CodeSessionNotFound)["requestId"].(string)
		if kept && got != sent || !kept && !made.MatchString(got) {
			t.Errorf("%q became %q", sent, got)
		}
		if !strings.Contains(s.log.String(), `"request_id":"`+got+`"`) {
			t.Errorf("%q is not in the log", got)
		}
	}
}

func TestOpenEndpoints(t *testing.T) {
	t.Parallel()
	s := newService(t)
	open := func(path string) answer { return s.do(ask{path: path, noKey: true}).want(http.StatusOK) }
	wantSame(t, open("/ping").object(), map[string]any{"message": "pong"})
	up := map[string]any{"database": map[string]any{"status": "up"}}
	details := map[string]any{"database": up["database"], "clientVersion": up["database"]}
	wantSame(t, open("/health").object(), map[string]any{"status": "ok", "info": up, "error": map[string]any{}, "details": details})
	page := open("/")
	if !strings.Contains(page.Body.String(), "/start") || page.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("page: %v", page.Header())
	}
	for _, path := range []string{"/api/server/version", "/api/version"} {
		wantSame(t, s.get(path).want(http.StatusOK).object(), map[string]any{"version": "1.2.3", "engine": "GOWS", "tier": "CORE", "browser": nil})
		s.do(ask{path: path, noKey: true}).wantError(http.StatusUnauthorized, httpapi.CodeKeyMissing)
	}
	status := s.get("/api/server/status").want(http.StatusOK).object()
	if status["startTimestamp"].(float64) < 1.7e12 || status["uptime"].(float64) < 0 {
		t.Errorf("status %v", status)
	}
}

// Health stays ok, because no restart mends it, and says what does.
func TestHealthTellsOfARefusedClientVersion(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	s.hold().report(session.Starting, session.ClientOutdated, "refused")
	health := s.do(ask{path: "/health", noKey: true}).want(http.StatusOK).object()
	details, _ := health["details"].(map[string]any)
	version, _ := details["clientVersion"].(map[string]any)
	if message, _ := version["message"].(string); health["status"] != "ok" || version["status"] != "down" || !strings.Contains(message, "WHATSAPP_VERSION") {
		t.Errorf("%v", health)
	}
}

func TestADatabaseThatIsDown(t *testing.T) {
	t.Parallel()
	opened, err := store.Open("postgres://x:secret-password@127.0.0.1:1/x?sslmode=disable", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	s := &service{TB: t, key: apikey.New()}
	s.Handler = httpapi.New(control.New(opened, control.Config{}), access.New(opened, access.Config{}), httpapi.Config{})
	a := s.get("/api/sessions/a")
	a.wantError(http.StatusServiceUnavailable, httpapi.CodeUnavailable)
	if a.Header().Get("Retry-After") != "1" || strings.Contains(a.Body.String(), "127.0.0.1") {
		t.Errorf("%v %s", a.Header(), a.Body)
	}
	down := map[string]any{"database": map[string]any{"status": "down"}}
	health := s.do(ask{path: "/health", noKey: true}).want(http.StatusServiceUnavailable)
	wantSame(t, health.object(), map[string]any{"status": "error", "info": map[string]any{}, "error": down, "details": down})
	s.do(ask{path: "/ping", noKey: true}).want(http.StatusOK)
}

func TestACallerWhoLeftIsNobodysError(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.get("/api/sessions").want(http.StatusOK) // the key is known from here on
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code := s.doContext(ctx, ask{path: "/api/sessions"}).object()["code"]; code != "CLIENT_CLOSED_REQUEST" {
		t.Errorf("code %v", code)
	}
}

func TestTheAccessLog(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.putKey("k", s.tenant, false)
	s.start("5511999999999")
	s.do(ask{path: "/api/sessions/5511999999999?token=from-the-query", key: "k", header: http.Header{"X-Request-Id": {"find-me"}}}).want(http.StatusOK)
	s.get("/api/from-the-path/what")
	log := s.log.String()
	for _, secret := range []string{"5511999999999", "from-the-query", "from-the-path", s.key.Reveal()} {
		if strings.Contains(log, secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
	var found map[string]any
	for line := range strings.Lines(log) {
		if strings.Contains(line, "find-me") {
			if err := json.Unmarshal([]byte(line), &found); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, want := range map[string]any{
		"msg": "request", "level": "INFO", "method": "GET", "route": "/api/sessions/{session}", "status": 200.0, "session": "****9999",
		"tenant": string(s.tenant), "key": "own-[redacted]",
	} {
		if found[name] != want {
			t.Errorf("%s is %v, want %v", name, found[name], want)
		}
	}
}

// TestOverTheWire holds what only a real server does: clients that send odd
// paths, and one that announces more than it may send.
func TestOverTheWire(t *testing.T) {
	t.Parallel()
	s := newService(t)
	server := httptest.NewServer(s)
	defer server.Close()
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	send := func(method, path, body string) *http.Response {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("apikey", s.key.Reveal())
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response
	}
	for _, one := range []struct {
		method, path, body string
		status             int
	}{
		{http.MethodPost, "//api/sessions/a/start/", documentedBody, http.StatusCreated},
		{http.MethodHead, "/api/sessions/a", "", http.StatusOK},
		{http.MethodGet, "/api/../api/sessions/a", "", http.StatusNotFound},
		{http.MethodPost, "/api/sessions/..%2f..%2fa/start", "", http.StatusBadRequest},
		{http.MethodPost, "/api/sessions/b/start", strings.Repeat(" ", 8<<20), http.StatusRequestEntityTooLarge},
	} {
		if got := send(one.method, one.path, one.body).StatusCode; got != one.status {
			t.Errorf("%s %s: %d, want %d", one.method, one.path, got, one.status)
		}
	}
	client.CloseIdleConnections()
}

// TestAKeyInTheQueryMattersUnderTheAPIOnly: nobody sends one elsewhere on
// purpose, and a page or a probe must not break on it.
func TestAKeyInTheQueryMattersUnderTheAPIOnly(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for path, status := range map[string]int{
		"/": 200, "/ping": 200, "/health": 200, "/openapi.json": 200, "/docs": 200, "/docs/": 200, "/docs/docs.js": 200, "/what": 404, "/apis/sessions": 404,
		"/api/sessions": 400, "/api/sessions/a": 400, "/api/what": 400, "/api//version": 400, "/api": 400,
	} {
		for _, query := range []string{"?apikey=x", "?X-Api-Key=x", "?a=1&api_key=x"} {
			s.get(path + query).want(status)
		}
	}
}
