package supervisor

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// claimNamed asks for sessions and compares those that still wait.
func (w *world) claimNamed(want []session.ID, ids ...session.ID) {
	w.Helper()
	still, err := w.ClaimNamed(w.authority, ids)
	if err != nil || !slices.Equal(still, want) {
		w.Errorf("still waiting are %v, want %v; error %v", still, want, err)
	}
	synctest.Wait()
}

func TestANamedSessionIsClaimed(t *testing.T) {
	t.Parallel()
	simulate(t, rare(5), func(w *world) {
		w.take()
		w.set(func() { w.jobs = []store.Claim{claim("a", 1), claim("b", 1)} })
		w.claimNamed(nil, "b")
		w.want("claim [b] 5/0", "open b", "changes")
		// Held, stopped or unknown: nobody's business.
		w.claimNamed([]session.ID{}, "c")
		w.want("claim [c] 4/1", "unclaimed of [c]")
		w.claimNamed(nil, "b") // it may have been restarted
		w.want("changes")
		w.claimNamed(nil, "a", "b")
		w.want("changes", "claim [a] 4/1", "open a", "changes")
	})
}

func TestANamedSessionWithoutRoomIsLeft(t *testing.T) {
	t.Parallel()
	simulate(t, rare(1), func(w *world) {
		w.queue(many(1)...)
		w.take()
		w.set(func() { w.jobs = []store.Claim{claim("a", 1)} })
		w.claimNamed([]session.ID{"a"}, "a", "b")
		w.want("unclaimed of [a b]")
	})
}

// It must not queue here for its turn to connect while another could do so.
func TestANamedSessionWithoutATurnIsLeft(t *testing.T) {
	t.Parallel()
	config := rare(5)
	config.Turns = func() int { return 0 }
	simulate(t, config, func(w *world) {
		w.take()
		w.set(func() { w.jobs = []store.Claim{claim("a", 1)} })
		w.claimNamed([]session.ID{"a"}, "a")
		w.want("unclaimed of [a]")
	})
}

func TestADatabaseOutOfReachIsNoAnswer(t *testing.T) {
	t.Parallel()
	simulate(t, rare(5), func(w *world) {
		w.set(func() { w.down = true })
		if _, err := w.ClaimNamed(w.authority, []session.ID{"a"}); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("%v", err)
		}
		w.set(func() { w.down = false })
	})
}

// Who asks when the supervisor drains gets its own end for an answer.
func TestNobodyClaimsInADrain(t *testing.T) {
	t.Parallel()
	simulate(t, rare(5), func(w *world) {
		w.queue(many(1)...)
		w.set(func() { w.onLeave = func(context.Context, store.Report) error { time.Sleep(time.Minute); return nil } })
		w.leave()
		synctest.Wait()
		w.take()
		ctx, cancel := context.WithTimeout(w.authority, time.Second)
		defer cancel()
		if _, err := w.ClaimNamed(ctx, []session.ID{"a"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		w.want()
	})
}

func TestRoomComesAndGoes(t *testing.T) {
	t.Parallel()
	simulate(t, rare(2), func(w *world) {
		n, room, err := w.AwaitRoom(w.authority)
		if n != 2 || err != nil {
			t.Fatal(n, err)
		}
		w.queue(many(1)...)
		if room.Err() != nil {
			t.Error("the room ended with a slot left")
		}
		w.queue(many(2)[1:]...)
		if room.Err() == nil {
			t.Error("the last slot is taken, and there is room")
		}
		awaited := make(chan int, 1)
		go func() {
			n, room, err := w.AwaitRoom(w.authority)
			if err != nil || room.Err() != nil {
				t.Error(err, room)
			}
			awaited <- n
		}()
		w.after(time.Hour)
		select {
		case n := <-awaited:
			t.Fatalf("room for %d in a full connector", n)
		default:
		}
		w.set(func() {
			w.changes = []store.Change{{ID: "s0", Epoch: 1, Wanted: session.Wanted{Desired: session.DesiredStopped, Generation: 2}}}
		})
		w.Hint("s0")
		if n := <-awaited; n != 1 {
			t.Errorf("room for %d", n)
		}
	})
}

func TestRoomIsForWhatConnectsSoon(t *testing.T) {
	t.Parallel()
	var turns atomic.Int64
	config := rare(100)
	config.Turns = func() int { return int(turns.Load()) }
	simulate(t, config, func(w *world) {
		time.AfterFunc(time.Minute, func() { turns.Store(3) })
		began := time.Now()
		if n, _, err := w.AwaitRoom(w.authority); n != 3 || err != nil || time.Since(began) < time.Minute {
			t.Errorf("room for %d after %v, error %v", n, time.Since(began), err)
		}
		ctx, cancel := context.WithCancel(w.authority)
		cancel()
		if _, _, err := w.AwaitRoom(ctx); err == nil {
			t.Error("room after the end")
		}
	})
}
