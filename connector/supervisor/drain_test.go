package supervisor

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func TestADrainHandsEverythingBackSideBySide(t *testing.T) {
	t.Parallel()
	config := rare(100)
	config.DrainAtOnce = 10
	simulate(t, config, func(w *world) {
		w.queue(many(95)...)
		running, most := 0, 0
		w.set(func() {
			w.onLeave = func(context.Context, store.Report) error {
				w.set(func() { running++; most = max(most, running) })
				time.Sleep(time.Second)
				w.set(func() { running-- })
				return nil
			}
			w.jobs = many(200)[100:]
		})
		w.take()
		w.leave()
		w.Hint("another") // nothing is claimed any more
		took, err := w.wait()
		if err != nil || took != 10*time.Second || most != 10 {
			t.Errorf("%v after %v, %d at once", err, took, most)
		}
		got := w.take()
		if n := len(slices.DeleteFunc(slices.Clone(got), func(s string) bool {
			return !strings.HasPrefix(s, "release ") || !strings.HasSuffix(s, " STARTING")
		})); n != 95 || len(got) != 1+3*95 || got[0] != "draining" {
			t.Errorf("%d of %d entries are releases, after %s", n, len(got), got[0])
		}
	})
}

func TestADrainWithoutADatabaseGoesOn(t *testing.T) {
	t.Parallel()
	simulate(t, rare(5), func(w *world) {
		w.queue(many(1)...)
		w.set(func() { w.down = true })
		w.take()
		w.leave()
		if took, err := w.wait(); err != nil || took != queryTimeout {
			t.Errorf("%v after %v", err, took)
		}
		w.want("draining", "close s0", "release s0 STARTING", "handover drain")
	})
}

// A term whose store opens when the drain begins is handed back once it is open.
func TestADrainReachesATermThatStillOpens(t *testing.T) {
	t.Parallel()
	simulate(t, rare(5), func(w *world) {
		w.onOpen = func(context.Context, store.Claim) error { time.Sleep(10 * time.Second); return nil }
		w.queue(many(1)...)
		w.take()
		w.leave()
		if took, _ := w.wait(); took != 10*time.Second {
			t.Errorf("took %v", took)
		}
		w.want("draining", "close s0", "release s0 STARTING", "handover drain")
	})
}

// What hangs is cancelled when the time is up, and only that is not released.
func TestADrainIsBounded(t *testing.T) {
	t.Parallel()
	simulate(t, rare(5), func(w *world) {
		w.onOpen = func(ctx context.Context, c store.Claim) error {
			if c.ID == "s0" {
				return untilOver(ctx)
			}
			return nil
		}
		w.onLeave = func(ctx context.Context, r store.Report) error {
			if r.ID == "s1" {
				return untilOver(ctx)
			}
			return nil
		}
		w.queue(many(3)...)
		w.take()
		w.leave()
		if took, err := w.wait(); err != nil || took != 90*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		w.want("draining", "close s1", "close s2", "release s1 STARTING", "release s2 STARTING", "handover drain")
	})
}

func TestAuthorityEndsAndNothingIsReleased(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]bool{"running": false, "draining": true} {
		t.Run(name, func(t *testing.T) {
			simulate(t, rare(5), func(w *world) {
				w.onDial = func(ctx context.Context, id session.ID) error {
					if id == "s0" {
						return untilOver(ctx)
					}
					return nil
				}
				w.onOpen = func(ctx context.Context, c store.Claim) error {
					if c.ID == "s1" {
						return untilOver(ctx)
					}
					return nil
				}
				w.onLeave = func(ctx context.Context, _ store.Report) error { return untilOver(ctx) }
				w.queue(many(3)...)
				w.set(func() { w.jobs = many(5)[3:] })
				w.take()
				if leave {
					w.leave()
					w.after(time.Second)
					w.take()
				}
				w.lose(session.ErrLeaseLost)
				w.Hint("s4")
				took, err := w.wait()
				if took != 0 {
					t.Errorf("took %v", took)
				}
				if leave {
					w.want()
					return
				}
				if !errors.Is(err, session.ErrLeaseLost) {
					t.Error(err)
				}
				w.want("close s0", "close s2")
			})
		})
	}
}

// With room elsewhere sessions leave as fast as the others connect, and what a
// user is linking goes last.
func TestADrainIsPaced(t *testing.T) {
	t.Parallel()
	config := rare(500)
	config.Connects = 10
	simulate(t, config, func(w *world) {
		w.loads = func() []store.Load { return fleetOf(100, 100) } // either may take 70 up to its share, 165
		w.queue(many(80)...)
		claims := many(100)[80:]
		for i := range claims {
			claims[i].JID = ""
		}
		w.queue(claims...)
		if n := w.Pairing(); n != 20 {
			t.Fatalf("%d sessions wait for a scan, want 20", n)
		}
		w.take()
		w.leave()
		took, err := w.wait()
		if want := 5850 * time.Millisecond; err != nil || took < want-100*time.Millisecond || took > want+100*time.Millisecond { // 10 at once, and all in 6.5 s
			t.Errorf("%v after %v, want %v", err, took, want)
		}
		var order []string
		for _, entry := range w.take() {
			if id, ok := strings.CutPrefix(entry, "release s"); ok {
				order = append(order, strings.Fields(id)[0])
			}
		}
		for _, id := range order[len(order)-20:] {
			if n, _ := strconv.Atoi(id); n < 80 {
				t.Errorf("s%s left among those that wait for a scan", id)
			}
		}
	})
}

// Connectors that leave together do not hand over faster than the others connect.
func TestDrainsShareThePace(t *testing.T) {
	t.Parallel()
	config := rare(100)
	config.Connects, config.Poll = 10, time.Second
	simulate(t, config, func(w *world) {
		others := fleetOf(0, 90)
		others[1].Draining = true
		w.loads = func() []store.Load { return slices.Clone(others) }
		w.queue(many(60)...)
		w.leave()
		took, err := w.wait()
		if err != nil || took < 9*time.Second || took > 11*time.Second { // 10 at once, and then 5 a second
			t.Errorf("%v after %v", err, took)
		}
	})
}

// A drain of many sessions is done within two thirds of its time.
func TestAPacedDrainEndsInTime(t *testing.T) {
	t.Parallel()
	config := rare(200)
	config.Connects, config.DrainTimeout = 1, 9*time.Second
	simulate(t, config, func(w *world) {
		w.loads = func() []store.Load { return fleetOf(0) }
		w.queue(many(120)...)
		w.leave()
		if took, err := w.wait(); err != nil || took > 6100*time.Millisecond {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// A stop is heard while others wait for their turn to leave.
func TestAStopIsHeardInADrain(t *testing.T) {
	t.Parallel()
	config := rare(100)
	config.Connects, config.Poll = 1, time.Second
	simulate(t, config, func(w *world) {
		w.loads = func() []store.Load { return fleetOf(0) }
		w.queue(many(60)...)
		w.take()
		w.leave()
		w.set(func() {
			for _, c := range many(60) {
				w.changes = append(w.changes, store.Change{ID: c.ID, Epoch: 1, Wanted: session.Wanted{Desired: session.DesiredStopped, Generation: 2}})
			}
		})
		w.after(1100 * time.Millisecond)
		stopped := 0
		for _, entry := range w.take() {
			if strings.HasSuffix(entry, " STOPPED") {
				stopped++
			}
		}
		if stopped < 55 {
			t.Errorf("%d of 60 sessions are stopped after a poll", stopped)
		}
	})
}

func TestWhatOthersTake(t *testing.T) {
	t.Parallel()
	full := fleetOf(100, 100)
	full[0].Slots = 100
	for name, c := range map[string]struct {
		sessions int
		others   []store.Load
		want     int
	}{
		"nobody":       {100, nil, 0},
		"one":          {100, fleetOf(50), 100},
		"even":         {250, fleetOf(125, 125), 150},
		"a newcomer":   {167, fleetOf(167, 166, 0), 167},
		"one is full":  {100, full, 65},
		"all are full": {100, full[:1], 0},
	} {
		if got := takenBy(c.sessions, c.others); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
