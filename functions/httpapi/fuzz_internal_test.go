package httpapi

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// FuzzIdempotencyKey: what is accepted is one line that a database column of
// 255 characters takes and that means the same in every character set.
func FuzzIdempotencyKey(f *testing.F) {
	for _, seed := range []string{"k", "", " ", "a b", "ü", "\x00", "a\r\nX: y", "\x7f", "\xff", strings.Repeat("k", 255), strings.Repeat("k", 256), `"'--`} {
		f.Add(seed, false)
	}
	f.Add("k", true)
	f.Fuzz(func(t *testing.T, value string, twice bool) {
		values := []string{value}
		if twice {
			values = append(values, value)
		}
		key, err := idempotencyKeyOf(values)
		if err != nil {
			if p := problemOf(err); key != "" || p.status != http.StatusBadRequest || p.fields[0].Field != "Idempotency-Key" {
				t.Fatalf("%q: %q with %+v", value, key, p)
			}
			return
		}
		printable := func(r rune) bool { return r >= ' ' && r <= '~' }
		if twice || key != value || len(key) < 1 || len(key) > 255 || strings.TrimFunc(key, printable) != "" || strings.IndexFunc(key, func(r rune) bool { return !printable(r) }) >= 0 {
			t.Fatalf("%q became %q", value, key)
		}
	})
}

// FuzzIfNoneMatch: a tag is found in a list exactly where it stands there as a
// whole, whatever surrounds it.
func FuzzIfNoneMatch(f *testing.F) {
	for _, seed := range []string{"", "*", `"a"`, `W/"a"`, `"a", "b"`, `"a" "b"`, `,,"a"`, `"a`, `a"`, `W/W/"a"`, `"*"`, "\"\xff\"", `"a",*`} {
		f.Add(seed)
	}
	tag := etagOf([]byte("a body"))
	opaque := strings.TrimPrefix(tag, "W/")
	f.Fuzz(func(t *testing.T, list string) {
		found := matchesAny(list, tag)
		if found && !strings.Contains(list, opaque) && strings.Trim(list, " \t") != "*" {
			t.Fatalf("%q has no %s", list, opaque)
		}
		if !matchesAny(tag+","+list, tag) || !matchesAny(opaque, tag) {
			t.Fatalf("%q hides the tag before it", list)
		}
		if found && !strings.Contains(list, "*") && !matchesAny(list+`,"x"`, tag) {
			t.Fatalf("%q loses its tag", list)
		}
	})
}

// FuzzAcceptEncoding: never a panic, and never gzip for who did not name it.
func FuzzAcceptEncoding(f *testing.F) {
	for _, seed := range []string{"", "gzip", "*", "gzip;q=0", "gzip;q=0.001", "br;q=1.0, gzip;q=0.8, *;q=0.1", "gzip;q=NaN", "gzip;q=1e-400", ";;;", "x-gzip", "gzip;=0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if acceptsGzip([]string{value}) && !strings.Contains(strings.ToLower(value), "gzip") && !strings.Contains(value, "*") {
			t.Fatalf("%q accepts gzip", value)
		}
	})
}

// FuzzRequest: whatever the method, the path and the headers are, the answer is
// whole and of a known kind: never a panic, never a redirect.
func FuzzRequest(f *testing.F) {
	for _, seed := range []struct{ method, path, name, value, body string }{
		{"GET", "/", "Accept-Encoding", "gzip", ""}, {"HEAD", "/ping", "If-None-Match", "*", ""}, {"POST", "/api/sessions/a/start", "Idempotency-Key", "k", "{}"},
		{"OPTIONS", "/api/sessions/a", "Access-Control-Request-Method", "GET", ""}, {"GET", "//api//sessions/", "Apikey", "k", ""}, {"BREW", "/%zz", "Origin", "https://a.test", ""},
		{"POST", "/api/a%2Fb/auth/request-code", "X-Api-Key", "\xff", "[]"}, {"GET", "*", "X-Request-Id", "a\r\nb: c", ""}, {"PUT", "/api/x/chats/%40", "Content-Encoding", "gzip", "\x1f"},
		{"GET", "/api/sessions?limit=x&%", "Expect", "100-continue", ""}, {"", "", "", "", ""},
	} {
		f.Add(seed.method, seed.path, seed.name, seed.value, seed.body)
	}
	h := unconnected(f, nil)
	h.cors = newCORS([]string{"https://a.test"})
	f.Fuzz(func(t *testing.T, method, path, name, value, body string) {
		if strings.Contains(path, "health") {
			t.Skip("asks the database")
		}
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Method, r.URL = method, urlOf(path)
		r.Header[http.CanonicalHeaderKey(name)] = []string{value}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code < 200 || w.Code >= 300 && w.Code < 400 && w.Code != http.StatusNotModified || w.Code == http.StatusInternalServerError || w.Header().Get("Location") != "" {
			t.Fatalf("%q %q: %d %v %s", method, path, w.Code, w.Header(), w.Body)
		}
		if method == http.MethodHead || w.Code == http.StatusNotModified {
			if w.Body.Len() != 0 {
				t.Fatalf("%q %q: a body of %d bytes", method, path, w.Body.Len())
			}
			return
		}
		checkBody(t, w)
	})
}

// urlOf is a path as a server, or a Lambda event, hands it over.
func urlOf(path string) *url.URL {
	if parsed, err := url.ParseRequestURI(path); err == nil {
		return parsed
	}
	return &url.URL{Path: path}
}

// checkBody wants one JSON value, a page or a picture, of the announced length.
func checkBody(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Header().Get("Content-Length") != strconv.Itoa(w.Body.Len()) {
		t.Fatalf("%d bytes and %v", w.Body.Len(), w.Header())
	}
	body := w.Body.Bytes()
	if w.Header().Get("Content-Encoding") == "gzip" {
		reader, err := gzip.NewReader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		if body, err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
	switch kind := w.Header().Get("Content-Type"); {
	case strings.HasPrefix(kind, "application/json"):
		if !json.Valid(body) {
			t.Fatalf("%d %q", w.Code, body)
		}
	case strings.HasPrefix(kind, "text/html"), kind == pngType:
		if len(body) == 0 {
			t.Fatalf("%d %v without a body", w.Code, w.Header())
		}
	default:
		t.Fatalf("%d of type %q: %q", w.Code, kind, body)
	}
}
