package httpapi_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/functions/httpapi"
)

// allMethods are those that some route has.
var allMethods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

func (s *service) routes() []httpapi.Route { return httpapi.RoutesOf(s.Handler.(*httpapi.Handler)) }

// methodsOf asks a path what it has.
func (s *service) methodsOf(path string) []string {
	s.Helper()
	a := s.do(ask{method: http.MethodOptions, path: path, noKey: true}).want(http.StatusOK)
	allow := strings.Split(a.Header().Get("Allow"), ", ")
	body := a.object()
	if listed := fmt.Sprint(body["allow"]); body["success"] != true || listed != fmt.Sprint(allow) {
		s.Errorf("%s: Allow is %v, the body %s", path, allow, a.Body)
	}
	return allow
}

// TestEveryRouteKnowsItsMethods walks the whole table: OPTIONS is answered
// without a key, what it lists is there, and everything else is 405 with Allow.
func TestEveryRouteKnowsItsMethods(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for _, route := range s.routes() {
		allow := s.methodsOf(route.Path)
		if route.Method != "*" && !slices.Contains(allow, route.Method) || !slices.Contains(allow, "OPTIONS") || slices.Contains(allow, "HEAD") != slices.Contains(allow, "GET") {
			t.Errorf("%s %s: Allow %v", route.Method, route.Pattern, allow)
		}
		if len(allow) == len(allMethods)+1 {
			continue // a route for any method is there too
		}
		for _, method := range append(slices.Clone(allMethods), "BREW", "get") {
			if slices.Contains(allow, method) {
				continue
			}
			a := s.do(ask{method: method, path: route.Path})
			if a.Code != http.StatusMethodNotAllowed || a.Header().Get("Allow") != strings.Join(allow, ", ") {
				t.Errorf("%s %s: %d, Allow %q, want %v", method, route.Path, a.Code, a.Header().Get("Allow"), allow)
			}
			if method != http.MethodHead {
				a.wantError(http.StatusMethodNotAllowed, httpapi.CodeMethodNotAllowed)
			}
		}
	}
}

// TestHEADIsGETWithoutItsBody, on every route that has one.
func TestHEADIsGETWithoutItsBody(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("my-session")
	s.hold().showQR(longCode)
	for _, route := range s.routes() {
		if route.Method != http.MethodGet {
			continue
		}
		get, head := s.get(route.Path), s.do(ask{method: http.MethodHead, path: route.Path})
		if head.Code != get.Code || head.Body.Len() != 0 {
			t.Errorf("%s: GET %d, HEAD %d with %d bytes", route.Path, get.Code, head.Code, head.Body.Len())
		}
		for _, name := range []string{"Content-Type", "Cache-Control", "Etag", "Vary"} {
			if got, want := head.Header()[name], get.Header()[name]; !slices.Equal(got, want) {
				t.Errorf("%s: %s is %q, and %q of GET", route.Path, name, got, want)
			}
		}
	}
}

// TestSlashesAreNoRedirect, whatever the method is.
func TestSlashesAreNoRedirect(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for _, route := range s.routes() {
		for _, method := range append(slices.Clone(allMethods), http.MethodOptions) {
			plain := s.do(ask{method: method, path: route.Path, noKey: true})
			for _, path := range []string{route.Path + "/", "/" + route.Path, strings.ReplaceAll(route.Path, "/", "//") + "//"} {
				a := s.do(ask{method: method, path: path, noKey: true})
				if a.Code != plain.Code || a.Header().Get("Location") != "" || a.Header().Get("Allow") != plain.Header().Get("Allow") {
					t.Errorf("%s %s: %d %v, want %d", method, path, a.Code, a.Header(), plain.Code)
				}
			}
		}
	}
}

// TestHeadersThatClientsAddToEverything change nothing.
func TestHeadersThatClientsAddToEverything(t *testing.T) {
	t.Parallel()
	s := newService(t)
	added := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}, "Content-Length": {"0"}, "User-Agent": {"x"}, "X-Forwarded-Host": {"evil.test"}}
	for _, route := range s.routes() {
		if strings.HasSuffix(route.Path, "/auth/qr") {
			continue // Accept is what it looks at, and it waits
		}
		method := route.Method
		if method == "*" {
			method = http.MethodPut
		}
		if route.Unbuilt || method == http.MethodGet {
			bare := s.do(ask{method: method, path: route.Path})
			a := s.do(ask{method: method, path: route.Path + "?server_id=1&utm=x&%zz", header: added})
			if a.Code != bare.Code {
				t.Errorf("%s %s: %d, and %d without the headers", method, route.Path, a.Code, bare.Code)
			}
		}
	}
	for i, header := range []http.Header{added, {"Content-Type": {"application/x-www-form-urlencoded"}}, {"Content-Type": {"nonsense"}}} {
		s.do(ask{method: http.MethodPost, path: fmt.Sprintf("/api/sessions/s%d/start?server_id=1", i), header: header}).want(http.StatusCreated)
	}
	s.do(ask{method: http.MethodPost, path: "/api/sessions/s0/stop", noKey: true, header: http.Header{"X-Api-Key": {s.key.Reveal()}, "Content-Type": {"application/json"}}}).want(http.StatusOK)
}

// TestChatIDsAreNoSessions: clients mix up what goes where.
func TestChatIDsAreNoSessions(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for _, id := range []string{"5511999999999%40c.us", "5511999999999@c.us", "123%40g.us", "a%2Fb", "a%2fstart", "..%2f..%2fetc", "%2e%2e", "a%5Cb", "a%00"} {
		for method, pattern := range map[string]string{http.MethodGet: "/api/sessions/%s", http.MethodPost: "/api/sessions/%s/start"} {
			a := s.do(ask{method: method, path: fmt.Sprintf(pattern, id)})
			if fields := fieldsOf(a.wantError(http.StatusBadRequest, httpapi.CodeInvalidRequest)); len(fields) != 1 || fields[0] != "session" {
				t.Errorf("%s: %s", id, a.Body)
			}
		}
	}
}

// speak sends bytes as they are, and returns the answers on the connection.
func speak(t *testing.T, address, text string) []*http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	var answers []*http.Response
	reader := bufio.NewReader(conn)
	for {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return answers
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		response.Body = io.NopCloser(bytes.NewReader(body))
		answers = append(answers, response)
		if response.Close {
			return answers
		}
	}
}

// TestOldAndCarefulClients: HTTP/1.0, 100-continue, pipelining, and headers that
// would be two if they got through.
func TestOldAndCarefulClients(t *testing.T) {
	t.Parallel()
	s := newService(t)
	server := httptest.NewServer(s)
	defer server.Close()
	key := "apikey: " + s.key.Reveal() + "\r\n"
	for _, one := range []struct {
		name, text string
		statuses   []int
	}{
		{"HTTP/1.0", "GET /api/sessions HTTP/1.0\r\n" + key + "\r\n", []int{200}},
		{"HTTP/1.0 POST", "POST /api/sessions/old/start HTTP/1.0\r\nContent-Length: 2\r\n" + key + "\r\n{}", []int{201}},
		{"expectation", "POST /api/sessions/e/start HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n" + key + "\r\n{}", []int{100, 201}},
		{"refused expectation", "POST /api/sessions/e/start HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", []int{401}},
		{"other expectation", "POST /api/sessions/f/start HTTP/1.1\r\nHost: x\r\nExpect: a-pony\r\nContent-Length: 0\r\n" + key + "\r\n", []int{417}},
		{"two at once", "GET /ping HTTP/1.1\r\nHost: x\r\n\r\nGET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", []int{200, 200}},
		{"chunks", "POST /api/sessions/c/start HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n" + key + "\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", []int{201}},
		{"folded header", "GET /ping HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\r\n b: c\r\nConnection: close\r\n\r\n", []int{200}},
		{"NUL in a header", "GET /ping HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\x00b\r\n\r\n", []int{400}},
		{"lone CR in a header", "GET /ping HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\rX: b\r\n\r\n", []int{400}},
		{"no host", "GET /ping HTTP/1.1\r\n\r\n", []int{400}},
	} {
		t.Run(one.name, func(t *testing.T) {
			var statuses []int
			for _, response := range speak(t, server.Listener.Addr().String(), one.text) {
				statuses = append(statuses, response.StatusCode)
				if id := response.Header.Get("X-Request-Id"); strings.ContainsAny(id, " \r\n\x00") || response.Header.Get("X") != "" {
					t.Errorf("%v", response.Header)
				}
			}
			if !slices.Equal(statuses, one.statuses) {
				t.Errorf("%v, want %v", statuses, one.statuses)
			}
		})
	}
}

// TestJSONThatMeansTwoThings is refused, whatever it would mean.
func TestJSONThatMeansTwoThings(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for body, field := range map[string]string{
		`{"config":{},"config":{"log":{"level":"DEBUG"}}}`:                  "config",
		`{"config":{"store":{"address":"a","address":"../b"}}}`:             "config.store.address",
		`{"config":{"x":[{"y":1,"\u0079":2}]}}`:                             "config.x[0].y",
		`{"config":{"metadata":{"a":"\u0000"}}}`:                            "config.metadata.a",
		strings.Repeat(`[`, 10_000) + strings.Repeat(`]`, 10_000):           "body",
		strings.Repeat(`{"a":`, 10_000) + `1` + strings.Repeat(`}`, 10_000): "body",
		"{\"config\":{\"metadata\":{\"a\":\"b\r\nc\"}}}":                    "body", // raw line breaks are no JSON
	} {
		a := s.post("/api/sessions/a/start", body)
		if fields := fieldsOf(a.wantError(http.StatusBadRequest, httpapi.CodeInvalidRequest)); !slices.Contains(fields, field) {
			t.Errorf("%.60s: %s", body, a.Body)
		}
	}
	for _, encoding := range []string{"gzip", "br", "deflate, gzip", "x"} {
		for _, path := range []string{"/api/sessions/a/start", "/api/sessions/a/stop"} {
			s.do(ask{method: http.MethodPost, path: path, body: "{}", header: http.Header{"Content-Encoding": {encoding}}}).wantError(http.StatusUnsupportedMediaType, httpapi.CodeBodyEncoded)
		}
	}
	s.do(ask{method: http.MethodPost, path: "/api/sessions/a/start", body: "{}", header: http.Header{"Content-Encoding": {"identity"}}}).want(http.StatusCreated)
}

// lambdaLimit is when API Gateway gives a request up.
const lambdaLimit = 30 * time.Second

// TestTheLongestWaitEndsInTime: a session that is STARTING for almost as long as
// a code may wait for it, and a connector that then says nothing.
func TestTheLongestWaitEndsInTime(t *testing.T) {
	t.Parallel()
	if httpapi.RequestTimeout > lambdaLimit-5*time.Second {
		t.Errorf("a request may take %s", httpapi.RequestTimeout)
	}
	s := newService(t)
	s.start("a")
	h := s.hold()
	began := time.Now()
	timer := time.AfterFunc(4*time.Second, func() { h.showQR("2@code") })
	defer timer.Stop()
	s.post(requestCode, `{"phone":"5511999999999"}`).wantError(http.StatusGatewayTimeout, httpapi.CodePairingCodeTimeout)
	if took := time.Since(began); took < 8*time.Second || took > 15*time.Second {
		t.Errorf("took %s", took)
	}
}
