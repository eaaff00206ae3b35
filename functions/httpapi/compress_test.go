package httpapi_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// unzip returns the body of an answer that must be compressed.
func unzip(t *testing.T, a answer) string {
	t.Helper()
	if a.Header().Get("Content-Encoding") != "gzip" || a.Header().Get("Content-Length") != strconv.Itoa(a.Body.Len()) {
		t.Fatalf("%d %v", a.Code, a.Header())
	}
	reader, err := gzip.NewReader(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (s *service) accepting(encoding, path string) answer {
	s.Helper()
	return s.do(ask{path: path, header: http.Header{"Accept-Encoding": {encoding}}})
}

func TestLongTextIsCompressed(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for i := range 5 {
		s.start(fmt.Sprint("s", i))
	}
	plain := s.get("/api/sessions").want(http.StatusOK)
	for _, accept := range []string{"gzip", "GZIP", "br, gzip;q=0.5", "deflate,\tgzip ; q=1.0", "*", "x-gzip", "*;q=0, gzip"} {
		a := s.accepting(accept, "/api/sessions").want(http.StatusOK)
		if size := a.Body.Len(); size > plain.Body.Len()/2 {
			t.Errorf("%d of %d bytes", size, plain.Body.Len())
		}
		if got := unzip(t, a); got != plain.Body.String() {
			t.Errorf("%s: %s", accept, got)
		}
	}
	for _, accept := range []string{"", "identity", "br", "gzip;q=0", "gzip;q=0.000, *", "gzip;q=x", "gzipped", "*;q=0", "gzip;q=-1", "gzip;q=NaN"} {
		a := s.accepting(accept, "/api/sessions").want(http.StatusOK)
		if a.Header().Get("Content-Encoding") != "" || a.Body.String() != plain.Body.String() || a.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: %v", accept, a.Header())
		}
	}
	page := s.accepting("gzip", "/").want(http.StatusOK)
	if kind := page.Header().Get("Content-Type"); !strings.Contains(unzip(t, page), "<html") || kind != "text/html; charset=utf-8" {
		t.Errorf("page of %s", kind)
	}
	// HEAD says what GET would send.
	get := s.accepting("gzip", "/api/sessions")
	head := s.do(ask{method: http.MethodHead, path: "/api/sessions", header: http.Header{"Accept-Encoding": {"gzip"}}}).want(http.StatusOK)
	if head.Body.Len() != 0 || head.Header().Get("Content-Length") != get.Header().Get("Content-Length") || head.Header().Get("Content-Encoding") != "gzip" {
		t.Errorf("HEAD: %v", head.Header())
	}
}

func TestSmallAnswersAndPicturesAreNotCompressed(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	s.hold().showQR(longCode)
	for _, path := range []string{"/api/sessions/a", "/ping", "/api/what", "/api/a/auth/qr?format=image"} {
		a := s.accepting("gzip", path)
		if a.Header().Get("Content-Encoding") != "" || a.Header().Get("Content-Length") != strconv.Itoa(a.Body.Len()) {
			t.Errorf("%s: %v", path, a.Header())
		}
		if varies := a.Header().Get("Vary") == "Accept-Encoding"; varies == (a.Header().Get("Content-Type") == "image/png") {
			t.Errorf("%s varies: %v", path, varies)
		}
	}
	if text := unzip(t, s.accepting("gzip", "/api/a/auth/qr")); !strings.Contains(text, longCode) {
		t.Errorf("%s", text)
	}
}
