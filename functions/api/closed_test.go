package main

import (
	"net/http"
	"os/exec"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/pgtest"
)

// wishes is what other services read to let callers in, or to make a first key.
var wishes = []string{
	"API_KEY=wafleet-example-key", "WHATSAPP_API_KEY=wafleet-example-key", "WAHA_API_KEY=wafleet-example-key", "APIKEY=wafleet-example-key",
	"AUTH=off", "AUTH_DISABLED=true", "NO_AUTH=1", "DISABLE_AUTH=true", "REQUIRE_API_KEY=false", "WEAK_KEYS=true", "ALLOW_ANONYMOUS=1",
	"ADMIN_PASSWORD=admin", "WAHA_NO_API_KEY=True", "DEBUG=1", "INSECURE=1", "DEV=1", "ENV=development", "TEST=1",
}

// TestNothingOpensAnAPIWithoutKeys runs the built program on a table without
// keys and with every wish that an operator may have.
func TestNothingOpensAnAPIWithoutKeys(t *testing.T) {
	t.Parallel()
	program := exec.Command(bootstrap.Build(t, "lambda.norpc"), "-listen", "127.0.0.1:0")
	out := &bootstrap.Output{}
	program.Stdout, program.Stderr = out, out
	program.Env = append([]string{"DATABASE_URL=" + pgtest.New(t, migrate), "DATA_DIR=/somewhere"}, wishes...)
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		program.Process.Kill()
		program.Wait()
	})
	address := out.Await(t, `"msg":"listening","address":"([^"]+)"`, nil)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for _, path := range []string{"/api/sessions", "/api/keys", "/api/server/version", "/api/sessions/a", "/api/a/auth/qr", "/api/sendText", "/api/what"} {
		for _, key := range []string{"", "admin", "wafleet-example-key", "true"} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if key != "" {
				request.Header.Set("apikey", key)
			}
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s with %q: %s", path, key, response.Status)
			}
		}
	}
}

// TestNoVariableAndNoFlagIsAKey: what the program reads is known as a whole.
func TestNoVariableAndNoFlagIsAKey(t *testing.T) {
	t.Parallel()
	// These seal what is stored, or say how the program gets into its database, and
	// let nobody in.
	known := map[string]bool{"SECRETS_KEY_FILE": true, "SECRETS_KMS_KEY": true, "DATABASE_SECRET": true, "DATABASE_IAM_AUTH": true}
	suspicious := regexp.MustCompile(`(?i)key|auth|pass|token|secret|open|anonymous|weak|insecure`)
	for _, field := range reflect.VisibleFields(reflect.TypeFor[config]()) {
		name, _, _ := strings.Cut(field.Tag.Get("env"), ",")
		if suspicious.MatchString(strings.ReplaceAll(name, "MAX_OPEN", "")) && !known[name] {
			t.Errorf("the variable %s", name)
		}
		delete(known, name)
	}
	if len(known) > 0 {
		t.Errorf("known, and not there: %v", known)
	}
	help, _ := exec.Command(bootstrap.Build(t, "lambda.norpc"), "-help").CombinedOutput() // its exit code says that nothing was served
	if flags := regexp.MustCompile(`(?m)^  -\S+`).FindAllString(string(help), -1); len(flags) != 1 || flags[0] != "  -listen" {
		t.Errorf("flags %q of\n%s", flags, help)
	}
	if access := (config{}).access(); access.WeakKeys {
		t.Error("keys of any length are accepted")
	}
}
