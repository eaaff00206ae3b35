package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func TestALinkedDeviceLogsIn(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start(linked)
		w.want("dial 1 " + jid)
		w.say(event.Connected{}, event.Connected{})
		w.want("WORKING")
		w.after(24 * time.Hour)
		w.want() // an idle session costs nothing
	})
}

func TestALoginThatHangsIsTriedAgain(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start(linked)
		w.want("dial 1 " + jid)
		w.after(45*time.Second - 1)
		w.want()
		w.after(1)
		w.want("STARTING CONNECT_TIMEOUT", "close 1")
		w.after(time.Second)
		w.want("dial 2 " + jid)
	})
}

func TestADialThatHangsIsTriedAgain(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onPace = func(context.Context) error { time.Sleep(time.Hour); return nil } // its turn comes late
		w.onDial = hangs
		w.start(linked)
		w.after(time.Hour)
		w.want("dial 1 " + jid)
		w.after(time.Minute - 1)
		w.want()
		w.after(1)
		w.want("STARTING WHATSAPP_UNREACHABLE")
	})
}

// A loss within the grace never shows.
func TestALostConnectionShowsAsWorkingForAGrace(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start(linked)
		w.say(event.Connected{})
		w.take()
		w.say(event.Disconnected{})
		w.want("WORKING RECONNECTING", "close 1")
		if in := w.lastReport().RetryIn; in < 100*time.Millisecond || in > time.Second {
			t.Errorf("the first pause is %v", in)
		}
		w.after(time.Second)
		w.want("dial 2 " + jid)
		w.after(9*time.Second - 1)
		w.say(event.Connected{})
		w.want("WORKING")
		w.after(time.Hour)
		w.want()
		if !slices.Equal(get(w, &w.lost), []session.ReasonCode{session.Reconnecting}) {
			t.Errorf("reconnects %v", w.lost)
		}
	})
}

func TestAfterTheGraceALostConnectionShows(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start(linked)
		w.say(event.Connected{})
		w.say(event.Disconnected{})
		w.set(func() { w.onDial = hangs })
		w.take()
		w.after(10*time.Second - 1)
		w.want("dial 2 " + jid)
		w.after(1)
		w.want("STARTING RECONNECTING")
		if in := w.lastReport().RetryIn; in != 0 {
			t.Errorf("announces another attempt in %v while one is under way", in)
		}
		w.after(20 * time.Second)
		w.want()
	})
}

func TestAMissedKeepaliveIsProbedOnce(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		probe := func(answer bool) func(context.Context) bool {
			return func(context.Context) bool { time.Sleep(5 * time.Second); return answer }
		}
		w.onProbe = probe(true)
		w.start(linked)
		w.say(event.Connected{})
		w.take()
		w.say(event.PingMissed{}, event.PingMissed{})
		w.want("probe")
		w.after(5 * time.Second)
		w.want() // alive

		w.set(func() { w.onProbe = probe(false) })
		w.say(event.PingMissed{})
		w.after(5 * time.Second)
		w.want("probe", "STARTING KEEPALIVE", "close 1")
	})
}

func TestAProbeIsBounded(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onProbe = func(ctx context.Context) bool { <-ctx.Done(); return false }
		w.start(linked)
		w.say(event.Connected{})
		w.take()
		w.say(event.PingMissed{})
		w.after(10*time.Second - 1)
		w.want("probe")
		w.after(1)
		w.want("STARTING KEEPALIVE", "close 1")
		w.after(time.Second)
		w.say(event.Connected{}, event.PingMissed{}) // the next connection is probed anew
		w.want("dial 2 "+jid, "WORKING", "probe")
	})
}

// A probe of a connection that was lost meanwhile says nothing about the next.
func TestALateProbeIsIgnored(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		answer := make(chan bool)
		w.onProbe = func(context.Context) bool { return <-answer }
		w.start(linked)
		w.say(event.Connected{}, event.PingMissed{}, event.Disconnected{})
		w.after(time.Second)
		w.say(event.Connected{})
		w.take()
		answer <- false
		w.want()
	})
}

func TestReplacedIsAnsweredByTheEpoch(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stolen bool
		write  func(context.Context, string) error
		end    string
	}{
		"ours":       {end: "FAILED STREAM_REPLACED"},
		"not ours":   {stolen: true, end: "fenced"},
		"deleted":    {write: func(context.Context, string) error { return session.ErrNotFound }, end: "fenced"},
		"cannot say": {write: func(context.Context, string) error { return errors.New("no such column") }, end: "FAILED STREAM_REPLACED"},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(w *world) {
				w.start(linked)
				w.say(event.Connected{})
				w.set(func() { w.stolen, w.onWrite = c.stolen, c.write })
				w.take()
				w.say(event.Replaced{})
				w.wantEnd(c.end)
				if n := strings.Count(strings.Join(w.take(), " "), "epoch?"); n != 1 {
					t.Errorf("the epoch was read %d times", n)
				}
			})
		})
	}
}

// While nobody can say whose the device is, nobody connects.
func TestReplacedWaitsForTheDatabase(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start(linked)
		w.say(event.Connected{})
		w.set(func() { w.onWrite = unavailable })
		w.say(event.Replaced{})
		w.after(time.Minute)
		for _, entry := range w.take() {
			if entry == "dial 2 "+jid {
				t.Error("dialed without knowing whose the device is")
			}
		}
		w.set(func() { w.onWrite = nil })
		w.after(2 * time.Second)
		w.wantEnd("FAILED STREAM_REPLACED")
	})
}

func TestLoggedOutForgetsTheDeviceAndItsName(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start(linked)
		w.say(event.Named{PushName: "Ada"}, event.Connected{}, event.Named{PushName: ""})
		w.want("dial 1 "+jid, "STARTING", "WORKING")
		if w.lastReport().PushName != "Ada" {
			t.Errorf("reported %+v", w.lastReport())
		}
		w.set(func() { w.onWrite = once(session.ErrUnavailable) })
		w.say(event.LoggedOut{Code: 401})
		w.wantEnd("FAILED LOGGED_OUT")
		if w.end.Report.PushName != "" {
			t.Error("the name of the unlinked account would come back")
		}
		if n := strings.Count(strings.Join(w.take(), " "), "forget"); n != 2 {
			t.Errorf("%d attempts to forget the device", n)
		}
	})
}

func TestABanSaysWhenItEnds(t *testing.T) {
	t.Parallel()
	for _, expiry := range []time.Duration{0, 90 * time.Minute} {
		simulate(t, func(w *world) {
			w.start(linked)
			w.say(event.Banned{For: expiry, Reason: "sent to too many people 49151000000001"})
			w.wantEnd("FAILED TEMP_BAN")
			if r := w.end.Report; r.RetryIn != expiry || !strings.Contains(r.Message, "too many people [number]") {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestAnOutdatedClientIsRefreshedOnce(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start(linked)
		w.say(event.Outdated{})
		w.wantAll("dial 1 "+jid, "STARTING CLIENT_OUTDATED", "close 1", "refresh v1", "dial 2 "+jid)
		w.say(event.Connected{})
		w.say(event.Outdated{}) // years later
		w.take()
		w.say(event.Outdated{})
		w.wantEnd("FAILED CLIENT_OUTDATED")
		w.want("close 3", "release")
	})
}

func TestARefreshThatIsForbiddenEndsTheTerm(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onRefresh = func(context.Context) error { return errors.New("pinned") }
		w.start(linked)
		w.say(event.Outdated{})
		w.wantEnd("FAILED CLIENT_OUTDATED")
		w.wantAll("dial 1 "+jid, "STARTING CLIENT_OUTDATED", "close 1", "refresh v1", "release")
	})
}

// Whoever cannot ask for the version keeps trying: the network is no reason to
// give a session up.
func TestARefreshWithoutAnAnswerIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, refresh := range map[string]func(context.Context) error{
		"at once": func(context.Context) error { return fmt.Errorf("%w: no route", event.ErrVersionUnknown) },
		"by time": untilOver,
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(w *world) {
				w.onRefresh = refresh
				w.start(linked)
				for n := range 20 {
					w.say(event.Outdated{})
					w.after(10 * time.Second) // the bound of a refresh
					if n == 10 {
						w.set(func() { w.onRefresh = nil })
					}
					if get(w, &w.dials) > n+2 {
						t.Fatalf("%d dials after %d refusals", w.dials, n+1)
					}
					if n > 10 {
						break
					}
					if r := w.lastReport(); r.Code != session.ClientOutdated || r.RetryIn <= 0 && w.r.phaseSeen() == pausing {
						t.Fatalf("%+v", r)
					}
					w.after(20 * time.Second)
				}
				w.say(event.Connected{})
				if r := w.lastReport(); r.State != session.Working {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

func TestRefusedLoginsEndTheTermInARow(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start(linked)
		refuse := func(times int) {
			for range times {
				w.say(event.Refused{Code: 418, Message: "teapot"})
				w.pause()
			}
		}
		refuse(4)
		w.say(event.Connected{}) // not in a row any more
		refuse(4)
		if w.r.phase == ended {
			t.Fatal("ended too early")
		}
		w.say(event.Refused{Code: 418, Message: "teapot\x00"})
		w.wantEnd("FAILED CONNECT_FAILURE_418")
		if get(w, &w.dials) != 9 || strings.ContainsRune(w.end.Report.Message, 0) {
			t.Errorf("%d dials, message %q", w.dials, w.end.Report.Message)
		}
	})
}

func proxied(_ *world, c *store.Claim, _ *Timing) {
	c.Config.Config.Proxy = &session.Proxy{Server: "proxy.example:1080"}
}

func TestDialErrorsHaveTheirReason(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err    error
		option option
		report string
	}{
		"store":       {event.ErrStore, linked, "STARTING STORE_ERROR"},
		"unreachable": {errors.New("connection refused"), linked, "STARTING WHATSAPP_UNREACHABLE"},
		"proxy":       {errors.New("connection refused"), proxied, "STARTING PROXY_ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(w *world) {
				w.onDial = func(context.Context, int) error { return c.err }
				w.start(linked, c.option)
				w.want("dial 1 "+jid, c.report)
				w.set(func() { w.onDial = nil })
				w.after(time.Second)
				w.say(event.Connected{})
				w.want("dial 2 "+jid, "WORKING")
			})
		})
	}
}

func TestAMissingDeviceIsLoggedOut(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onDial = func(context.Context, int) error { return event.ErrNoDevice }
		w.start(linked)
		w.wantEnd("FAILED LOGGED_OUT")
		if got := w.take(); !slices.Contains(got, "forget") {
			t.Errorf("%q", got)
		}
	})
}

// Pauses grow with every attempt that did not last and are jittered; only a
// connection that lasted starts them over.
func TestPausesGrowUntilAConnectionLasts(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start(linked)
		lose := func(after time.Duration) time.Duration {
			w.say(event.Connected{})
			w.after(after)
			w.say(event.Disconnected{})
			pause := w.lastReport().RetryIn
			w.after(pause - 1)
			dials := get(w, &w.dials)
			w.after(1)
			if get(w, &w.dials) != dials+1 {
				t.Errorf("the pause is not %v", pause)
			}
			return pause
		}
		ceiling := time.Second
		seen := map[time.Duration]bool{}
		for range 12 {
			pause := lose(10*time.Second - 1)
			if pause < ceiling/10 || pause > ceiling {
				t.Errorf("a pause of %v, want up to %v", pause, ceiling)
			}
			seen[pause] = true
			ceiling = min(2*ceiling, 20*time.Second) // with a login, within the 30 s that an outage may be felt after its end
		}
		if len(seen) < 12 {
			t.Errorf("pauses are not jittered: %v", seen)
		}
		if pause := lose(10 * time.Second); pause > time.Second {
			t.Errorf("a pause of %v after a connection that lasted", pause)
		}
	})
}

func TestStreamErrorsAndNamesOfTheFarSideAreHarmless(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start(linked)
		w.say(event.Connected{}, event.StreamError{Code: "a\x00'; DROP"}, event.Named{PushName: "a\x00b\xff" + strings.Repeat("x", 5000)})
		w.want("dial 1 "+jid, "WORKING", "stream error!", "WORKING STREAM_ERROR_aDROP", "WORKING STREAM_ERROR_aDROP")
		if name := w.lastReport().PushName; len(name) > 210 || (strings.ContainsRune(name, 0) || !utf8.ValidString(name)) {
			t.Errorf("name %q", name)
		}
	})
}
