package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheTaskIsAskedFor(t *testing.T) {
	t.Parallel()
	const arn = "arn:aws:ecs:us-west-2:111122223333:task/default/158d1c8083dd49d6b527399fd6414f5c"
	for name, one := range map[string]struct {
		status     int
		body       string
		want, says string
	}{
		"in a task":   {http.StatusOK, `{"Cluster":"default","TaskARN":"` + arn + `","Family":"curltest","Containers":[]}`, arn, ""},
		"no task":     {http.StatusOK, `{}`, "", "names no task"},
		"no JSON":     {http.StatusOK, `<html>`, "", "decode"},
		"not its job": {http.StatusNotFound, ``, "", "404"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ecs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/v4/container/task" {
					t.Errorf("asked for %s", r.URL.Path)
				}
				w.WriteHeader(one.status)
				_, _ = w.Write([]byte(one.body))
			}))
			defer ecs.Close()
			got, err := taskOf(t.Context(), ecs.URL+"/v4/container")
			if got != one.want || (err == nil) != (one.says == "") || (err != nil && !strings.Contains(err.Error(), one.says)) {
				t.Errorf("task %q, error %v", got, err)
			}
		})
	}
}

func TestNobodyAnswersForTheTask(t *testing.T) {
	t.Parallel()
	for _, metadata := range []string{"http://127.0.0.1:1/v4", "://", "nonsense"} {
		if task, err := taskOf(t.Context(), metadata); err == nil {
			t.Errorf("%s: task %q", metadata, task)
		}
	}
}
