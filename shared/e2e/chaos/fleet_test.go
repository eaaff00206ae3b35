package chaos

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wafleet/wafleet/functions/control"
	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/store"
	"github.com/wafleet/wafleet/shared/wasim"
)

const apiKey = "key-of-the-chaos-tenant"

// fleet is the system that is broken.
type fleet struct {
	testing.TB
	lease   time.Duration
	db      *sql.DB // direct, for looking
	sim     *wasim.Server
	api     *httptest.Server
	members []*member
	env     []string // of every connector

	mu       sync.Mutex
	began    time.Time
	secrets  []string // guarded by mu; must be in no log
	done     []string // guarded by mu; what was done, with its time
	sessions map[string]*state
}

// state is what the driver knows about a session.
type state struct {
	name string

	asking sync.Mutex // a start and a stop do not overlap

	mu       sync.Mutex
	id       string // guarded by mu
	wanted   bool   // guarded by mu
	jid      string // guarded by mu; of the linked device
	unlinked bool   // guarded by mu; its phone has unlinked it once
	scanned  bool   // guarded by mu; a phone has tried during the chaos
	waiting  bool   // it was not linked in the beginning
}

// member is one place in the fleet: a succession of processes on one pair of
// links.
type member struct {
	*fleet
	number             int
	database, whatsapp *link
	env                []string

	acting sync.Mutex // what is done to the process is done one after the other

	mu        sync.Mutex
	processes []*process // guarded by mu; the last one runs, or did
}

func newFleet(t testing.TB, members int, lease time.Duration) *fleet {
	t.Helper()
	databaseURL := pgtest.New(t, migrate)
	f := &fleet{TB: t, lease: lease, sim: &wasim.Server{FewPreKeys: true, EventLimit: 1 << 17}, began: time.Now(), sessions: map[string]*state{}}
	if err := f.sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.sim.Close() })
	var err error
	if f.db, err = sql.Open("postgres", databaseURL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.db.Close() })
	f.openAPI(databaseURL)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, f.sim.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	f.env = []string{
		"DATA_DIR=" + t.TempDir(), "LISTEN=127.0.0.1:0", "SLOTS=100", "LOG_LEVEL=DEBUG", "CONNECTS_PER_SECOND=100",
		"WHATSAPP_TLS_CA=" + ca, "WHATSAPP_NOISE_ROOT_KEY=" + f.sim.RootKeyHex(), "LEASE_TTL=" + lease.String(),
		"WHATSAPP_KEEPALIVE=2s", "WHATSAPP_KEEPALIVE_DEADLINE=2s", "QR_FIRST=12s", "QR_NEXT=4s",
	}
	for i := range members {
		f.addMember(i, databaseURL)
	}
	return f
}

func (f *fleet) addMember(number int, databaseURL string) {
	u, err := url.Parse(databaseURL)
	if err != nil {
		f.Fatal(err)
	}
	m := &member{fleet: f, number: number}
	m.database = newLink(f, "database", u.Host)
	m.whatsapp = newLink(f, "whatsapp", f.sim.DialAddr())
	u.Host = m.database.proxy.Listen
	m.env = append([]string{"DATABASE_URL=" + u.String(), "WHATSAPP_DIAL_ADDR=" + m.whatsapp.proxy.Listen}, f.env...)
	f.members = append(f.members, m)
	m.launch()
	f.Cleanup(func() {
		for _, p := range m.all() {
			p.signal(9) // has no effect on one that has left
			<-p.exited
		}
	})
}

func (m *member) launch() {
	m.mu.Lock()
	defer m.mu.Unlock()
	name := fmt.Sprintf("connector %d.%d", m.number, len(m.processes))
	m.processes = append(m.processes, launch(m.TB, name, m.env))
}

func (m *member) running() *process {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.processes[len(m.processes)-1]
}

func (m *member) all() []*process {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]*process(nil), m.processes...)
}

func (f *fleet) openAPI(databaseURL string) {
	s, err := store.Open(databaseURL, store.Options{MaxOpen: 10, ApplicationName: "chaos"})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	tenant, err := s.CreateTenant(f.Context(), "chaos")
	if err != nil {
		f.Fatal(err)
	}
	id, hash, err := apikey.Parse(apiKey)
	if err != nil {
		f.Fatal(err)
	}
	if err := s.PutKey(f.Context(), store.Key{ID: id, Tenant: tenant, Hash: hash[:]}, "chaos"); err != nil {
		f.Fatal(err)
	}
	f.secret(apiKey)
	f.api = httptest.NewServer(httpapi.New(control.New(s, control.Config{SQLiteAvailable: true}), httpapi.Config{Log: slog.New(slog.DiscardHandler)}))
	f.Cleanup(func() {
		f.api.CloseClientConnections()
		f.api.Close()
		http.DefaultClient.CloseIdleConnections()
	})
}

func (f *fleet) secret(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.secrets = append(f.secrets, text)
}

// say notes what was done and when.
func (f *fleet) say(format string, args ...any) {
	line := fmt.Sprintf("%s +%6.2fs %s", time.Now().Format("15:04:05.000"), time.Since(f.began).Seconds(), fmt.Sprintf(format, args...))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, line)
	if verbose {
		fmt.Println(line)
	}
}

// call sends a request until the API does not say 503, which it does while its
// database is away.
func (f *fleet) call(ctx context.Context, method, path, body string) (code int, answer map[string]any) {
	for range 50 {
		request, err := http.NewRequestWithContext(ctx, method, f.api.URL+path, strings.NewReader(body))
		if err != nil {
			f.Error(err)
			return 0, nil
		}
		request.Header.Set("apikey", apiKey)
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			if ctx.Err() == nil {
				f.Error(err)
			}
			return 0, nil
		}
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		answer = nil
		_ = json.Unmarshal(text, &answer)
		if code = response.StatusCode; code != http.StatusServiceUnavailable {
			return code, answer
		}
		time.Sleep(100 * time.Millisecond)
	}
	return code, answer
}

// status is what the API shows of a session.
func (f *fleet) status(ctx context.Context, name string) (status, reason string) {
	_, answer := f.call(ctx, "GET", "/api/sessions/"+name, "")
	status, _ = answer["status"].(string)
	fields, _ := answer["statusReason"].(map[string]any)
	reason, _ = fields["code"].(string)
	return status, reason
}

func (f *fleet) start(ctx context.Context, s *state, body string) {
	s.asking.Lock()
	defer s.asking.Unlock()
	if code, answer := f.call(ctx, "POST", "/api/sessions/"+s.name+"/start", body); code/100 != 2 && code != http.StatusConflict {
		f.Errorf("start of %s answered %d %v", s.name, code, answer)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = true
}

func (f *fleet) stop(ctx context.Context, s *state) {
	s.asking.Lock()
	defer s.asking.Unlock()
	if code, answer := f.call(ctx, "POST", "/api/sessions/"+s.name+"/stop", ""); code/100 != 2 && code != http.StatusConflict {
		f.Errorf("stop of %s answered %d %v", s.name, code, answer)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = false
}

// number is the phone of a session.
func (f *fleet) number(s *state) string {
	return "55119" + fmt.Sprintf("%08d", 70000000+indexOf(s.name))
}

func indexOf(name string) int {
	var n int
	_, _ = fmt.Sscanf(strings.TrimLeft(name, "abcdefghijklmnopqrstuvwxyz-"), "%d", &n)
	if strings.HasPrefix(name, "waiting") {
		n += 1000
	}
	return n
}

// link lets the phone scan the code that is shown.
func (f *fleet) link(ctx context.Context, s *state) error {
	code, answer := f.call(ctx, "GET", "/api/"+s.name+"/auth/qr?format=raw", "")
	qr, _ := answer["value"].(string)
	if code != http.StatusOK {
		return fmt.Errorf("no QR code: %d", code)
	}
	f.secret(qr)
	number := f.number(s)
	f.secret(number)
	jid, err := f.sim.ScanContext(ctx, number, qr)
	if err == nil {
		s.mu.Lock()
		s.jid = jid
		s.mu.Unlock()
	}
	return err
}
