package chaos

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/store"
	"github.com/wafleet/wafleet/shared/wasim"
)

const apiKey = "key-of-the-chaos-tenant"

// databaseMaxConns is a connector's cap of connections to Postgres.
const databaseMaxConns = 12

// fleet is the system that is broken.
type fleet struct {
	testing.TB
	lease   time.Duration
	db      *database
	store   *store.Store // past every link, for what the test plays
	sim     *wasim.Server
	members []*member // residents, and the visitor as the last one
	api     *program
	sweep   *program
	address string // of the API
	devices string // DATA_DIR of every connector
	calls   calls

	mu       sync.Mutex
	began    time.Time
	secrets  []string // guarded by mu; must be in no log
	done     []string // guarded by mu; what was done, with its time
	graves   []grave  // guarded by mu; what must be gone in the end
	sessions map[string]*state
}

// state is what the driver knows about a session.
type state struct {
	name, store string

	asking sync.Mutex // requests that change it do not overlap

	mu       sync.Mutex
	id       string   // guarded by mu
	wanted   bool     // guarded by mu
	jid      string   // guarded by mu; of the linked device
	unlinked bool     // guarded by mu; its phone has unlinked it once
	fresh    bool     // guarded by mu; it was logged out or made anew once
	there    presence // guarded by mu
	scanned  bool     // guarded by mu; a phone has tried during the chaos
	halfway  bool     // guarded by mu; a phone has tried and was not told of success
	refused  int      // guarded by mu; how often some of its logins were to be refused
	waiting  bool     // it was not linked in the beginning
}

// member is a connector's place in the fleet, with links of its own.
type member struct {
	*program
	database, whatsapp *faulty
}

// newFleet starts everything but the visitor, and the sessions.
func newFleet(t testing.TB, residents int, lease time.Duration) *fleet {
	t.Helper()
	f := &fleet{TB: t, lease: lease, sim: &wasim.Server{FewPreKeys: true, EventLimit: 1 << 17}, began: time.Now(), sessions: map[string]*state{}}
	f.db = newDatabase(t)
	if err := f.sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.sim.Close() })
	f.openStore()
	f.devices = t.TempDir()
	f.startFunctions()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, f.sim.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{
		"DATA_DIR=" + f.devices, "LISTEN=127.0.0.1:0", "SLOTS=100", "LOG_LEVEL=DEBUG", "CONNECTS_PER_SECOND=100",
		"WHATSAPP_TLS_CA=" + ca, "WHATSAPP_NOISE_ROOT_KEY=" + f.sim.RootKeyHex(), "LEASE_TTL=" + lease.String(),
		"WHATSAPP_KEEPALIVE=2s", "WHATSAPP_KEEPALIVE_DEADLINE=2s", "QR_FIRST=12s", "QR_NEXT=4s",
		fmt.Sprintf("DATABASE_MAX_CONNS=%d", databaseMaxConns), "REBALANCE_PER_SECOND=5",
	}
	for i := range residents + 1 {
		f.addMember(fmt.Sprintf("connector %d", i), env)
	}
	for _, m := range f.members[:residents] {
		m.launch()
	}
	return f
}

func (f *fleet) addMember(name string, env []string) {
	m := &member{program: &program{TB: f.TB, name: name, binary: "connector"}}
	m.database = newFaulty(f, f.db.url.Host)
	m.whatsapp = newFaulty(f, f.sim.DialAddr())
	m.env = append([]string{"DATABASE_URL=" + f.db.through(m.database.Address()), "WHATSAPP_DIAL_ADDR=" + m.whatsapp.Address()}, env...)
	f.members = append(f.members, m)
	f.Cleanup(m.end)
}

// programs is every place where processes run.
func (f *fleet) programs() []*program {
	all := []*program{f.api, f.sweep}
	for _, m := range f.members {
		all = append(all, m.program)
	}
	return all
}

// openStore makes the tenant and its key.
func (f *fleet) openStore() {
	var err error
	if f.store, err = store.Open(f.db.url.String(), store.Options{MaxOpen: 2}); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { f.store.Close() })
	tenant, err := f.store.CreateTenant(f.Context(), "chaos")
	if err != nil {
		f.Fatal(err)
	}
	id, hash, err := apikey.Parse(apiKey)
	if err != nil {
		f.Fatal(err)
	}
	if err := f.store.AdmitKey(f.Context(), tenant, store.NewKey{ID: id, Hash: hash[:], Name: "chaos", Scope: store.ScopeTenant}); err != nil {
		f.Fatal(err)
	}
	f.secret(apiKey)
}

// startFunctions starts the control plane as it runs outside of Lambda.
func (f *fleet) startFunctions() {
	host := hostOf(quietPort(f))
	f.address = "http://" + host
	env := []string{"DATABASE_URL=" + f.db.url.String(), "DATA_DIR=" + f.devices, "RATE_LIMIT_PER_SECOND=0"}
	f.api = &program{TB: f.TB, name: "api", binary: "api", ready: `"listening"`, args: []string{"-listen", host}, env: env}
	f.sweep = &program{TB: f.TB, name: "sweep", binary: "sweep", args: []string{"-every", "5s"}, env: env}
	for _, p := range []*program{f.api, f.sweep} {
		p.launch()
		f.Cleanup(p.end)
	}
	f.Cleanup(http.DefaultClient.CloseIdleConnections)
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
