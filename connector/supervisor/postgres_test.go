package supervisor

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/connector/report"
	"github.com/wafleet/wafleet/connector/runner"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/schema"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// fleet is supervisors over one real database; only WhatsApp is missing.
type fleet struct {
	*testing.T
	*store.Store
	tenant session.TenantID

	mu   sync.Mutex
	open map[session.ID]int // guarded by mu; connections per session
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	url := pgtest.New(t, migrate)
	s, err := store.Open(url, store.Options{MaxOpen: 8, ApplicationName: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	tenant, err := s.CreateTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	return &fleet{T: t, Store: s, tenant: tenant, open: map[session.ID]int{}}
}

func migrate(ctx context.Context, url string) error { return schema.Migrate(ctx, url, nil) }

// connector registers one and returns its id and how to run it; the result of
// run leaves the fleet and waits.
func (f *fleet) connector(name string) (me session.ConnectorID, run func() (leave func())) {
	f.Helper()
	me = session.NewConnectorID(name)
	if err := f.Register(f.Context(), store.Connector{ID: me, Address: "127.0.0.1:1", Slots: 10, Version: "test"}, time.Hour); err != nil {
		f.Fatal(err)
	}
	return me, func() func() {
		authority, lose := context.WithCancel(f.Context())
		intake, stop := context.WithCancel(authority)
		log := slog.New(slog.DiscardHandler)
		var s *Supervisor
		reporter := report.New(f.Store, me, log, func(t store.Term) { s.Fence(t) })
		w := &world{T: f.T}
		deps := runner.Deps{Me: me, Store: f.Store, Reporter: reporter, Pacer: (*fakeRunnerStore)(w),
			Versions: (*fakeRunnerStore)(w), Observer: (*fakeObserver)(w), Timing: runner.DefaultTiming()}
		config := Config{Slots: 10, Poll: 20 * time.Millisecond, OrphanScan: 100 * time.Millisecond}
		s = New(me, config, f.Store, reporter, (*fakeObserver)(w), f.openDevice, deps, (*fakeTrust)(w), log)
		var running sync.WaitGroup
		running.Go(func() { _ = reporter.Run(authority) })
		done := make(chan error, 1)
		go func() { done <- s.Run(authority, intake) }()
		return sync.OnceFunc(func() {
			stop()
			if err := <-done; err != nil {
				f.Error(err)
			}
			lose()
			running.Wait()
		})
	}
}

func (f *fleet) openDevice(_ context.Context, c store.Claim, _ func() error, _ *slog.Logger) (runner.Device, error) {
	return phone{f, c.ID}, nil
}

// phone links at once whatever shows a code, and logs in whatever is linked.
type phone struct {
	*fleet
	id session.ID
}

func (p phone) Connect(_ context.Context, jid string, sink func(event.Event)) (runner.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[p.id]++; p.open[p.id] > 1 {
		p.Errorf("%d connections of one session", p.open[p.id])
	}
	events := []event.Event{event.Connected{}}
	if jid == "" {
		events = []event.Event{event.QR{Codes: []string{"a"}}, event.Paired{JID: string(p.id) + ":1@s"}, event.ReconnectNeeded{}}
	}
	go func() {
		for _, e := range events {
			sink(e)
		}
	}()
	return closing{fakeConn{}, func() { p.mu.Lock(); defer p.mu.Unlock(); p.open[p.id]-- }}, nil
}

func (phone) RefreshVersion(context.Context, string) error { return nil }
func (phone) Forget(context.Context, string) error         { return nil }
func (phone) Erase(context.Context, string) error          { return nil }
func (phone) Close() error                                 { return nil }

type closing struct {
	fakeConn
	close func()
}

func (c closing) Close() { c.close() }

// until waits for a state of the session.
func (f *fleet) until(name session.Name, what string, ok func(session.Session) bool) session.Session {
	f.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		found, err := f.Session(f.Context(), f.tenant, name)
		if err != nil {
			f.Fatal(err)
		}
		if ok(found) {
			return found
		}
		if time.Now().After(deadline) {
			f.Fatalf("%s never was %s: %+v", name, what, found.Run)
		}
		time.Sleep(5 * time.Millisecond) // the database tells nobody
	}
}

func (f *fleet) untilWorking(name session.Name, me session.ConnectorID) session.Session {
	f.Helper()
	return f.until(name, "working", func(s session.Session) bool { return s.Run.State == session.Working && s.Run.Holder == me })
}

func (f *fleet) start(name session.Name) {
	f.Helper()
	if _, _, err := f.Start(f.Context(), store.Actor{Tenant: f.tenant, Key: "test"}, name, nil, session.DefaultConfig(session.Defaults{}), 0); err != nil {
		f.Fatal(err)
	}
}

// A session is linked by one connector, handed back, continued by another under
// a higher epoch, and stopped there.
func TestASessionGoesOnAtAnotherConnector(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	one, runOne := f.connector("one")
	leaveOne := runOne()
	defer leaveOne()
	f.start("a")
	first := f.untilWorking("a", one)
	if first.Run.JID == "" {
		t.Fatalf("%+v", first.Run)
	}
	two, runTwo := f.connector("two")
	leaveTwo := runTwo()
	defer leaveTwo()
	leaveOne()
	second := f.untilWorking("a", two)
	if second.Run.Epoch != first.Run.Epoch+1 || second.Run.JID != first.Run.JID {
		t.Fatalf("first %+v\nsecond %+v", first.Run, second.Run)
	}
	if fenced, err := f.SetStateIfEpoch(t.Context(), one, []store.Report{{Term: store.Term{ID: first.ID, Epoch: first.Run.Epoch}, State: session.Failed}}); err != nil || len(fenced) != 1 {
		t.Fatalf("the old holder wrote: %v %v", fenced, err)
	}
	if _, err := f.Stop(t.Context(), store.Actor{Tenant: f.tenant, Key: "test"}, "a"); err != nil {
		t.Fatal(err)
	}
	f.until("a", "stopped", func(s session.Session) bool { return s.Run.State == session.Stopped && s.Run.Holder == "" })
}

// A claim whose answer was lost leaves a session with a holder that does not
// know; it is found, given back and claimed again.
func TestALostClaimIsRunAllTheSame(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("a")
	me, run := f.connector("one")
	if lost, err := f.ClaimIfFree(t.Context(), me, 1, 0, 1); err != nil || len(lost) != 1 {
		t.Fatal(lost, err)
	}
	leave := run()
	defer leave()
	if s := f.untilWorking("a", me); s.Run.Epoch != 2 {
		t.Errorf("%+v", s.Run)
	}
}

func TestManySessionsChangeHandsOnceEach(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	names := []session.Name{"a", "b", "c", "d", "e", "f", "g", "h"}
	for _, name := range names {
		f.start(name)
	}
	one, runOne := f.connector("one")
	leaveOne := runOne()
	defer leaveOne()
	for _, name := range names {
		f.untilWorking(name, one)
	}
	two, runTwo := f.connector("two")
	leaveTwo := runTwo()
	defer leaveTwo()
	leaveOne()
	for _, name := range names {
		if s := f.untilWorking(name, two); s.Run.Epoch != 2 {
			t.Errorf("%s has epoch %d", name, s.Run.Epoch)
		}
	}
}
