package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"

	"github.com/wafleet/wafleet/shared/e2e/lambdarun"
)

// lambdaFunction is the built program under the harness.
type lambdaFunction struct {
	*testing.T
	*lambdarun.Runtime
	log *output
}

func newLambda(t *testing.T, tags string) *lambdaFunction {
	t.Helper()
	log := newOutput()
	runtime, err := lambdarun.Start(t.Context(), lambdarun.Config{
		Bootstrap: build(t, tags), Log: log, Env: []string{"DATABASE_URL=" + database(t), "SQLITE_AVAILABLE=true", "LOG_LEVEL=debug"},
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
	return &lambdaFunction{T: t, Runtime: runtime, log: log}
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
	// HEAD has no body although the proxy would send one, and a JSON string may hold anything.
	var event map[string]any
	if err := json.Unmarshal(eventFile(t, "no-key"), &event); err != nil {
		t.Fatal(err)
	}
	event["rawPath"] = "/ping"
	event["requestContext"].(map[string]any)["http"].(map[string]any)["method"] = "HEAD"
	encoded, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	if response, _ := f.send(encoded); response.StatusCode != http.StatusOK || response.Body != "" {
		t.Errorf("HEAD: %d %q", response.StatusCode, response.Body)
	}
}
