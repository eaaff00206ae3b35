package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/e2e/lambdarun"
)

// function is the built program under the harness of Lambda's runtime API.
type function struct {
	*terminal
	*lambdarun.Runtime
	log *bootstrap.Output
	// whole looks at the log once the program has ended: an answer may be faster
	// than the lines before it.
	whole func(log string)
}

func newFunction(t *testing.T) *function {
	t.Helper()
	s, log := newTerminal(t), &bootstrap.Output{}
	runtime, err := lambdarun.Start(t.Context(), lambdarun.Config{Bootstrap: s.program, Log: log, Env: append([]string{"LOG_LEVEL=debug"}, s.env...)})
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	f := &function{terminal: s, Runtime: runtime, log: log, whole: func(string) {}}
	t.Cleanup(func() {
		if err := runtime.Stop(); err != nil {
			t.Errorf("stop: %v\n%s", err, log)
		}
		f.whole(log.String())
	})
	return f
}

func (f *function) invoke(event string) lambdarun.Answer {
	f.Helper()
	answer, err := f.Invoke(f.Context(), []byte(event))
	if err != nil {
		f.Fatalf("%v\n%s", err, f.log)
	}
	return answer
}

// TestEventsThroughTheBuiltProgram runs every event file, in the order in which
// they make sense, through one process.
func TestEventsThroughTheBuiltProgram(t *testing.T) {
	t.Parallel()
	f := newFunction(t)
	ran, secrets, id := map[string]bool{}, []string{}, "aaaaaaaaaaaaaaaa"
	for _, step := range []struct{ file, says, fails string }{
		{"list-tenants", `{"tenants":[]}`, ""},
		{"create-key", "", "there is no such tenant"},
		{"create-tenant", `"name":"acme"`, ""},
		{"create-tenant", "", "a tenant of that name exists already"},
		{"set-quota", `{"name":"acme","sessionQuota":10}`, ""},
		{"list-tenants", `"sessionQuota":10,"sessions":0,"keys":0`, ""},
		{"revoke-key", "", "there is no such API key"}, // the id of the file is nobody's
		{"create-key", `"scope":"session","session":"my-session"`, ""},
		{"unknown-field", "", "unknown flag --password"},
		{"rotate-key", `"scope":"session","session":"my-session"`, ""},
		{"list-keys", `"name":"my-program"`, ""},
		{"revoke-key", `{"revoked":`, ""},
		{"audit", `"action":"key.create"`, ""},
	} {
		event, err := os.ReadFile(filepath.Join("events", step.file+".json"))
		if err != nil {
			t.Fatal(err)
		}
		answer := f.invoke(strings.ReplaceAll(string(event), "aaaaaaaaaaaaaaaa", id))
		if step.fails != "" {
			if !strings.Contains(string(answer.Failure), step.fails) || answer.Payload != nil {
				t.Errorf("%s: %s %s, want the failure %q", step.file, answer.Payload, answer.Failure, step.fails)
			}
			continue
		}
		if answer.Failure != nil || !strings.Contains(string(answer.Payload), step.says) {
			t.Errorf("%s: %s %s, want %s", step.file, answer.Payload, answer.Failure, step.says)
		}
		var made struct{ Key string }
		if err := json.Unmarshal(answer.Payload, &made); err != nil {
			t.Fatal(err)
		}
		if found := keyPattern.FindStringSubmatch(made.Key); found != nil {
			secrets, id = append(secrets, found[2]), found[1]
			if !f.works(made.Key) {
				t.Errorf("%s: the key does not work", step.file)
			}
		} else if keyPattern.Match(answer.Payload) {
			t.Errorf("%s shows a secret: %s", step.file, answer.Payload)
		}
		ran[step.file] = true
	}
	ran["unknown-field"] = true // it can only fail
	files, err := filepath.Glob("events/*.json")
	if err != nil || len(files) == 0 || len(secrets) != 2 {
		t.Fatalf("files %v, error %v, %d secrets", files, err, len(secrets))
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".json"); !ran[name] {
			t.Errorf("%s was not run", file)
		}
	}
	f.whole = func(log string) {
		for _, secret := range secrets {
			if strings.Contains(log, secret) {
				t.Error("a secret is in the log")
			}
		}
		if !strings.Contains(log, `"command":"create-key"`) {
			t.Errorf("log %s", log)
		}
	}
	audit := f.invoke(`{"command":"audit","tenant":"acme"}`)
	var page struct {
		Entries []struct{ Action, RequestID string }
	}
	if err := json.Unmarshal(audit.Payload, &page); err != nil || len(page.Entries) != 5 {
		t.Fatalf("audit %s", audit.Payload)
	}
	for _, entry := range page.Entries {
		if (entry.RequestID == "") != (entry.Action == "tenant.create") {
			t.Errorf("audit %s", audit.Payload)
		}
	}
}
