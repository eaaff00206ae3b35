package supervisor

import (
	"context"
	"errors"
	"slices"
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
		})); n != 95 || len(got) != 1+2*95 || got[0] != "draining" {
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
		w.want("draining", "close s0", "release s0 STARTING")
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
		w.want("draining", "close s0", "release s0 STARTING")
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
		w.want("draining", "close s1", "close s2", "release s1 STARTING", "release s2 STARTING")
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
