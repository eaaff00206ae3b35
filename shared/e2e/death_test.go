package e2e

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/e2e/lambdarun"
	"github.com/wafleet/wafleet/shared/session"
)

// ecsOf plays the metadata endpoint of one ECS task, as its containers see it.
func ecsOf(t *testing.T, task string) (env string) {
	t.Helper()
	ecs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v4/c/task" {
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"Cluster": "wafleet", "TaskARN": task})
	}))
	t.Cleanup(ecs.Close)
	return "ECS_CONTAINER_METADATA_URI_V4=" + ecs.URL + "/v4/c"
}

// TestAStoppedTasksSessionsMoveAtOnce: the lease is longer than the test waits,
// so only the report of the death can have ended it.
func TestAStoppedTasksSessionsMoveAtOnce(t *testing.T) {
	t.Parallel()
	const longLease = "LEASE_TTL=10m"
	stopped, err := os.ReadFile("../../functions/sweep/events/task-stopped.json")
	if err != nil {
		t.Fatal(err)
	}
	var event struct{ Detail struct{ TaskARN string } }
	if err := json.Unmarshal(stopped, &event); err != nil || event.Detail.TaskARN == "" {
		t.Fatalf("task %q, error %v", event.Detail.TaskARN, err)
	}
	s := newSystem(t, options{})
	first := s.connector(longLease, ecsOf(t, event.Detail.TaskARN))
	s.pair("a", "5511999990310", postgresStart)
	held := s.get("a").text("assignedWorker")
	second := s.connector(longLease, ecsOf(t, event.Detail.TaskARN+"-2"))
	sweep := s.sweep()

	first.kill()
	reported := time.Now()
	answer, err := sweep.Invoke(t.Context(), stopped)
	if err != nil || answer.Failure != nil {
		t.Fatalf("%s, error %v", answer.Failure, err)
	}
	s.eventually("a on the other connector", func() bool {
		seen := s.get("a")
		return seen.text("status") == string(session.Working) && seen.text("assignedWorker") != held
	})
	t.Logf("from the report to WORKING: %v; the sweep found %s", time.Since(reported).Round(time.Millisecond), answer.Payload)

	// The same again, late: the living have another task.
	if answer, err = sweep.Invoke(t.Context(), stopped); err != nil || answer.Failure != nil {
		t.Fatalf("%s, error %v", answer.Failure, err)
	}
	if n := s.liveConnectors(); n != 1 {
		t.Errorf("%d connectors live", n)
	}
	s.wait("a", session.Working)
	if code := second.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// sweep starts the function as Lambda would.
func (s *system) sweep() *lambdarun.Runtime {
	s.Helper()
	program := filepath.Join(s.TempDir(), "bootstrap")
	build := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", program, "github.com/wafleet/wafleet/functions/sweep")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		s.Fatalf("build sweep: %v\n%s", err, out)
	}
	log := &bootstrap.Output{}
	runtime, err := lambdarun.Start(s.Context(), lambdarun.Config{Bootstrap: program, Log: log, Env: s.audited([]string{"DATABASE_URL=" + s.url})})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if err := runtime.Stop(); err != nil {
			text, _ := log.Text()
			s.Errorf("stop sweep: %v\n%s", err, text)
		}
	})
	return runtime
}
