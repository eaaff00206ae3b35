package httpapi_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/functions/control"
	"github.com/wafleet/wafleet/functions/httpapi"
)

// withOrigins is the same service for pages of other origins.
func (s *service) withOrigins(list string) *service {
	s.Helper()
	origins, err := httpapi.ParseOrigins(list)
	if err != nil {
		s.Fatal(err)
	}
	open := *s
	open.Handler = httpapi.New(control.New(s.store, control.Config{SQLiteAvailable: true}), access.New(s.store, access.Config{}), httpapi.Config{CORSOrigins: origins})
	return &open
}

const page = "https://app.example.com"

func (s *service) from(origin string, a ask) answer {
	s.Helper()
	if a.header == nil {
		a.header = http.Header{}
	}
	a.header["Origin"] = []string{origin}
	return s.do(a)
}

func preflight(path, method, headers string) ask {
	return ask{method: http.MethodOptions, path: path, noKey: true, header: http.Header{
		"Access-Control-Request-Method": {method}, "Access-Control-Request-Headers": {headers},
	}}
}

func corsHeaders(a answer) []string {
	var names []string
	for name := range a.Header() {
		if strings.HasPrefix(name, "Access-Control-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestCORSIsOff(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for _, a := range []ask{{path: "/api/sessions"}, preflight("/api/sessions", "GET", "apikey")} {
		if got := s.from(page, a).want(http.StatusOK); corsHeaders(got) != nil || strings.Contains(strings.Join(got.Header()["Vary"], ","), "Origin") {
			t.Errorf("%v", got.Header())
		}
	}
}

func TestCORSForNamedOrigins(t *testing.T) {
	t.Parallel()
	s := newService(t).withOrigins(page + " , http://localhost:3000")
	for _, origin := range []string{page, "http://localhost:3000"} {
		for status, one := range map[int]ask{
			http.StatusOK:               {path: "/api/sessions"},
			http.StatusUnauthorized:     {path: "/api/sessions", noKey: true},
			http.StatusNotFound:         {path: "/api/sessions/b"},
			http.StatusMethodNotAllowed: {path: "/api/sessions/b", method: http.MethodPatch},
			http.StatusNotImplemented:   {path: "/api/sendText", method: http.MethodPost},
			http.StatusBadRequest:       {path: "/api/sessions?limit=x"},
		} {
			a := s.from(origin, one).want(status)
			if a.Header().Get("Access-Control-Allow-Origin") != origin || !slices.Contains(a.Header()["Vary"], "Origin") {
				t.Errorf("%d: %v", status, a.Header())
			}
			if diff := cmp.Diff([]string{"Access-Control-Allow-Origin", "Access-Control-Expose-Headers"}, corsHeaders(a)); diff != "" {
				t.Errorf("%d: %s", status, diff)
			}
			for _, name := range []string{"X-Request-Id", "Etag", "Retry-After", "Idempotency-Replayed", "Ratelimit-Limit", "Ratelimit-Remaining", "Ratelimit-Reset"} {
				if !strings.Contains(a.Header().Get("Access-Control-Expose-Headers"), name) {
					t.Errorf("%s is not exposed", name)
				}
			}
		}
	}
	for _, origin := range []string{"https://app.example.com.evil.test", "http://app.example.com", "null", page + ":8443", "https://evil.test", ""} {
		if a := s.from(origin, ask{path: "/api/sessions"}).want(http.StatusOK); corsHeaders(a) != nil || !slices.Contains(a.Header()["Vary"], "Origin") {
			t.Errorf("%q: %v", origin, a.Header())
		}
		if a := s.from(origin, preflight("/api/sessions", "GET", "apikey")).want(http.StatusOK); corsHeaders(a) != nil {
			t.Errorf("%q: %v", origin, a.Header())
		}
	}
}

func TestAPreflightIsOurOwnOPTIONS(t *testing.T) {
	t.Parallel()
	s := newService(t).withOrigins(page)
	const headers = "apikey,content-type,idempotency-key,if-none-match,x-api-key,x-request-id" // as browsers send them, sorted
	a := s.from(page, preflight("/api/sessions/a/start", "POST", headers)).want(http.StatusOK)
	if a.object()["success"] != true || a.Header().Get("Allow") != "OPTIONS, POST" {
		t.Errorf("%v %s", a.Header(), a.Body)
	}
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": page, "Access-Control-Allow-Methods": "POST", "Access-Control-Allow-Headers": headers,
		"Access-Control-Max-Age": "600", "Access-Control-Allow-Credentials": "",
	} {
		if got := a.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, refused := range []ask{preflight("/api/sessions", "GET", "cookie"), preflight("/api/sessions", "TRACE", "apikey"), preflight("/api/sessions", "GET", "apikey\r\nx: y")} {
		if a := s.from(page, refused).want(http.StatusOK); corsHeaders(a) != nil {
			t.Errorf("%v: %v", refused.header, a.Header())
		}
	}
}

func TestCORSForEveryOrigin(t *testing.T) {
	t.Parallel()
	s := newService(t).withOrigins("*")
	for _, one := range []ask{{path: "/api/sessions"}, preflight("/api/sessions", "DELETE", "apikey")} {
		a := s.from("https://anything.test", one).want(http.StatusOK)
		if a.Header().Get("Access-Control-Allow-Origin") != "*" || a.Header().Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%v", a.Header())
		}
	}
}

func TestOriginsThatAreNone(t *testing.T) {
	t.Parallel()
	for list, want := range map[string][]string{"": nil, " , ": nil, "*": {"*"}, page + "/,x": nil, page + ",http://[::1]:3000": {page, "http://[::1]:3000"}} {
		if got, _ := httpapi.ParseOrigins(list); !slices.Equal(got, want) {
			t.Errorf("%q: %q", list, got)
		}
	}
	for _, wrong := range []string{
		"app.example.com", page + "/", page + "/path", page + "?x", page + "#x", "https://*.example.com", "ftp://x", "https://", "null", "https://x:443", "http://x:80",
		"https://x:", "https://u@x", "//x", "https://x y", "https://x\r\nY: z", "https://%zz",
	} {
		_, err := httpapi.ParseOrigins(page + "," + wrong)
		if err == nil || !strings.Contains(err.Error(), "no origin") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if _, err := httpapi.ParseOrigins("https://user:hidden@x.test"); err == nil || strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), "@x.test") {
		t.Errorf("%v", err)
	}
	if _, err := httpapi.ParseOrigins(page + ",*"); err == nil || !strings.Contains(err.Error(), "alone") {
		t.Errorf("%v", err)
	}
}
