package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// rare keeps the timers out of a test that counts.
func rare(slots int) Config { return Config{Slots: slots, Poll: time.Hour, OrphanScan: time.Hour} }

func TestClaimsFillTheSlotsAndNoMore(t *testing.T) {
	t.Parallel()
	simulate(t, rare(2), func(w *world) {
		w.want("claim 2/0") // the first poll
		w.queue(many(1)...)
		w.want("claim 2/0", "open s0", "changes")
		w.queue(many(3)[1:]...)
		w.want("claim 1/1", "open s1", "changes")
		if w.Held() != 2 {
			t.Errorf("%d held", w.Held())
		}
		w.Hint("s2") // no slot, no query
		w.want()
		w.set(func() {
			w.changes = []store.Change{{ID: "s0", Epoch: 1, Wanted: session.Wanted{Desired: session.DesiredStopped, Generation: 2}}}
		})
		w.Hint("s0")
		w.want("changes", "close s0", "release s0 STOPPED", "claim 1/1", "open s2", "changes")
	})
}

// Hints shorten the wait; without any, the poll finds everything.
func TestThePollFindsEverything(t *testing.T) {
	t.Parallel()
	simulate(t, Config{Slots: 5, OrphanScan: time.Hour}, func(w *world) {
		w.take()
		w.set(func() { w.jobs = many(1) })
		w.after(1100 * time.Millisecond)
		w.set(func() {
			w.changes = []store.Change{{ID: "s0", Epoch: 1, Wanted: session.Wanted{Desired: session.DesiredStopped, Generation: 2}}}
		})
		w.after(1100 * time.Millisecond)
		if got := w.take(); !slices.Contains(got, "release s0 STOPPED") {
			t.Errorf("%q", got)
		}
		w.set(func() { w.changes, w.polls = nil, 0 })
		w.take()
		w.after(time.Hour)
		if w.polls < 3300 || w.polls > 4000 {
			t.Errorf("%d looks at the database in an hour of 1 s polls", w.polls)
		}
		if rest := w.take(); len(rest) > 3 { // the end of a session, and an orphan scan
			t.Errorf("there is nothing to do, and happened %q", rest)
		}
	})
}

func TestHintsGoWhereTheyBelong(t *testing.T) {
	t.Parallel()
	simulate(t, rare(5), func(w *world) {
		w.queue(many(1)...)
		w.take()
		w.Hint("s0")
		w.want("changes")
		w.Hint("other")
		w.want("claim 4/1")
		w.Hint("") // some may have been missed
		w.want("claim 4/1", "changes")
		// However many come during a look, they are one more.
		w.set(func() { w.slow = time.Second })
		w.Hint("other")
		w.want("claim 4/1")
		for range 100 {
			w.Hint("other")
		}
		w.after(time.Minute)
		w.want("claim 4/1")
	})
}

// Hints without end must not keep changes from being passed on.
func TestHintsDoNotStarveChanges(t *testing.T) {
	t.Parallel()
	simulate(t, Config{Slots: 5, OrphanScan: time.Hour}, func(w *world) {
		w.queue(many(1)...)
		w.take()
		w.set(func() { w.polls = 0 })
		for range 5000 {
			w.Hint("other")
			time.Sleep(time.Millisecond)
		}
		if w.polls < 4 || w.polls > 6 {
			t.Errorf("%d polls in 5 s", w.polls)
		}
	})
}

func TestAChangeThatComesWhileTheStoreOpensIsPassedOn(t *testing.T) {
	t.Parallel()
	simulate(t, rare(5), func(w *world) {
		w.onOpen = func(context.Context, store.Claim) error { time.Sleep(10 * time.Second); return nil }
		w.queue(many(1)...)
		w.set(func() {
			w.changes = []store.Change{{ID: "s0", Epoch: 1, Wanted: session.Wanted{Desired: session.DesiredStopped, Generation: 2}}}
		})
		w.Hint("s0")
		w.after(10*time.Second - 1)
		w.want("claim 5/0", "claim 5/0", "open s0", "changes")
		w.after(1)
		w.want("changes", "close s0", "release s0 STOPPED", "claim 5/0")
	})
}

func TestAStoreThatDoesNotOpenFailsTheSession(t *testing.T) {
	t.Parallel()
	simulate(t, rare(5), func(w *world) {
		w.onOpen = func(context.Context, store.Claim) error { return errors.New("/data/secret: permission denied") }
		w.queue(many(1)...)
		w.want("claim 5/0", "claim 5/0", "open s0", "release s0 FAILED STORE_ERROR", "claim 5/0")
		if r := w.reports[0]; r.Seen != 1 || r.Epoch != 1 || strings.Contains(r.Message, "secret") {
			t.Errorf("%+v", r)
		}
	})
}

func TestAStoreThatIsNotAvailableIsTriedAgain(t *testing.T) {
	t.Parallel()
	simulate(t, rare(5), func(w *world) {
		w.onOpen = func(context.Context, store.Claim) error { return fmt.Errorf("%w: locked", session.ErrUnavailable) }
		w.queue(many(1)...)
		w.want("claim 5/0", "claim 5/0", "open s0", "release s0 STARTING STORE_ERROR", "claim 5/0")
		if r := w.reports[0]; r.RetryIn < time.Second {
			t.Errorf("tried again after %v", r.RetryIn)
		}
	})
}

func TestPanicsPauseAndThenQuarantine(t *testing.T) {
	t.Parallel()
	simulate(t, rare(5), func(w *world) {
		w.onOpen = func(context.Context, store.Claim) error { panic("bug") }
		for before, want := range []string{"STARTING INTERNAL_ERROR", "STARTING INTERNAL_ERROR", "FAILED QUARANTINED", "FAILED QUARANTINED"} {
			c := claim("a", session.Epoch(before+1))
			c.Faults = before
			w.take()
			w.queue(c)
			r, got := w.reports[len(w.reports)-1], w.take()
			if !slices.Contains(got, "release a "+want) || r.Faults != before+1 || r.Seen != 1 {
				t.Errorf("after %d: %q %+v", before, got, r)
			}
			if failed := r.State == session.Failed; failed != (r.RetryIn == 0) || r.RetryIn > time.Second<<before {
				t.Errorf("after %d: tried again in %v", before, r.RetryIn)
			}
		}
		w.onOpen = func(context.Context, store.Claim) error {
			time.Sleep(store.FaultMemory + time.Second)
			panic("bug, after a long time")
		}
		late := claim("a", 5)
		late.Faults = 2
		w.queue(late)
		time.Sleep(store.FaultMemory + 2*time.Second)
		w.take()
		if r := w.reports[len(w.reports)-1]; r.Epoch != 5 || r.State != session.Starting || r.Faults != 1 {
			t.Errorf("a fault long after the others ended as %+v", r)
		}
		w.onOpen = nil
		c := claim("a", 6)
		c.Faults = 2
		w.queue(c)
		w.leave()
		w.wait()
		if r := w.reports[len(w.reports)-1]; r.State != session.Starting || r.Faults != store.NoFaults {
			t.Errorf("a term without a fault ended as %+v", r)
		}
	})
}

func TestFenceEndsTheRightTermSilently(t *testing.T) {
	t.Parallel()
	simulate(t, rare(5), func(w *world) {
		w.queue(claim("a", 4))
		w.take()
		w.Fence(store.Term{ID: "a", Epoch: 3})
		w.Fence(store.Term{ID: "b", Epoch: 4})
		w.want()
		w.Fence(store.Term{ID: "a", Epoch: 4})
		w.Fence(store.Term{ID: "a", Epoch: 4}) // its reports may be refused several times
		w.want("fenced!", "close a", "claim 5/0")
		if w.Held() != 0 {
			t.Error("still held")
		}
	})
}

func TestTheFenceOfADevice(t *testing.T) {
	t.Parallel()
	simulate(t, rare(5), func(w *world) {
		w.queue(claim("a", 1))
		held := w.held["a"]
		if err := held(); err != nil {
			t.Error(err)
		}
		w.set(func() { w.distrust = session.ErrLeaseLost })
		if err := held(); !errors.Is(err, session.ErrLeaseLost) {
			t.Errorf("a frozen process: %v", err)
		}
		w.set(func() { w.distrust = nil })
		w.Fence(store.Term{ID: "a", Epoch: 1})
		if err := held(); !errors.Is(err, session.ErrFenced) {
			t.Error(err)
		}
	})
}

// The answer to a release may be lost after it was written; then the session
// may be claimed again while the old term still asks.
func TestASessionHeldAnewIsNotForgotten(t *testing.T) {
	t.Parallel()
	simulate(t, rare(5), func(w *world) {
		w.queue(claim("a", 1))
		answer := make(chan struct{})
		w.set(func() {
			w.onLeave = func(_ context.Context, r store.Report) error {
				if r.Epoch == 1 {
					<-answer
					return session.ErrFenced
				}
				return nil
			}
			w.changes = []store.Change{{ID: "a", Epoch: 1, Wanted: session.Wanted{Desired: session.DesiredStopped, Generation: 2}}}
		})
		w.Hint("a")
		w.take()
		w.queue(claim("a", 2))
		w.want("claim 4/1") // waits for the old term's store
		close(answer)
		w.after(0)
		if got := w.take(); !slices.Contains(got, "open a") || w.Held() != 1 {
			t.Errorf("%q, %d held", got, w.Held())
		}
		w.leave()
		w.wait()
		if got := w.take(); !slices.Contains(got, "release a STARTING") {
			t.Errorf("the second term was not handed back: %q", got)
		}
	})
}

// A claim whose answer was lost is found and given back.
func TestStraysAreGivenBack(t *testing.T) {
	t.Parallel()
	simulate(t, Config{Slots: 5, Poll: time.Hour}, func(w *world) {
		w.queue(claim("a", 2))
		w.take()
		w.set(func() { w.terms = []store.Term{{ID: "a", Epoch: 2}, {ID: "b", Epoch: 7}} })
		w.after(5500 * time.Millisecond)
		w.want("orphans", "strays", "release b STARTING")
		if r := w.reports[len(w.reports)-1]; r.Epoch != 7 {
			t.Errorf("%+v", r)
		}
		w.set(func() { w.terms = nil })
	})
}

func TestOrphansAreClaimedAtOnce(t *testing.T) {
	t.Parallel()
	simulate(t, Config{Slots: 5, Poll: time.Hour}, func(w *world) {
		w.take()
		w.after(5500 * time.Millisecond)
		w.want("orphans", "strays")
		w.set(func() { w.orphans = 3 })
		w.after(5500 * time.Millisecond)
		w.want("orphans", "strays", "claim 5/0")
	})
}

func TestADeathIsNoticedAtTheNextPoll(t *testing.T) {
	t.Parallel()
	simulate(t, Config{Slots: 5, OrphanScan: time.Hour}, func(w *world) {
		w.take()
		w.set(func() { w.deaths, w.orphans = true, 1 })
		w.after(1100 * time.Millisecond)
		w.set(func() { w.deaths = false })
		w.want("orphans", "claim 5/0")
	})
}

func TestADatabaseOutOfReachIsTriedAgain(t *testing.T) {
	t.Parallel()
	simulate(t, Config{Slots: 5}, func(w *world) {
		w.queue(many(1)...)
		w.set(func() { w.down, w.jobs, w.polls = true, many(2)[1:], 0 })
		w.after(time.Minute)
		got := w.take()
		if w.polls < 10 {
			t.Errorf("%d polls in a minute", w.polls)
		}
		for _, what := range []string{"orphans", "strays"} {
			if count(got, what) < 10 {
				t.Errorf("%s was tried %d times in a minute", what, count(got, what))
			}
		}
		if w.Held() != 1 {
			t.Errorf("%d held", w.Held())
		}
		w.set(func() { w.down = false })
		w.after(2 * time.Second)
		if w.Held() != 2 {
			t.Errorf("%d held", w.Held())
		}
	})
}

// A connector claims what it can connect, and comes back for the rest as its
// turn comes.
func TestClaimsFollowThePaceOfConnects(t *testing.T) {
	t.Parallel()
	var turns atomic.Int64
	turns.Store(3)
	config := rare(100)
	config.Turns = func() int { return int(turns.Load()) }
	simulate(t, config, func(w *world) {
		w.queue(many(10)...)
		if n := w.Held(); n != 3 {
			t.Fatalf("%d are held at first, want 3", n)
		}
		turns.Store(5)
		w.after(claimAgain)
		if n := w.Held(); n != 8 {
			t.Fatalf("%d are held after a moment, want 8", n)
		}
		turns.Store(0)
		w.after(10 * claimAgain)
		if n := w.Held(); n != 8 {
			t.Fatalf("%d are held without a turn, want 8", n)
		}
		turns.Store(5)
		w.after(claimAgain)
		if n := w.Held(); n != 10 {
			t.Fatalf("%d are held in the end, want 10", n)
		}
		w.take()
		w.after(time.Second)
		w.want() // nothing waits: nothing is asked
	})
}
