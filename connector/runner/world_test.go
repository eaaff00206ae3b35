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
//	epoch?, refresh v1, probe, phone r, unlink
//	delete <jid>, erase <jid>  the credentials, everything
//	WORKING, STARTING CODE     a report
//	stream error!, illegal!, panic!
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

	life  time.Duration // guarded by mu; of the last pairing code
	heard time.Time     // guarded by mu; by every connection
	down  bool          // guarded by mu; no connection is up

	// What the neighbours do, guarded by mu; nil for "well". Once the runner has
	// started they change within set only.
	onDial    func(ctx context.Context, n int) error
	onWrite   func(ctx context.Context, what string) error
	onClose   func(n int)
	onProbe   func(ctx context.Context) bool
	onPhone   func(ctx context.Context) (string, error)
	onRefresh func(ctx context.Context) error
	onUnlink  func(ctx context.Context) error
	onForget  func(ctx context.Context) error
	onPace    func(ctx context.Context) error
	onReport  func(store.Report)
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
	claim.Config.Config = session.DefaultConfig(session.Defaults{})
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
	if get(w, &w.open) != 0 {
		w.Errorf("%d connections are open after the end", w.open)
	}
	if n := strings.Count(strings.Join(w.journal, "\n"), "release"); n > 1 {
		w.Errorf("the device store was closed %d times", n)
	}
}

// set changes what the neighbours do from now on.
func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func get[T any](w *world, field *T) T {
	w.mu.Lock()
	defer w.mu.Unlock()
	return *field
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
	case o.Fenced != nil:
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

// pause waits for the next attempt, as announced.
func (w *world) pause() { w.after(w.lastReport().RetryIn) }

// want checks everything that was written to the journal since the last call.
func (w *world) want(entries ...string) {
	w.Helper()
	synctest.Wait()
	if got := w.take(); !slices.Equal(got, settled(entries)) {
		w.Errorf("happened:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(entries, "\n  "))
	}
}

// wantAll is want for things that run side by side, in no order.
func (w *world) wantAll(entries ...string) {
	w.Helper()
	synctest.Wait()
	got := w.take()
	slices.Sort(got)
	slices.Sort(entries)
	if !slices.Equal(got, entries) {
		w.Errorf("happened, in any order:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(entries, "\n  "))
	}
}

func (w *world) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	got := w.journal
	w.journal = nil
	return settled(got)
}

// settled puts every close behind what may happen beside it, as it may come
// before or after that: reports, and whatever else is written. It stays before a
// dial, the removal of credentials and the release, which must wait for it.
func settled(journal []string) []string {
	for i := len(journal) - 2; i >= 0; i-- {
		for j := i; j+1 < len(journal) && strings.HasPrefix(journal[j], "close ") && isBeside(journal[j+1]); j++ {
			journal[j], journal[j+1] = journal[j+1], journal[j]
		}
	}
	return journal
}

func isBeside(entry string) bool {
	word, _, _ := strings.Cut(entry, " ")
	switch word {
	case "WORKING", "STARTING", "SCAN_QR_CODE", "STOPPED", "FAILED", "clear", "codes", "epoch?", "refresh", "answer":
		return true
	}
	return false
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
	return store.Change{Wanted: session.Wanted{Desired: desired, Generation: generation}, Config: session.Stored{Config: session.DefaultConfig(session.Defaults{})}}
}

func (w *world) stop() { w.tell(wants(2, session.DesiredStopped)) }
