package runner

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// unlinks is a wish to unlink the device, of a session that is wanted or not.
func unlinks(generation session.Generation, desired session.Desired) store.Change {
	c := wants(generation, desired)
	c.Wanted.Unlink = generation
	return c
}

func deletes(generation session.Generation) store.Change {
	c := unlinks(generation, session.DesiredStopped)
	c.Wanted.Deleted = true
	return c
}

// claimed is a claim that somebody made for a wish.
func claimed(c store.Change) option {
	return func(_ *world, claim *store.Claim, _ *Timing) { claim.Wanted = c.Wanted }
}

func (w *world) working() {
	w.Helper()
	w.start(linked)
	w.say(event.Connected{})
	w.take()
}

// in is the runner's phase, also while time passes.
func (w *world) in() phase { return w.r.sight.Load().phase }

func TestALogoutUnlinksAndGoesOnFromScratch(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.working()
		w.tell(unlinks(2, session.DesiredRunning))
		w.wantAll("STARTING", "unlink "+jid, "close 1", "delete "+jid, "forget", "dial 2 new")
		w.say(sixCodes)
		w.want("codes a b c d e f", "SCAN_QR_CODE")
		w.tell(unlinks(2, session.DesiredRunning)) // found again
		w.say(event.Paired{JID: "other:2@s"}, event.ReconnectNeeded{})
		w.wantAll("device other:2@s", "STARTING", "close 2", "dial 3 other:2@s")
		w.say(event.Connected{}) // the wish was about the device before
		w.want("WORKING")
	})
}

func TestALogoutOfAStoppedSessionConnectsUnlinksAndEnds(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start(linked, claimed(unlinks(2, session.DesiredStopped)))
		w.want("dial 1 " + jid)
		w.say(event.Connected{})
		w.wantEnd("STOPPED")
		w.wantAll("unlink "+jid, "close 1", "delete "+jid, "forget", "release")
	})
}

// Whatever the user asks for while a device is being unlinked, it is unlinked
// first, and what was asked for last is what happens.
func TestTheLastRequestWinsOverALogout(t *testing.T) {
	t.Parallel()
	again := func(c store.Change) store.Change { // unlinking was asked for before
		c.Wanted.Unlink = 2
		return c
	}
	for name, c := range map[string]struct {
		last store.Change
		end  string // empty: it goes on
		want []string
	}{
		"stop":    {again(wants(3, session.DesiredStopped)), "STOPPED", []string{"close 1", "delete " + jid, "forget", "release"}},
		"restart": {again(wants(3, session.DesiredRunning)), "", []string{"STARTING", "close 1", "delete " + jid, "forget", "dial 2 new"}},
		"delete":  {deletes(3), "STOPPED", []string{"close 1", "erase " + jid}},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(w *world) {
				w.working()
				asked := make(chan struct{})
				w.set(func() { w.onUnlink = func(context.Context) error { <-asked; return nil } })
				w.tell(unlinks(2, session.DesiredRunning))
				w.tell(c.last)
				if name == "restart" {
					w.want("STARTING", "unlink "+jid, "STARTING")
					c.want = c.want[1:]
				} else {
					w.take()
				}
				close(asked)
				if c.end != "" {
					w.wantEnd(c.end)
				}
				w.wantAll(c.want...)
			})
		})
	}
}

// A device that its owner unlinked on the phone is unlinked too.
func TestALogoutOfADeviceThatIsGone(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]func(w *world){
		"refused": func(w *world) {
			w.start(linked, claimed(unlinks(2, session.DesiredRunning)))
			w.say(event.LoggedOut{Code: 401})
		},
		"while asking": func(w *world) {
			w.onUnlink = untilOver
			w.working()
			w.tell(unlinks(2, session.DesiredRunning))
			w.say(event.LoggedOut{})
		},
		"no credentials":    func(w *world) { w.onDial = onlyNew; w.start(linked, claimed(unlinks(2, session.DesiredRunning))) },
		"told after asking": func(w *world) { w.working(); w.tell(unlinks(2, session.DesiredRunning)); w.say(event.Disconnected{}) },
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(w *world) {
				gone(w)
				w.after(time.Minute)
				if happened := w.take(); !slices.Contains(happened, "forget") || w.in() != dialing {
					t.Errorf("%s: %v", w.in(), happened)
				}
			})
		})
	}
}

func onlyNew(_ context.Context, n int) error {
	if n == 1 {
		return event.ErrNoDevice
	}
	return nil
}

// Without WhatsApp's answer the credentials are removed all the same, and in
// time: nobody waits for ever.
func TestUnlinkingIsBounded(t *testing.T) {
	t.Parallel()
	for name, trouble := range map[string]func(w *world){
		"unreachable":   func(w *world) { w.onDial = func(context.Context, int) error { return errors.New("refused") } },
		"hangs":         func(w *world) { w.onDial = hangs },
		"never answers": func(w *world) { w.onUnlink = untilOver },
		"refuses":       func(w *world) { w.onUnlink = func(context.Context) error { return errors.New("503") } },
	} {
		for _, c := range []struct {
			name string
			asks store.Change
			end  string
		}{{"logout", unlinks(2, session.DesiredStopped), "STOPPED"}, {"delete", deletes(2), "STOPPED"}} {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				simulate(t, func(w *world) {
					trouble(w)
					began := time.Now()
					w.start(linked, claimed(c.asks))
					for w.in() != ended && time.Since(began) < time.Hour {
						if w.in() == loggingIn {
							w.say(event.Connected{})
						}
						w.after(time.Second)
					}
					if got := showEnd(w.ended()); got != c.end {
						t.Errorf("ended as %s", got)
					}
					if took := time.Since(began); took > DefaultTiming().Patience+promptly+time.Second {
						t.Errorf("took %v", took)
					}
					if w.end.Erased != c.asks.Wanted.Deleted {
						t.Errorf("erased %v", w.end.Erased)
					}
				})
			})
		}
	}
}

func TestCredentialsThatCannotBeRemovedAreTriedAgain(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onForget = func(context.Context) error { return event.ErrStore }
		w.working()
		w.tell(unlinks(2, session.DesiredStopped))
		w.want("STARTING", "unlink "+jid, "close 1", "delete "+jid, "STARTING STORE_ERROR")
		w.set(func() { w.onForget = nil })
		w.pause()
		w.want("dial 2 " + jid)
		w.say(event.LoggedOut{Code: 401})
		w.wantEnd("STOPPED")
		w.wantAll("close 2", "delete "+jid, "forget", "release")
	})
}

func TestADeletedSessionIsErased(t *testing.T) {
	t.Parallel()
	faulty := func(_ *world, c *store.Claim, _ *Timing) { c.Faults = 1 }
	for name, c := range map[string]struct {
		play func(w *world)
		want []string
	}{
		"working": {func(w *world) { w.working(); w.tell(deletes(2)) }, []string{"STARTING", "unlink " + jid, "close 1", "erase " + jid}},
		"scanning": {func(w *world) { w.start(); w.say(sixCodes); w.take(); w.tell(deletes(2)) },
			[]string{"close 1", "erase nothing"}},
		"claimed, never linked": {func(w *world) { w.start(claimed(deletes(2))) }, []string{"erase nothing"}},
		"a bug ended the last term": {func(w *world) { w.start(linked, faulty, claimed(deletes(2))) },
			[]string{"erase " + jid}},
		"banned": {func(w *world) { w.start(linked, claimed(deletes(2))); w.take(); w.say(event.Banned{For: time.Hour}) },
			[]string{"close 1", "erase " + jid}},
		"logged out": {func(w *world) { w.start(linked, claimed(deletes(2))); w.take(); w.say(event.LoggedOut{Code: 401}) },
			[]string{"close 1", "erase " + jid}},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(w *world) {
				c.play(w)
				w.wantEnd("STOPPED")
				w.wantAll(c.want...)
				if !w.end.Erased || w.end.Report.Seen != 2 {
					t.Errorf("%+v", w.end)
				}
			})
		})
	}
}

// What cannot be erased here is left to the next holder.
func TestAStoreThatCannotBeErasedKeepsTheSession(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onForget = func(context.Context) error { return event.ErrStore }
		w.start(claimed(deletes(2)))
		w.wantEnd("STARTING")
		if w.end.Erased || w.end.Report.RetryIn == 0 {
			t.Errorf("%+v", w.end)
		}
	})
}

// A failure that nobody would try again after does not keep the credentials.
func TestAFailureDoesNotKeepADeviceThatIsToBeUnlinked(t *testing.T) {
	t.Parallel()
	for name, fails := range map[string]event.Event{
		"replaced": event.Replaced{}, "refused": event.Refused{Code: 500}, "banned for good": event.Banned{},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(w *world) {
				w.start(linked, claimed(unlinks(2, session.DesiredStopped)), func(_ *world, _ *store.Claim, timing *Timing) { timing.MaxRefusals = 1 })
				w.take()
				w.say(fails)
				w.wantEnd("STOPPED")
				if happened := w.take(); !slices.Contains(happened, "delete "+jid) || !slices.Contains(happened, "forget") {
					t.Errorf("%v", happened)
				}
			})
		})
	}
	t.Run("until a ban ends", func(t *testing.T) {
		simulate(t, func(w *world) {
			w.start(linked, claimed(unlinks(2, session.DesiredStopped)))
			w.take()
			w.say(event.Banned{For: time.Hour})
			w.wantEnd("FAILED TEMP_BAN")
			w.wantAll("close 1", "release")
		})
	})
}

// Requests do not put the end of the patience off.
func TestPatienceIsWithALogoutNotWithEachRequest(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onDial = hangs
		w.start(linked, claimed(unlinks(2, session.DesiredRunning)))
		for n := session.Generation(3); n < 9; n++ {
			w.after(DefaultTiming().Patience / 5)
			c := wants(n, session.DesiredRunning)
			c.Wanted.Unlink = 2
			w.tell(c)
		}
		if happened := w.take(); !slices.Contains(happened, "forget") {
			t.Errorf("%v", happened)
		}
	})
}

// A proxy that is asked for while the device is unlinked is not connected
// around afterwards.
func TestANewConfigDuringALogoutTakesAFreshTerm(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		asked := make(chan struct{})
		w.onUnlink = func(context.Context) error { <-asked; return nil }
		w.working()
		w.tell(unlinks(2, session.DesiredRunning))
		c := wants(3, session.DesiredRunning)
		c.Wanted.Unlink = 2
		c.Config.Config = session.DefaultConfig(session.Defaults{})
		c.Config.Config.Proxy = &session.Proxy{Server: "http://127.0.0.1:1"}
		w.tell(c)
		w.take()
		close(asked)
		w.wantEnd("STARTING")
		w.wantAll("close 1", "delete "+jid, "forget", "release")
		if w.end.Handover != Reconfigure {
			t.Errorf("%+v", w.end)
		}
	})
}

func TestADrainHandsALogoutOver(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onUnlink = untilOver
		w.working()
		w.tell(unlinks(2, session.DesiredRunning))
		w.take()
		w.r.Release()
		w.wantEnd("STARTING")
		w.want("close 1", "release")
	})
}

// The term of a stopped session that somebody else has unlinked meanwhile.
func TestNothingToDo(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start(claimed(unlinks(2, session.DesiredStopped)))
		w.wantEnd("STOPPED")
		w.want("release")
	})
}

// A restart connects anew in every phase, and once.
func TestARestartInEveryPhase(t *testing.T) {
	t.Parallel()
	for _, s := range situations {
		if s.name == "linking, unrecorded" { // waits for the record
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			simulate(t, func(w *world) {
				s.play(w)
				before := get(w, &w.dials)
				w.set(func() { w.onDial = nil })
				w.tell(wants(2, session.DesiredRunning))
				if dials := get(w, &w.dials) - before; dials != 1 {
					t.Errorf("%d dials", dials)
				}
				if status := w.lastReport(); status.State != session.Starting || status.Seen != 2 || status.Code != "" {
					t.Errorf("shows %+v", status)
				}
			})
		})
	}
}
