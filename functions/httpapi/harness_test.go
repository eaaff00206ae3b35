package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/functions/control"
	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/schema"
	"github.com/wafleet/wafleet/shared/secret"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Wrap(m)) }

func migrate(ctx context.Context, url string) error { return schema.Migrate(ctx, url, nil) }

// service is the whole API over a database of its own, and the holder's side
// of the store, so that a test can play the connector.
type service struct {
	testing.TB
	http.Handler
	store  *store.Store
	tenant session.TenantID
	key    apikey.Key
	log    *logBuffer
}

func newService(t testing.TB) *service {
	t.Helper()
	return newServiceWith(t, control.Config{SQLiteAvailable: true, Secrets: newBox(t)})
}

// newBox is a key for secrets, as a deployment has one.
func newBox(t testing.TB) *secret.Box {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secrets.key")
	if err := secret.CreateFile(path); err != nil {
		t.Fatal(err)
	}
	box, err := secret.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return box
}

// plenty is a rate limit that is there and that no test meets by chance.
const plenty = 1_000_000

func newServiceWith(t testing.TB, config control.Config) *service {
	t.Helper()
	opened, err := store.Open(pgtest.New(t, migrate), store.Options{MaxOpen: 8, ApplicationName: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	s := &service{TB: t, store: opened, log: &logBuffer{}}
	log := slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.Handler = httpapi.New(control.New(opened, config), access.New(opened, access.Config{WeakKeys: true, RatePerSecond: plenty, RateBurst: plenty}), httpapi.Config{Log: log, Version: "1.2.3"})
	s.tenant, s.key = s.newTenant("acme")
	return s
}

// on is the same service for a subtest.
func (s *service) on(t testing.TB) *service {
	same := *s
	same.TB = t
	return &same
}

// newTenant returns a tenant and a key of it.
func (s *service) newTenant(name string) (session.TenantID, apikey.Key) {
	s.Helper()
	tenant, err := s.store.CreateTenant(context.Background(), name)
	if err != nil {
		s.Fatal(err)
	}
	key := apikey.New()
	s.putKey(key.Reveal(), tenant, false)
	return tenant, key
}

func (s *service) putKey(text string, tenant session.TenantID, revoked bool) {
	s.Helper()
	id, hash, err := apikey.Parse(text)
	if err != nil {
		s.Fatal(err)
	}
	key := store.NewKey{ID: id, Hash: hash[:], Name: "test", Scope: store.ScopeTenant}
	if err := s.store.AdmitKey(context.Background(), tenant, key); err != nil {
		s.Fatal(err)
	}
	if revoked {
		if err := s.store.RevokeKey(context.Background(), store.Actor{Tenant: tenant, Key: store.Operator}, id); err != nil {
			s.Fatal(err)
		}
	}
}

// ask is one request; the zero value of a field is the usual.
type ask struct {
	method string // GET where empty
	path   string // as on the wire
	body   string
	header http.Header // added to the key
	noKey  bool
	key    string // in place of the service's own
}

// answer is what came back.
type answer struct {
	testing.TB
	*httptest.ResponseRecorder
}

func (s *service) do(a ask) answer { return s.doContext(context.Background(), a) }

func (s *service) doContext(ctx context.Context, a ask) answer {
	s.Helper()
	if a.method == "" {
		a.method = http.MethodGet
	}
	request := httptest.NewRequest(a.method, "http://wafleet.test/", strings.NewReader(a.body)).WithContext(ctx)
	// As a server parses it: httptest would refuse some of what clients send.
	parsed, err := request.URL.Parse(a.path)
	if err != nil {
		s.Fatal(err)
	}
	if strings.HasPrefix(a.path, "//") { // relative references read this as a host
		parsed = request.URL
		parsed.Path = a.path
	}
	request.URL = parsed
	if a.key == "" {
		a.key = s.key.Reveal()
	}
	if !a.noKey {
		request.Header.Set("apikey", a.key)
	}
	for name, values := range a.header {
		request.Header[name] = values
	}
	recorder := httptest.NewRecorder()
	s.ServeHTTP(recorder, request)
	s.holdToContract(request, recorder)
	return answer{TB: s.TB, ResponseRecorder: recorder}
}

func (s *service) get(path string) answer { s.Helper(); return s.do(ask{path: path}) }

func (s *service) post(path, body string) answer {
	s.Helper()
	return s.do(ask{method: http.MethodPost, path: path, body: body})
}

// start starts a session that must not exist yet.
func (s *service) start(name string) {
	s.Helper()
	s.post("/api/sessions/"+name+"/start", "").want(http.StatusCreated)
}

func (a answer) want(status int) answer {
	a.Helper()
	if a.Code != status {
		a.Fatalf("status %d, want %d: %s", a.Code, status, a.Body)
	}
	return a
}

// object decodes the body, which must be one JSON object.
func (a answer) object() map[string]any {
	a.Helper()
	var object map[string]any
	a.decode(&object)
	return object
}

func (a answer) decode(into any) {
	a.Helper()
	if got := a.Header().Get("Content-Type"); got != "application/json; charset=utf-8" {
		a.Errorf("content type %q", got)
	}
	decoder := json.NewDecoder(bytes.NewReader(a.Body.Bytes()))
	if err := decoder.Decode(into); err != nil {
		a.Fatalf("body %q: %v", a.Body, err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		a.Fatalf("body %q has more than one value", a.Body)
	}
}

// wantError checks the whole error body but the message's words.
func (a answer) wantError(status int, code httpapi.Code) map[string]any {
	a.Helper()
	a.want(status)
	body := a.object()
	if body["code"] != string(code) || body["success"] != false || body["statusCode"] != float64(status) ||
		body["error"] != http.StatusText(status) || body["message"] == "" || body["requestId"] != a.Header().Get("X-Request-Id") {
		a.Fatalf("error body %s, want code %s", a.Body, code)
	}
	return body
}

// holder plays a connector that holds one session.
type holder struct {
	*service
	me    session.ConnectorID
	claim store.Claim
}

// hold claims the session that waits for a connector.
func (s *service) hold() *holder {
	s.Helper()
	h := &holder{service: s, me: session.NewConnectorID("test")}
	connector := store.Connector{ID: h.me, Address: "127.0.0.1:1", Slots: 1, Version: "test"}
	if err := s.store.Register(context.Background(), connector, time.Minute); err != nil {
		s.Fatal(err)
	}
	claims, err := s.store.ClaimIfFree(context.Background(), h.me, 1, 0, 1)
	if err != nil || len(claims) != 1 {
		s.Fatalf("claims %v, error %v", claims, err)
	}
	h.claim = claims[0]
	return h
}

func (h *holder) term() store.Term { return store.Term{ID: h.claim.ID, Epoch: h.claim.Epoch} }

func (h *holder) report(state session.Status, code session.ReasonCode, message string) {
	h.Helper()
	report := store.Report{Term: h.term(), State: state, Seen: h.claim.Wanted.Generation, Code: code, Message: message, PushName: "Ada"}
	if fenced, err := h.store.SetStateIfEpoch(context.Background(), h.me, []store.Report{report}); err != nil || len(fenced) > 0 {
		h.Fatalf("fenced %v, error %v", fenced, err)
	}
}

// showQR offers codes and says so.
func (h *holder) showQR(codes ...string) {
	h.Helper()
	set := session.QRCodes{Codes: codes, First: session.FirstQRLife, Next: session.NextQRLife}
	if err := h.store.PutQRIfEpoch(context.Background(), h.term(), set); err != nil {
		h.Fatal(err)
	}
	h.report(session.ScanQRCode, "", "")
}

// link pretends that a phone scanned.
func (h *holder) link(jid string) {
	h.Helper()
	if err := h.store.SetDeviceIfEpoch(context.Background(), h.me, h.term(), jid, h.claim.Wanted.Generation); err != nil {
		h.Fatal(err)
	}
	h.report(session.Working, "", "")
}

// tables are those that a request may write.
var tables = []string{"tenant", "api_key", "session", "session_run", "start_job", "pairing", "pairing_request", "connector"}

// rows counts what is in the database.
func (s *service) rows() map[string]int {
	s.Helper()
	counts := map[string]int{}
	for _, table := range tables {
		var n int
		if err := s.store.DB().QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil {
			s.Fatal(err)
		}
		counts[table] = n
	}
	return counts
}

// logBuffer takes log lines from many goroutines.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
