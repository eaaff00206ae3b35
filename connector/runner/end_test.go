package runner

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// Every end in every phase, prompt, with nothing reported or written after it.
func TestEveryEndInEveryPhase(t *testing.T) {
	t.Parallel()
	for _, s := range situations {
		if s.name == "linking, unrecorded" {
			continue // holds the end up: see below
		}
		for name, c := range map[string]struct {
			end  func(w *world)
			want string
		}{
			"stop":      {(*world).stop, "STOPPED"},
			"release":   {func(w *world) { w.r.Release() }, "STARTING"},
			"authority": {func(w *world) { w.lose(session.ErrLeaseLost) }, "fenced"},
		} {
			t.Run(s.name+"/"+name, func(t *testing.T) {
				simulate(t, func(w *world) {
					s.play(w)
					connected := get(w, &w.open) == 1
					w.take()
					c.end(w)
					w.wantEnd(c.want)
					if name == "stop" && w.end.Report.Seen != 2 {
						t.Errorf("the stop is not acknowledged: %+v", w.end.Report)
					}
					if connected {
						w.want("close 1", "release")
					} else {
						w.want("release")
					}
					w.stop()
					w.r.Release()
					w.say(event.Connected{})
					w.after(time.Hour)
					w.want()
				})
			})
		}
	}
}

// What hangs ends with its context; a stop does not wait for more.
func TestAStopIsPromptWhateverHangs(t *testing.T) {
	t.Parallel()
	hang := func(ctx context.Context, _ string) error { return untilOver(ctx) }
	for name, play := range map[string]func(w *world){
		"pace":    func(w *world) { w.onPace = untilOver; w.start() },
		"dial":    func(w *world) { w.onDial = hangs; w.start() },
		"codes":   func(w *world) { w.onWrite = hang; w.start(); w.say(sixCodes) },
		"refresh": func(w *world) { w.onRefresh = untilOver; w.start(linked); w.say(event.Outdated{}) },
		"epoch":   func(w *world) { w.onWrite = hang; w.start(linked); w.say(event.Replaced{}) },
		"probe": func(w *world) {
			w.onProbe = func(ctx context.Context) bool { return untilOver(ctx) == nil }
			w.start(linked)
			w.say(event.Connected{}, event.PingMissed{})
		},
		"phone": func(w *world) {
			w.onPhone = func(ctx context.Context) (string, error) { return "", untilOver(ctx) }
			w.start()
			w.ask("r1", "01")
			w.say(sixCodes)
		},
		"close": func(w *world) {
			w.onClose = func(int) { time.Sleep(time.Second) }
			w.start(linked)
			w.say(event.Connected{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(w *world) {
				play(w)
				w.stop()
				w.wantEnd("STOPPED")
			})
		})
	}
}

// The record of a linked device is the one write that an end waits for, and no
// longer than the authority lasts.
func TestAStopWaitsForTheRecordOfADevice(t *testing.T) {
	t.Parallel()
	play := func(w *world) {
		w.start()
		w.say(sixCodes)
		w.set(func() { w.onWrite = unavailable })
		w.say(event.Paired{JID: jid})
		w.stop()
		w.after(time.Minute)
		w.take()
	}
	simulate(t, func(w *world) {
		play(w)
		w.set(func() { w.onWrite = nil })
		w.after(2 * time.Second)
		w.wantEnd("STOPPED")
		w.want("device "+jid, "release")
	})
	simulate(t, func(w *world) {
		play(w)
		w.lose(session.ErrLeaseLost)
		w.wantEnd("STOPPED") // the release is refused
		w.want("release")
	})
}

// Authority comes before everything else that waits for the loop.
func TestNothingIsHeardAfterTheAuthorityEnded(t *testing.T) {
	t.Parallel()
	for range 20 { // a select would choose at random
		simulate(t, func(w *world) {
			w.onReport = func(store.Report) { time.Sleep(time.Second) } // the loop is busy
			w.start(linked)
			w.say(event.Named{PushName: "n"})
			sink := get(w, &w.sinks)[0]
			sink(event.Connected{})
			w.r.Tell(wants(2, session.DesiredStopped))
			w.lose(session.ErrLeaseLost)
			w.wantEnd("fenced")
			w.want("dial 1 "+jid, "STARTING", "close 1", "release")
		})
	}
}

func TestARefusedWriteEndsTheTermSilently(t *testing.T) {
	t.Parallel()
	for _, err := range []error{session.ErrFenced, session.ErrLeaseLost} {
		simulate(t, func(w *world) {
			w.onWrite = func(context.Context, string) error { return err }
			w.start()
			w.say(sixCodes)
			w.wantEnd("fenced")
			w.want("dial 1 new", shown, "close 1", "release")
		})
	}
}

func TestAChangeIsAcknowledged(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start(linked)
		w.say(event.Connected{})
		w.take()
		c := wants(5, session.DesiredRunning)
		c.Config.Config.Log.Level = session.LevelDebug
		w.tell(c)
		w.tell(c)                                 // found again until the report is written
		w.tell(wants(4, session.DesiredStopped))  // older than what was seen
		stale := wants(9, session.DesiredStopped) // of another term
		stale.Epoch = epoch - 1
		w.tell(stale)
		w.want("STARTING", "close 1", "dial 2 "+jid)
		w.say(event.Connected{})
		w.want("WORKING")
		if w.lastReport().Seen != 5 || w.level.Level() != slog.LevelDebug {
			t.Errorf("%+v, level %v", w.lastReport(), w.level.Level())
		}
	})
}

func TestAnotherStoreOrProxyNeedsAnotherTerm(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*session.Stored){
		"store":     func(c *session.Stored) { c.Config.Store.Dialect = "other" },
		"address":   func(c *session.Stored) { c.Config.Store.Address = "other" },
		"new proxy": func(c *session.Stored) { c.Config.Proxy = &session.Proxy{Server: "b"} },
		"password":  func(c *session.Stored) { c.Config.Proxy = &session.Proxy{Server: "a", Password: "p"} },
		"secrets":   func(c *session.Stored) { c.Secrets = []byte("other") },
		"no proxy":  func(c *session.Stored) { c.Config.Proxy = nil },
		"":          func(*session.Stored) {},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(w *world) {
				proxy := session.Proxy{Server: "a"}
				w.start(linked, func(_ *world, c *store.Claim, _ *Timing) { c.Config.Config.Proxy = &proxy })
				w.say(event.Connected{})
				w.take()
				same := proxy
				c := wants(2, session.DesiredRunning)
				c.Config.Config.Proxy = &same
				change(&c.Config)
				w.tell(c)
				if name == "" {
					w.want("STARTING", "close 1", "dial 2 "+jid)
					return
				}
				w.wantEnd("STARTING")
				if w.end.Report.Seen != 2 {
					t.Errorf("%+v", w.end.Report)
				}
			})
		})
	}
}

// A dial that finishes although it was given up is closed, before the next
// begins, whatever the loop has heard by then.
func TestALateConnectionIsClosedBeforeTheNextDial(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onDial = func(_ context.Context, n int) error {
			if n == 1 {
				time.Sleep(10 * time.Second) // deaf to its context
			}
			return nil
		}
		w.start(linked)
		w.say(event.Disconnected{})
		w.after(5 * time.Second)
		w.want("dial 1 "+jid, "STARTING RECONNECTING")
		w.after(5 * time.Second)
		w.want("close 1", "dial 2 "+jid)
		old := get(w, &w.sinks)[0]
		old(event.LoggedOut{})
		w.want()
		w.say(event.Connected{})
		w.want("WORKING")
	})
}

func TestALateConnectionIsClosedAfterTheEnd(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onDial = func(context.Context, int) error { time.Sleep(time.Second); return nil }
		w.start(linked)
		w.stop()
		w.wantEnd("STOPPED")
		w.want("dial 1 "+jid, "close 1", "release")
	})
}

// The connection may die between two closes; the next dial waits for the close.
func TestADialWaitsForTheCloseBefore(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onClose = func(int) { time.Sleep(3 * time.Second) }
		w.start(linked)
		w.say(event.Disconnected{})
		w.after(3*time.Second - 1)
		w.want("dial 1 "+jid, "STARTING RECONNECTING", "close 1")
		w.after(1)
		w.want("dial 2 " + jid)
	})
}

func TestAPanicEndsTheTermOnly(t *testing.T) {
	t.Parallel()
	for name, play := range map[string]func(w *world){
		"device": func(w *world) { w.onDial = func(context.Context, int) error { panic("bug") }; w.start() },
		"loop": func(w *world) {
			w.onReport = func(store.Report) { panic("bug") }
			w.start(linked)
			w.say(event.Connected{})
		},
		"write": func(w *world) {
			w.onWrite = func(context.Context, string) error { panic("bug") }
			w.start()
			w.say(sixCodes)
		},
		"probe": func(w *world) {
			w.onProbe = func(context.Context) bool { panic("bug") }
			w.start(linked)
			w.say(event.Connected{}, event.PingMissed{})
		},
		"close": func(w *world) {
			w.onClose = func(n int) { w.set(func() { w.open-- }); panic("bug") }
			w.start(linked)
			w.say(event.Disconnected{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(w *world) {
				play(w)
				w.wantEnd("panicked")
				if r := w.end.Report; r.Code != session.InternalError || r.State != session.Starting || strings.Contains(r.Message, "bug") {
					t.Errorf("%+v", r)
				}
				if n := strings.Count(strings.Join(w.take(), " "), "panic!"); n != 1 {
					t.Errorf("%d panics counted", n)
				}
			})
		})
	}
}

// A panic that comes too late to end the term is counted all the same.
func TestAPanicAfterTheEndIsCounted(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onClose = func(n int) { w.set(func() { w.open-- }); panic("bug") }
		w.start(linked)
		w.stop()
		w.wantEnd("STOPPED")
		w.want("dial 1 "+jid, "close 1", "panic!", "release")
	})
}

// A mailbox that is full delays who writes to it; an end sets everybody free.
func TestAFloodOfMessagesIsHarmless(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onReport = func(store.Report) { time.Sleep(time.Second) } // the loop is slow
		w.start(linked)
		sink := get(w, &w.sinks)[0]
		done := make(chan struct{}, 100)
		for i := range cap(done) {
			go func() {
				sink(event.Named{PushName: strings.Repeat("x", i%7+1)})
				done <- struct{}{}
			}()
		}
		w.after(5 * time.Second)
		w.lose(errors.New("over"))
		synctest.Wait()
		w.after(time.Second)
		w.wantEnd("fenced")
		for range cap(done) {
			<-done
		}
		if reports := len(slices.DeleteFunc(w.take(), func(s string) bool { return s != "STARTING" })); reports > 7 {
			t.Errorf("%d reports after the end", reports)
		}
	})
}

// A library that panicked is not used any more; how often that may happen is
// not the runner's to say.
func TestALibraryThatPanicsEndsTheTerm(t *testing.T) {
	t.Parallel()
	for _, s := range situations {
		if s.name == "linking, unrecorded" {
			continue // holds the end up: see above
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			simulate(t, func(w *world) {
				s.play(w)
				if get(w, &w.open) == 0 {
					return // nothing says anything
				}
				w.take()
				w.say(event.Panicked{Value: "bug"})
				w.wantEnd("panicked")
				w.want("panic!", "close 1", "release")
			})
		})
	}
}
