package httpapi_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/shared/store"
)

func (s *service) put(path, body string) answer {
	s.Helper()
	return s.do(ask{method: http.MethodPut, path: path, body: body})
}

func (s *service) delete(path string) answer {
	s.Helper()
	return s.do(ask{method: http.MethodDelete, path: path})
}

// done is the documented answer of an endpoint that changed a session.
func done(name, message string, pairs ...any) map[string]any {
	return with(with(sessionObject(name), "success", true, "message", message), pairs...)
}

const linkedJID = "5511999999999:12@s.whatsapp.net"

func ada() map[string]any { return map[string]any{"id": "5511999999999@c.us", "pushName": "Ada"} }

func TestCreate(t *testing.T) {
	t.Parallel()
	s := newService(t)
	const created = "Session created successfully"
	wantSame(t, s.post("/api/sessions", `{"name":"a"}`).want(http.StatusCreated).object(), done("a", created))
	wantSame(t, s.post("/api/sessions", `{"name":"b","start":false}`).want(http.StatusCreated).object(), done("b", created, "status", "STOPPED"))
	config := with(documentedConfig(), "log", map[string]any{"level": "DEBUG"}, "metadata", map[string]any{"user": "seven"})
	configured := s.post("/api/sessions", `{"name":"c","start":true,"config":{"log":{"level":"debug"},"metadata":{"user":"seven"}}}`)
	wantSame(t, configured.want(http.StatusCreated).object(), done("c", created, "config", config))
	wantSame(t, s.get("/api/sessions/c").want(http.StatusOK).object(), with(sessionObject("c"), "config", config))
	if rows := s.rows(); rows["session"] != 3 || rows["start_job"] != 2 {
		t.Errorf("rows %v", rows)
	}
	s.post("/api/sessions/b/start", "").want(http.StatusOK) // it was there

	for _, body := range []string{`{"name":"a"}`, `{"name":"a","start":false}`} {
		refused := s.post("/api/sessions", body).wantError(http.StatusUnprocessableEntity, httpapi.CodeSessionExists)
		if refused["session"] != "a" {
			t.Errorf("%v", refused)
		}
	}
}

func TestACreatedSessionWithoutANameGetsOne(t *testing.T) {
	t.Parallel()
	s := newService(t)
	generated := regexp.MustCompile(`^session_[A-Za-z0-9_-]+$`)
	seen := map[any]bool{}
	for _, body := range []string{"", "{}", `{"name":null,"config":null,"start":null}`} {
		made := s.post("/api/sessions", body).want(http.StatusCreated).object()
		name, _ := made["name"].(string)
		if !generated.MatchString(name) || seen[name] || made["session"] != name || made["status"] != "STARTING" {
			t.Errorf("%q made %v", body, made)
		}
		seen[name] = true
		wantSame(t, s.get("/api/sessions/"+name).want(http.StatusOK).object(), sessionObject(name))
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	s := newService(t)
	const path, updated = "/api/sessions/a", "Session updated successfully"
	s.post(path+"/start", `{"config":{"metadata":{"user":"seven"}}}`).want(http.StatusCreated)
	h := s.hold()
	h.link(linkedJID)

	// It replaces the whole config, and a running session starts again with it.
	config := with(documentedConfig(), "log", map[string]any{"level": "WARN"})
	got := s.put(path, `{"config":{"log":{"level":"warn"}}}`).want(http.StatusOK).object()
	wantSame(t, got, done("a", updated, "config", config, "me", ada(), "assignedWorker", string(h.me)))
	if rows := s.rows(); rows["start_job"] != 1 {
		t.Errorf("rows %v", rows)
	}

	s.post(path+"/stop", "").want(http.StatusOK)
	stopped := s.put(path, `{"config":{}}`).want(http.StatusOK).object()
	if stopped["status"] != "STOPPED" || cmp.Diff(any(documentedConfig()), stopped["config"]) != "" {
		t.Errorf("stopped: %v", stopped)
	}
	if rows := s.rows(); rows["start_job"] != 0 {
		t.Errorf("a stopped session is started: %v", rows)
	}
	moved := s.put(path, `{"config":{"store":{"dialect":"postgres"}}}`).wantError(http.StatusConflict, httpapi.CodeStoreInUse)
	if moved["session"] != "a" {
		t.Errorf("%v", moved)
	}
	wantSame(t, s.get(path).object()["config"], any(documentedConfig()))
}

func TestRestart(t *testing.T) {
	t.Parallel()
	s := newService(t)
	const path, restarted = "/api/sessions/a", "Session restarted successfully"
	s.start("a")
	wantSame(t, s.post(path+"/restart", "").want(http.StatusOK).object(), done("a", restarted)) // none has it yet
	h := s.hold()
	h.link(linkedJID)
	held := []any{"me", ada(), "assignedWorker", string(h.me)}
	wantSame(t, s.post(path+"/restart", "{}").want(http.StatusOK).object(), done("a", restarted, held...))
	wantSame(t, s.post(path+"/restart", "").want(http.StatusOK).object(), done("a", restarted, held...)) // again is no conflict

	config := with(documentedConfig(), "log", map[string]any{"level": "ERROR"})
	given := s.post(path+"/restart", `{"config":{"log":{"level":"ERROR"}}}`).want(http.StatusOK).object()
	wantSame(t, given, done("a", restarted, append(held, "config", config)...))
	kept := s.post(path+"/restart", `{"config":null}`).want(http.StatusOK).object()
	wantSame(t, kept["config"], any(config))

	s.post(path+"/stop", "").want(http.StatusOK)
	from := s.post(path+"/restart", "").want(http.StatusOK).object()
	if from["status"] != "STARTING" {
		t.Errorf("from STOPPED: %v", from)
	}
	s.post(path+"/restart", `{"config":{"store":{"dialect":"postgres"}}}`).wantError(http.StatusConflict, httpapi.CodeStoreInUse)
}

func TestLogout(t *testing.T) {
	t.Parallel()
	s := newService(t)
	const path, unlinked = "/api/sessions/a", "Logout performed successfully"
	s.start("a")
	refused := s.post(path+"/logout", "").wantError(http.StatusConflict, httpapi.CodeNotAuthenticated)
	if refused["session"] != "a" {
		t.Errorf("%v", refused)
	}
	h := s.hold()
	h.link(linkedJID)
	wantSame(t, s.post(path+"/logout", `{"force":true}`).want(http.StatusOK).object(), done("a", unlinked, "assignedWorker", string(h.me)))
	s.post(path+"/logout", "").wantError(http.StatusConflict, httpapi.CodeNotAuthenticated)
	if me := s.get(path + "/me").want(http.StatusOK).Body.String(); me != "null\n" {
		t.Errorf("me is %s", me)
	}
}

func TestAStoppedSessionStaysStoppedAfterALogout(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	s.hold().link(linkedJID)
	s.post("/api/sessions/a/stop", "").want(http.StatusOK)
	got := s.post("/api/sessions/a/logout", "").want(http.StatusOK).object()
	if got["status"] != "STOPPED" || got["me"] != nil || got["message"] != "Logout performed successfully" {
		t.Errorf("%v", got)
	}
	s.post("/api/sessions/a/logout", "").wantError(http.StatusConflict, httpapi.CodeNotAuthenticated)
}

func TestMe(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	if body := s.get("/api/sessions/a/me").want(http.StatusOK).Body.String(); body != "null\n" {
		t.Errorf("before a phone: %q", body)
	}
	s.hold().link(linkedJID)
	wantSame(t, s.get("/api/sessions/a/me").want(http.StatusOK).object(), ada())
	s.post("/api/sessions/a/stop", "").want(http.StatusOK)
	wantSame(t, s.get("/api/sessions/a/me").want(http.StatusOK).object(), ada())
}

// requestsTo is every request that needs the session to be there.
func requestsTo(name string) []ask {
	path := "/api/sessions/" + name
	return []ask{
		{path: path}, {path: path + "/me"}, {path: path + "/qrcode"}, {path: "/api/" + name + "/auth/qr"}, {path: "/api/" + name + "/auth/qr?format=image"},
		{method: http.MethodPut, path: path, body: `{"config":{}}`}, {method: http.MethodDelete, path: path},
		{method: http.MethodPost, path: path + "/stop"}, {method: http.MethodPost, path: path + "/restart"}, {method: http.MethodPost, path: path + "/logout"},
		{method: http.MethodPost, path: path + "/restart", body: `{"config":{"log":{"level":"WARN"}}}`},
		{method: http.MethodPost, path: "/api/" + name + "/auth/request-code", body: `{"phone":"5511999999999"}`},
	}
}

func (s *service) wantNowhere(name string) {
	s.Helper()
	for _, one := range requestsTo(name) {
		a := s.do(one)
		if body := a.wantError(http.StatusNotFound, httpapi.CodeSessionNotFound); body["session"] != name || body["message"] != "Session not found" {
			s.Errorf("%s %s: %s", one.method, one.path, a.Body)
		}
	}
}

func TestAnUnknownSessionIsNowhere(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("other")
	before := s.rows()
	s.wantNowhere("a")
	wantSame(t, s.rows(), before)
}

func TestDelete(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	h := s.hold()
	h.link(linkedJID)
	h.showQR("2@code") // not that a linked one has any
	const deleted = "Session deleted successfully"
	wantSame(t, s.delete("/api/sessions/a").want(http.StatusOK).object(), done("a", deleted, "status", "STOPPED", "assignedWorker", string(h.me)))
	s.wantNowhere("a")
	if list := s.get("/api/sessions?all=true").want(http.StatusOK).Body.String(); list != "[]\n" {
		t.Errorf("listed: %s", list)
	}

	// The name is free at once, and what takes it is another session.
	again := s.post("/api/sessions/a/start", "").want(http.StatusCreated).object()
	wantSame(t, again, done("a", "Session started successfully"))
	s.delete("/api/sessions/a").want(http.StatusOK)
	wantSame(t, s.post("/api/sessions", `{"name":"a","start":false}`).want(http.StatusCreated).object(),
		done("a", "Session created successfully", "status", "STOPPED"))
	wantSame(t, s.delete("/api/sessions/a").want(http.StatusOK).object(), done("a", deleted, "status", "STOPPED"))
	s.wantNowhere("a")
}

// TestWhatTheNewEndpointsRefuse leaves no trace.
func TestWhatTheNewEndpointsRefuse(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("there")
	s.post("/api/sessions/there/stop", "").want(http.StatusOK)
	before, shown := s.rows(), s.get("/api/sessions/there").object()
	large := `{"config":{"x":"` + strings.Repeat("x", 64<<10) + `"}}`
	const there = "/api/sessions/there"
	for _, one := range []struct {
		method, path, body, field string
	}{
		{http.MethodPost, "/api/sessions", `{"name":"a b"}`, "name"}, {http.MethodPost, "/api/sessions", `{"name":""}`, "name"}, {http.MethodPost, "/api/sessions", `{"name":7}`, "name"},
		{http.MethodPost, "/api/sessions", `{"name":"` + strings.Repeat("a", 55) + `"}`, "name"}, {http.MethodPost, "/api/sessions", `{"name":"keys"}`, "name"},
		{http.MethodPost, "/api/sessions", `{"name":"../x"}`, "name"}, {http.MethodPost, "/api/sessions", `{"start":"yes"}`, "start"}, {http.MethodPost, "/api/sessions", `{"start":1}`, "start"},
		{http.MethodPost, "/api/sessions", `{"config":[]}`, "config"}, {http.MethodPost, "/api/sessions", `{"config":{"log":{"level":"LOUD"}}}`, "config.log.level"},
		{http.MethodPost, "/api/sessions", `{"name":"a","name":"b"}`, "name"}, {http.MethodPost, "/api/sessions", `[]`, "body"}, {http.MethodPost, "/api/sessions", large, "config"},
		{http.MethodPut, there, ``, "config"}, {http.MethodPut, there, `{}`, "config"}, {http.MethodPut, there, `{"config":null}`, "config"}, {http.MethodPut, there, `{"config":"x"}`, "config"},
		{http.MethodPut, there, `{"store":{}}`, "config"}, {http.MethodPut, there, `{"config":{"store":{"address":"../x"}}}`, "config.store.address"}, {http.MethodPut, there, large, "config"},
		{http.MethodPost, there + "/restart", `{"config":7}`, "config"}, {http.MethodPost, there + "/restart", `{"config":{"proxy":"ftp://p"}}`, "config.proxy"},
		{http.MethodPost, there + "/restart", large, "config"}, {http.MethodPost, there + "/restart", `{`, "body"},
		{http.MethodPost, there + "/logout", `[]`, "body"}, {http.MethodDelete, there, `{`, "body"}, {http.MethodDelete, "/api/sessions/a%20b", ``, "session"},
		{http.MethodPut, "/api/sessions/a%2Fb", `{"config":{}}`, "session"}, {http.MethodGet, "/api/sessions/messages/me", ``, "session"},
	} {
		a := s.do(ask{method: one.method, path: one.path, body: one.body})
		if fields := fieldsOf(a.wantError(http.StatusBadRequest, httpapi.CodeInvalidRequest)); len(fields) != 1 || fields[0] != one.field {
			t.Errorf("%s %s %.40s: %v", one.method, one.path, one.body, fields)
		}
	}
	wantSame(t, s.rows(), before)
	wantSame(t, s.get(there).object(), shown)
}

// TestAMutationNamesTheVersionThatAReaderSees next: If-None-Match goes on from there.
func TestAMutationNamesTheVersionThatAReaderSees(t *testing.T) {
	t.Parallel()
	s := newService(t)
	const path = "/api/sessions/a"
	s.post("/api/sessions", `{"name":"a"}`)
	s.hold().link(linkedJID)
	for _, change := range []ask{
		{method: http.MethodPut, path: path, body: `{"config":{"metadata":{"n":"1"}}}`},
		{method: http.MethodPost, path: path + "/restart", body: `{"config":{"metadata":{"n":"2"}}}`},
		{method: http.MethodPost, path: path + "/stop"},
		{method: http.MethodPost, path: path + "/start"},
		{method: http.MethodPost, path: path + "/logout"},
	} {
		changed := s.do(change).want(http.StatusOK).Header().Get("ETag")
		if read := s.unless(changed); changed == "" || read.Code != http.StatusNotModified {
			t.Errorf("%s %s: ETag %q, then %d with %q", change.method, change.path, changed, read.Code, read.Header().Get("ETag"))
		}
	}
	if created := s.post("/api/sessions", `{"name":"b"}`).want(http.StatusCreated).Header().Get("ETag"); created != s.get("/api/sessions/b").Header().Get("ETag") {
		t.Errorf("created as %q", created)
	}
}

func TestTheQuotaOverHTTP(t *testing.T) {
	t.Parallel()
	s := newService(t)
	quota := 2
	if err := s.store.SetQuota(t.Context(), store.Actor{Tenant: s.tenant, Key: store.Operator}, &quota); err != nil {
		t.Fatal(err)
	}
	s.start("a")
	s.post("/api/sessions", `{"name":"b","start":false}`).want(http.StatusCreated)
	for _, one := range []ask{
		{path: "/api/sessions", body: `{"name":"c"}`}, {path: "/api/sessions"}, {path: "/api/sessions/c/start"},
	} {
		one.method = http.MethodPost
		refused := s.do(one).wantError(http.StatusForbidden, httpapi.CodeSessionQuota)
		if message := fmt.Sprint(refused["message"]); !strings.HasPrefix(message, "The tenant has as many sessions as it may") {
			t.Errorf("%s", message)
		}
	}
	s.post("/api/sessions", `{"name":"a"}`).wantError(http.StatusUnprocessableEntity, httpapi.CodeSessionExists)
	s.post("/api/sessions/b/start", "").want(http.StatusOK) // what is there may run
	s.post("/api/sessions/a/restart", "").want(http.StatusOK)
	if rows := s.rows(); rows["session"] != 2 {
		t.Errorf("rows %v", rows)
	}
	s.delete("/api/sessions/a").want(http.StatusOK)
	s.start("c")
}
