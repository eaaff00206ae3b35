package runner

import (
	"context"
	"testing"
	"time"

	"github.com/wafleet/wafleet/connector/event"
)

// A connection that is lost while a probe is under way leaves nothing behind that
// keeps the session from moving later.
func TestALostProbeDoesNotKeepASessionFromMoving(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onProbe = func(ctx context.Context) bool { <-ctx.Done(); return false }
		w.start(linked)
		w.say(event.Connected{}, event.PingMissed{}, event.Disconnected{})
		w.after(time.Second)
		w.say(event.Connected{})
		w.after(time.Hour)
		w.take()
		w.r.MoveAway()
		w.wantEnd("STARTING")
	})
}

// The grace is for bad networks: a login that WhatsApp refuses ends it.
func TestARefusedLoginNeverShowsAsWorking(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		refusal event.Event
		shown   string
	}{
		"a code":        {event.Refused{Code: 418}, "STARTING CONNECT_FAILURE_418"},
		"the version":   {event.Outdated{}, "STARTING CLIENT_OUTDATED"},
		"for the while": {event.Disconnected{}, "STARTING RECONNECTING"}, // what 500 and 503 look like
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(w *world) {
				w.onRefresh = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
				w.start(linked)
				w.say(event.Connected{}, event.Disconnected{})
				w.after(time.Second)
				w.take()
				w.say(c.refusal)
				if got := w.take(); len(got) == 0 || got[0] != c.shown {
					t.Errorf("%q, want %s first", got, c.shown)
				}
			})
		})
	}
}

// Pauses grow for each reason by itself, and after a refusal they are longer.
func TestPausesGrowByReason(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start(linked)
		timing := w.r.deps.Timing
		longest := func(why event.Event) time.Duration {
			w.say(why)
			in := w.lastReport().RetryIn
			w.after(in)
			return in
		}
		for n := 1; n <= 4; n++ {
			for _, c := range []struct {
				lose event.Event
				most time.Duration
			}{
				{event.Disconnected{}, timing.Pause.Ceiling(n)},
				{event.Refused{Code: 418}, timing.Refused.Ceiling(n)},
			} {
				if got := longest(c.lose); got < c.most/10 || got > c.most {
					t.Errorf("pause %d after %T is %v, want up to %v", n, c.lose, got, c.most)
				}
			}
		}
	})
}
