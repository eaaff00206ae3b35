package supervisor

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/connector/runner"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Wrap(m)) }

// world is a supervisor and all its neighbours, among them the runners' that
// matter here. Fields below mu are guarded by it.
type world struct {
	*testing.T
	*Supervisor
	authority context.Context
	lose      context.CancelCauseFunc
	leave     context.CancelFunc // ends the intake
	out       chan error
	returned  bool

	mu       sync.Mutex
	journal  []string       // claim 2/0 (slots/held), changes, orphans, strays, draining, open a, close a, release a STATE CODE, fenced!
	jobs     []store.Claim  // what the next claims find
	changes  []store.Change // what every look for changes finds
	terms    []store.Term   // what the database says is held
	orphans  int
	deaths   bool
	polls    int                                                  // guarded by mu
	loads    func() []store.Load                                  // of the fleet; nil: alone
	down     bool                                                 // the database is out of reach
	slow     time.Duration                                        // how long a claim takes
	distrust error                                                // of the lease
	onOpen   func(ctx context.Context, c store.Claim) error       // nil: well
	onDial   func(ctx context.Context, id session.ID) error       // nil: well
	onLeave  func(ctx context.Context, report store.Report) error // nil: well
	held     map[session.ID]func() error                          // the fences that devices were opened with
	reports  []store.Report
}

func simulate(t *testing.T, config Config, play func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, config)
		play(w)
		if !w.returned {
			w.leave()
			w.wait()
		}
		if n := w.Held(); n != 0 {
			t.Errorf("%d sessions are held after the end", n)
		}
	})
}

func newWorld(t *testing.T, config Config) *world {
	w := &world{T: t, out: make(chan error, 1), held: map[session.ID]func() error{}}
	w.authority, w.lose = context.WithCancelCause(t.Context())
	intake, leave := context.WithCancel(t.Context())
	w.leave = leave
	deps := runner.Deps{Me: "me", Store: (*fakeRunnerStore)(w), Reporter: (*fakeReporter)(w), Pacer: (*fakeRunnerStore)(w),
		Versions: (*fakeRunnerStore)(w), Observer: (*fakeObserver)(w), Timing: runner.DefaultTiming()}
	w.Supervisor = New("me", config, (*fakeStore)(w), (*fakeReporter)(w), (*fakeObserver)(w), w.openDevice, deps, (*fakeTrust)(w), slog.New(slog.DiscardHandler))
	go func() { w.out <- w.Supervisor.Run(w.authority, intake) }()
	synctest.Wait()
	return w
}

// wait returns what Run returned, and how long that took.
func (w *world) wait() (time.Duration, error) {
	began := time.Now()
	err := <-w.out
	w.returned = true
	return time.Since(began), err
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.journal = append(w.journal, fmt.Sprintf(format, args...))
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) take() []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	got := w.journal
	w.journal = nil
	return got
}

// want checks what happened since the last call, in any order.
func (w *world) want(entries ...string) {
	w.Helper()
	got := w.take()
	slices.Sort(got)
	slices.Sort(entries)
	if !slices.Equal(got, entries) {
		w.Errorf("happened %q\nwant     %q", got, entries)
	}
}

func (w *world) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// queue makes jobs and hints at one.
func (w *world) queue(claims ...store.Claim) {
	w.set(func() { w.jobs = append(w.jobs, claims...) })
	w.Hint("somebody")
	synctest.Wait()
}

func claim(id string, epoch session.Epoch) store.Claim {
	return store.Claim{ID: session.ID(id), Epoch: epoch, JID: id + "@s", Config: session.Stored{Config: session.DefaultConfig(session.Defaults{})},
		Wanted: session.Wanted{Desired: session.DesiredRunning, Generation: 1}}
}

func many(n int) []store.Claim {
	claims := make([]store.Claim, n)
	for i := range claims {
		claims[i] = claim(fmt.Sprint("s", i), 1)
	}
	return claims
}

func count(entries []string, want string) (n int) {
	for _, e := range entries {
		if e == want {
			n++
		}
	}
	return n
}

func (w *world) openDevice(ctx context.Context, c store.Claim, held func() error, _ *slog.Logger) (runner.Device, error) {
	w.note("open %s", c.ID)
	w.mu.Lock()
	do := w.onOpen
	w.held[c.ID] = held
	w.mu.Unlock()
	if do != nil {
		if err := do(ctx, c); err != nil {
			return nil, err
		}
	}
	return &fakeDevice{w, c.ID}, nil
}

type fakeDevice struct {
	*world
	id session.ID
}

// Connect logs in what is linked and shows a code for what is not.
func (d *fakeDevice) Connect(ctx context.Context, jid string, sink func(event.Event)) (runner.Conn, error) {
	d.mu.Lock()
	do := d.onDial
	d.mu.Unlock()
	if do != nil {
		if err := do(ctx, d.id); err != nil {
			return nil, err
		}
	}
	if jid == "" {
		go sink(event.QR{Codes: []string{"a", "b", "c", "d", "e", "f"}})
	} else {
		go sink(event.Connected{})
	}
	return fakeConn{}, nil
}

func (d *fakeDevice) RefreshVersion(context.Context, string) error { return nil }

func (d *fakeDevice) Forget(context.Context, string) error { return nil }

func (d *fakeDevice) Erase(context.Context, string) error {
	d.note("erase %s", d.id)
	return nil
}

func (d *fakeDevice) Close() error {
	d.note("close %s", d.id)
	return nil
}

type fakeConn struct{}

func (fakeConn) PairPhone(context.Context, session.Phone) (string, error) { return "ABCD-1234", nil }
func (fakeConn) Probe(context.Context) bool                               { return true }
func (fakeConn) Heard() time.Time                                         { return time.Now() }
func (fakeConn) Up() bool                                                 { return true }
func (fakeConn) Unlink(context.Context, string) error                     { return nil }
func (fakeConn) Close()                                                   {}

type fakeStore world

func (f *fakeStore) look(what string) error {
	(*world)(f).note("%s", what)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return session.ErrUnavailable
	}
	return nil
}

func (f *fakeStore) ClaimIfFree(_ context.Context, _ session.ConnectorID, slots, held, soon int) ([]store.Claim, error) {
	if err := f.look(fmt.Sprintf("claim %d/%d", slots, held)); err != nil {
		return nil, err
	}
	f.mu.Lock()
	slow := f.slow
	f.mu.Unlock()
	if slow > 0 {
		time.Sleep(slow)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := max(0, min(slots, soon, len(f.jobs)))
	claims := f.jobs[:n]
	f.jobs = f.jobs[n:]
	return claims, nil
}

// ClaimNamedIfFree finds what queue has not hinted at.
func (f *fakeStore) ClaimNamedIfFree(_ context.Context, _ session.ConnectorID, ids []session.ID, slots, held, soon int) ([]store.Claim, error) {
	if err := f.look(fmt.Sprintf("claim %v %d/%d", ids, slots, held)); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var claims []store.Claim
	f.jobs = slices.DeleteFunc(f.jobs, func(c store.Claim) bool {
		take := slices.Contains(ids, c.ID) && len(claims) < min(slots, soon)
		if take {
			claims = append(claims, c)
		}
		return take
	})
	return claims, nil
}

func (f *fakeStore) UnclaimedOf(_ context.Context, ids []session.ID) ([]session.ID, error) {
	if err := f.look(fmt.Sprintf("unclaimed of %v", ids)); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(ids), func(id session.ID) bool {
		return !slices.ContainsFunc(f.jobs, func(c store.Claim) bool { return c.ID == id })
	}), nil
}

func (f *fakeStore) EnqueueOrphans(context.Context) (store.Orphans, error) {
	err := f.look("orphans")
	f.mu.Lock()
	defer f.mu.Unlock()
	return store.Orphans{Jobs: f.orphans}, err
}

// LookAround is asked at every poll, and counted only.
func (f *fakeStore) LookAround(context.Context, session.ConnectorID) (store.Look, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.polls++
	if f.down {
		return store.Look{}, session.ErrUnavailable
	}
	return store.Look{Deaths: f.deaths, Jobs: len(f.jobs) > 0, Changes: len(f.changes) > 0}, nil
}

func (f *fakeStore) ChangesHeld(context.Context, session.ConnectorID) ([]store.Change, error) {
	err := f.look("changes")
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changes, err
}

func (f *fakeStore) TermsHeld(context.Context, session.ConnectorID) ([]store.Term, error) {
	err := f.look("strays")
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.terms, err
}

func (f *fakeStore) SetDraining(ctx context.Context, _ session.ConnectorID) error {
	err := f.look("draining")
	if err != nil {
		<-ctx.Done() // out of reach, and hanging
	}
	return err
}

// Loads is asked with every look for orphans and not recorded.
func (f *fakeStore) EraseIfEpoch(_ context.Context, _ session.ConnectorID, t store.Term) error {
	return f.look("erase the rows of " + string(t.ID))
}

func (f *fakeStore) Loads(context.Context) ([]store.Load, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return nil, session.ErrUnavailable
	}
	if f.loads == nil {
		return nil, nil
	}
	return f.loads(), nil
}

type fakeReporter world

func (f *fakeReporter) Put(r store.Report) {
	(*world)(f).set(func() { f.reports = append(f.reports, r) })
}

func (f *fakeReporter) Release(ctx context.Context, r store.Report) error {
	text := fmt.Sprintf("release %s %s", r.ID, r.State)
	if r.Code != "" {
		text += " " + string(r.Code)
	}
	(*world)(f).note("%s", text)
	f.mu.Lock()
	do := f.onLeave
	f.reports = append(f.reports, r)
	f.mu.Unlock()
	if do != nil {
		return do(ctx, r)
	}
	return nil
}

type fakeObserver world

func (*fakeObserver) Claimed(string, time.Duration) {}
func (*fakeObserver) Released(session.ReasonCode)   {}
func (f *fakeObserver) HandedOver(why string)       { (*world)(f).note("handover %s", why) }
func (f *fakeObserver) Fenced()                     { (*world)(f).note("fenced!") }
func (*fakeObserver) Reconnect(session.ReasonCode)  {}
func (*fakeObserver) StreamError()                  {}
func (f *fakeObserver) IllegalTransition()          { f.Error("illegal transition") }
func (*fakeObserver) Panic()                        {}

type fakeTrust world

func (f *fakeTrust) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.distrust
}

// fakeRunnerStore is what the runners need and these tests do not look at.
type fakeRunnerStore world

func (*fakeRunnerStore) SetDeviceIfEpoch(context.Context, session.ConnectorID, store.Term, string, session.Generation) error {
	return nil
}
func (*fakeRunnerStore) PutQRIfEpoch(context.Context, store.Term, session.QRCodes) error { return nil }
func (*fakeRunnerStore) ClearPairingIfEpoch(context.Context, store.Term) error           { return nil }
func (*fakeRunnerStore) AnswerCodeIfEpoch(context.Context, store.Term, string, string, string, time.Duration) error {
	return nil
}
func (*fakeRunnerStore) StillHeld(context.Context, session.ConnectorID, store.Term) (bool, error) {
	return true, nil
}
func (*fakeRunnerStore) Wait(context.Context) error { return nil }
func (*fakeRunnerStore) Current() string            { return "v1" }

func untilOver(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}
