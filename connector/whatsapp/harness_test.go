package whatsapp

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/schema"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
	"github.com/wafleet/wafleet/shared/telemetry"
	"github.com/wafleet/wafleet/shared/wasim"
)

const (
	// seed gives every simulator of the process the same root key, because whatsmeow has one for the whole process.
	seed = "connector/whatsapp tests"
	// patience bounds every wait; no test waits it out.
	patience = 60 * time.Second
)

// pings are fast, so that silence shows soon; the deadline leaves room for a slow machine.
var pings = Globals{KeepAliveMin: 200 * time.Millisecond, KeepAliveMax: 400 * time.Millisecond, KeepAliveDeadline: time.Second}

func TestMain(m *testing.M) {
	if file := os.Getenv(holdEnv); file != "" {
		if err := hold(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if id := os.Getenv(victimEnv); id != "" {
		if err := beVictim(session.ID(id)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	sim := wasim.Server{Seed: seed}
	if err := sim.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	g, key := pings, sim.RootKey()
	g.RootKey = &key
	if err := sim.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := SetGlobals(g); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(pgtest.Wrap(m))
}

// migrate makes the fleet's tables and whatsmeow's.
func migrate(ctx context.Context, url string) error {
	if err := schema.Migrate(ctx, url, nil); err != nil {
		return err
	}
	s, err := store.Open(url, store.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	d, err := New(Config{DB: s.DB()}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return d.Upgrade(ctx)
}

// rig is a simulator and a process that is configured for it.
type rig struct {
	*testing.T
	sim     *wasim.Server
	fleet   *store.Store
	devices *Devices
	log     *logBuffer
	dataDir string
}

// newRig starts a rig. Its phones share no app state unless told so: whatsmeow fetches that in the background, and races
// with itself for the fields of the store if the device logs out meanwhile.
func newRig(t *testing.T, set ...func(*wasim.Server)) *rig {
	t.Helper()
	r := &rig{T: t, log: &logBuffer{}, dataDir: t.TempDir()}
	r.sim = &wasim.Server{Seed: seed, FewPreKeys: true, NoAppState: true}
	for _, f := range set {
		f(r.sim)
	}
	r.must(r.sim.Start())
	t.Cleanup(func() { r.must(r.sim.Close()) })
	var err error
	r.fleet, err = store.Open(pgtest.New(t, migrate), store.Options{MaxOpen: 4})
	r.must(err)
	t.Cleanup(func() { r.must(r.fleet.Close()) })
	r.devices, err = New(Config{Endpoint: r.endpoint(), DataDir: r.dataDir, DB: r.fleet.DB()}, r.fleet, r.log.logger(slog.LevelInfo))
	r.must(err)
	t.Cleanup(r.devices.Wait)
	return r
}

func (r *rig) endpoint() Endpoint {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(r.sim.CAPEM())
	key := r.sim.RootKey()
	return Endpoint{DialAddr: r.sim.DialAddr(), Roots: roots, RootKey: &key}
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// expect waits for an event of the simulator after seq.
func (r *rig) expect(seq uint64, kind wasim.Kind) wasim.Event {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	e, err := r.sim.WaitEventSince(ctx, seq, func(e wasim.Event) bool { return e.Kind == kind })
	if err != nil {
		r.Fatalf("no %s: %v", kind, err)
	}
	return e
}

// noSockets waits until the simulator has no connection left.
func (r *rig) noSockets() {
	r.Helper()
	deadline := time.Now().Add(patience)
	for seq := uint64(0); len(r.sim.Connections()) > 0; {
		if time.Now().After(deadline) {
			r.Fatalf("sockets left: %+v", r.sim.Connections())
		}
		seq = r.expect(seq, wasim.EventClosed).Seq
	}
}

// holding is one term of one session, and the events that it got.
type holding struct {
	*rig
	*Device
	over   atomic.Bool // the fence says no
	level  *slog.LevelVar
	events chan event.Event
}

// as makes a holding of a session with a config; open opens its store.
func (r *rig) as(change func(*Term)) (*holding, error) {
	r.Helper()
	h := &holding{rig: r, level: new(slog.LevelVar), events: make(chan event.Event, 1024)}
	term := Term{
		ID: session.NewID(), Tenant: session.NewTenantID(), Config: session.DefaultConfig(session.Defaults{}),
		Held: func() error {
			if h.over.Load() {
				return session.ErrFenced
			}
			return nil
		},
		Log: r.log.logger(h.level),
	}
	if change != nil {
		change(&term)
	}
	var err error
	if h.Device, err = r.devices.Open(r.Context(), term); err != nil {
		return nil, err
	}
	r.Cleanup(func() { r.must(h.Device.Close()) })
	return h, nil
}

func (r *rig) open(dialect session.Dialect) *holding {
	r.Helper()
	h, err := r.as(func(term *Term) { term.Config.Store.Dialect = dialect })
	r.must(err)
	return h
}

// connect connects for as long as the test.
func (h *holding) connect(jid string) *Conn {
	h.Helper()
	conn, err := h.Connect(h.Context(), jid, func(e event.Event) { h.events <- e })
	h.must(err)
	h.Cleanup(conn.Close)
	return conn
}

// pair links the device to a phone and closes the connection that did it.
func (h *holding) pair(number string) (jid string) {
	h.Helper()
	conn := h.connect("")
	qr := await[event.QR](h)
	scanned, err := h.sim.Scan(number, qr.Codes[0])
	h.must(err)
	jid = await[event.Paired](h).JID
	if jid != scanned {
		h.Errorf("paired as %s, scanned as %s", jid, scanned)
	}
	await[event.ReconnectNeeded](h)
	conn.Close()
	return jid
}

// login connects a linked device and waits until it is connected.
func (h *holding) login(jid string) *Conn {
	h.Helper()
	conn := h.connect(jid)
	await[event.Connected](h)
	return conn
}

// await returns the next event of a type, skipping others.
func await[T event.Event](h *holding) T {
	h.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	var skipped []string
	for {
		select {
		case e := <-h.events:
			if want, ok := e.(T); ok {
				return want
			}
			skipped = append(skipped, fmt.Sprintf("%T", e))
		case <-timeout.C:
			var want T
			h.Fatalf("no %T, but %v; simulator: %+v", want, skipped, h.sim.Events())
		}
	}
}

// next is the next event but for missed pings, which a slow machine has too.
func (h *holding) next() event.Event {
	h.Helper()
	for timeout := time.After(patience); ; {
		select {
		case e := <-h.events:
			if _, slow := e.(event.PingMissed); !slow {
				return e
			}
		case <-timeout:
			h.Fatal("no event")
		}
	}
}

// rest returns the events that came so far and that nobody awaited, without pings that a slow machine missed.
func (h *holding) rest() (list []event.Event) {
	for {
		select {
		case e := <-h.events:
			if _, slow := e.(event.PingMissed); !slow {
				list = append(list, e)
			}
		default:
			return list
		}
	}
}

// logBuffer keeps what was logged.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (b *logBuffer) logger(level slog.Leveler) *slog.Logger { return telemetry.New(b, level) }

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
