package contract

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func theDocument(t *testing.T) *document {
	t.Helper()
	d, err := published()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestExamplesFitTheirSchemas: every example of a body, a header or a parameter.
func TestExamplesFitTheirSchemas(t *testing.T) {
	t.Parallel()
	d := theDocument(t)
	checked := 0
	walk(d.root, func(at place) {
		schema, ok := at.lookup("schema")
		if !ok {
			return
		}
		if _, err := d.compile(schema.pointer); err != nil {
			t.Errorf("%s: %v", schema.pointer, err)
			return
		}
		for name, value := range examplesOf(at) {
			checked++
			if err := d.validate(schema, value); err != nil {
				t.Errorf("%s, example %s: %v", at.pointer, name, err)
			}
		}
	})
	if checked < 60 {
		t.Errorf("only %d examples", checked)
	}
}

func walk(at place, visit func(place)) {
	visit(at)
	for key := range at.object() {
		if key != "example" && key != "examples" {
			walk(at.child(key), visit)
		}
	}
	list, _ := at.value.([]any)
	for i, item := range list {
		walk(place{pointer: fmt.Sprintf("%s/%d", at.pointer, i), value: item}, visit)
	}
}

func examplesOf(at place) map[string]any {
	found := map[string]any{}
	if value, ok := at.object()["example"]; ok {
		found["example"] = value
	}
	examples, _ := at.object()["examples"].(map[string]any)
	for name, one := range examples {
		found[name] = one.(map[string]any)["value"]
	}
	return found
}

// TestExamplesOfErrorsHaveTheirCode: the codes that a response lists are those
// that may come with it, and each has the right status.
func TestExamplesOfErrorsHaveTheirCode(t *testing.T) {
	t.Parallel()
	d := theDocument(t)
	checked := 0
	walk(d.root, func(at place) {
		content, ok := at.lookup("content")
		if !ok || at.object()[codes] == nil {
			return
		}
		for _, value := range examplesOf(content.child("application/json")) {
			checked++
			status, err := value.(map[string]any)["statusCode"].(json.Number).Int64()
			if err != nil {
				t.Fatal(err)
			}
			if err := d.verifyCode(at, int(status), value); err != nil {
				t.Errorf("%s: %v", at.pointer, err)
			}
		}
	})
	if checked < 20 {
		t.Errorf("only %d examples", checked)
	}
}

const (
	version     = `{"version":"1","engine":"GOWS","tier":"CORE","browser":null}`
	wrongMethod = `{"success":false,"statusCode":405,"error":"Method Not Allowed","code":"METHOD_NOT_ALLOWED","message":"m","requestId":"r"}`
	notFound    = `{"success":false,"statusCode":404,"error":"Not Found","code":"SESSION_NOT_FOUND","message":"m","requestId":"r"}`
)

// answered is an answer to judge.
type answered struct {
	method, path string
	status       int
	body         string
	change       func(http.Header)
}

func (a answered) verify(t *testing.T) error {
	t.Helper()
	header := http.Header{"Content-Type": {"application/json; charset=utf-8"}, "X-Request-Id": {"r"}}
	if a.change != nil {
		a.change(header)
	}
	response := &http.Response{StatusCode: a.status, Header: header}
	return theDocument(t).verify(httptest.NewRequest(a.method, a.path, nil), response, []byte(a.body))
}

// set puts pairs of a name and a value.
func set(pairs ...string) func(http.Header) {
	return func(h http.Header) {
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
	}
}

func unset(name string) func(http.Header) { return func(h http.Header) { h.Del(name) } }

// tagged is the version that a session's answer names.
var tagged = set("ETag", `W/"1"`)

// bodyless is an answer of 304.
func bodyless(h http.Header) {
	tagged(h)
	h.Del("Content-Type")
}

// zipped compresses a text, as the answer to who accepts that.
func zipped(text string) string {
	var buffer bytes.Buffer
	writer := gzip.NewWriter(&buffer)
	_, _ = writer.Write([]byte(text)) // a buffer takes everything
	_ = writer.Close()
	return buffer.String()
}

func TestWhatIsInTheContract(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]answered{
		"plain":              {"GET", "/api/version", 200, version, nil},
		"odd slashes":        {"GET", "//api//version/", 200, version, nil},
		"encoded":            {"GET", "/%61pi/version", 200, version, nil},
		"HEAD":               {"HEAD", "/api/version", 200, "", nil},
		"a limit":            {"GET", "/api/version", 200, version, set("RateLimit-Limit", "50")},
		"an error":           {"GET", "/api/sessions/a", 404, notFound, nil},
		"unchanged":          {"GET", "/api/sessions/a", 304, "", bodyless},
		"compressed":         {"GET", "/api/version", 200, zipped(version), set("Content-Encoding", "gzip", "Vary", "Origin, Accept-Encoding")},
		"compressed text":    {"GET", "/", 200, zipped("<html>"), set("Content-Encoding", "gzip", "Vary", "Accept-Encoding", "Content-Type", "text/html", "ETag", `"1"`)},
		"HEAD, compressed":   {"HEAD", "/api/version", 200, "", set("Content-Encoding", "gzip", "Vary", "Accept-Encoding")},
		"a method in small":  {"get", "/api/version", 405, wrongMethod, set("Allow", "GET, HEAD, OPTIONS")},
		"a picture":          {"GET", "/api/a/auth/qr", 200, "PNG", set("Content-Type", "image/png")},
		"OPTIONS":            {"OPTIONS", "/api/version", 200, `{"success":true,"allow":["GET"]}`, set("Allow", "GET")},
		"an unknown path":    {"GET", "/what", 404, strings.Replace(notFound, "SESSION_NOT_FOUND", "ROUTE_NOT_FOUND", 1), nil},
		"a subtree":          {"GET", "/api/contacts/a/b", 501, `{"success":false,"statusCode":501,"error":"Not Implemented","code":"NOT_IMPLEMENTED","message":"m","requestId":"r"}`, nil},
		"a subtree's root":   {"GET", "/api/contacts", 501, `{"success":false,"statusCode":501,"error":"Not Implemented","code":"NOT_IMPLEMENTED","message":"m","requestId":"r"}`, nil},
		"a family's reason":  {"GET", "/api/sessions/a", 200, sessionWith(`"statusReason":{"code":"CONNECT_FAILURE_503","message":"m","at":"2026-01-01T00:00:00Z","retryAt":null}`), tagged},
		"an unknown setting": {"GET", "/api/sessions/a", 200, sessionWith(`"config":{"store":{"dialect":"sqlite3","address":"a"},"log":{"level":"INFO"},"x":[1e400]}`), tagged},
	} {
		if err := a.verify(t); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// sessionWith is a session's object with one field changed.
func sessionWith(field string) string {
	fields := []string{`"session":"a"`, `"name":"a"`, `"status":"FAILED"`, `"statusReason":null`, `"authenticated":false`, `"me":null`, `"assignedWorker":null`,
		`"lastSeenAlive":null`, `"reconnectsLastHour":0`, `"config":{"store":{"dialect":"sqlite3","address":"a"},"log":{"level":"INFO"}}`}
	key, _, _ := strings.Cut(field, ":")
	for i := range fields {
		if strings.HasPrefix(fields[i], key+":") {
			fields[i], field = field, ""
		}
	}
	if field != "" {
		fields = append(fields, field)
	}
	return "{" + strings.Join(fields, ",") + "}"
}

// TestWhatIsNotInTheContract proves that the comparison can fail, in every part.
func TestWhatIsNotInTheContract(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]answered{
		"a status":              {"GET", "/api/version", 202, version, nil},
		"a field more":          {"GET", "/api/version", 200, strings.Replace(version, "{", `{"x":1,`, 1), nil},
		"a field less":          {"GET", "/api/version", 200, `{"version":"1","engine":"GOWS","tier":"CORE"}`, nil},
		"a wrong type":          {"GET", "/api/version", 200, strings.Replace(version, `"1"`, `1`, 1), nil},
		"no JSON":               {"GET", "/api/version", 200, "{", nil},
		"two values":            {"GET", "/api/version", 200, version + version, nil},
		"no body":               {"GET", "/api/version", 200, "", nil},
		"a body to HEAD":        {"HEAD", "/api/version", 200, version, nil},
		"a body with 304":       {"GET", "/api/sessions/a", 304, "x", bodyless},
		"a type with 304":       {"GET", "/api/sessions/a", 304, "", tagged},
		"no version":            {"GET", "/api/sessions/a", 200, sessionWith(`"status":"WORKING"`), nil},
		"compressed in secret":  {"GET", "/api/version", 200, zipped(version), set("Vary", "Accept-Encoding")},
		"for any cache":         {"GET", "/api/version", 200, zipped(version), set("Content-Encoding", "gzip")},
		"HEAD for any cache":    {"HEAD", "/api/version", 200, "", set("Content-Encoding", "gzip", "Vary", "Origin")},
		"not compressed":        {"GET", "/api/version", 200, version, set("Content-Encoding", "gzip", "Vary", "Accept-Encoding")},
		"cut off":               {"GET", "/api/version", 200, zipped(version)[:30], set("Content-Encoding", "gzip", "Vary", "Accept-Encoding")},
		"another encoding":      {"GET", "/api/version", 200, version, set("Content-Encoding", "br", "Vary", "Accept-Encoding")},
		"a wrong compressed":    {"GET", "/api/version", 200, zipped("{}"), set("Content-Encoding", "gzip", "Vary", "Accept-Encoding")},
		"a method in small":     {"get", "/api/version", 200, version, nil},
		"a media type":          {"GET", "/api/version", 200, version, set("Content-Type", "text/html")},
		"no media type":         {"GET", "/api/version", 200, version, unset("Content-Type")},
		"a header more":         {"GET", "/api/version", 200, version, set("X-Powered-By", "Go")},
		"a header less":         {"GET", "/api/version", 200, version, unset("X-Request-Id")},
		"a wrong header":        {"GET", "/api/version", 200, version, set("RateLimit-Limit", "many")},
		"another's code":        {"GET", "/api/sessions/a", 404, strings.Replace(notFound, "SESSION_NOT_FOUND", "ROUTE_NOT_FOUND", 1), nil},
		"a made-up code":        {"GET", "/api/sessions/a", 404, strings.Replace(notFound, "SESSION_NOT_FOUND", "WHAT", 1), nil},
		"a code's other status": {"GET", "/api/sessions/a", 404, strings.Replace(notFound, "404", "410", 1), nil},
		"an unknown path":       {"GET", "/what", 200, version, nil},
		"a wrong method":        {"DELETE", "/api/version", 404, strings.Replace(notFound, "SESSION_NOT_FOUND", "ROUTE_NOT_FOUND", 1), nil},
		"OPTIONS of nothing":    {"OPTIONS", "/what", 200, `{"success":true,"allow":["GET"]}`, set("Allow", "GET")},
		"a made-up reason":      {"GET", "/api/sessions/a", 200, sessionWith(`"statusReason":{"code":"WHAT","message":"m","at":"2026-01-01T00:00:00Z","retryAt":null}`), tagged},
		"a time":                {"GET", "/api/sessions/a", 200, sessionWith(`"lastSeenAlive":"yesterday"`), tagged},
		"a session's field":     {"GET", "/api/sessions/a", 200, sessionWith(`"new":1`), tagged},
		"a secret":              {"GET", "/api/sessions/a", 200, sessionWith(`"config":{"store":{"dialect":"sqlite3","address":"a"},"log":{"level":"INFO"},"proxy":{"server":"http://p","password":"x"}}`), tagged},
		"no picture":            {"GET", "/api/sessions/a/qrcode", 200, `{"value":"2@","mimetype":"image/png","data":"%","expiresAt":"2026-01-01T00:00:00Z"}`, nil},
	} {
		if a.verify(t) == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// TestCheckLeavesTheBody: who asked reads it after the check.
func TestCheckLeavesTheBody(t *testing.T) {
	t.Parallel()
	recorder := httptest.NewRecorder()
	recorder.Header().Set("Content-Type", "application/json")
	recorder.Header().Set("X-Request-Id", "r")
	_, _ = recorder.WriteString(version)
	response := recorder.Result()
	Check(t, httptest.NewRequest(http.MethodGet, "/api/version", nil), response)
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != version {
		t.Errorf("%q, %v", body, err)
	}
}
