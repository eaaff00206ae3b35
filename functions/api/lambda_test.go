package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/e2e/lambdarun"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// lambdaFunction is the built program under the harness.
type lambdaFunction struct {
	*testing.T
	*lambdarun.Runtime
	log         *bootstrap.Output
	databaseURL string
}

func newLambda(t *testing.T, tags string, env ...string) *lambdaFunction {
	t.Helper()
	log, url := &bootstrap.Output{}, database(t)
	runtime, err := lambdarun.Start(t.Context(), lambdarun.Config{
		Bootstrap: bootstrap.Build(t, tags), Log: log, Env: append([]string{"DATABASE_URL=" + url, "SQLITE_AVAILABLE=true", "LOG_LEVEL=debug"}, env...),
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	t.Cleanup(func() {
		if err := runtime.Stop(); err != nil {
			t.Errorf("stop: %v\n%s", err, log)
		}
		if strings.Contains(log.String(), exampleKey) {
			t.Error("the key is in the log")
		}
	})
	return &lambdaFunction{T: t, Runtime: runtime, log: log, databaseURL: url}
}

func eventFile(t *testing.T, name string) []byte {
	t.Helper()
	event, err := os.ReadFile(filepath.Join("events", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return event
}

func (f *lambdaFunction) invoke(event []byte) lambdarun.Answer {
	f.Helper()
	answer, err := f.Invoke(f.Context(), event)
	if err != nil {
		f.Fatalf("%v\n%s", err, f.log)
	}
	return answer
}

// request delivers an event file and returns the response and its JSON body.
func (f *lambdaFunction) request(name string) (events.APIGatewayV2HTTPResponse, map[string]any) {
	f.Helper()
	return f.send(eventFile(f.T, name))
}

func (f *lambdaFunction) send(event []byte) (events.APIGatewayV2HTTPResponse, map[string]any) {
	f.Helper()
	answer := f.invoke(event)
	if answer.Failure != nil {
		f.Fatalf("failure %s\n%s", answer.Failure, f.log)
	}
	var response events.APIGatewayV2HTTPResponse
	var body map[string]any
	if err := json.Unmarshal(answer.Payload, &response); err != nil {
		f.Fatalf("payload %s: %v", answer.Payload, err)
	}
	if strings.HasPrefix(response.Body, "{") {
		if err := json.Unmarshal([]byte(response.Body), &body); err != nil {
			f.Fatalf("body %s: %v", response.Body, err)
		}
	}
	return response, body
}

// TestEventsThroughTheBuiltProgram runs every event file, in the order in which
// they make sense, through one process.
func TestEventsThroughTheBuiltProgram(t *testing.T) {
	t.Parallel()
	f := newLambda(t, "lambda.norpc,harness")
	ran := map[string]bool{}
	for _, step := range []struct {
		event  string
		status int
		body   map[string]any // of these fields, these values
	}{
		{"no-key", http.StatusUnauthorized, map[string]any{"code": "API_KEY_MISSING", "requestId": "JKJaXmPLvHcESHA="}},
		{"get", http.StatusNotFound, map[string]any{"code": "SESSION_NOT_FOUND", "session": "my-session"}},
		{"bad-input", http.StatusBadRequest, map[string]any{"code": "INVALID_REQUEST", "message": "config.store.dialect must be sqlite3 or postgres"}},
		{"start", http.StatusCreated, map[string]any{"success": true, "message": "Session started successfully", "session": "my-session", "status": "STARTING"}},
		{"start", http.StatusConflict, map[string]any{"code": "SESSION_ACTIVE", "message": "Session already exists and is active"}},
		{"get", http.StatusOK, map[string]any{"name": "my-session", "status": "STARTING"}},
		{"panic", http.StatusInternalServerError, map[string]any{"code": "INTERNAL_ERROR"}},
		{"get", http.StatusOK, map[string]any{"status": "STARTING"}}, // the process survived
		{"list", http.StatusOK, nil},
		{"stop", http.StatusOK, map[string]any{"status": "STOPPED"}},
		{"odd-path", http.StatusBadRequest, map[string]any{"code": "INVALID_REQUEST"}},
	} {
		response, body := f.request(step.event)
		if response.StatusCode != step.status || response.Headers["X-Request-Id"] == "" {
			t.Errorf("%s: %d %s", step.event, response.StatusCode, response.Body)
		}
		for field, want := range step.body {
			if body[field] != want {
				t.Errorf("%s: %s is %v, want %v", step.event, field, body[field], want)
			}
		}
		ran[step.event] = true
	}
	if answer := f.invoke(eventFile(t, "scheduled")); string(answer.Payload) != `{"warm":true}` {
		t.Errorf("scheduled: %s %s", answer.Payload, answer.Failure)
	}
	ran["scheduled"] = true
	everyFileRan(t, ran)
	if log := f.log.String(); !strings.Contains(log, "asked for by the harness") {
		t.Error("the panic is not in the log")
	}
	t.Logf("cold start %s", f.ColdStart())
}

func everyFileRan(t *testing.T, ran map[string]bool) {
	t.Helper()
	files, err := filepath.Glob("events/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("files %v, error %v", files, err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".json"); !ran[name] {
			t.Errorf("%s was not run", file)
		}
	}
}

func TestAReleaseUnderLambda(t *testing.T) {
	t.Parallel()
	f := newLambda(t, "lambda.norpc")
	if response, body := f.request("panic"); response.StatusCode != http.StatusNotFound || body["code"] != "ROUTE_NOT_FOUND" {
		t.Errorf("a release has the harness's route: %d %s", response.StatusCode, response.Body)
	}
	for name, event := range map[string]string{
		"a queue's event": `{"Records":[{"eventSource":"aws:sqs","body":"{}"}]}`,
		"a REST event":    `{"version":"1.0","httpMethod":"GET","path":"/ping"}`,
		"nothing":         `{}`,
		"no object":       `[1]`,
	} {
		if answer := f.invoke([]byte(event)); !strings.Contains(string(answer.Failure), "scheduled events only") {
			t.Errorf("%s: payload %s, failure %s", name, answer.Payload, answer.Failure)
		}
	}
	// HEAD has no body, although the proxy would send one.
	if response, _ := f.send(changed(t, "no-key", http.MethodHead, "/ping", "")); response.StatusCode != http.StatusOK || response.Body != "" {
		t.Errorf("HEAD: %d %q", response.StatusCode, response.Body)
	}
}

// changed is an event file with another method, path and query.
func changed(t *testing.T, name, method, path, query string) []byte {
	t.Helper()
	var event map[string]any
	if err := json.Unmarshal(eventFile(t, name), &event); err != nil {
		t.Fatal(err)
	}
	event["rawPath"], event["rawQueryString"] = path, query
	event["requestContext"].(map[string]any)["http"].(map[string]any)["method"] = method
	encoded, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// TestAnImageThroughTheProxy: bytes that are no text travel in base64.
func TestAnImageThroughTheProxy(t *testing.T) {
	t.Parallel()
	f := newLambda(t, "lambda.norpc")
	f.request("start")
	f.showQR("2@code")
	response, _ := f.send(changed(t, "get", http.MethodGet, "/api/my-session/auth/qr", "format=image"))
	png, err := base64.StdEncoding.DecodeString(response.Body)
	if response.StatusCode != http.StatusOK || !response.IsBase64Encoded || response.Headers["Content-Type"] != "image/png" || err != nil || !bytes.HasPrefix(png, []byte("\x89PNG")) {
		t.Errorf("%d %v, error %v", response.StatusCode, response.Headers, err)
	}
}

// showQR plays the connector of the one session that waits.
func (f *lambdaFunction) showQR(code string) {
	f.Helper()
	opened, err := store.Open(f.databaseURL, store.Options{})
	if err != nil {
		f.Fatal(err)
	}
	defer opened.Close()
	me := session.NewConnectorID("test")
	if err := opened.Register(f.Context(), store.Connector{ID: me, Address: "127.0.0.1:1", Slots: 1, Version: "test"}, time.Minute); err != nil {
		f.Fatal(err)
	}
	claims, err := opened.ClaimIfFree(f.Context(), me, 1, 0, 1)
	if err != nil || len(claims) != 1 {
		f.Fatalf("claims %v, error %v", claims, err)
	}
	term := store.Term{ID: claims[0].ID, Epoch: claims[0].Epoch}
	if err := opened.PutQRIfEpoch(f.Context(), term, session.QRCodes{Codes: []string{code}, First: time.Minute}); err != nil {
		f.Fatal(err)
	}
	report := store.Report{Term: term, State: session.ScanQRCode, Seen: claims[0].Wanted.Generation}
	if _, err := opened.SetStateIfEpoch(f.Context(), me, []store.Report{report}); err != nil {
		f.Fatal(err)
	}
}
