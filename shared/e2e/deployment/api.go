package deployment

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// API is a client with a key.
type API struct {
	testing.TB
	URL string // without a slash at its end
	Key string
}

// pollPause is between two looks at a status. The API shows each change within
// the time of a query, so that this is what a wait costs beside it.
const pollPause = 50 * time.Millisecond

// Call sends a request and returns the status and the fields of the answer.
func (a API) Call(method, path, body string) (status int, fields map[string]any) {
	a.Helper()
	request, err := http.NewRequestWithContext(a.Context(), method, a.URL+path, strings.NewReader(body))
	if err != nil {
		a.Fatal(err)
	}
	request.Header.Set("apikey", a.Key)
	request.Header.Set("Content-Type", "application/json")
	request.Close = true // the API may be another process at the next call
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		a.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		a.Fatalf("%s %s: %v", method, path, err)
	}
	_ = json.Unmarshal(text, &fields) // lists and pictures have none
	return response.StatusCode, fields
}

// Want is a call that must succeed.
func (a API) Want(method, path, body string) (fields map[string]any) {
	a.Helper()
	status, fields := a.Call(method, path, body)
	if status < 200 || status > 299 {
		a.Fatalf("%s %s: %d %v", method, path, status, fields)
	}
	return fields
}

// Await waits for a status of a session.
func (a API) Await(session, status string) (fields map[string]any) {
	a.Helper()
	deadline := time.Now().Add(Patience)
	for {
		fields = a.Want("GET", "/api/sessions/"+session, "")
		if fields["status"] == status {
			return fields
		}
		if time.Now().After(deadline) {
			a.Fatalf("%s is not %s: %v", session, status, fields)
		}
		wait(a, pollPause)
	}
}

func wait(t testing.TB, pause time.Duration) {
	select {
	case <-time.After(pause):
	case <-t.Context().Done():
	}
}

// Link starts a session with a config and lets a phone scan it.
func (a API) Link(session, config string, scan func(code string) error) {
	a.Helper()
	a.Want("POST", "/api/sessions/"+session+"/start", `{"config":`+config+`}`)
	a.Await(session, "SCAN_QR_CODE")
	code, _ := a.Want("GET", "/api/"+session+"/auth/qr?format=raw", "")["value"].(string)
	if err := scan(code); err != nil {
		a.Fatalf("scan %s: %v", session, err)
	}
	a.Await(session, "WORKING")
}

// NewKey makes a tenant and a key of it with the operator's program in dir.
func NewKey(t testing.TB, dir, databaseURL, tenant string) (key string) {
	t.Helper()
	for _, args := range [][]string{{"create-tenant", "--tenant", tenant}, {"create-key", "--tenant", tenant, "--scope", "admin"}} {
		command := exec.CommandContext(t.Context(), filepath.Join(dir, "admin"), args...) // #nosec G204 -- what a test has built
		command.Env = []string{"DATABASE_URL=" + databaseURL}
		var notices bytes.Buffer
		command.Stderr = &notices
		out, err := command.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, &notices)
		}
		key = strings.TrimSpace(string(out))
	}
	return key
}
