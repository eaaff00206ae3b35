package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/e2e/lambdarun"
)

// function is the built program under the harness of Lambda's runtime API.
type function struct {
	*testing.T
	*lambdarun.Runtime
	log *bootstrap.Output
	// whole looks at the log once the program has ended: an answer may be faster
	// than the lines before it.
	whole func(log string)
}

func newFunction(t *testing.T, databaseURL string) *function {
	t.Helper()
	log := &bootstrap.Output{}
	runtime, err := lambdarun.Start(t.Context(), lambdarun.Config{
		Bootstrap: bootstrap.Build(t, "lambda.norpc"), Log: log, Env: []string{"DATABASE_URL=" + databaseURL, "FLEET=staging"},
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	f := &function{T: t, Runtime: runtime, log: log, whole: func(string) {}}
	t.Cleanup(func() {
		if err := runtime.Stop(); err != nil {
			t.Errorf("stop: %v\n%s", err, log)
		}
		f.whole(log.String())
	})
	return f
}

func eventFile(t *testing.T, name string) []byte {
	t.Helper()
	event, err := os.ReadFile(filepath.Join("events", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return event
}

func (f *function) invoke(event []byte) lambdarun.Answer {
	f.Helper()
	answer, err := f.Invoke(f.Context(), event)
	if err != nil {
		f.Fatalf("%v\n%s", err, f.log)
	}
	return answer
}

// found delivers an event file that sweeps. The age of the oldest job is zero
// in what it returns, after a look at it.
func (f *function) found(name string) summary {
	f.Helper()
	answer := f.invoke(eventFile(f.T, name))
	var got summary
	if err := json.Unmarshal(answer.Payload, &got); err != nil || answer.Failure != nil {
		f.Fatalf("%s: %s %s\n%s", name, answer.Payload, answer.Failure, f.log)
	}
	if waits := got.OldestJobSeconds; waits < 0 || waits > 60 || (waits > 0 && got.Unplaced == 0) {
		f.Errorf("%s: %s", name, answer.Payload)
	}
	got.OldestJobSeconds = 0
	return got
}

// want compares, with how many leases ended; -1 where no death was reported.
func (f *function) want(when, name string, ended int, want summary) {
	f.Helper()
	got := f.found(name)
	reported := -1
	if got.LeasesEnded != nil {
		reported = *got.LeasesEnded
	}
	got.LeasesEnded = nil
	if got != want || reported != ended {
		f.Errorf("%s: %+v, %d leases ended; want %+v, %d", when, got, reported, want, ended)
	}
}

// taskIn is the task of the event files.
func taskIn(t *testing.T) string {
	t.Helper()
	var stopped, running event
	for file, into := range map[string]*event{"task-stopped": &stopped, "task-running": &running} {
		if err := json.Unmarshal(eventFile(t, file), into); err != nil {
			t.Fatal(err)
		}
	}
	if stopped.Detail.TaskARN == "" || stopped.Detail.TaskARN != running.Detail.TaskARN {
		t.Fatalf("tasks %q and %q", stopped.Detail.TaskARN, running.Detail.TaskARN)
	}
	return stopped.Detail.TaskARN
}

// TestEventsThroughTheBuiltProgram runs every event file, some twice and out of
// order, through one process.
func TestEventsThroughTheBuiltProgram(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := newFunction(t, w.url)
	task := taskIn(t)

	w.start("a", "b")
	f.want("nobody lives", "schedule", -1, summary{Wanted: 2, Unplaced: 2}) // the start made the jobs
	w.connector("dies", task, 2)
	held := summary{Wanted: 2, Held: 2, ConnectorsAlive: 1, Slots: 10, SlotsFree: 8}
	f.want("all is well", "schedule", -1, held)
	if answer := f.invoke(eventFile(t, "task-running")); string(answer.Payload) != `{"ignored":"the task is RUNNING"}` {
		t.Errorf("task-running: %s %s", answer.Payload, answer.Failure)
	}
	f.want("the task still runs", "schedule", -1, held)

	f.want("the task stopped", "task-stopped", 1, summary{Orphans: 2, Wanted: 2, Unplaced: 2})
	f.want("the task stopped again", "task-stopped", 0, summary{Wanted: 2, Unplaced: 2})
	if answer := f.invoke(eventFile(t, "task-running")); answer.Failure != nil {
		t.Errorf("task-running comes late: %s", answer.Failure)
	}
	w.connector("takes over", task+"-next", 2)
	f.want("the death is told late", "task-stopped", 0, held)
	f.want("others hold them", "schedule", -1, held)

	if answer := f.invoke(eventFile(t, "unknown")); !strings.Contains(string(answer.Failure), "scheduled events and") {
		t.Errorf("unknown: %s %s", answer.Payload, answer.Failure)
	}
	for _, odd := range []string{`{}`, `[1]`, `{"version":"2.0","requestContext":{"http":{"method":"GET"}}}`, `{"source":"aws.ecs"}`} {
		if answer := f.invoke([]byte(odd)); !strings.Contains(string(answer.Failure), "scheduled events and") {
			t.Errorf("%s: %s %s", odd, answer.Payload, answer.Failure)
		}
	}
	everyFileIsKnown(t, "schedule", "task-running", "task-stopped", "unknown")
	f.wantMetrics(4)
	if n := strings.Count(f.log.String(), `"msg":"lease ended"`); n != 1 {
		t.Errorf("%d lines about the one lease that ended\n%s", n, f.log)
	}
	t.Logf("cold start %s", f.ColdStart())
}

// wantMetrics reads the program's log as CloudWatch does: one line of metrics
// per scheduled sweep, and nothing else that looks like one.
func (f *function) wantMetrics(lines int) {
	f.Helper()
	n := 0
	for line := range strings.Lines(f.log.String()) {
		var metrics struct {
			AWS struct {
				Timestamp         int64
				CloudWatchMetrics []struct {
					Namespace  string
					Dimensions [][]string
					Metrics    []struct{ Name, Unit string }
				}
			} `json:"_aws"`
		}
		if !strings.Contains(line, "_aws") {
			continue
		}
		n++
		var values map[string]any
		if err := json.Unmarshal([]byte(line), &metrics); err != nil {
			f.Fatalf("%s: %v", line, err)
		}
		if err := json.Unmarshal([]byte(line), &values); err != nil {
			f.Fatal(err)
		}
		if age := time.Since(time.UnixMilli(metrics.AWS.Timestamp)); age < -time.Second || age > time.Hour {
			f.Errorf("of another time: %s", line)
		}
		if len(metrics.AWS.CloudWatchMetrics) != 1 || values["fleet"] != "staging" {
			f.Fatalf("%s", line)
		}
		directive := metrics.AWS.CloudWatchMetrics[0]
		if directive.Namespace != "wafleet" || len(directive.Dimensions) != 1 || len(directive.Dimensions[0]) != 1 || directive.Dimensions[0][0] != "fleet" {
			f.Errorf("%s", line)
		}
		for _, m := range directive.Metrics {
			if _, isNumber := values[m.Name].(float64); !isNumber || !slices.Contains([]string{"Count", "Seconds", "None"}, m.Unit) {
				f.Errorf("%s is %v %s", m.Name, values[m.Name], m.Unit)
			}
		}
		if len(directive.Metrics) != 10 || len(values) != 10+2 || values["wafleet_fleet_sessions_wanted"] != 2.0 {
			f.Errorf("%s", line)
		}
	}
	if n != lines {
		f.Errorf("%d lines of metrics, want %d\n%s", n, lines, f.log)
	}
}

func everyFileIsKnown(t *testing.T, names ...string) {
	t.Helper()
	files, err := filepath.Glob("events/*.json")
	if err != nil || len(files) != len(names) {
		t.Errorf("files %v, error %v", files, err)
	}
}

// TestWithoutADatabase: it starts, and the event fails and can be repeated.
func TestWithoutADatabase(t *testing.T) {
	t.Parallel()
	f := newFunction(t, "postgres://u:hidden@127.0.0.1:1/x?sslmode=disable")
	for _, name := range []string{"schedule", "task-stopped"} {
		if answer := f.invoke(eventFile(t, name)); !strings.Contains(string(answer.Failure), "errorMessage") {
			t.Errorf("%s: %s %s", name, answer.Payload, answer.Failure)
		}
	}
	if answer := f.invoke(eventFile(t, "task-running")); answer.Failure != nil {
		t.Errorf("task-running: %s", answer.Failure)
	}
	f.wantMetrics(0)
	f.whole = func(log string) {
		if strings.Contains(log, "hidden") || strings.Count(log, "the event failed") != 2 {
			t.Errorf("log %s", log)
		}
	}
}
