package runner

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
)

// Random events, commands and troubles. The fakes check that there is never
// more than one open connection, that the device store is closed last and once,
// and that every write carries the term; the rest is checked here.
func TestRandomOperations(t *testing.T) {
	t.Parallel()
	const terms, steps = 300, 60
	for seed := range uint64(terms) {
		simulate(t, func(w *world) {
			random := rand.New(rand.NewPCG(seed, 1))
			w.disturb(random)
			var start []option
			if random.IntN(2) == 0 {
				start = append(start, linked)
			}
			w.start(start...)
			generation := session.Generation(1)
			for range steps {
				select {
				case o := <-w.out:
					w.out <- o
					w.checkEnd(seed)
					return
				default:
				}
				w.operate(random, &generation)
			}
			w.stopAt(generation + 1)
			w.after(promptly)
			w.set(func() { w.onWrite = nil }) // a record may hold the end up
			w.after(5 * time.Second)
			w.checkEnd(seed)
		})
	}
}

func (w *world) stopAt(g session.Generation) { w.tell(wants(g, session.DesiredStopped)) }

func (w *world) checkEnd(seed uint64) {
	w.Helper()
	o := w.ended()
	if o.Panicked {
		w.Errorf("seed %d: panicked", seed)
	}
	if w.take(); o.Fenced == nil && o.Report.State == "" {
		w.Errorf("seed %d: no last report", seed)
	}
	w.after(time.Hour)
	w.want()
}

func (w *world) operate(random *rand.Rand, generation *session.Generation) {
	switch random.IntN(12) {
	case 0:
		w.after(time.Duration(random.Int64N(int64(2 * time.Minute))))
	case 1, 2, 3:
		w.after(time.Duration(random.Int64N(int64(3 * time.Second))))
	case 4:
		*generation++
		w.tell(wants(*generation, session.DesiredRunning))
	case 5:
		w.ask(string(rune('a'+random.IntN(3))), "01")
	case 6:
		w.disturb(random)
	default:
		sinks := get(w, &w.sinks)
		if len(sinks) == 0 {
			return
		}
		sink := sinks[len(sinks)-1]
		if random.IntN(5) == 0 {
			sink = sinks[random.IntN(len(sinks))] // a stale one
		}
		events := []event.Event{sixCodes, sixCodes, event.Paired{JID: jid}, event.ReconnectNeeded{}, event.Connected{}, event.Connected{},
			event.Connected{}, event.Named{PushName: "n"}, event.Disconnected{}, event.PingMissed{}, event.PasskeyAsked{},
			event.StreamError{Code: "1"}, event.Refused{Code: 500}, event.Outdated{}, event.Replaced{}, event.LoggedOut{}}
		limit := len(events)
		if random.IntN(10) > 0 {
			limit -= 3 // what ends a term is rare
		}
		sink(events[random.IntN(limit)])
	}
}

// disturb changes how the neighbours do.
func (w *world) disturb(random *rand.Rand) {
	// Each is drawn here: the generator belongs to the test's goroutine.
	late, deaf, failing, closing := random.IntN(3) == 0, random.IntN(4) == 0, random.IntN(3) == 0, time.Duration(random.Int64N(int64(time.Second)))
	wait := time.Duration(random.Int64N(int64(4 * time.Second)))
	down := random.IntN(3) == 0
	w.set(func() {
		w.onDial = func(ctx context.Context, n int) error {
			switch {
			case deaf:
				time.Sleep(wait)
			case late:
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(wait):
				}
			}
			if failing && n%2 == 0 {
				return []error{errors.New("unreachable"), event.ErrStore}[n/2%2]
			}
			return nil
		}
		w.onClose = func(int) { time.Sleep(closing) }
		w.onProbe = func(context.Context) bool { time.Sleep(wait); return !failing }
		w.onWrite = func(context.Context, string) error {
			if down {
				return session.ErrUnavailable
			}
			time.Sleep(closing)
			return nil
		}
	})
}
