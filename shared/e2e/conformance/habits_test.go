package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// habit is something that clients do, and what both doors answer to it.
type habit struct {
	name    string
	request request
	want    cell
	// decoded is the answer of a door behind which the path arrives decoded, where
	// that makes a difference: what is lost there cannot be brought back.
	decoded *cell
}

func header(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return h
}

// habits are about a session "mine", which is STOPPED, and one "shown", which
// shows a QR code. The key is filled in where there is none of its own.
func habits() []habit {
	ok, invalid, noRoute := words["200"], invalid, cell{status: 404, code: "ROUTE_NOT_FOUND"}
	unbuilt := cell{status: 501, code: "NOT_IMPLEMENTED"}
	asJSON := header("Accept: application/json", "Content-Type: application/json")
	get := func(path string, h http.Header) request { return request{path: path, header: h} }
	post := func(path, body string) request {
		return request{method: "POST", path: path, body: body, header: asJSON}
	}
	return []habit{
		{"JSON on a GET", get("/api/sessions/mine", asJSON), ok, nil},
		{"JSON on a POST without a body", post("/api/sessions/mine/stop", ""), words["stopped"], nil},
		{"JSON on a DELETE", request{method: "DELETE", path: "/api/sessions/none", header: asJSON}, words["not found"], nil},
		{"an empty object", post("/api/sessions/mine/stop", "{}"), words["stopped"], nil},
		{"form encoding with a JSON body", request{method: "POST", path: "/api/sessions/mine/stop", body: "{}", header: header("Content-Type: application/x-www-form-urlencoded")}, words["stopped"], nil},
		{"no content type with a JSON body", request{method: "POST", path: "/api/sessions/mine/stop", body: "{}"}, words["stopped"], nil},

		{"Accept on an open endpoint", get("/ping", asJSON), ok, nil},
		{"Accept on health", get("/health", asJSON), ok, nil},
		{"Accept on a list", get("/api/sessions", asJSON), ok, nil},
		{"Accept on a QR code", get("/api/shown/auth/qr", asJSON), ok, nil},
		{"Accept on a QR image", get("/api/shown/auth/qr?format=image", asJSON), ok, nil},
		{"a picture", get("/api/shown/auth/qr?format=image", nil), ok, nil},
		{"a picture by Accept", get("/api/shown/auth/qr", header("Accept: image/png")), ok, nil},
		{"several values of Accept", get("/api/shown/auth/qr", header("Accept: text/plain", "Accept: application/json")), ok, nil},

		{"an encoded id of a chat as a session", get("/api/sessions/5511999990000%40c.us", nil), invalid, nil},
		{"an encoded id of a chat", get("/api/mine/chats/5511999990000%40c.us/messages", nil), unbuilt, nil},
		{"an encoded letter", get("/api/sessions/m%69ne", nil), ok, nil},
		{"an encoded slash in a segment", get("/api/sessions/a%2Fb", nil), invalid, &noRoute},
		{"an encoded slash, encoded again", get("/api/sessions/a%252Fb", nil), invalid, nil},
		{"an encoded question mark", get("/api/sessions/a%3Fb", nil), invalid, nil},
		{"an encoded percent sign", get("/api/sessions/a%25b", nil), invalid, nil},
		{"an encoded NUL", get("/api/sessions/a%00b", nil), invalid, nil},
		{"dots for a name", get("/api/sessions/%2e%2e", nil), invalid, nil},

		{"a trailing slash", get("/api/sessions/mine/", nil), ok, nil},
		{"a trailing slash on a POST", post("/api/sessions/mine/stop/", ""), words["stopped"], nil},
		{"double slashes", get("//api//sessions///mine//", nil), ok, nil},
		{"double slashes on a POST", post("//api/sessions//mine/stop", ""), words["stopped"], nil},

		{"the other name of the key's header", get("/api/sessions/mine", header("X-Api-Key: KEY")), ok, nil},
		{"the key under both names", get("/api/sessions/mine", header("X-Api-Key: KEY", "Apikey: KEY")), ok, nil},
		{"different keys", get("/api/sessions/mine", header("X-Api-Key: another-key-than-that", "Apikey: KEY")), wrongKey, nil},
		{"a bearer token is no key", get("/api/sessions/mine", header("Apikey: ", "Authorization: Bearer KEY")), noKey, nil},

		{"unknown query parameters", get("/api/sessions/mine?server_id=1&x=%26&x=2&_=1700000000", nil), ok, nil},
		{"a query that is none", get("/api/sessions/mine?%zz&;=", nil), ok, nil},
		{"an unknown parameter of a QR code", get("/api/shown/auth/qr?server_id=1&format=raw", nil), ok, nil},
		{"cookies", get("/api/sessions/mine", header("Cookie: a=1; b=2")), ok, nil},

		{"HEAD", request{method: "HEAD", path: "/api/sessions/mine"}, cell{status: 200}, nil},
		{"OPTIONS", request{method: "OPTIONS", path: "/api/sessions/mine"}, ok, nil},
		{"a method that is not there", request{method: "PATCH", path: "/api/sessions/mine"}, cell{status: 405, code: "METHOD_NOT_ALLOWED"}, nil},
		{"a path that is not there", get("/api/nothing/here/at/all", nil), noRoute, nil},
		{"an endpoint to come", post("/api/sendText", `{"session":"mine"}`), unbuilt, nil},
		{"the version", get("/api/server/version", nil), ok, nil},
		{"the status", get("/api/server/status", nil), ok, nil},
		{"the page", get("/", nil), ok, nil},
	}
}

func TestHabitsOfClients(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.connector()
	s.owner(request{method: "POST", path: "/api/sessions", body: `{"name":"mine","start":false}`})
	s.owner(request{method: "POST", path: "/api/sessions/shown/start"})
	s.becomes(&fixture{name: "shown"}, scan)
	for _, h := range habits() {
		t.Run(h.name, func(t *testing.T) {
			var answers []answer
			for _, d := range s.doors() {
				want := h.want
				if d.decodes && h.decoded != nil {
					want = *h.decoded
				}
				got := d.ask(h.withKey(s.tenant.key))
				if got.status != want.status || got.code() != string(want.code) {
					t.Errorf("%s: %d %s, want %d %s: %.300s", d.name, got.status, got.code(), want.status, want.code, got.body)
				}
				if strings.Contains(string(got.body), s.tenant.key) {
					t.Errorf("%s repeats the key: %s", d.name, got.body)
				}
				answers = append(answers, got)
			}
			if h.decoded != nil {
				return
			}
			if one, other := shapeOf(answers[0].body), shapeOf(answers[1].body); one != other && h.request.path != "/api/sessions" {
				t.Errorf("the bodies have the shapes %s and %s", one, other)
			}
			for _, fault := range compareHeaders(answers[0].header, answers[1].header) {
				t.Error(fault)
			}
		})
	}
}

func (h habit) withKey(key string) request {
	r := h.request
	filled := http.Header{}
	for name, values := range r.header {
		for _, value := range values {
			filled.Add(name, strings.Replace(value, "KEY", key, 1))
		}
	}
	if filled.Get("X-Api-Key") == "" && filled.Values("Apikey") == nil {
		filled.Set("Apikey", key)
	}
	r.header = filled
	return r
}

// vendorsCall is the call of the vendor's page, as curl 8 sends it.
const vendorsCall = "POST /api/sessions/my-session/start HTTP/1.1\r\n" +
	"Host: %s\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\napikey: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s"

const vendorsBody = `{"config":{"store":{"dialect":"sqlite3","address":"/app/data/whatsmeow.db"},"log":{"level":"INFO"}}}`

// TestTheVendorsOwnCall: first it creates the session, then it is refused, and
// where curl would wait for leave to send the body it gets that.
func TestTheVendorsOwnCall(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.atBothDoors(t, func(t *testing.T, d *door) {
		key := s.newTenant("vendor at " + d.name).key
		for i, more := range []string{"", "", "Expect: 100-continue\r\n"} {
			got := d.raw(fmt.Sprintf(vendorsCall, d.address, key, len(vendorsBody), more, vendorsBody))
			want := []string{
				`{"success":true,"message":"Session started successfully","session":"my-session"`,
				`"code":"SESSION_ACTIVE","message":"Session already exists and is active"`,
				`"code":"SESSION_ACTIVE"`,
			}[i]
			status := []int{201, 409, 409}[i]
			if got.status != status || !strings.Contains(string(got.body), want) {
				t.Errorf("call %d: %d %s, want %d %s", i, got.status, got.body, status, want)
			}
		}
	})
}

// raw sends bytes as they are, on a connection of their own.
func (d *door) raw(text string) answer {
	d.Helper()
	conn, err := net.Dial("tcp", d.address)
	if err != nil {
		d.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		d.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		d.Fatal(err)
	}
	return d.read(conn)
}

// read reads one answer, past those that only say "go on".
func (d *door) read(conn net.Conn) answer {
	d.Helper()
	reader := bufio.NewReader(conn)
	for {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return answer{body: []byte(err.Error())}
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			return answer{body: []byte(err.Error())}
		}
		if response.StatusCode >= http.StatusOK {
			return d.note(answer{status: response.StatusCode, header: response.Header, body: body})
		}
	}
}
