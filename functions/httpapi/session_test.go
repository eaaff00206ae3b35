package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wafleet/wafleet/functions/control"
	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

const documentedBody = `{"config":{"store":{"dialect":"sqlite3","address":"/app/data/whatsmeow.db"},"log":{"level":"INFO"}}}`

func documentedConfig() map[string]any {
	return map[string]any{
		"store": map[string]any{"dialect": "sqlite3", "address": "/app/data/whatsmeow.db"},
		"log":   map[string]any{"level": "INFO"},
	}
}

// sessionObject is the documented object of a session that was just started.
func sessionObject(name string) map[string]any {
	return map[string]any{
		"session": name, "name": name, "status": "STARTING", "statusReason": nil,
		"authenticated": false, "me": nil, "assignedWorker": nil, "lastSeenAlive": nil, "reconnectsLastHour": 0.0,
		"config": documentedConfig(),
	}
}

func with(object map[string]any, pairs ...any) map[string]any {
	for i := 0; i < len(pairs); i += 2 {
		object[pairs[i].(string)] = pairs[i+1]
	}
	return object
}

func wantSame(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTheDocumentedCall(t *testing.T) {
	t.Parallel()
	s := newService(t)
	started := s.post("/api/sessions/my-session/start", documentedBody).want(http.StatusCreated)
	wantSame(t, started.object(), with(sessionObject("my-session"), "success", true, "message", "Session started successfully"))

	again := s.post("/api/sessions/my-session/start", documentedBody)
	body := again.wantError(http.StatusConflict, httpapi.CodeSessionActive)
	wantSame(t, body, map[string]any{
		"success": false, "statusCode": 409.0, "error": "Conflict", "code": "SESSION_ACTIVE",
		"message": "Session already exists and is active", "session": "my-session", "requestId": again.Header().Get("X-Request-Id"),
	})
	wantSame(t, s.get("/api/sessions/my-session").want(http.StatusOK).object(), sessionObject("my-session"))
	if rows := s.rows(); rows["session"] != 1 || rows["start_job"] != 1 {
		t.Errorf("rows %v", rows)
	}
}

func TestAnEmptyBodyMeansDefaults(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for i, body := range []string{"", "{}", " \n", "null-free"} {
		if body == "null-free" {
			body = `{"config":null,"webhooks":[],"debug":true}`
		}
		name := fmt.Sprintf("s%d", i)
		object := s.post("/api/sessions/"+name+"/start", body).want(http.StatusCreated).object()
		wantSame(t, object["config"], any(documentedConfig()))
	}
}

func TestConfigIsEchoedWithoutSecrets(t *testing.T) {
	t.Parallel()
	s := newService(t)
	body := `{"config":{"noweb":{"n":1e400,"big":12345678901234567890},"debug":true,` + hiddenConfig[1:] + `}`
	started := s.post("/api/sessions/a/start", body).want(http.StatusCreated)
	stopped := s.post("/api/sessions/a/stop", "").want(http.StatusOK)
	for _, a := range []answer{started, stopped, s.get("/api/sessions/a"), s.get("/api/sessions?all=true")} {
		text := a.want(a.Code).Body.String()
		if strings.Contains(text, "hidden-") {
			t.Errorf("a secret is echoed: %s", text)
		}
		for _, part := range []string{`"user":"seven"`, `"n":1e400`, `"big":12345678901234567890`, `"debug":true`, `"server":"socks5://proxy:1080"`, `"url":"https://hook.test/x?a=1"`} {
			if !strings.Contains(text, part) {
				t.Errorf("%s is not echoed: %s", part, text)
			}
		}
	}
	if strings.Contains(s.log.String(), "hidden-") {
		t.Error("a secret is in the log")
	}
}

func TestStopAndStartAgain(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.post("/api/sessions/a/stop", "").wantError(http.StatusNotFound, httpapi.CodeSessionNotFound)
	s.post("/api/sessions/a/start", `{"config":{"log":{"level":"debug"}}}`).want(http.StatusCreated)
	config := with(documentedConfig(), "log", map[string]any{"level": "DEBUG"})
	stopped := s.post("/api/sessions/a/stop", `{"logout":false}`).want(http.StatusOK).object()
	wantSame(t, stopped, with(sessionObject("a"), "success", true, "message", "Session paused successfully", "status", "STOPPED", "config", config))
	s.post("/api/sessions/a/stop", "").wantError(http.StatusConflict, httpapi.CodeSessionStopped)

	again := s.post("/api/sessions/a/start", "").want(http.StatusOK).object() // a missing config keeps the stored one
	wantSame(t, again, with(sessionObject("a"), "success", true, "message", "Session started successfully", "config", config))
}

// What the holder knows of a session's health reaches who asks.
func TestASessionThatReconnects(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	h := s.hold()
	heard := time.Now().Add(-30 * time.Second)
	report := store.Report{Term: h.term(), State: session.Starting, Seen: h.claim.Wanted.Generation, Code: session.KeepAlive, Message: "silent", HeardAt: heard}
	for range 3 {
		report.Reconnects.Add(time.Now())
	}
	if fenced, err := s.store.SetStateIfEpoch(t.Context(), h.me, []store.Report{report}); err != nil || len(fenced) > 0 {
		t.Fatal(fenced, err)
	}
	got := s.get("/api/sessions/a").want(http.StatusOK).object()
	shown, err := time.Parse(time.RFC3339Nano, fmt.Sprint(got["lastSeenAlive"]))
	if err != nil || shown.Sub(heard).Abs() > 5*time.Second || shown.Location() != time.UTC || got["reconnectsLastHour"] != 3.0 {
		t.Errorf("%v, heard at %v", got, heard)
	}
}

func TestAWorkingSession(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	h := s.hold()
	h.link("5511999999999:12@s.whatsapp.net")
	me := map[string]any{"id": "5511999999999@c.us", "pushName": "Ada"}
	wantSame(t, s.get("/api/sessions/a").object(),
		with(sessionObject("a"), "status", "WORKING", "authenticated", true, "me", me, "assignedWorker", string(h.me)))

	moved := `{"config":{"store":{"dialect":"postgres"}}}`
	s.post("/api/sessions/a/start", moved).wantError(http.StatusConflict, httpapi.CodeSessionActive)
	stopped := s.post("/api/sessions/a/stop", "").want(http.StatusOK).object()
	if stopped["status"] != "STOPPED" || stopped["authenticated"] != false || cmp.Diff(any(me), stopped["me"]) != "" {
		t.Errorf("stopped: %v", stopped)
	}
	s.post("/api/sessions/a/start", moved).wantError(http.StatusConflict, httpapi.CodeStoreInUse)
	s.post("/api/sessions/a/start", "").want(http.StatusOK)
}

func TestAFailedSessionSaysWhy(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	s.hold().report(session.Failed, session.QRExpired, "The QR codes ran out.")
	object := s.get("/api/sessions/a").object()
	reason, _ := object["statusReason"].(map[string]any)
	if object["status"] != "FAILED" || reason["code"] != "QR_EXPIRED" || reason["message"] != "The QR codes ran out." {
		t.Errorf("failed: %v", object)
	}
	if at, ok := reason["at"].(string); !ok || !strings.HasSuffix(at, "Z") {
		t.Errorf("at %v is not in UTC", reason["at"])
	}
	if retry, there := reason["retryAt"]; !there || retry != nil {
		t.Errorf("retryAt %v", retry)
	}
	s.post("/api/sessions/a/start", "").want(http.StatusOK)
}

func TestList(t *testing.T) {
	t.Parallel()
	s := newService(t)
	names := func(query string) string {
		t.Helper()
		var list []map[string]any
		s.get("/api/sessions" + query).want(http.StatusOK).decode(&list)
		var found []string
		for _, object := range list {
			found = append(found, object["name"].(string))
		}
		return strings.Join(found, " ")
	}
	if body := s.get("/api/sessions").Body.String(); body != "[]\n" {
		t.Errorf("an empty list is %q", body)
	}
	for _, name := range []string{"c", "a", "d", "b"} {
		s.start(name)
	}
	s.post("/api/sessions/b/stop", "").want(http.StatusOK)
	for query, want := range map[string]string{
		"": "a c d", "?all=false": "a c d", "?all=true": "a b c d", "?all=1": "a b c d",
		"?limit=2": "a c", "?limit=2&offset=2": "d", "?all=true&offset=3": "d", "?offset=9": "", "?server_id=1": "a c d",
	} {
		if got := names(query); got != want {
			t.Errorf("%q lists %q, want %q", query, got, want)
		}
	}
}

func TestATenantSeesOnlyItsOwn(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	_, other := s.newTenant("other")
	theirs := func(method, path string) answer {
		return s.do(ask{method: method, path: path, key: other.Reveal(), body: `{"phone":"5511999999999"}`})
	}
	for _, path := range []string{"/api/sessions/a", "/api/a/auth/qr", "/api/sessions/a/qrcode"} {
		theirs(http.MethodGet, path).wantError(http.StatusNotFound, httpapi.CodeSessionNotFound)
	}
	for _, path := range []string{"/api/sessions/a/stop", "/api/a/auth/request-code"} {
		theirs(http.MethodPost, path).wantError(http.StatusNotFound, httpapi.CodeSessionNotFound)
	}
	if body := theirs(http.MethodGet, "/api/sessions").Body.String(); body != "[]\n" {
		t.Errorf("another tenant lists %s", body)
	}
	theirs(http.MethodPost, "/api/sessions/a/start").want(http.StatusCreated)
	if rows := s.rows(); rows["session"] != 2 {
		t.Errorf("rows %v", rows)
	}
}

func TestNoDataDirectory(t *testing.T) {
	t.Parallel()
	s := newServiceWith(t, control.Config{})
	for _, body := range []string{"", `{"config":{}}`, documentedBody} {
		errors := s.post("/api/sessions/a/start", body).wantError(http.StatusBadRequest, httpapi.CodeInvalidRequest)["errors"]
		if field := errors.([]any)[0].(map[string]any)["field"]; field != "config.store.dialect" {
			t.Errorf("body %q: field %v", body, field)
		}
	}
	if rows := s.rows(); rows["session"] != 0 {
		t.Errorf("rows %v", rows)
	}
	s.post("/api/sessions/a/start", `{"config":{"store":{"dialect":"postgres"}}}`).want(http.StatusCreated)
	s.post("/api/sessions/a/stop", "").want(http.StatusOK)
	s.post("/api/sessions/a/start", "").want(http.StatusOK) // keeps the stored postgres

	p := newServiceWith(t, control.Config{Defaults: session.Defaults{Dialect: session.Postgres}})
	object := p.post("/api/sessions/a/start", "").want(http.StatusCreated).object()
	wantSame(t, object["config"], any(with(documentedConfig(), "store", map[string]any{"dialect": "postgres", "address": "/app/data/whatsmeow.db"})))
}

func TestOneOfManyConcurrentStartsWins(t *testing.T) {
	t.Parallel()
	const n = 50
	s := newService(t)
	for round, first := range []int{http.StatusCreated, http.StatusOK} {
		codes := make([]int, n)
		ready := make(chan struct{})
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				<-ready
				codes[i] = s.post("/api/sessions/a/start", documentedBody).Code
			})
		}
		close(ready)
		all.Wait()
		count := map[int]int{}
		for _, code := range codes {
			count[code]++
		}
		wantSame(t, count, map[int]int{first: 1, http.StatusConflict: n - 1})
		if rows := s.rows(); rows["session"] != 1 || rows["start_job"] != 1 {
			t.Errorf("round %d: rows %v", round, rows)
		}
		s.post("/api/sessions/a/stop", "").want(http.StatusOK)
		if rows := s.rows(); rows["start_job"] != 0 {
			t.Errorf("round %d: a stopped session has a job", round)
		}
	}
}
