package lambdarun_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-lambda-go/events"

	"github.com/wafleet/wafleet/shared/e2e/lambdarun"
)

// mirror answers with the event that it got; X-Answer in the request says in
// which way.
func mirror(_ context.Context, event json.RawMessage) (any, error) {
	var request events.APIGatewayV2HTTPRequest
	if err := json.Unmarshal(event, &request); err != nil {
		return nil, err
	}
	response := events.APIGatewayV2HTTPResponse{
		StatusCode: http.StatusTeapot, Body: string(event),
		Headers: map[string]string{"Content-Type": "application/json"}, Cookies: []string{"a=1", "b=2"},
	}
	switch request.Headers["x-answer"] {
	case "binary":
		response.Body, response.IsBase64Encoded = base64.StdEncoding.EncodeToString([]byte{0xff, 0}), true
	case "no base64":
		response.Body, response.IsBase64Encoded = "?", true
	case "no status":
		return map[string]string{}, nil
	}
	return response, nil
}

type gateway struct {
	*testing.T
	*http.Client
	url string
}

func newGateway(t *testing.T, how string) *gateway {
	t.Helper()
	runtime, err := start(t, how, 0)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(lambdarun.NewGateway(runtime))
	t.Cleanup(func() {
		server.Close()
		if err := runtime.Stop(); err != nil && how == "mirrors" {
			t.Error(err)
		}
	})
	return &gateway{T: t, Client: server.Client(), url: server.URL}
}

func (g *gateway) send(method, path string, body []byte, header http.Header) (*http.Response, []byte) {
	g.Helper()
	request, err := http.NewRequestWithContext(g.Context(), method, g.url+path, bytes.NewReader(body))
	if err != nil {
		g.Fatal(err)
	}
	request.Header = header
	response, err := g.Do(request)
	if err != nil {
		g.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		g.Fatal(err)
	}
	return response, text
}

// event sends a request and returns the event that it became.
func (g *gateway) event(method, path, body string, header http.Header) (event events.APIGatewayV2HTTPRequest) {
	g.Helper()
	response, text := g.send(method, path, []byte(body), header)
	if response.StatusCode != http.StatusTeapot {
		g.Fatalf("status %s: %s", response.Status, text)
	}
	if err := json.Unmarshal(text, &event); err != nil {
		g.Fatal(err)
	}
	return event
}

func TestTheGatewayMakesEvents(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "mirrors")
	event := g.event("POST", "/a%40b/c%2Fd//?x=1&x=2&y=%26", `{"a":1}`, http.Header{
		"Content-Type": {"application/json"}, "Accept": {"text/plain", "application/json"}, "Cookie": {"k=v; l=w"}, "X-Api-Key": {"k"},
	})
	if event.Version != "2.0" || event.RequestContext.HTTP.Method != "POST" || event.RequestContext.RequestID == "" || event.RequestContext.HTTP.SourceIP != "127.0.0.1" {
		t.Errorf("event %+v", event)
	}
	if event.RawPath != "/a@b/c/d//" || event.RawQueryString != "x=1&x=2&y=%26" || event.QueryStringParameters["x"] != "1,2" {
		t.Errorf("path %q, query %q, parameters %v", event.RawPath, event.RawQueryString, event.QueryStringParameters)
	}
	if event.Headers["accept"] != "text/plain,application/json" || event.Headers["x-api-key"] != "k" || event.Headers["cookie"] != "" {
		t.Errorf("headers %v", event.Headers)
	}
	if !slices.Equal(event.Cookies, []string{"k=v", "l=w"}) {
		t.Errorf("cookies %q", event.Cookies)
	}
	if event.IsBase64Encoded || event.Body != `{"a":1}` {
		t.Errorf("body %q, base64 %v", event.Body, event.IsBase64Encoded)
	}
}

func TestTheGatewayEncodesWhatIsNoText(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "mirrors")
	for _, one := range []struct {
		contentType, body string
		encoded           bool
	}{
		{"application/octet-stream", "plain", true},
		{"", "plain", true},
		{"application/json", "\xff", true},
		{"application/json; charset=utf-8", "{}", false},
		{"text/plain", "plain", false},
		{"", "", false},
	} {
		event := g.event("POST", "/", one.body, http.Header{"Content-Type": {one.contentType}})
		body := event.Body
		if event.IsBase64Encoded {
			decoded, err := base64.StdEncoding.DecodeString(event.Body)
			if err != nil {
				t.Fatal(err)
			}
			body = string(decoded)
		}
		if event.IsBase64Encoded != one.encoded || body != one.body {
			t.Errorf("%q %q became %q, base64 %v", one.contentType, one.body, event.Body, event.IsBase64Encoded)
		}
	}
}

func TestTheGatewayAnswers(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "mirrors")
	response, body := g.send("GET", "/", nil, http.Header{"X-Answer": {"binary"}})
	if !bytes.Equal(body, []byte{0xff, 0}) || response.Header.Get("Content-Type") != "application/json" || response.Header.Get("Apigw-Requestid") == "" {
		t.Errorf("%v %q", response.Header, body)
	}
	if cookies := response.Header.Values("Set-Cookie"); !slices.Equal(cookies, []string{"a=1", "b=2"}) {
		t.Errorf("cookies %q", cookies)
	}
	for _, wrong := range []string{"no base64", "no status"} {
		if response, body := g.send("GET", "/", nil, http.Header{"X-Answer": {wrong}}); response.StatusCode != http.StatusInternalServerError || !strings.Contains(string(body), "Internal Server Error") {
			t.Errorf("%s: %s %s", wrong, response.Status, body)
		}
	}
	if response, _ := g.send("POST", "/", make([]byte, 10<<20+1), nil); response.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("too large: %s", response.Status)
	}
}

func TestTheGatewayReportsAFailedInvocation(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "refuses")
	if response, _ := g.send("GET", "/", nil, nil); response.StatusCode != http.StatusInternalServerError {
		t.Errorf("a failure: %s", response.Status)
	}
	if response, _ := g.send("GET", "/exit", nil, nil); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the end of the process: %s", response.Status)
	}
}

// TestTheGatewayStartsWhatItNeeds: requests at the same time get a program each,
// one after the other share one, and one that has ended is replaced.
func TestTheGatewayStartsWhatItNeeds(t *testing.T) {
	t.Parallel()
	var started atomic.Int32
	scaling := lambdarun.NewScalingGateway(3, func(context.Context) (*lambdarun.Runtime, error) {
		started.Add(1)
		return start(t, "refuses", 0)
	})
	server := httptest.NewServer(scaling)
	g := &gateway{T: t, Client: server.Client(), url: server.URL}
	want := func(path string, status int, programs int32) {
		t.Helper()
		if response, _ := g.send("GET", path, nil, nil); response.StatusCode != status || started.Load() != programs {
			t.Errorf("%s: %s, %d programs; want %d, %d", path, response.Status, started.Load(), status, programs)
		}
	}
	want("/", http.StatusInternalServerError, 1)
	want("/", http.StatusInternalServerError, 1)
	want("/exit", http.StatusServiceUnavailable, 1)
	want("/", http.StatusInternalServerError, 2)
	var asking sync.WaitGroup
	for range 12 {
		asking.Go(func() { g.send("GET", "/", nil, nil) })
	}
	asking.Wait()
	if n := started.Load(); n > 4 { // three at once, after the one that has ended
		t.Errorf("%d programs", n)
	}
	server.Close()
	if err := scaling.Close(); err != nil {
		t.Error(err)
	}
}
