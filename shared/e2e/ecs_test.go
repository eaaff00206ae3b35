package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// ecs plays the agent of ECS as the containers of its tasks see it: it tells
// them their task, and keeps what they ask for.
type ecs struct {
	testing.TB
	server *httptest.Server

	mu         sync.Mutex
	tasks      int                // guarded by mu
	protection map[string][]asked // guarded by mu; by task
}

// asked is one request for protection from scale-in, or for its end.
type asked struct {
	protect bool
	at      time.Time
}

const taskPrefix = "arn:aws:ecs:us-east-1:123456789012:task/wafleet/"

func newECS(t testing.TB) *ecs {
	e := &ecs{TB: t, protection: map[string][]asked{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v4/{task}/task", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"Cluster": "wafleet", "TaskARN": taskPrefix + r.PathValue("task")})
	})
	mux.HandleFunc("PUT /api/{task}/task-protection/v1/state", e.protect)
	e.server = httptest.NewServer(mux)
	t.Cleanup(e.server.Close)
	return e
}

// newTask returns the name of a task that was not there before.
func (e *ecs) newTask() (arn string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tasks++
	return fmt.Sprintf("%s%032x", taskPrefix, e.tasks)
}

// container is the environment that ECS gives to a container of a task.
func (e *ecs) container(task string) (env []string) {
	id := strings.TrimPrefix(task, taskPrefix)
	return []string{"ECS_CONTAINER_METADATA_URI_V4=" + e.server.URL + "/v4/" + id, "ECS_AGENT_URI=" + e.server.URL + "/api/" + id}
}

// protect answers as the agent does, by the Amazon ECS developer guide, "Task
// scale-in protection endpoint".
func (e *ecs) protect(w http.ResponseWriter, r *http.Request) {
	var wanted struct {
		ProtectionEnabled *bool
		ExpiresInMinutes  int
	}
	if err := json.NewDecoder(r.Body).Decode(&wanted); err != nil || wanted.ProtectionEnabled == nil {
		e.Errorf("a request for protection that ECS does not understand: error %v", err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	task, now := taskPrefix+r.PathValue("task"), time.Now()
	e.mu.Lock()
	e.protection[task] = append(e.protection[task], asked{*wanted.ProtectionEnabled, now})
	e.mu.Unlock()
	state := map[string]any{"ProtectionEnabled": *wanted.ProtectionEnabled, "TaskArn": task}
	if *wanted.ProtectionEnabled {
		state["ExpirationDate"] = now.Add(time.Duration(wanted.ExpiresInMinutes) * time.Minute).Format(time.RFC3339)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"protection": state})
}

// protected lists the tasks that may not be ended now.
func (e *ecs) protected() (tasks []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for task, requests := range e.protection {
		if requests[len(requests)-1].protect {
			tasks = append(tasks, task)
		}
	}
	return tasks
}
