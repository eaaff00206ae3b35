package conformance

import (
	"database/sql"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/store"
	"github.com/wafleet/wafleet/shared/wasim"
)

// patience bounds every wait; a test that reaches it has failed.
const patience = 30 * time.Second

// system is one deployment with both of its doors.
type system struct {
	testing.TB
	url   string
	db    *sql.DB
	store *store.Store
	sim   *wasim.Server
	ca    string // file
	data  string // DATA_DIR of every program
	key   string // file, of the key that seals secrets

	listener, lambda *door
	tenant           *tenant // whose sessions the tests are about

	numbers atomic.Int64

	mu      sync.Mutex
	secrets []string  // guarded by mu; see noSecretIn
	errors  []string  // guarded by mu: every error body that was answered
	logs    []*output // guarded by mu: of every program
}

func newSystem(t testing.TB) *system {
	t.Helper()
	s := newDeployment(t, pgtest.New(t, migrate))
	s.startSim()
	s.listener, s.lambda = s.newListener(), s.newLambda()
	return s
}

// newDeployment is a database with a tenant, and nothing that runs yet.
func newDeployment(t testing.TB, url string) *system {
	t.Helper()
	s := &system{TB: t, url: url, data: t.TempDir(), sim: &wasim.Server{FewPreKeys: true, QRTimeout: time.Hour}}
	s.Cleanup(s.noSecretOutside) // the last, when all programs have ended
	s.key = s.secretsKey()
	s.openDatabase()
	s.tenant = s.newTenant("acme")
	return s
}

func (s *system) doors() []*door { return []*door{s.listener, s.lambda} }

func (s *system) openDatabase() {
	s.Helper()
	var err error
	if s.store, err = store.Open(s.url, store.Options{MaxOpen: 4, ApplicationName: "conformance"}); err != nil {
		s.Fatal(err)
	}
	s.db = s.store.DB()
	s.Cleanup(func() { s.store.Close() })
}

func (s *system) startSim() {
	s.Helper()
	if err := s.sim.Start(); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if n := s.sim.Stats().MaxSocketsPerDevice; n > 1 {
			s.Errorf("a device was logged in %d times at once", n)
		}
		s.sim.Close()
	})
	s.ca = filepath.Join(s.TempDir(), "ca.pem")
	if err := os.WriteFile(s.ca, s.sim.CAPEM(), 0o600); err != nil {
		s.Fatal(err)
	}
}

// connector runs a connector with room for everything. env lines are
// "NAME=value".
func (s *system) connector(env ...string) *process {
	s.Helper()
	p := s.launch(program("connector"), nil, append([]string{
		"DATABASE_URL=" + pgtest.Direct(s.url), "DATA_DIR=" + s.data, "SECRETS_KEY_FILE=" + s.key, "LISTEN=127.0.0.1:0", "LOG_LEVEL=DEBUG",
		"SLOTS=1000", "CONNECTS_PER_SECOND=1000", "QR_FIRST=1h", "QR_NEXT=1m", // no code runs out, however busy the machine is
		"WHATSAPP_DIAL_ADDR=" + s.sim.DialAddr(), "WHATSAPP_TLS_CA=" + s.ca, "WHATSAPP_NOISE_ROOT_KEY=" + s.sim.RootKeyHex(),
	}, env...)...)
	p.await(`"msg":"(connector registered)"`)
	return p
}

// eventually repeats a look at something outside this process until it is
// right, and reports whether it ever was.
func (s *system) eventually(right func() bool) bool {
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !right() {
		select {
		case <-deadline:
			return false
		case <-tick.C:
		}
	}
	return true
}

// must is eventually for a test that cannot go on otherwise.
func (s *system) must(what string, right func() bool) {
	s.Helper()
	if !s.eventually(right) {
		s.Fatalf("%s did not happen within %v", what, patience)
	}
}

// count runs a query whose only column is a number.
func (s *system) count(query string, args ...any) (n int) {
	s.Helper()
	if err := s.db.QueryRowContext(s.Context(), query, args...).Scan(&n); err != nil {
		s.Error(err)
	}
	return n
}

// texts runs a query whose only column is a text.
func (s *system) texts(query string, args ...any) (list []string) {
	s.Helper()
	rows, err := s.db.QueryContext(s.Context(), query, args...)
	if err != nil {
		s.Error(err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			s.Error(err)
		}
		list = append(list, text)
	}
	if err := rows.Err(); err != nil {
		s.Error(err)
	}
	return list
}

// each runs a function over a list, some at a time, and returns when all are
// done.
func each[T any](list []T, atOnce int, do func(T)) {
	var workers sync.WaitGroup
	work := make(chan T)
	for range atOnce {
		workers.Go(func() {
			for one := range work {
				do(one)
			}
		})
	}
	for _, one := range list {
		work <- one
	}
	close(work)
	workers.Wait()
}
