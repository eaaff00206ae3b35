package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a runner and all its neighbours. What happens to the neighbours is
// written to one journal, in order, and a test says exactly what it expects:
//
//	dial 1 new, dial 2 <jid>   a connection attempt
//	close 1, release           the connection, the device store
//	codes a b, clear           QR codes written, removed
//	device <jid>, forget       the linked device recorded, removed
//	answer r1 CODE, answer r1 !problem
//	epoch?, refresh v1, probe, phone r
//	WORKING, STARTING CODE     a report
//	illegal!, panic!
type world struct {
	*testing.T
	r         *Runner
	level     slog.LevelVar
	authority context.Context
	lose      context.CancelCauseFunc
	out       chan Outcome
	end       *Outcome // set once Run has returned

	mu      sync.Mutex
	journal []string             // guarded by mu
	reports []store.Report       // guarded by mu
	lost    []session.ReasonCode // guarded by mu; reconnects counted
	dials   int                  // guarded by mu
	open    int                  // guarded by mu; connections open now
	sinks   []func(event.Event)  // guarded by mu; by attempt

	// What the neighbours do; set before they are asked, nil for "well".
	onDial    func(ctx context.Context, n int) error
	onWrite   func(ctx context.Context, what string) error
	onClose   func(n int)
	onProbe   func(ctx context.Context) bool
	onPhone   func(ctx context.Context) (string, error)
	onRefresh func(ctx context.Context) error
	onPace    func(ctx context.Context) error
	onReport  func(store.Report)
	onRelease func() error
	stolen    bool // the epoch has moved on
	version   string
}

const (
	jid   = "4915100000001:7@s.whatsapp.net"
	epoch = session.Epoch(3)
	id    = session.ID("0198-session")
)

var sixCodes = event.QR{Codes: []string{"a", "b", "c", "d", "e", "f"}}

type option func(*world, *store.Claim, *Timing)

func linked(_ *world, c *store.Claim, _ *Timing) { c.JID = jid }

// simulate runs a test with a runner in a bubble of its own time. The runner
// starts when play is called with its options.
func simulate(t *testing.T, play func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, out: make(chan Outcome, 1), version: "v1"}
		w.authority, w.lose = context.WithCancelCause(t.Context())
		defer w.finish()
		play(w)
	})
}

// start runs the runner until it waits for something.
func (w *world) start(options ...option) {
	w.Helper()
	claim := store.Claim{ID: id, Epoch: epoch, Wanted: session.Wanted{Desired: session.DesiredRunning, Generation: 1}}
	claim.Config = session.DefaultConfig(session.Defaults{})
	timing := DefaultTiming()
	for _, o := range options {
		o(w, &claim, &timing)
	}
	deps := Deps{Me: "me", Store: (*fakeStore)(w), Reporter: (*fakeReporter)(w), Pacer: (*fakePacer)(w),
		Versions: (*fakeVersions)(w), Observer: (*fakeObserver)(w), Timing: timing}
	w.r = New(deps, Term{Claim: claim, Device: (*fakeDevice)(w), Log: slog.New(slog.DiscardHandler), Level: &w.level})
	go func() { w.out <- w.r.Run(w.authority) }()
	synctest.Wait()
}

// finish ends the term if the test did not, and checks what must hold after any.
func (w *world) finish() {
	w.lose(errors.New("the test is over"))
	if w.r == nil {
		return
	}
	if w.end == nil {
		w.ended()
	}
	if w.open != 0 {
		w.Errorf("%d connections are open after the end", w.open)
	}
	if n := strings.Count(strings.Join(w.journal, "\n"), "release"); n > 1 {
		w.Errorf("the device store was closed %d times", n)
	}
}

// ended waits for the end and returns it.
func (w *world) ended() Outcome {
	w.Helper()
	o := <-w.out
	w.end = &o
	synctest.Wait()
	return o
}

// promptly is how long an end may take while everything hangs.
const promptly = 2 * time.Second

func (w *world) wantEnd(want string) {
	w.Helper()
	began := time.Now()
	o := w.ended()
	if took := time.Since(began); took > promptly {
		w.Errorf("the end took %v", took)
	}
	if got := showEnd(o); got != want {
		w.Errorf("the term ended as %q, want %q", got, want)
	}
}

func showEnd(o Outcome) string {
	switch {
	case o.Fenced:
		return "fenced"
	case o.Panicked:
		return "panicked"
	}
	return showReport(o.Report)
}

func showReport(r store.Report) string {
	return strings.TrimSpace(string(r.State) + " " + string(r.Code))
}

// after lets time pass.
func (w *world) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// want checks everything that was written to the journal since the last call.
func (w *world) want(entries ...string) {
	w.Helper()
	synctest.Wait()
	if got := w.take(); !slices.Equal(got, entries) {
		w.Errorf("happened:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(entries, "\n  "))
	}
}

func (w *world) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	got := w.journal
	w.journal = nil
	return got
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.journal = append(w.journal, fmt.Sprintf(format, args...))
}

func (w *world) lastReport() store.Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reports[len(w.reports)-1]
}

// say sends an event of the newest connection.
func (w *world) say(events ...event.Event) {
	w.mu.Lock()
	sink := w.sinks[len(w.sinks)-1]
	w.mu.Unlock()
	for _, e := range events {
		sink(e)
		synctest.Wait()
	}
}

func (w *world) tell(c store.Change) {
	c.ID, c.Epoch = cmp.Or(c.ID, id), cmp.Or(c.Epoch, epoch)
	w.r.Tell(c)
	synctest.Wait()
}

func wants(generation session.Generation, desired session.Desired) store.Change {
	return store.Change{Wanted: session.Wanted{Desired: desired, Generation: generation}, Config: session.DefaultConfig(session.Defaults{})}
}

func (w *world) stop() { w.tell(wants(2, session.DesiredStopped)) }

func untilOver(ctx context.Context) error {
	<-ctx.Done()
	return fmt.Errorf("%w: %w", session.ErrUnavailable, ctx.Err())
}

type fakeDevice world

func (f *fakeDevice) Connect(ctx context.Context, jid string, sink func(event.Event)) (Conn, error) {
	w := (*world)(f)
	w.mu.Lock()
	w.dials++
	n := w.dials
	w.sinks = append(w.sinks, sink)
	w.mu.Unlock()
	w.note("dial %d %s", n, cmp.Or(jid, "new"))
	if w.onDial != nil {
		if err := w.onDial(ctx, n); err != nil {
			return nil, err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open++; w.open > 1 {
		w.Errorf("%d connections are open at once", w.open)
	}
	return &fakeConn{world: w, n: n, ctx: ctx}, nil
}

func (f *fakeDevice) Close() error {
	w := (*world)(f)
	w.note("release")
	if w.open != 0 {
		w.Error("the device store was closed under an open connection")
	}
	if w.onRelease != nil {
		return w.onRelease()
	}
	return nil
}

type fakeConn struct {
	*world
	n      int
	ctx    context.Context
	closed bool // guarded by world.mu
}

func (c *fakeConn) PairPhone(ctx context.Context, phone session.Phone) (string, error) {
	c.note("phone %s", string(phone))
	if c.onPhone != nil {
		return c.onPhone(ctx)
	}
	return "ABCD-1234", nil
}

func (c *fakeConn) Probe(ctx context.Context) bool {
	c.note("probe")
	return c.onProbe == nil || c.onProbe(ctx)
}

func (c *fakeConn) Close() {
	c.note("close %d", c.n)
	if c.onClose != nil {
		c.onClose(c.n)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		c.Errorf("connection %d was closed twice", c.n)
	}
	c.closed = true
	c.open--
}

type fakeStore world

func (f *fakeStore) write(ctx context.Context, what string) error {
	w := (*world)(f)
	w.note("%s", what)
	if w.stolen {
		return session.ErrFenced
	}
	if w.onWrite != nil {
		return w.onWrite(ctx, what)
	}
	return nil
}

func (f *fakeStore) SetDeviceIfEpoch(ctx context.Context, _ session.ConnectorID, term store.Term, jid string) error {
	f.check(term)
	if jid == "" {
		return f.write(ctx, "forget")
	}
	return f.write(ctx, "device "+jid)
}

func (f *fakeStore) PutQRIfEpoch(ctx context.Context, term store.Term, q session.QRCodes) error {
	f.check(term)
	return f.write(ctx, "codes "+strings.Join(q.Codes, " "))
}

func (f *fakeStore) ClearPairingIfEpoch(ctx context.Context, term store.Term) error {
	f.check(term)
	return f.write(ctx, "clear")
}

func (f *fakeStore) AnswerCodeIfEpoch(ctx context.Context, term store.Term, request, code, problem string, life time.Duration) error {
	f.check(term)
	if (code == "") == (problem == "") || (code != "") != (life > 0) {
		f.Errorf("answer %q %q for %v", code, problem, life)
	}
	if problem != "" {
		code = "!" + problem
	}
	return f.write(ctx, "answer "+request+" "+code)
}

func (f *fakeStore) StillHeld(ctx context.Context, _ session.ConnectorID, term store.Term) (bool, error) {
	f.check(term)
	(*world)(f).note("epoch?")
	if f.onWrite != nil {
		if err := f.onWrite(ctx, "epoch?"); err != nil {
			return false, err
		}
	}
	return !f.stolen, nil
}

func (f *fakeStore) check(term store.Term) {
	if term != (store.Term{ID: id, Epoch: epoch}) {
		f.Errorf("write for term %v", term)
	}
}

type fakeReporter world

func (f *fakeReporter) Put(r store.Report) {
	w := (*world)(f)
	w.note("%s", showReport(r))
	w.mu.Lock()
	w.reports = append(w.reports, r)
	w.mu.Unlock()
	(*fakeStore)(f).check(r.Term)
	if w.onReport != nil {
		w.onReport(r)
	}
}

type fakePacer world

func (f *fakePacer) Wait(ctx context.Context) error {
	if f.onPace != nil {
		return f.onPace(ctx)
	}
	return nil
}

type fakeVersions world

func (f *fakeVersions) Current() string { return f.version }

func (f *fakeVersions) Refresh(ctx context.Context, refused string) error {
	(*world)(f).note("refresh %s", refused)
	if f.onRefresh != nil {
		return f.onRefresh(ctx)
	}
	return nil
}

type fakeObserver world

func (f *fakeObserver) Reconnect(code session.ReasonCode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost = append(f.lost, code)
}
func (f *fakeObserver) IllegalTransition() { (*world)(f).note("illegal!") }
func (f *fakeObserver) Panic()             { (*world)(f).note("panic!") }

func hangs(ctx context.Context, _ int) error { return untilOver(ctx) }

func unavailable(context.Context, string) error { return session.ErrUnavailable }
