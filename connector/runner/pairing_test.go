package runner

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

const shown = "codes a b c d e f"

func TestCodesCanBeReadBeforeTheyAreAnnounced(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onWrite = func(context.Context, string) error { time.Sleep(3 * time.Second); return nil }
		w.start()
		w.say(sixCodes)
		w.want("dial 1 new", shown)
		w.after(3*time.Second - 1)
		w.want()
		w.after(1)
		w.want("SCAN_QR_CODE")
	})
}

func TestCodesRunOut(t *testing.T) {
	t.Parallel()
	for _, scale := range []time.Duration{1, 20} {
		simulate(t, func(w *world) {
			w.start(func(_ *world, _ *store.Claim, timing *Timing) {
				timing.QRFirst, timing.QRNext = 60*time.Second/scale, 20*time.Second/scale
			})
			w.say(sixCodes)
			w.want("dial 1 new", shown, "SCAN_QR_CODE")
			w.after(160*time.Second/scale - 1)
			w.want()
			w.after(1)
			w.wantEnd("FAILED QR_EXPIRED")
			w.want("close 1", "release")
		})
	}
}

func TestCodesThatNobodyTakesEndTheTerm(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onWrite = func(context.Context, string) error { return errors.New("value too long") }
		w.start()
		w.say(sixCodes)
		w.wantEnd("FAILED INTERNAL_ERROR")
		w.want("dial 1 new", shown, "close 1", "release")
	})
}

func TestCodesThatNeverComeAreAskedForAgain(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start()
		w.after(45 * time.Second)
		w.want("dial 1 new", "STARTING CONNECT_TIMEOUT", "close 1")
		w.pause()
		w.want("dial 2 new")
		w.say(event.QR{}) // nothing to show
		w.want()
	})
}

// A connection lost while waiting for a scan is worth a new set, a few times.
func TestALostScanShowsANewSet(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start()
		for n, dial := range []string{"dial 1 new", "dial 2 new"} {
			w.say(sixCodes)
			w.want(dial, shown, "SCAN_QR_CODE")
			w.after(100 * time.Second)
			w.say(event.Disconnected{})
			w.wantAll("STARTING RECONNECTING", "clear", []string{"close 1", "close 2"}[n])
			w.pause()
		}
		w.say(sixCodes)
		w.want("dial 3 new", shown, "SCAN_QR_CODE")
		w.say(event.Disconnected{})
		w.wantEnd("FAILED QR_EXPIRED")
		w.want("close 3", "release")
	})
}

// WhatsApp closes the connection when the codes have run out, or a little
// before.
func TestAConnectionLostWithTheLastCodeIsNoLoss(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start()
		w.say(sixCodes)
		w.after(140 * time.Second)
		w.say(event.Disconnected{})
		w.wantEnd("FAILED QR_EXPIRED")
	})
}

// A set that is still being written when its connection is lost must not be
// shown, and must not stay.
func TestCodesOfALostConnectionAreNotShown(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onWrite = func(context.Context, string) error { time.Sleep(100 * time.Millisecond); return nil }
		w.start()
		w.say(sixCodes, event.Disconnected{})
		w.after(99 * time.Millisecond)
		w.take()
		w.after(time.Millisecond)
		if got := w.take(); !slices.Contains(got, "clear") || slices.Contains(got, "SCAN_QR_CODE") {
			t.Errorf("%q", got)
		}
	})
}

// Nor may they be taken for those of the next connection.
func TestLateCodesAreNotTheNextConnections(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onWrite = func(context.Context, string) error { time.Sleep(3 * time.Second); return nil }
		w.start()
		w.say(sixCodes, event.Disconnected{})
		w.after(3*time.Second - 1)
		w.want("dial 1 new", shown, "STARTING RECONNECTING", "close 1", "dial 2 new")
		w.after(3*time.Second + 1)
		w.want("clear")
		w.say(sixCodes)
		w.after(3 * time.Second)
		w.want(shown, "SCAN_QR_CODE")
	})
}

func TestAPasskeyIsShownAndTheCodesStillRunOut(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start()
		w.say(sixCodes, event.PasskeyAsked{})
		w.want("dial 1 new", shown, "SCAN_QR_CODE", "SCAN_QR_CODE PASSKEY_REQUIRED")
		w.after(160 * time.Second)
		w.wantEnd("FAILED QR_EXPIRED")
	})
}

func TestAScanLinksRecordsAndLogsIn(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start()
		w.say(sixCodes, event.Paired{JID: jid})
		w.want("dial 1 new", shown, "SCAN_QR_CODE", "STARTING", "device "+jid)
		w.after(time.Second)
		w.say(event.ReconnectNeeded{})
		w.want("close 1", "dial 2 "+jid)
		w.say(event.Connected{})
		w.want("WORKING")
	})
}

func TestALostRequestToReconnectIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start()
		w.say(sixCodes, event.Paired{JID: jid})
		w.take()
		w.after(5*time.Second - 1)
		w.want()
		w.after(1)
		w.want("close 1", "dial 2 "+jid)
	})
}

// Whatever ends the first connection, the second waits for the record.
func TestADeviceIsRecordedBeforeItLogsIn(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]event.Event{
		"asked": event.ReconnectNeeded{}, "lost": event.Disconnected{}, "refused": event.Refused{Code: 500},
		"outdated": event.Outdated{}, "deadline": event.PasskeyAsked{},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(w *world) {
				w.start()
				w.say(sixCodes)
				w.set(func() { w.onWrite = unavailable })
				w.say(event.Paired{JID: jid}, e)
				w.after(time.Minute)
				w.set(func() { w.onWrite = nil })
				if n := get(w, &w.dials); n != 1 {
					t.Fatalf("%d dials before the device was recorded", n)
				}
				w.take()
				w.after(2 * time.Second)
				got := slices.DeleteFunc(w.take(), func(s string) bool { return !strings.HasPrefix(s, "d") })
				if !slices.Equal(got, []string{"device " + jid, "dial 2 " + jid}) {
					t.Errorf("%q", got)
				}
			})
		})
	}
}

func TestADeviceThatCannotBeRecordedNeverLogsIn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err error
		end string
	}{
		{session.ErrDeviceTaken, "FAILED PAIR_ERROR"},
		{errors.New("invalid byte sequence"), "FAILED INTERNAL_ERROR"},
		{session.ErrFenced, "fenced"},
	} {
		simulate(t, func(w *world) {
			w.start()
			w.say(sixCodes)
			w.set(func() { w.onWrite = once(c.err) })
			w.say(event.Paired{JID: jid})
			w.wantEnd(c.end)
			if n := get(w, &w.dials); n != 1 {
				t.Errorf("%s: %d dials", c.end, n)
			}
		})
	}
}

// A refused login right after linking waits out its pause.
func TestARefusalWhileLinkingIsPausedFor(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start()
		w.say(sixCodes)
		w.set(func() {
			w.onWrite = func(context.Context, string) error { time.Sleep(50 * time.Millisecond); return nil }
		})
		w.say(event.Paired{JID: jid}, event.Disconnected{}, event.Refused{Code: 500})
		w.take()
		w.after(w.lastReport().RetryIn - 1)
		if n := get(w, &w.dials); n != 1 {
			t.Errorf("%d dials within the pause", n)
		}
		w.after(1)
		if n := get(w, &w.dials); n != 2 {
			t.Errorf("%d dials after the pause", n)
		}
	})
}
