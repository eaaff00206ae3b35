package httpapi_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func (s *service) unless(match ...string) answer {
	s.Helper()
	return s.do(ask{path: "/api/sessions/a", header: http.Header{"If-None-Match": match}})
}

func TestASessionThatHasNotChanged(t *testing.T) {
	t.Parallel()
	s := newService(t)
	started := s.post("/api/sessions/a/start", "").want(http.StatusCreated)
	first := s.get("/api/sessions/a").want(http.StatusOK)
	etag := first.Header().Get("ETag")
	if !regexp.MustCompile(`^W/"[A-Za-z0-9_-]{22}"$`).MatchString(etag) || started.Header().Get("ETag") != etag {
		t.Errorf("ETag %q, and %q of the mutation", etag, started.Header().Get("ETag"))
	}
	opaque := strings.TrimPrefix(etag, "W/")
	for _, match := range [][]string{{etag}, {opaque}, {"*"}, {" * "}, {`"x", ` + etag}, {`W/"x,y",` + etag + `,"z"`}, {`"x"`, etag}, {`, ,` + opaque}} {
		a := s.unless(match...).want(http.StatusNotModified)
		if a.Body.Len() != 0 || a.Header().Get("ETag") != etag || a.Header().Get("Cache-Control") != "no-store" || a.Header().Get("Content-Length") != "" || a.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: %v %s", match, a.Header(), a.Body)
		}
	}
	for _, match := range []string{"", `"x"`, `W/"x"`, strings.Trim(opaque, `"`), "w/" + opaque, opaque[:10], `"x" ` + etag, `"` + etag, "**", `"*"`} {
		if a := s.unless(match).want(http.StatusOK); a.Body.String() != first.Body.String() {
			t.Errorf("%q: %s", match, a.Body)
		}
	}
	head := s.do(ask{method: http.MethodHead, path: "/api/sessions/a", header: http.Header{"If-None-Match": {etag}}}).want(http.StatusNotModified)
	if head.Body.Len() != 0 || head.Header().Get("ETag") != etag {
		t.Errorf("HEAD: %v", head.Header())
	}

	s.hold()
	changed := s.unless(etag).want(http.StatusOK)
	if changed.Header().Get("ETag") == etag {
		t.Error("a session that was claimed has the same ETag")
	}
	stopped := s.do(ask{method: http.MethodPost, path: "/api/sessions/a/stop", header: http.Header{"If-None-Match": {"*"}}}).want(http.StatusOK)
	if s.get("/api/sessions/a").Header().Get("ETag") != stopped.Header().Get("ETag") {
		t.Error("the stop names another version than is there")
	}
	// What is no session has no version.
	for _, path := range []string{"/api/sessions/b", "/api/sessions", "/ping"} {
		a := s.do(ask{path: path, header: http.Header{"If-None-Match": {"*"}}})
		if a.Code == http.StatusNotModified || a.Header().Get("ETag") != "" {
			t.Errorf("%s: %d %v", path, a.Code, a.Header())
		}
	}
}

// The version does not depend on how it travels.
func TestACompressedVersionIsTheSame(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.post("/api/sessions/a/start", `{"config":{"metadata":{"a":"`+strings.Repeat("x", 1000)+`"}}}`).want(http.StatusCreated)
	plain, zipped := s.get("/api/sessions/a"), s.accepting("gzip", "/api/sessions/a")
	if unzip(t, zipped) != plain.Body.String() || zipped.Header().Get("ETag") != plain.Header().Get("ETag") {
		t.Errorf("%v, %v", zipped.Header(), plain.Header())
	}
	both := http.Header{"Accept-Encoding": {"gzip"}, "If-None-Match": {plain.Header().Get("ETag")}}
	if a := s.do(ask{path: "/api/sessions/a", header: both}).want(http.StatusNotModified); a.Header().Get("Content-Encoding") != "" || a.Body.Len() != 0 {
		t.Errorf("%v", a.Header())
	}
}
