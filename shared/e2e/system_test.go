package e2e

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/lib/pq"

	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/functions/control"
	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
	"github.com/wafleet/wafleet/shared/wasim"
)

// patience bounds every wait; a test that reaches it has failed.
const patience = 30 * time.Second

// system is one deployment: a database, an API, a simulator, and whatever
// connectors the test starts.
type system struct {
	testing.TB
	url   string
	store *store.Store
	api   *httptest.Server
	sim   *wasim.Server
	ca    string // file
	key   string
	data  string // DATA_DIR of every connector
	stage stage
	aws   *cloud // nil on the host

	mu       sync.Mutex
	secrets  []string // guarded by mu; must never be in a log
	programs int      // guarded by mu; started so far
}

// options of a system; the zero value is fine.
type options struct {
	sim         *wasim.Server  // nil: the zero value
	allowDouble bool           // the test lets a device log in twice
	allowFaults bool           // the test looks at the audit by itself
	measured    bool           // figures are taken: neither audit nor log of the API
	manyPreKeys bool           // WhatsApp has none of a new device, which uploads 812
	hints       control.Hinter // nil: none but the database's
	url         string         // of a migrated database; empty: one of the server that all tests share
	stage       stage          // onHost: theStage
}

func newSystem(t testing.TB, o options) *system {
	t.Helper()
	if o.sim == nil {
		o.sim = new(wasim.Server)
	}
	if o.url == "" {
		o.url = pgtest.New(t, migrate)
	}
	s := &system{TB: t, url: o.url, sim: o.sim, data: t.TempDir(), stage: cmp.Or(o.stage, theStage())}
	s.sim.FewPreKeys = !o.manyPreKeys
	s.startSim()
	t.Cleanup(func() {
		if !o.allowDouble {
			if n := s.sim.Stats().MaxSocketsPerDevice; n > 1 {
				t.Errorf("a device was logged in %d times at once", n)
			}
		}
		if !o.measured && !o.allowFaults {
			s.noFaults(faultEpoch, faultStale)
		}
		s.sim.Close()
	})
	if o.measured {
		s.openAPI(slog.New(slog.DiscardHandler), o.hints)
		return s
	}
	s.audit()
	log := &bootstrap.Output{}
	s.openAPI(slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), o.hints)
	t.Cleanup(func() {
		noSecretIn(t, "the log of the API", log.String(), s.allSecrets())
	})
	return s
}

func (s *system) startSim() {
	s.Helper()
	if err := s.sim.Start(); err != nil {
		s.Fatal(err)
	}
	s.ca = filepath.Join(s.TempDir(), "ca.pem")
	if err := os.WriteFile(s.ca, s.sim.CAPEM(), 0o600); err != nil {
		s.Fatal(err)
	}
}

func (s *system) openAPI(log *slog.Logger, hints control.Hinter) {
	s.Helper()
	var err error
	if s.store, err = store.Open(s.url, store.Options{MaxOpen: 20, ApplicationName: "e2e"}); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { s.store.Close() })
	if s.stage == onHost {
		s.key = s.newKey("e2e")
		c := control.New(s.store, control.Config{SQLiteAvailable: true, Hints: hints})
		s.api = httptest.NewServer(httpapi.New(c, access.New(s.store, access.Config{}), httpapi.Config{Log: log}))
	} else {
		s.aws = s.newCloud()
		s.key = s.aws.newKey("e2e")
		s.api = s.aws.serve()
	}
	s.Cleanup(func() {
		s.api.CloseClientConnections()
		s.api.Close()
		http.DefaultClient.CloseIdleConnections()
	})
}

// newKey makes a tenant and a key of it.
func (s *system) newKey(tenantName string) string {
	s.Helper()
	tenant, err := s.store.EnsureTenant(s.Context(), tenantName)
	if err != nil {
		s.Fatal(err)
	}
	key := "the-key-of-the-tenant-" + tenantName
	id, hash, err := apikey.Parse(key)
	if err != nil {
		s.Fatal(err)
	}
	if err := s.store.AdmitKey(s.Context(), tenant, store.NewKey{ID: id, Hash: hash[:], Name: "e2e", Scope: store.ScopeTenant}); err != nil {
		s.Fatal(err)
	}
	s.secret(key)
	return key
}

// secret notes a text that no log may hold.
func (s *system) secret(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets = append(s.secrets, text)
}

func (s *system) allSecrets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.secrets...)
}

// answer is what the API said.
type answer struct {
	code   int
	header http.Header
	body   []byte
	fields map[string]any
}

func (a answer) text(field string) string {
	text, _ := a.fields[field].(string)
	return text
}

func (a answer) reason() session.ReasonCode {
	fields, _ := a.fields["statusReason"].(map[string]any)
	code, _ := fields["code"].(string)
	return session.ReasonCode(code)
}

// call sends a request; header lines are "Name: value".
func (s *system) call(method, path, body string, headers ...string) answer {
	s.Helper()
	request, err := http.NewRequestWithContext(s.Context(), method, s.api.URL+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	request.Header.Set("apikey", s.key)
	request.Header.Set("Content-Type", "application/json")
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.Fatal(err)
	}
	defer response.Body.Close()
	a := answer{code: response.StatusCode, header: response.Header}
	if a.body, err = io.ReadAll(response.Body); err != nil {
		s.Fatal(err)
	}
	_ = json.Unmarshal(a.body, &a.fields) // images and arrays have no fields
	return a
}

// want calls and fails the test on any other code.
func (s *system) want(code int, method, path, body string, headers ...string) answer {
	s.Helper()
	a := s.call(method, path, body, headers...)
	if a.code != code {
		s.Fatalf("%s %s answered %d, want %d: %s", method, path, a.code, code, bytes.TrimSpace(a.body))
	}
	return a
}

func (s *system) start(name, body string) {
	s.Helper()
	if a := s.call("POST", "/api/sessions/"+name+"/start", body); a.code != 200 && a.code != 201 {
		s.Fatalf("start of %s answered %d: %s", name, a.code, a.body)
	}
}

func (s *system) stop(name string) {
	s.Helper()
	s.want(200, "POST", "/api/sessions/"+name+"/stop", "")
}

func (s *system) get(name string) answer {
	s.Helper()
	return s.want(200, "GET", "/api/sessions/"+name, "")
}

// eventually repeats a look at something outside this process until it is
// right.
func (s *system) eventually(what string, right func() bool) {
	s.Helper()
	s.eventuallyWithin(patience, what, right)
}

// eventuallyWithin is eventually for what takes longer than others wait.
func (s *system) eventuallyWithin(limit time.Duration, what string, right func() bool) {
	s.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	for !right() {
		select {
		case <-deadline:
			s.Fatalf("%s did not happen within %v", what, limit)
		case <-tick.C:
		}
	}
}

// pass lets time pass: what is tested takes so long.
func (s *system) pass(d time.Duration) {
	s.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.Context().Done():
	}
}

// wait returns the session once it has the status, and the reason if one is
// given.
func (s *system) wait(name string, status session.Status, reason ...session.ReasonCode) answer {
	s.Helper()
	var last answer
	defer func() {
		if s.Failed() {
			s.Logf("last seen: %s", last.body)
		}
	}()
	s.eventually(fmt.Sprintf("%s %s %v", name, status, reason), func() bool {
		last = s.get(name)
		return last.text("status") == string(status) && (len(reason) == 0 || last.reason() == reason[0])
	})
	return last
}

// qr returns the code that the API shows.
func (s *system) qr(name string) string {
	s.Helper()
	code := s.want(200, "GET", "/api/"+name+"/auth/qr?format=raw", "").text("value")
	s.secret(code)
	return code
}

// pair starts a session and lets a phone scan it.
func (s *system) pair(name, number, body string) (jid string) {
	s.Helper()
	s.start(name, body)
	s.wait(name, session.ScanQRCode)
	return s.scan(name, number)
}

func (s *system) scan(name, number string) (jid string) {
	s.Helper()
	s.secret(number)
	jid, err := s.sim.Scan(number, s.qr(name))
	if err != nil {
		s.Fatalf("scan: %v", err)
	}
	s.wait(name, session.Working)
	return jid
}

// rows runs a query whose first column is a count.
func (s *system) rows(query string) int {
	s.Helper()
	var n int
	s.scanRow(query, &n)
	return n
}

// text runs a query whose first column is a text.
func (s *system) text(query string) string {
	s.Helper()
	var text string
	s.scanRow(query, &text)
	return text
}

func (s *system) scanRow(query string, into any) {
	s.Helper()
	db, err := sql.Open("postgres", s.url)
	if err != nil {
		s.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(context.WithoutCancel(s.Context()), query).Scan(into); err != nil {
		s.Fatal(err)
	}
}

// noCodesLeft checks that no credential for linking is in the database. No
// session waits for a scan.
func (s *system) noCodesLeft() {
	s.Helper()
	s.eventually("the removal of pairing codes", func() bool {
		return s.rows(`SELECT count(*) FROM pairing WHERE codes IS NOT NULL OR code IS NOT NULL`) == 0
	})
	if n := s.rows(`SELECT count(*) FROM pairing_request`); n != 0 {
		s.Errorf("%d requests for pairing codes are left", n)
	}
}
