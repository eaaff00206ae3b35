package runner

import (
	"testing"
	"time"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// hear lets every connection have heard something now.
func (w *world) hear() time.Time {
	now := time.Now()
	w.set(func() { w.heard = now })
	return now
}

func TestTheLastSignOfLifeIsReportedAndSeen(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start(linked)
		if at := w.r.Heard(); !at.IsZero() {
			t.Errorf("heard at %v before the login", at)
		}
		w.after(time.Second)
		login := w.hear()
		w.say(event.Connected{})
		if got := w.lastReport(); !got.HeardAt.Equal(login) || !w.r.Heard().Equal(login) {
			t.Errorf("reported %v, seen %v, want %v", got.HeardAt, w.r.Heard(), login)
		}
		w.take()
		w.after(time.Minute)
		last := w.hear()
		if !w.r.Heard().Equal(last) {
			t.Errorf("seen %v, want %v", w.r.Heard(), last)
		}
		w.want() // a sign of life is no report

		w.after(time.Minute)
		w.say(event.Disconnected{})
		if got := w.lastReport(); got.State != session.Working || !got.HeardAt.Equal(last) || !w.r.Heard().Equal(last) {
			t.Errorf("within the grace: %+v, seen %v", got, w.r.Heard())
		}
		w.set(func() { w.onDial = hangs })
		w.after(30 * time.Second)
		if got := w.lastReport(); got.State != session.Starting || !got.HeardAt.Equal(last) {
			t.Errorf("after the grace: %+v", got)
		}
		if at := w.r.Heard(); !at.IsZero() {
			t.Errorf("seen %v while not shown as working", at)
		}
	})
}

func TestReconnectsAreCountedAcrossTerms(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		var before session.LastHour
		before.Add(time.Now())
		w.start(linked, func(_ *world, c *store.Claim, _ *Timing) { c.Reconnects = before })
		w.say(event.Connected{})
		for range 2 {
			w.say(event.Disconnected{})
			w.pause()
			w.say(event.Connected{})
		}
		if n := w.lastReport().Reconnects.Count(time.Now()); n != 3 {
			t.Errorf("%d reconnects are reported, want 3", n)
		}
		w.after(2 * time.Hour)
		w.say(event.Disconnected{})
		if n := w.lastReport().Reconnects.Count(time.Now()); n != 1 {
			t.Errorf("%d reconnects two hours later, want 1", n)
		}
		w.stop()
		if n := w.ended().Report.Reconnects.Count(time.Now()); n != 1 {
			t.Errorf("%d reconnects are in the last report, want 1", n)
		}
	})
}

// Only who is logged in moves away; what a user is at is not disturbed.
func TestOnlyAWorkingSessionMovesAway(t *testing.T) {
	t.Parallel()
	for _, s := range situations {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			simulate(t, func(w *world) {
				s.play(w)
				_, pairing := map[phase]bool{scanning: true, linking: true}[w.r.phaseSeen()]
				if w.r.Pairing() != pairing {
					t.Errorf("pairing is %v in %s", w.r.Pairing(), w.r.phaseSeen())
				}
				w.after(time.Millisecond)
				works := w.r.Working() > 0
				if (w.r.phaseSeen() == working) != works {
					t.Errorf("working is %v in %s", works, w.r.phaseSeen())
				}
				w.take()
				w.r.MoveAway()
				if works {
					w.wantEnd("STARTING")
					w.want("close 1", "release")
				} else {
					w.want()
				}
			})
		})
	}
}

func (r *Runner) phaseSeen() phase { return r.sight.Load().phase }

// TestALateLastWordIsNotOverlooked: WhatsApp says that another program has logged
// in and closes; the connection has to work through a message before it gets
// there.
func TestALateLastWordIsNotOverlooked(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start(linked)
		w.hear()
		w.say(event.Connected{})
		w.take()
		w.set(func() { w.down = true })
		w.r.Watch()
		w.want()
		w.after(DefaultTiming().Untold - time.Second)
		w.say(event.Replaced{})
		w.wantEnd("FAILED STREAM_REPLACED")
	})
}

func TestAnEndThatNothingTellsIsNoticed(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		watch := func(entries ...string) {
			t.Helper()
			w.r.Watch()
			w.want(entries...)
		}
		w.start(linked)
		w.hear()
		watch("dial 1 " + jid)
		w.say(event.Connected{})
		watch("WORKING")
		w.after(DefaultTiming().Silence)
		watch()
		w.after(time.Second)
		watch("STARTING KEEPALIVE", "close 1")
		w.pause()
		w.hear()
		w.say(event.Connected{})
		w.want("dial 2 "+jid, "WORKING")

		w.set(func() { w.down = true })
		watch()
		w.after(DefaultTiming().Untold - time.Second)
		watch()
		w.after(time.Second)
		watch("WORKING RECONNECTING", "close 2")
		w.set(func() { w.down = false })
		w.pause()
		w.hear()
		w.say(event.Connected{})
		w.after(time.Second)
		w.take()
		watch()
	})
}
