package httpapi_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/functions/httpapi"
)

// browse returns what a real browser makes of a page, and what it complains of.
func browse(t *testing.T, address string) (dom, console string) {
	t.Helper()
	var program string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		t.Skip("no chromium on the PATH")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
		"--user-data-dir="+t.TempDir(), "--virtual-time-budget=8000", "--enable-logging=stderr", "--dump-dom", address)
	command.WaitDelay = 5 * time.Second
	var out, complaints bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaints
	if err := command.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, complaints.String())
	}
	for line := range strings.Lines(complaints.String()) {
		if strings.Contains(line, "CONSOLE") {
			console += line
		}
	}
	return out.String(), console
}

var operationID = regexp.MustCompile(`"operationId":"(\w+)"`)

// TestThePageInABrowser: behind a gateway's prefix and under its own policy, the
// page shows every operation and asks for nothing that it may not have. The
// browser would write a refused request to its console.
func TestThePageInABrowser(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.StripPrefix("/stage", openService(t).Handler))
	defer server.Close()

	dom, console := browse(t, server.URL+"/stage/docs")
	operations := 0
	for _, id := range operationID.FindAllSubmatch(httpapi.OpenAPI(), -1) {
		operations++
		if !strings.Contains(dom, "-"+string(id[1])+`"`) {
			t.Errorf("%s is not shown", id[1])
		}
	}
	if shown := strings.Count(dom, `class="opblock opblock-`); shown != operations || operations < 100 {
		t.Errorf("%d operations are shown, the document has %d", shown, operations)
	}
	if console != "" {
		t.Errorf("the browser complains: %s", console)
	}

	opened, console := browse(t, server.URL+"/stage/docs/#/sessions/startSession")
	for _, part := range []string{`data-param-name="session"`, `data-param-name="Idempotency-Key"`, "whatsmeow.db", "SESSION_ACTIVE"} {
		if !strings.Contains(opened, part) {
			t.Errorf("the opened operation does not show %s", part)
		}
	}
	if console != "" {
		t.Errorf("the browser complains: %s", console)
	}
}
