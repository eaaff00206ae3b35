package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/startqueue"
	"github.com/wafleet/wafleet/shared/startqueue/fakesqs"
)

// line is one of CloudWatch's embedded metric format.
type line map[string]any

// metricLines are the lines of metrics in a log. It waits for the lines of n requests: what a program writes may arrive
// after its answer.
func metricLines(t *testing.T, log *bootstrap.Output, n int) (lines []line) {
	t.Helper()
	log.Await(t, fmt.Sprintf(`(?s)((?:"_aws".*?\n.*?){%d})`, n), nil)
	for text := range strings.Lines(log.String()) {
		if !strings.Contains(text, `"_aws"`) {
			continue
		}
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		lines = append(lines, l)
	}
	return lines
}

func (l line) want(t *testing.T, want line) {
	t.Helper()
	for name, value := range want {
		if l[name] != value {
			t.Errorf("%s is %v, want %v: %v", name, l[name], value, l)
		}
	}
}

// queueOf is a queue of the fake, and what an API needs to send to it.
func queueOf(t *testing.T) (fake *fakesqs.Server, queue *fakesqs.Queue, env []string) {
	t.Helper()
	fake = fakesqs.New()
	queue = fake.Queue("starts", fakesqs.Settings{})
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	return fake, queue, append(fakesqs.Environment(server.URL), "QUEUE_URL="+fakesqs.URL(server.URL, "starts"), "FLEET=staging")
}

func TestAStartIsHintedByTheBuiltProgram(t *testing.T) {
	t.Parallel()
	_, queue, env := queueOf(t)
	f := newLambda(t, "lambda.norpc", env...)
	wantStatus := func(event string, status int) map[string]any {
		t.Helper()
		response, body := f.request(event)
		if response.StatusCode != status {
			t.Fatalf("%s: %d %s", event, response.StatusCode, response.Body)
		}
		return body
	}
	wantStatus("start", http.StatusCreated)
	wantStatus("start", http.StatusConflict)
	wantStatus("get", http.StatusOK)
	wantStatus("stop", http.StatusOK)
	wantStatus("start", http.StatusOK)
	wantStatus("no-key", http.StatusUnauthorized)
	bodies := queue.Bodies()
	if len(bodies) != 2 || !strings.HasSuffix(bodies[0], `","generation":1}`) || !strings.HasSuffix(bodies[1], `","generation":3}`) {
		t.Errorf("hints %q", bodies)
	}
	f.invoke(eventFile(t, "scheduled")) // is no request

	lines := metricLines(t, f.log, 6)
	if len(lines) != 6 {
		t.Fatalf("%d lines of metrics for 6 requests\n%s", len(lines), f.log)
	}
	const start = "POST /api/sessions/{session}/start"
	lines[0].want(t, line{"fleet": "staging", "route": start, "class": "2xx", "wafleet_api_requests_total": 1.0, "wafleet_api_errors_total": 0.0,
		"wafleet_api_cold_starts_total": 1.0, "wafleet_api_start_hints_sent_total": 1.0, "wafleet_api_start_hints_failed_total": nil})
	lines[1].want(t, line{"route": start, "class": "4xx", "wafleet_api_cold_starts_total": nil, "wafleet_api_start_hints_sent_total": nil})
	lines[5].want(t, line{"class": "4xx", "wafleet_api_errors_total": 0.0})
	for _, l := range lines {
		if took, ok := l["wafleet_api_request_seconds"].(float64); !ok || took <= 0 || took > 30 {
			t.Errorf("%v", l)
		}
		if text, _ := json.Marshal(l); strings.Contains(string(text), "my-session") {
			t.Errorf("a name in %s", text)
		}
	}
}

// A queue that is down or silent costs a start little, and not its success.
func TestAStartSucceedsWithoutTheQueue(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault fakesqs.Fault
		least time.Duration
	}{"down": {fakesqs.IsDown, 0}, "silent": {fakesqs.IsSilent, startqueue.Budget}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake, _, env := queueOf(t)
			fake.Breaks("", c.fault)
			f := newLambda(t, "lambda.norpc", env...)
			began := time.Now()
			response, _ := f.request("start")
			took := time.Since(began)
			if response.StatusCode != http.StatusCreated || took < c.least || took > c.least+10*time.Second { // a busy machine
				t.Errorf("%d after %v", response.StatusCode, took)
			}
			lines := metricLines(t, f.log, 1)
			if len(lines) != 1 {
				t.Fatalf("%s", f.log)
			}
			f.log.Await(t, `(a start hint was not sent)`, nil)
			lines[0].want(t, line{"class": "2xx", "wafleet_api_start_hints_failed_total": 1.0, "wafleet_api_start_hints_sent_total": nil})
			if log := f.log.String(); strings.Count(log, "a start hint was not sent") != 1 || strings.Contains(log, "AKIDEXAMPLE") {
				t.Errorf("%s", log)
			}
			t.Logf("took %v", took)
		})
	}
}
